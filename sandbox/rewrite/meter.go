package rewrite

// form is how a function counts.
type form uint8

const (
	free   form = iota // not at all: it is charged where it is called
	global             // in the global, at entry and at each loop
	local              // in a local, written back around calls and at the end; for functions whose loops call nothing
)

// frame is an open block of the original.
type frame struct {
	op       byte
	at       int    // where it was opened
	extra    uint32 // blocks that were added around this one and those it is in
	ends     int    // end instructions that close it
	dispatch int    // of a loop that begins with a table of jumps, its number, else 0
}

// meter writes one function. One value is used for all functions, one after the other.
type meter struct {
	*writer
	reader  reader
	measure measure
	form    form
	frames  []frame
	jumps   jumps
	loop    int // the next of measure.loops
	landing int // the next of measure.landings
	copied  int // where in the original the bytes begin that are still to be copied as they are

	counter uint32 // local i64: the fuel, or a place for it while it is looked at
	operand uint32 // local i32: the operand of a bulk instruction
}

// function writes the entry of the code section for the i-th function that is not imported: locals, then instructions.
//
//	global            local                              loop, nothing called in it      loop with calls
//	fuel -= entry     counter = fuel - entry             loop                            loop
//	fuel < 0: refuel  block                                fuel < cost: refuel             fuel -= cost
//	...                 ...                                loop                            fuel < 0: refuel
//	                  end                                    fuel < cost: br 1             ...
//	                  fuel = counter                         fuel -= cost                end
//	                                                         ...
//	                                                     end end
//
// A call of refuel inside of a loop would make the compiler keep what lives across it on the stack, so loops that call nothing get theirs
// outside, in a loop of its own around them.
func (f *meter) function(i int) {
	f.reader = reader{bytes: f.wasm[:f.bodies[i].end], at: f.bodies[i].at, function: i + f.imported.functions, section: 10}
	type_ := f.types[f.functions[i+f.imported.functions]]
	groups, locals := f.locals()
	f.measure.of(f.module, f.free, f.reader)
	f.chooseForm(i)
	f.reader.limit("units between two looks at the fuel", f.measure.longest(), f.options.Limits.Region)

	f.counter = uint32(type_.nParams) + locals
	f.operand = f.counter + 1
	added := uint32(0)
	if f.form != free {
		added = 1
		if f.measure.bulk {
			added = 2
		}
	}
	f.out.u32(groups + added)
	f.copy(f.reader.at)
	for _, t := range []byte{0x7e, typeI32}[:added] {
		f.out.op(1, t)
	}
	f.frames = append(f.frames[:0], frame{op: opBlock, ends: 1})
	f.loop, f.landing = 0, 0
	f.jumps.reset()
	f.enter()
	if f.form == local {
		f.out.op(opBlock)
		f.resultType(f.functions[i+f.imported.functions])
		f.frames[0].ends = 2
	}
	f.body(f.bodies[i].end)
}

// locals passes over the declarations of locals.
func (f *meter) locals() (groups, locals uint32) {
	groups = f.reader.u32()
	f.copied = f.reader.at
	for range groups {
		locals += f.reader.u32()
		f.reader.byte()
	}
	return groups, locals
}

func (f *meter) chooseForm(i int) {
	switch {
	case f.free[i] != heavy:
		f.form = free
	case len(f.measure.loops) > 0 && !f.measure.inLoop:
		f.form = local
	default:
		f.form = global
	}
}

// resultType writes the block type that gives what a function of type t gives.
func (f *meter) resultType(t uint32) {
	switch s := f.types[t]; {
	case s.nResults == 0:
		f.out.op(blockEmpty)
	case s.nResults == 1:
		f.out.op(f.wasm[s.results])
	default:
		f.out.signed(int64(f.blockTypes[t]))
	}
}

// enter charges the code outside of loops. Only what calls nothing and is short may go without a look at what is left.
func (f *meter) enter() {
	cost := f.measure.entry.head
	looks := f.measure.calls || f.measure.bulk || cost > freeUnits
	if f.form == free || f.form == global && cost == 0 && !looks {
		return
	}
	f.out.with(opGlobalGet, f.fuel)
	f.subtract(cost)
	f.keep(looks)
	if looks {
		f.refuelBelowZero()
	}
}

func (f *meter) subtract(cost uint32) {
	if cost > 0 {
		f.out.i64(int64(cost))
		f.out.op(opI64Sub)
	}
}

// keep stores the fuel on the stack where the form keeps it; tee leaves it on the stack as well.
func (f *meter) keep(tee bool) {
	switch {
	case f.form == local && tee:
		f.out.with(opLocalTee, f.counter)
	case f.form == local:
		f.out.with(opLocalSet, f.counter)
	case tee:
		f.out.with(opLocalTee, f.counter)
		f.out.with(opGlobalSet, f.fuel)
		f.out.with(opLocalGet, f.counter)
	default:
		f.out.with(opGlobalSet, f.fuel)
	}
}

// load puts the fuel on the stack.
func (f *meter) load() {
	if f.form == local {
		f.out.with(opLocalGet, f.counter)
	} else {
		f.out.with(opGlobalGet, f.fuel)
	}
}

// refuelBelowZero takes the fuel from the stack and calls the host where it is negative.
func (f *meter) refuelBelowZero() {
	f.out.i64(0)
	f.out.op(opI64LtS)
	f.refuelIf()
}

func (f *meter) refuelIf() {
	f.out.op(opIf, blockEmpty)
	f.writeBack()
	f.out.with(opCall, f.refuel)
	f.readBack()
	f.out.op(opEnd)
}

// writeBack makes the global hold the fuel before somebody else looks at it, readBack the local afterwards.
func (f *meter) writeBack() {
	if f.form == local {
		f.out.with(opLocalGet, f.counter)
		f.out.with(opGlobalSet, f.fuel)
	}
}

func (f *meter) readBack() {
	if f.form == local {
		f.out.with(opGlobalGet, f.fuel)
		f.out.with(opLocalSet, f.counter)
	}
}

// copy writes the bytes of the original up to end as they are.
func (f *meter) copy(end int) {
	f.out.op(f.wasm[f.copied:end]...)
	f.copied = end
}

// replace writes what came before the instruction and takes its place.
func (f *meter) replace(in *instruction) {
	f.copy(in.at)
	f.copied = in.end
}

// body writes instructions up to end.
func (f *meter) body(end int) {
	var in instruction
	for f.reader.at < end && f.reader.err == nil {
		f.reader.next(&in)
		f.instruction(&in)
		f.follow(&in)
	}
	f.copy(end)
}

func (f *meter) instruction(in *instruction) {
	switch in.op {
	case opBlock, opIf:
		f.push(in, 0, 1)
	case opLoop:
		f.openLoop(in)
	case opElse:
		f.land(in)
	case opEnd:
		f.close(in)
	case opBr, opBrIf:
		if shifted := f.label(f.through(in.x)); shifted != in.x {
			f.replace(in)
			f.out.with(in.op, shifted)
		}
	case opBrTable:
		f.branchTable(in)
	case opReturn:
		f.leave(in)
	case opCall, opReturnCall:
		f.call(in)
	case opReturnCallIndirect:
		f.leave(in)
	case opCallIndirect:
		if f.form == local {
			f.copy(in.at)
			f.writeBack()
			f.copy(in.end)
			f.readBack()
		}
	case opRefFunc:
		f.replace(in)
		f.out.with(opRefFunc, f.shift(in.x))
	case opMemoryGrow, opBulk:
		f.bulk(in)
	}
}

func (f *meter) push(in *instruction, extra uint32, ends int) {
	f.frames = append(f.frames, frame{op: in.op, at: in.at, extra: f.frames[len(f.frames)-1].extra + extra, ends: ends})
}

// label tells where a label of the original is now.
func (f *meter) label(l uint32) uint32 {
	top := len(f.frames) - 1
	return l + f.frames[top].extra - f.frames[top-int(l)].extra
}

func (f *meter) branchTable(in *instruction) {
	if f.frames[len(f.frames)-1].extra == f.frames[0].extra {
		return
	}
	f.replace(in)
	f.out.with(opBrTable, in.x)
	labels := reader{bytes: f.wasm, at: in.labels}
	for range in.x + 1 {
		f.out.u32(f.label(labels.u32()))
	}
}

// leave writes the fuel back before an instruction that leaves the function.
func (f *meter) leave(in *instruction) {
	if f.form == local {
		f.copy(in.at)
		f.writeBack()
	}
}

func (f *meter) call(in *instruction) {
	f.replace(in)
	callee := int(in.x) - f.imported.functions
	around := f.form == local && (callee < 0 || f.free[callee] == heavy || in.op == opReturnCall)
	if around {
		f.writeBack()
	}
	f.out.with(in.op, f.shift(in.x))
	if around && in.op == opCall {
		f.readBack()
	}
}

func (f *meter) openLoop(in *instruction) {
	l := &f.measure.loops[f.loop]
	f.loop++
	if l.head == 0 || f.form == free { // without a branch in it, it never turns
		f.push(in, 0, 1)
		return
	}
	if l.calls {
		f.copy(in.end)
		f.push(in, 0, 1)
		f.out.with(opGlobalGet, f.fuel)
		f.subtract(l.head)
		f.keep(true)
		f.refuelBelowZero()
		return
	}
	f.copy(in.end)
	f.short(l)
	f.refuelIf()
	f.out.op(f.wasm[in.at:in.end]...)
	f.push(in, 1, 2)
	f.short(l)
	if l.params { // an if would hide them from the branch
		f.out.with(opBrIf, 1)
	} else { // compiles to one jump, a br_if to two
		f.out.op(opIf, blockEmpty, opBr, 2, opEnd)
	}
	f.load()
	f.subtract(l.head)
	f.keep(false)
}

// short puts on the stack whether a turn of the loop costs more than is left.
func (f *meter) short(l *region) {
	f.load()
	f.out.i64(int64(l.head))
	f.out.op(opI64LtS)
}

func (f *meter) close(in *instruction) {
	top := f.frames[len(f.frames)-1]
	f.frames = f.frames[:len(f.frames)-1]
	if top.op != opLoop && len(f.frames) > 0 {
		f.land(in)
	}
	if top.ends == 1 {
		return
	}
	f.copy(in.end)
	if len(f.frames) == 0 {
		f.writeBack()
	}
	f.out.op(opEnd)
}

// land charges what begins behind an instruction.
func (f *meter) land(in *instruction) {
	cost := f.measure.landings[f.landing]
	f.landing++
	if cost > 0 {
		f.copy(in.end)
		f.load()
		f.subtract(cost)
		f.keep(false)
	}
}

// bulk charges one unit for 16 bytes, or table entries, that an instruction touches, before it does.
func (f *meter) bulk(in *instruction) {
	switch {
	case in.op == opBulk && in.sub == bulkDataDrop:
		f.replace(in)
		f.out.op(opNop) // a segment that stays is what a reset instance finds
		return
	case !bulky(in):
		return
	}
	f.copy(in.at)
	f.out.with(opLocalTee, f.operand)
	f.load()
	f.out.with(opLocalGet, f.operand)
	f.out.op(opI64ExtendI32U)
	switch {
	case in.op == opMemoryGrow:
		f.out.i64(12) // pages of 64 KiB
		f.out.op(opI64Shl)
		f.unlessAbove(f.options.Limits.MemoryPages)
	case in.sub == bulkTableGrow:
		f.out.i64(4)
		f.out.op(opI64ShrU)
		f.unlessAbove(f.options.Limits.TableHeadroom)
	default:
		f.out.i64(4)
		f.out.op(opI64ShrU)
	}
	f.out.op(opI64Sub)
	f.keep(true)
	f.refuelBelowZero()
	f.copy(in.end)
}

// unlessAbove makes the charge on the stack 0 where the operand is above most: the instruction will refuse and do nothing.
func (f *meter) unlessAbove(most uint64) {
	f.out.i64(0)
	f.out.with(opLocalGet, f.operand)
	f.out.i32(int32(most) + 1)
	f.out.op(opI32LtU, opSelect)
}
