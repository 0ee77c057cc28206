package rewrite

// Where a language has jumps that WebAssembly's blocks do not, compilers write a loop that begins with a table of jumps, and a jump as a
// constant for the table's operand and a branch to the loop. Go's does so for every jump:
//
//	loop                                       loop
//	  block block block                          block block block
//	    local.get $to                              local.get $to
//	    br_table 0 1 2                             br_table 0 1 2
//	  end                                        end
//	  ...                                        ...
//	  i32.const 2, local.set $to, br 2           i32.const 2, local.set $to, br 1
//	  end                                        end
//	  ...                                        ...
//
// A branch whose way through the table is known goes to its end at once where that lies ahead, as on the right: it saves an indirect jump, and
// the compiler sees where values go. Nothing else changes, and what is charged stays what it was: whatever a branch can reach is charged where
// it begins (see region).

// dispatch is a loop that begins with a table of jumps.
type dispatch struct {
	local        uint32 // the table's operand
	at           int    // where the br_table stands
	first, count int    // its labels, as frames, in meter.destinations; the last is the default
}

// jumps is what a meter knows of the function's jumps up to the present instruction.
type jumps struct {
	dispatches   []dispatch
	destinations []int32 // indices of frames
	head         int     // the frame of a loop that has done nothing but open blocks and read a local; 0 where there is none
	operand      int64   // the local that was read, or -1
	constant     int     // where the constant stands that the instruction before put on the stack; 0 where it put none
	set          bool    // the instruction before set the local to the constant
	local        uint32
	value        uint32
}

func (j *jumps) reset() {
	*j = jumps{dispatches: j.dispatches[:0], destinations: j.destinations[:0], operand: -1}
}

// follow is told of each instruction after it was written.
func (f *meter) follow(in *instruction) {
	j := &f.jumps
	constant := j.constant
	j.constant, j.set = 0, false
	switch in.op {
	case opI32Const:
		j.constant = in.at + 1
	case opLocalSet:
		if constant > 0 {
			r := reader{bytes: f.wasm, at: constant}
			value := r.s33()
			j.set, j.local, j.value = r.err == nil && 0 <= value && value < 1<<31, in.x, uint32(value)
		}
	case opLoop:
		if in.blockType == noValues {
			j.head, j.operand = len(f.frames)-1, -1
			return
		}
	case opBlock:
		if in.blockType == noValues && j.head > 0 && j.operand < 0 {
			return
		}
	case opLocalGet:
		if j.head > 0 && j.operand < 0 {
			j.operand = int64(in.x)
			return
		}
	case opBrTable:
		if j.head > 0 && j.operand >= 0 {
			f.dispatch(in)
		}
	}
	j.head, j.operand = 0, -1
}

// dispatch notes the table of jumps at the head of a loop.
func (f *meter) dispatch(in *instruction) {
	j := &f.jumps
	d := dispatch{local: uint32(j.operand), at: in.at, first: len(j.destinations), count: int(in.x) + 1}
	r := reader{bytes: f.wasm, at: in.labels}
	for range d.count {
		j.destinations = append(j.destinations, int32(len(f.frames)-1-int(r.u32())))
	}
	j.dispatches = append(j.dispatches, d)
	f.frames[j.head].dispatch = len(j.dispatches)
}

// through gives the label that a branch comes to by way of a table, or its own.
func (f *meter) through(label uint32) uint32 {
	loop := len(f.frames) - 1 - int(label)
	if !f.jumps.set || f.frames[loop].dispatch == 0 {
		return label
	}
	d := &f.jumps.dispatches[f.frames[loop].dispatch-1]
	if d.local != f.jumps.local {
		return label
	}
	to := int(f.jumps.destinations[d.first+int(min(int64(f.jumps.value), int64(d.count)-1))])
	if to == loop || to >= len(f.frames) || f.frames[to].at > d.at { // the last: a block that was opened where the destination has ended
		return label
	}
	return uint32(len(f.frames) - 1 - to)
}
