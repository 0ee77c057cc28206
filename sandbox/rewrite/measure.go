package rewrite

// A region is the code directly in a loop, or outside of all loops. Within one turn of it control only goes forward, so it is cut, in the order
// of the text, into stretches that are charged when their first instruction is reached: the first at the head of the loop, where the fuel is
// looked at too, the others where blocks end. Whoever reaches an instruction must have passed the beginning of its stretch, so a block that was
// opened before the present stretch ends it: a branch may come from there. Cutting begins where a stretch has cost a good deal; small regions
// stay whole. What is left short between two cuts is charged at the head instead.
const (
	longStretch  = 64 // units from which on a stretch is cut where it can be
	shortStretch = 8  // units up to which a stretch is charged at the head
)

// region is what measuring learns of one region.
type region struct {
	head    uint32 // units that are charged at the head
	longest uint64 // units that may be used between the head and the next look at the fuel
	calls   bool   // a loop: it, or a loop in it, calls something or does bulk work
	params  bool   // a loop: takes values

	run   uint32 // units of the present stretch
	from  int    // where in the module it begins
	place int    // the landing where it is charged, -1 is the head
}

// measure is what metering a function depends on. One value is used for all functions, one after the other.
type measure struct {
	entry    region
	loops    []region // in the order of their heads
	landings []uint32 // for each else and each end of a block or if, in their order, the units that are charged behind it
	open     []opened
	calls    bool // calls what is not free
	inLoop   bool // some loop calls
	bulk     bool // does bulk work
}

// opened is a block whose end is still to come.
type opened struct {
	at     int
	loop   bool
	region int // that its code is in, as an index into loops; -1 is the entry
}

// of measures a function whose instructions begin at r's place and end with r's bytes.
func (f *measure) of(m *module, free []uint32, r reader) {
	*f = measure{loops: f.loops[:0], landings: f.landings[:0], open: append(f.open[:0], opened{region: -1})}
	f.entry.place = -1
	var in instruction
	for len(f.open) > 0 && r.err == nil {
		r.next(&in)
		top := f.open[len(f.open)-1]
		switch in.op {
		case opBlock, opIf:
			f.open = append(f.open, opened{in.at, false, top.region})
		case opLoop:
			f.open = append(f.open, opened{in.at, true, len(f.loops)})
			f.loops = append(f.loops, region{from: in.at, place: -1, params: m.takes(in.blockType)})
		case opElse:
			f.land(&in)
		case opEnd:
			f.close(&in)
		}
		f.charge(m, free, &in, top.region)
	}
	f.entry.end(f.landings)
}

// charge adds what an instruction costs to its region.
func (f *measure) charge(m *module, free []uint32, in *instruction, at int) {
	r := f.region(at)
	cost, calls := units(in), false
	switch in.op {
	case opCall, opReturnCall, opCallIndirect, opReturnCallIndirect:
		calls = true
		if callee := int(in.x) - m.imported.functions; in.op == opCall && callee >= 0 && free[callee] != heavy {
			cost += free[callee]
			break
		}
		f.calls = true
		r.longest += freeUnits // what a function may do before it looks
	case opMemoryGrow, opBulk:
		calls = bulky(in)
		f.bulk = f.bulk || calls
	}
	r.run += cost
	r.longest += uint64(cost)
	if calls && at >= 0 {
		r.calls, f.inLoop = true, true
	}
}

// land comes to a place that is reached from elsewhere than the instruction before it.
func (f *measure) land(in *instruction) {
	block := f.open[len(f.open)-1]
	r := f.region(block.region)
	f.landings = append(f.landings, 0)
	if block.at < r.from || r.run > longStretch {
		r.end(f.landings)
		r.run, r.from, r.place = 0, in.at, len(f.landings)-1
	}
}

func (f *measure) close(in *instruction) {
	block := f.open[len(f.open)-1]
	if len(f.open) > 1 && !block.loop {
		f.land(in)
	}
	f.open = f.open[:len(f.open)-1]
	if !block.loop {
		return
	}
	inner := f.region(block.region)
	inner.end(f.landings)
	outer := f.region(f.open[len(f.open)-1].region)
	outer.calls = outer.calls || inner.calls
}

// end settles where the present stretch is charged.
func (r *region) end(landings []uint32) {
	if r.place < 0 || r.run <= shortStretch {
		r.head += r.run
	} else {
		landings[r.place] = r.run
	}
}

func (f *measure) region(i int) *region {
	if i < 0 {
		return &f.entry
	}
	return &f.loops[i]
}

// longest is the most that may be used between two looks at the fuel.
func (f *measure) longest() uint64 {
	most := f.entry.longest
	for i := range f.loops {
		most = max(most, f.loops[i].longest)
	}
	return most
}

// takes tells whether a block takes values.
func (m *module) takes(blockType int64) bool {
	return blockType >= 0 && m.types[blockType].nParams > 0
}
