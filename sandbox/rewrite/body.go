package rewrite

// weight is what the survey learns of one function for the question whether it can do without metering.
type weight struct {
	units   uint32 // all of its instructions; heavy where it cannot
	callees uint32 // where the functions that it names begin in module.callees
}

const heavy = 1<<32 - 1

// freeUnits is the most that a function may cost, callees included, to be charged where it is called instead of when it is entered.
const freeUnits = 64

// units is what an instruction costs: nothing where the compiler makes nothing of it, else 1. Instructions whose work depends on an operand
// are charged for that beside.
func units(in *instruction) uint32 {
	switch in.op {
	case opNop, opBlock, opLoop, opElse, opEnd, opDrop, opLocalGet, opI32Const, opI64Const, opF32Const, opF64Const:
		return 0
	case opVector:
		if in.sub == vectorConst {
			return 0
		}
	}
	return 1
}

// bulky tells the instructions whose work grows with an operand.
func bulky(in *instruction) bool {
	switch in.op {
	case opMemoryGrow:
		return true
	case opBulk:
		return in.sub >= bulkMemoryInit && in.sub != bulkDataDrop && in.sub != bulkElemDrop && in.sub != bulkTableSize
	}
	return false
}

// code reads the code section.
func (s *surveyor) code() {
	s.reader.function = s.imported.functions
	s.vector("functions", s.limits.Functions, 3, func() {
		if s.function >= len(s.functions) {
			s.fail(Malformed, "a function has a body and no declaration")
			return
		}
		size := s.u32()
		s.limit("bytes in one function", uint64(size), s.limits.Body)
		s.bodies = append(s.bodies, span{s.at, s.at + int(size)})
		s.within("a function", size, s.body)
		s.function++
	})
	if s.err == nil {
		s.weights = append(s.weights, weight{callees: uint32(len(s.callees))})
	}
	s.function = -1
}

// body reads one function: its locals, then its instructions.
func (s *surveyor) body() {
	b := bodySurvey{surveyor: s, locals: uint64(s.types[s.functions[s.function]].nParams), weight: weight{callees: uint32(len(s.callees))}, nesting: 1}
	locals := uint64(0)
	s.vector("groups of locals in one function", s.limits.Locals, 2, func() {
		locals += uint64(s.u32())
		s.limit("locals in one function", locals, s.limits.Locals)
		s.valueType()
	})
	b.locals += locals
	var in instruction
	for b.nesting > 0 && s.err == nil {
		s.next(&in)
		b.instruction(&in)
	}
	s.limit("blocks times locals in one function", b.blocks*locals, s.limits.LocalBlocks)
	if b.weight.units > freeUnits {
		b.weight.units = heavy
		s.callees = s.callees[:b.weight.callees]
	}
	s.weights = append(s.weights, b.weight)
}

// bodySurvey is the survey of one function's instructions.
type bodySurvey struct {
	*surveyor
	locals  uint64 // parameters included
	nesting uint64
	blocks  uint64
	weight  weight
}

func (b *bodySurvey) instruction(in *instruction) {
	switch in.op {
	case opBlock, opLoop, opIf:
		b.open(in)
	case opEnd:
		b.nesting--
	case opBr, opBrIf:
		b.label(in.x)
	case opBrTable:
		b.branchTable(in)
	case opCall, opReturnCall:
		b.call(in)
	case opCallIndirect, opReturnCallIndirect:
		b.known("type", in.x, len(b.types))
		b.known("table", in.y, len(b.tables))
		b.weight.units = heavy
	case opLocalGet, opLocalSet, opLocalTee:
		b.known("local", in.x, int(b.locals))
	case opGlobalGet, opGlobalSet:
		b.known("global", in.x, len(b.globals))
	case opTableGet:
		b.known("table", in.x, len(b.tables))
	case opTableSet:
		b.known("table", in.x, len(b.tables))
		b.writesTable("table.set")
	case opRefFunc:
		b.addressOf(in.x)
	case opBulk:
		b.bulk(in)
	}
	if bulky(in) {
		b.block(1)
		b.weight.units = heavy
	}
	b.charge(units(in))
	if (in.op == opReturnCall || in.op == opReturnCallIndirect) && !b.options.TailCalls {
		b.proposal("tail calls")
	}
}

func (b *bodySurvey) charge(n uint32) {
	if b.weight.units != heavy {
		b.weight.units += n
	}
}

func (b *bodySurvey) open(in *instruction) {
	if in.blockType >= 0 {
		b.known("type", uint32(in.blockType), len(b.types))
	} else if t := byte(in.blockType) & 0x7f; t != blockEmpty {
		at := b.at
		b.at-- // the type's one byte
		b.valueType()
		b.at = max(b.at, at)
	}
	b.nesting++
	b.limit("levels of nested blocks in one function", b.nesting, b.limits.Nesting)
	if in.op == opLoop {
		b.weight.units = heavy
		b.block(3)
	}
	b.block(1)
}

func (b *bodySurvey) block(n uint64) {
	b.blocks += n
	b.limit("blocks in one function", b.blocks, b.limits.Blocks)
}

func (b *bodySurvey) label(l uint32) {
	if uint64(l) >= b.nesting {
		b.fail(Malformed, "label %d is used %d blocks deep", l, b.nesting)
	}
}

func (b *bodySurvey) branchTable(in *instruction) {
	b.limit("labels in one br_table", uint64(in.x), b.limits.BranchTable)
	if b.err != nil {
		return
	}
	labels := reader{bytes: b.bytes, at: in.labels}
	for range in.x + 1 {
		b.label(labels.u32())
	}
}

func (b *bodySurvey) call(in *instruction) {
	b.known("function", in.x, len(b.functions))
	switch {
	case int(in.x) < b.imported.functions, in.op == opReturnCall:
		b.weight.units = heavy
	case b.weight.units <= freeUnits:
		b.callees = append(b.callees, in.x)
	}
}

func (b *bodySurvey) bulk(in *instruction) {
	switch in.sub {
	case bulkMemoryInit, bulkDataDrop:
		if b.dataCount < 0 {
			b.fail(Malformed, "a data segment is used and there is no data count section")
			return
		}
		b.known("data segment", in.x, b.dataCount)
	case bulkElemDrop:
		b.known("element segment", in.x, b.elements)
	case bulkTableInit:
		b.known("element segment", in.x, b.elements)
		b.known("table", in.y, len(b.tables))
		b.writesTable("table.init")
	case bulkTableCopy:
		b.known("table", in.x, len(b.tables))
		b.known("table", in.y, len(b.tables))
		b.writesTable("table.copy")
	case bulkTableGrow:
		b.known("table", in.x, len(b.tables))
		b.writesTable("table.grow")
		if b.err == nil {
			b.tables[in.x].Grown = true
		}
	case bulkTableFill:
		b.known("table", in.x, len(b.tables))
		b.writesTable("table.fill")
	case bulkTableSize:
		b.known("table", in.x, len(b.tables))
	}
}

func (b *bodySurvey) writesTable(name string) {
	if b.writes.name == "" {
		b.writes = tableWrite{name, b.function}
	}
}

// freeFunctions tells for each function that is not imported what a call of it costs its caller, or heavy where it is metered by itself. Free is
// what has no loop, calls free functions only, costs little with them, and is never called without being named.
func (m *module) freeFunctions() []uint32 {
	const (
		unknown = 1<<32 - 2
		open    = 1<<32 - 3
	)
	costs := make([]uint32, len(m.bodies))
	for i := range costs {
		costs[i] = unknown
	}
	var cost func(i, depth int) uint32
	cost = func(i, depth int) uint32 {
		switch costs[i] {
		case unknown:
		case open: // calls itself
			return heavy
		default:
			return costs[i]
		}
		if depth > freeUnits { // each level costs a unit, so whoever began this is not free
			return heavy
		}
		w := m.weights[i]
		if w.units == heavy || m.addressed.has(i+m.imported.functions) {
			costs[i] = heavy
			return heavy
		}
		costs[i] = open
		total := w.units
		for _, callee := range m.callees[w.callees:m.weights[i+1].callees] {
			c := cost(int(callee)-m.imported.functions, depth+1)
			if c == heavy || total+c > freeUnits {
				total = heavy
				break
			}
			total += c
		}
		costs[i] = total
		return total
	}
	for i := range costs {
		cost(i, 0)
	}
	return costs
}
