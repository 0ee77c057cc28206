package rewrite

import (
	"bytes"
	"slices"
)

// span is a part of the module's bytes.
type span struct{ at, end int }

// module is what the survey learns: where things are, how many there are, and what the rewriting depends on.
type module struct {
	wasm     []byte
	options  Options
	sections [14]span // contents by id; at is 0 where a section is missing
	customs  []span   // contents of custom sections, names included

	types     []signature
	functions []uint32 // type of each function, imported ones first
	imported  struct{ functions, tables, memories, globals int }
	bodies    []span // of the functions that are not imported, locals included
	tables    []Table
	memories  int // 0 or 1
	memory    memoryLimits
	globals   []globalType
	elements  int // element segments
	data      int // data segments
	dataCount int // as declared before the code; -1 where it is not
	start     int // index of the start function; -1 where there is none

	actives   int  // data segments that are active
	addressed bits // functions whose address something takes: they can be called without being named
	weights   []weight
	callees   []uint32 // named by the functions that may turn out to be free, one after the other
	foreign   []Import
	writes    tableWrite
}

// signature is where a type's results stand in the module, and how many it takes and gives.
type signature struct {
	results           int
	nParams, nResults uint8
}

type memoryLimits struct {
	minimum, maximum uint64
	bounded          bool
}

type globalType struct {
	valueType byte
	mutable   bool
}

// tableWrite is the first instruction that changes a table.
type tableWrite struct {
	name     string // "" where there is none
	function int
}

// bits is a set of small numbers.
type bits []uint64

func newBits(n int) bits      { return make(bits, (n+63)/64) }
func (b bits) has(i int) bool { return i/64 < len(b) && b[i/64]&(1<<(i%64)) != 0 }
func (b bits) add(i int)      { b[i/64] |= 1 << (i % 64) }

// sectionRank is the order that the specification gives the sections, by id: tag (13) stands after memory, data count (12) before code.
var sectionRank = map[byte]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 13: 6, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}

// surveyor is the state of one survey.
type surveyor struct {
	reader
	module
	limits         Limits
	entries, names uint64 // of element segments, and of the name section
	named          bool   // a name section was seen
}

// survey walks the module once and refuses it where a count, a size, a shape or an index is out of bounds. It decodes every section to its
// end, so that what wazero reads afterwards is what was measured here; types and stack heights are wazero's to validate.
// Time and memory are linear in the bytes given.
func survey(wasm []byte, o Options) (*module, error) {
	s := &surveyor{reader: reader{bytes: wasm, function: -1}, limits: o.Limits}
	s.module = module{wasm: wasm, options: o, dataCount: -1, start: -1}
	if !bytes.HasPrefix(wasm, []byte(header)) {
		s.fail(Malformed, "not a core WebAssembly module of version 1")
		return nil, s.err
	}
	s.at = len(header)
	last := 0
	for s.err == nil && s.at < len(s.bytes) {
		s.section = 0
		id := s.byte()
		size := s.u32()
		if id != 0 && s.err == nil {
			rank, ok := sectionRank[id]
			switch {
			case !ok:
				s.fail(Malformed, "unknown section %d", id)
			case rank <= last:
				s.fail(Malformed, "section %d is repeated or out of order", id)
			default:
				s.sections[id] = span{s.at, s.at + int(size)}
			}
			last = rank
		}
		s.reader.section = id
		s.within("section "+sectionName(id), size, func() { s.content(id) })
	}
	s.agree()
	if s.err != nil {
		return nil, s.err
	}
	return &s.module, nil
}

const header = "\x00asm\x01\x00\x00\x00"

func sectionName(id byte) string {
	names := []string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count", "tag"}
	if int(id) < len(names) {
		return names[id]
	}
	return "unknown"
}

// content reads one section.
func (s *surveyor) content(id byte) {
	l := &s.limits
	switch id {
	case 0:
		s.custom()
	case 1:
		s.vector("types", l.Types, 3, s.funcType)
	case 2:
		s.vector("imports", l.Imports, 4, s.importEntry)
	case 3:
		s.vector("functions", l.Functions, 1, func() { s.functions = append(s.functions, s.index("type", len(s.types))) })
	case 4:
		s.vector("tables", l.Tables, 3, s.table)
	case 5:
		s.vector("memories", 1, 2, s.memorySection)
	case 6:
		s.vector("globals", l.Globals, 4, func() { s.globalType(); s.constExpr(false) })
	case 7:
		s.vector("exports", l.Exports, 3, s.export)
	case 8:
		s.start = int(s.index("function", len(s.functions)))
		s.startType()
	case 9:
		s.vector("element segments", l.Segments, 3, s.element)
	case 10:
		s.code()
	case 11:
		s.vector("data segments", l.Segments, 2, s.dataSegment)
	case 12:
		n := uint64(s.u32())
		s.limit("data segments", n, l.Segments)
		if s.err == nil {
			s.dataCount = int(n)
		}
	case 13:
		s.proposal("exceptions (a tag section)")
	}
}

// agree holds against each other what the sections say of the same thing. What is missing must not become right by what is appended.
func (s *surveyor) agree() {
	s.section = 0
	if defined := len(s.functions) - s.imported.functions; defined != len(s.bodies) {
		s.fail(Malformed, "%d functions are declared, %d have a body", defined, len(s.bodies))
	}
	if s.dataCount >= 0 && s.dataCount != s.data {
		s.fail(Malformed, "%d data segments are declared, there are %d", s.dataCount, s.data)
	}
	if s.actives > 0 && s.memories == 0 {
		s.fail(Malformed, "a data segment is for memory 0, there is no memory")
	}
}

func (s *surveyor) startType() {
	if s.err != nil {
		return
	}
	if t := s.types[s.functions[s.start]]; t.nParams != 0 || t.nResults != 0 {
		s.fail(Malformed, "the start function takes or gives values")
	}
}

func (s *surveyor) funcType() {
	switch form := s.byte(); form {
	case 0x60:
	case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
		s.proposal("garbage-collected types")
	default:
		s.fail(Malformed, "type form 0x%02x is not known", form)
	}
	value := func() { s.valueType() }
	params := s.vector("parameters of a function", s.limits.Params, 1, value)
	results := s.vector("results of a function", s.limits.Params, 1, value)
	s.types = append(s.types, signature{s.at - int(results), uint8(params), uint8(results)})
}

func (s *surveyor) importEntry() {
	from, name := s.name(), s.name()
	if string(from) == s.options.RefuelModule || bytes.HasPrefix(name, []byte(prefix)) {
		s.fail(Reserved, "the import %q of module %q uses a name that the host reserves", name, from)
		return
	}
	kind := ""
	switch s.byte() {
	case 0:
		s.functions = append(s.functions, s.index("type", len(s.types)))
		s.imported.functions++
		return
	case 1:
		kind = "table"
		s.table()
		s.imported.tables++
	case 2:
		kind = "memory"
		s.memorySection()
		s.imported.memories++
	case 3:
		kind = "global"
		s.globalType()
		s.imported.globals++
	case 4:
		s.proposal("exceptions (an imported tag)")
	default:
		s.fail(Malformed, "an import's kind is not known")
	}
	s.foreign = append(s.foreign, Import{string(from), string(name), kind})
}

func (s *surveyor) globalType() {
	t := s.valueType()
	mutable := s.byte()
	if mutable > 1 {
		s.fail(Malformed, "mutability 0x%02x is not known", mutable)
	}
	s.globals = append(s.globals, globalType{t, mutable == 1})
}

func (s *surveyor) table() {
	if s.at < len(s.bytes) && s.bytes[s.at] == 0x40 {
		s.proposal("typed function references (a table with an initial value)")
		return
	}
	s.referenceType()
	minimum, maximum, bounded := s.sizes()
	s.limit("table entries", minimum, s.limits.TableEntries)
	s.tables = append(s.tables, Table{Minimum: minimum, Maximum: maximum, Bounded: bounded})
	s.limit("tables", uint64(len(s.tables)), s.limits.Tables)
}

func (s *surveyor) memorySection() {
	minimum, maximum, bounded := s.sizes()
	s.limit("memory pages", minimum, s.limits.MemoryPages)
	if maximum > maxPages {
		s.fail(Malformed, "a memory's maximum of %d pages is above %d", maximum, maxPages)
	}
	s.memory = memoryLimits{minimum, maximum, bounded}
	s.memories++
	s.limit("memories", uint64(s.memories), 1)
}

// sizes reads the limits of a table or memory.
func (s *surveyor) sizes() (minimum, maximum uint64, bounded bool) {
	switch flags := s.byte(); {
	case flags&4 != 0 && flags < 8:
		s.proposal("64-bit memory (memory64)")
		return 0, 0, false
	case flags&2 != 0 && flags < 8:
		s.proposal("shared memory (threads)")
		return 0, 0, false
	case flags > 1:
		s.fail(Malformed, "limits flag 0x%02x is not known", flags)
		return 0, 0, false
	default:
		bounded = flags == 1
	}
	minimum = uint64(s.u32())
	if bounded {
		if maximum = uint64(s.u32()); maximum < minimum {
			s.fail(Malformed, "a maximum of %d is below the minimum of %d", maximum, minimum)
		}
	}
	return minimum, maximum, bounded
}

func (s *surveyor) export() {
	if name := s.name(); bytes.HasPrefix(name, []byte(prefix)) {
		s.fail(Reserved, "the export %q uses a name that the host reserves", name)
		return
	}
	switch kind := s.byte(); kind {
	case 0:
		s.index("function", len(s.functions))
	case 1:
		s.index("table", len(s.tables))
	case 2:
		s.index("memory", s.memories)
	case 3:
		s.index("global", len(s.globals))
	case 4:
		s.proposal("exceptions (an exported tag)")
	default:
		s.fail(Malformed, "an export's kind 0x%02x is not known", kind)
	}
}

// constExpr reads the initial value of a global, an offset, or an element. A data segment's offset becomes part of a function, where more would
// be valid than here, so it is checked in full: one i32.
func (s *surveyor) constExpr(offset bool) {
	var in instruction
	depth := 0
	for s.err == nil {
		s.next(&in)
		switch in.op {
		case opI32Const:
			depth++
		case opGlobalGet:
			s.known("global", in.x, len(s.globals))
			if offset && s.err == nil && (int(in.x) >= s.imported.globals || s.globals[in.x].valueType != typeI32) {
				s.fail(Malformed, "an offset uses global %d, which is not an imported i32", in.x)
			}
			depth++
		case opI32Add, opI32Sub, opI32Mul:
			if depth--; offset && depth < 1 {
				s.fail(Malformed, "an offset is not one i32")
			}
		case opEnd:
			if offset && depth != 1 {
				s.fail(Malformed, "an offset is not one i32")
			}
			return
		default:
			if offset {
				s.fail(Malformed, "an offset is not one i32")
			}
			s.constant(&in)
		}
	}
}

// constant checks the instructions of a constant expression that are not of type i32.
func (s *surveyor) constant(in *instruction) {
	switch in.op {
	case opI64Const, opF32Const, opF64Const, opRefNull, opI64Add, opI64Sub, opI64Mul:
	case opRefFunc:
		s.addressOf(in.x)
	case opVector:
		if in.sub != vectorConst {
			s.fail(Malformed, "vector instruction %d is not constant", in.sub)
		}
	default:
		s.fail(Malformed, "opcode 0x%02x is not constant", in.op)
	}
}

// addressOf notes a function that can be called without being named.
func (s *surveyor) addressOf(function uint32) {
	if s.known("function", function, len(s.functions)); s.err != nil {
		return
	}
	if s.addressed == nil {
		s.addressed = newBits(len(s.functions))
	}
	s.addressed.add(int(function))
}

// element reads one element segment: bit 0 passive or declarative, bit 1 explicit table or declarative, bit 2 expressions.
func (s *surveyor) element() {
	flags := s.u32()
	if flags > 7 {
		s.fail(Malformed, "element segment flags %d are not known", flags)
		return
	}
	if flags&1 == 0 {
		table := uint32(0)
		if flags&2 != 0 {
			table = s.u32()
		}
		s.known("table", table, len(s.tables))
		s.constExpr(false)
	}
	if flags&3 != 0 {
		if flags&4 != 0 {
			s.referenceType()
		} else if s.byte() != 0 {
			s.fail(Malformed, "an element segment's kind is not known")
		}
	}
	entry, size := func() { s.addressOf(s.u32()) }, 1
	if flags&4 != 0 {
		entry, size = func() { s.constExpr(false) }, 2
	}
	s.entries += s.vector("elements of a segment", s.limits.Elements, size, entry)
	s.limit("elements of all segments", s.entries, s.limits.Elements)
	s.elements++
}

func (s *surveyor) dataSegment() {
	switch flags := s.u32(); flags {
	case 0, 2:
		if flags == 2 && s.u32() != 0 {
			s.proposal("several memories (multi-memory)")
		}
		s.constExpr(true)
		s.actives++
	case 1:
	default:
		s.fail(Malformed, "data segment flags %d are not known", flags)
	}
	s.take(s.u32())
	s.data++
}

// dropped are the custom sections that the rewriting makes wrong.
func dropped(name string) bool {
	return slices.Contains([]string{"external_debug_info", "sourceMappingURL", "linking"}, name) ||
		len(name) > 7 && name[:7] == ".debug_" || len(name) > 6 && name[:6] == "reloc." || len(name) > 14 && name[:14] == "metadata.code."
}

// custom reads the name section, which wazero decodes, and passes over the others.
func (s *surveyor) custom() {
	content := span{s.at, len(s.bytes)}
	switch name := string(s.name()); {
	case s.err != nil:
	case name == "dylink.0", name == "dylink":
		s.fail(Unsupported, "the module is a shared library (%s), which this build does not link", name)
	case name == "name":
		if s.named {
			s.fail(Malformed, "the name section is repeated")
		}
		s.named = true
		for s.err == nil && s.at < len(s.bytes) {
			s.nameSubsection()
		}
		s.customs = append(s.customs, content)
	case !dropped(name):
		s.customs = append(s.customs, content)
	}
	s.at = len(s.bytes)
}

func (s *surveyor) nameSubsection() {
	id := s.byte()
	s.within("a name subsection", s.u32(), func() {
		entries := func(entry func()) {
			s.names += s.vector("names", s.limits.Names, 2, func() { s.u32(); entry() })
			s.limit("names", s.names, s.limits.Names)
		}
		one := func() { s.name() }
		switch id {
		case 0:
			one()
		case 1:
			entries(one)
		case 2:
			entries(func() { entries(one) })
		default:
			s.at = len(s.bytes)
		}
	})
}
