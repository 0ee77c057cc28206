package rewrite

// loop is what measuring learns of one loop.
type loop struct {
	end     int    // where its end instruction stands
	units   uint32 // of the code directly in it, charged at each turn
	stretch uint64 // what may run between its head and the next look at the fuel
	calls   bool   // it, or a loop in it, calls something or does bulk work
	nests   bool   // it holds another loop
	bare    bool   // takes and gives no values
	params  bool   // takes values
}

// measure is what metering a function depends on. One value is used for all functions, one after the other.
type measure struct {
	entry  loop   // the code outside of all loops, charged when the function is entered
	loops  []loop // in the order of their heads
	open   []int  // for each open block the loop that it is in, as an index into loops; -1 is the entry
	calls  bool   // calls what is not free
	inLoop bool   // some loop does
	bulk   bool   // does bulk work
}

// of measures a function whose instructions begin at r's place and end with r's bytes.
func (f *measure) of(m *module, free []uint32, r reader) {
	*f = measure{loops: f.loops[:0], open: append(f.open[:0], -1)}
	var in instruction
	for len(f.open) > 0 && r.err == nil {
		r.next(&in)
		current := f.open[len(f.open)-1]
		cost, calls := units(&in), false
		switch in.op {
		case opBlock, opIf:
			f.open = append(f.open, current)
		case opLoop:
			takes, gives := m.blockValues(in.blockType)
			f.open = append(f.open, len(f.loops))
			f.loops = append(f.loops, loop{bare: !takes && !gives, params: takes})
		case opEnd:
			f.open = f.open[:len(f.open)-1]
			if len(f.open) > 0 && f.open[len(f.open)-1] != current {
				f.close(current, f.open[len(f.open)-1], in.at)
			}
		case opCall, opReturnCall:
			callee := int(in.x) - m.imported.functions
			if callee >= 0 && free[callee] != heavy && in.op == opCall {
				cost += free[callee]
				calls = true
				break
			}
			f.calls = true
			fallthrough
		case opCallIndirect, opReturnCallIndirect:
			f.calls, calls = true, true
			f.at(current).stretch += freeUnits // what a function may do before it looks
		case opMemoryGrow, opBulk:
			if bulky(&in) {
				f.bulk, calls = true, true
			}
		}
		l := f.at(current)
		l.units += cost
		l.stretch += uint64(cost)
		if calls && current >= 0 {
			l.calls, f.inLoop = true, true
		}
	}
}

// close ends a loop inside of another, or of none.
func (f *measure) close(inner, outer, end int) {
	f.loops[inner].end = end
	l := f.at(outer)
	l.nests = true
	l.calls = l.calls || f.loops[inner].calls
}

// at returns the loop of an index.
func (f *measure) at(i int) *loop {
	if i < 0 {
		return &f.entry
	}
	return &f.loops[i]
}

// longest is the longest stretch of the function's regions.
func (f *measure) longest() uint64 {
	most := f.entry.stretch
	for i := range f.loops {
		most = max(most, f.loops[i].stretch)
	}
	return most
}

// blockValues tells whether a block takes and gives values.
func (m *module) blockValues(blockType int64) (takes, gives bool) {
	if blockType < 0 {
		return false, byte(blockType)&0x7f != blockEmpty
	}
	t := m.types[blockType]
	return t.nParams > 0, t.nResults > 0
}
