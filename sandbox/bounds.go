package sandbox

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// The limits that a module is held against before wazero sees a byte of it. wazero allocates vectors by their declared count and compiles
// functions in time that grows faster than their size, so a module of twenty bytes can take gigabytes and one of sixty kilobytes minutes.
// The numbers leave room for what compilers emit: the largest functions of Go, Rust and of the JavaScript engines.
const (
	maxTypes        = 100_000
	maxParams       = 128 // parameters, and results, of one function type
	maxImports      = 10_000
	maxFunctions    = 100_000
	maxTables       = 16
	maxTableEntries = 1 << 20 // at start, and as far as table.grow may go; 8 bytes each, outside of the memory cap
	maxGlobals      = 100_000
	maxExports      = 100_000
	maxElements     = 1 << 20 // entries of all element segments together
	maxSegments     = 100_000 // element segments, and data segments
	maxMemoryPages  = 65_536  // 4 GiB, the most that 32-bit addresses reach; the component's cap is applied when it starts
	maxBody         = 1 << 20 // bytes of one function
	maxLocals       = 10_000
	maxNesting      = 1024
	maxBlocks       = 8192 // block, loop and if in one function
	maxBranchTable  = 8192 // labels of one br_table
	maxLocalBlocks  = 1 << 20
	maxSectionNames = 1 << 20 // entries of the name section
)

// outline is what the bounds pass learns about a module beside its being within bounds.
type outline struct {
	foreign     []foreignImport // the first import that is not a function, if any: nobody offers such
	memoryPages uint64          // minimum of the module's memory; 0 where it has none

	tables []tableLimits
	grown  map[uint32]bool // tables that a table.grow names
}

type foreignImport struct{ module, name, kind string }

type tableLimits struct {
	minimum, maximum uint64
	bounded          bool // a maximum is declared
}

// survey walks the module once and refuses it where a count, a size or a shape is out of bounds. It decodes every section to its end, so
// that what wazero reads afterwards is what was measured here; types and stack heights are wazero's to validate.
// Time and memory are linear in the bytes given.
func survey(wasm []byte) (*outline, error) {
	if err := checkHeader(wasm); err != nil {
		return nil, err
	}
	s := &surveyor{reader: reader{bytes: wasm, at: 8}, outline: outline{grown: map[uint32]bool{}}}
	last := 0
	for s.err == nil && s.at < len(s.bytes) {
		id := s.byte()
		size := s.u32()
		if s.err != nil {
			break
		}
		if uint64(size) > uint64(len(s.bytes)-s.at) {
			s.fail(Malformed, "section %d at byte %d declares %d bytes, %d are left: the file is truncated", id, s.at, size, len(s.bytes)-s.at)
			break
		}
		if id != 0 {
			rank, ok := sectionRank[id]
			if !ok {
				s.fail(Malformed, "unknown section %d at byte %d", id, s.at)
				break
			}
			if rank <= last {
				s.fail(Malformed, "section %d at byte %d is repeated or out of order", id, s.at)
				break
			}
			last = rank
		}
		s.section(id, s.at+int(size))
	}
	if s.err == nil {
		s.checkTables()
	}
	if s.err != nil {
		return nil, s.err
	}
	return &s.outline, nil
}

// checkHeader tells a core module from what else people hand over.
func checkHeader(wasm []byte) error {
	magic := []byte("\x00asm")
	switch {
	case len(wasm) == 0:
		return &CompileError{NotWasm, "the file is empty", "build the component again and give its .wasm file"}
	case !bytes.HasPrefix(wasm, magic[:min(4, len(wasm))]):
		if text := bytes.TrimLeft(wasm[:min(len(wasm), 4096)], " \t\r\n"); bytes.HasPrefix(text, []byte("(module")) || bytes.HasPrefix(text, []byte("(component")) {
			return &CompileError{NotWasm, "this is WebAssembly text (it starts with \"(module\" or \"(component\"), not a binary module",
				"translate it with wat2wasm or wasm-tools parse"}
		}
		return &CompileError{NotWasm, fmt.Sprintf("starts with %s: not a WebAssembly module", startsWith(wasm)), "give the .wasm file that the component's build writes"}
	case len(wasm) < 8:
		return &CompileError{Malformed, fmt.Sprintf("the file ends after %d bytes, inside of the header", len(wasm)), "copy or build it again"}
	case bytes.Equal(wasm[4:8], []byte{0x0d, 0, 1, 0}):
		return &CompileError{IsComponent,
			"this is a component of the component model; this build runs core modules (Spin SDK 1.x-5.x on wasm32-wasip1, Go SDK 2)",
			"build one: cargo build --release --target wasm32-wasip1, or in Go GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"}
	case !bytes.Equal(wasm[4:8], []byte{1, 0, 0, 0}):
		return &CompileError{NotWasm, fmt.Sprintf("WebAssembly version % x is not known", wasm[4:8]), "build a core module, version 01 00 00 00"}
	}
	return nil
}

func startsWith(wasm []byte) string {
	head := wasm[:min(len(wasm), 8)]
	for _, c := range head {
		if c < 0x20 || c > 0x7e {
			return fmt.Sprintf("% x", head)
		}
	}
	return fmt.Sprintf("%q", head)
}

// sectionRank is the order that the specification gives the sections, by id: tag (13) stands after memory, data count (12) before code.
var sectionRank = map[byte]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 13: 6, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}

// surveyor is the state of one survey.
type surveyor struct {
	reader
	outline
	elements, names uint64
}

// section walks one section, which must end exactly at end.
func (s *surveyor) section(id byte, end int) {
	whole := s.bytes
	s.bytes = s.bytes[:end]
	switch id {
	case 0:
		s.custom()
	case 1:
		s.vector("types", maxTypes, 3, s.funcType)
	case 2:
		s.vector("imports", maxImports, 4, s.importEntry)
	case 3:
		s.vector("functions", maxFunctions, 1, func() { s.u32() })
	case 4:
		s.vector("tables", maxTables, 3, s.table)
	case 5:
		s.vector("memories", 1, 2, s.memory)
	case 6:
		s.vector("globals", maxGlobals, 4, func() { s.valueType(); s.byte(); s.constExpr() })
	case 7:
		s.vector("exports", maxExports, 3, func() { s.name(); s.byte(); s.u32() })
	case 8:
		s.u32()
	case 9:
		s.vector("element segments", maxSegments, 3, s.element)
	case 10:
		s.vector("functions", maxFunctions, 3, s.function)
	case 11:
		s.vector("data segments", maxSegments, 2, s.data)
	case 12:
		s.limit("data segments", uint64(s.u32()), maxSegments)
	case 13:
		s.fail(Unsupported, "the module uses exceptions (a tag section), which this build does not run")
	}
	if s.err == nil && s.at != end {
		s.fail(Malformed, "section %d has %d bytes more than its content", id, end-s.at)
	}
	s.bytes = whole
}

// custom walks the name section, which wazero decodes, and passes over the others.
func (s *surveyor) custom() {
	if string(s.name()) == "name" {
		for s.err == nil && s.at < len(s.bytes) {
			s.nameSubsection()
		}
		return
	}
	s.at = len(s.bytes)
}

func (s *surveyor) nameSubsection() {
	id, size := s.byte(), s.u32()
	if s.err != nil {
		return
	}
	if uint64(size) > uint64(len(s.bytes)-s.at) {
		s.fail(Malformed, "name subsection %d declares %d bytes, %d are left", id, size, len(s.bytes)-s.at)
		return
	}
	whole, end := s.bytes, s.at+int(size)
	s.bytes = s.bytes[:end]
	named := func() { s.u32(); s.name(); s.names++ }
	switch id {
	case 0:
		s.name()
	case 1:
		s.vector("names", maxSectionNames, 2, named)
	case 2:
		s.vector("names", maxSectionNames, 2, func() { s.u32(); s.vector("names", maxSectionNames, 2, named) })
	default:
		s.at = end
	}
	s.limit("names", s.names, maxSectionNames)
	if s.err == nil && s.at != end {
		s.fail(Malformed, "name subsection %d has %d bytes more than its content", id, end-s.at)
	}
	s.bytes = whole
}

func (s *surveyor) funcType() {
	switch form := s.byte(); form {
	case 0x60:
	case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
		s.fail(Unsupported, "the module uses garbage-collected types, which this build does not run")
		return
	default:
		s.fail(Malformed, "type form 0x%02x at byte %d is not known", form, s.at-1)
		return
	}
	s.vector("parameters of a function", maxParams, 1, s.valueType)
	s.vector("results of a function", maxParams, 1, s.valueType)
}

func (s *surveyor) valueType() {
	switch t := s.byte(); t {
	case 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f:
	case 0x63, 0x64:
		s.fail(Unsupported, "the module uses typed function references, which this build does not run")
	case 0x69, 0x74:
		s.fail(Unsupported, "the module uses exceptions (exnref), which this build does not run")
	default:
		s.fail(Malformed, "value type 0x%02x at byte %d is not known", t, s.at-1)
	}
}

func (s *surveyor) importEntry() {
	module, name := s.name(), s.name()
	kind := ""
	switch s.byte() {
	case 0:
		s.u32()
		return
	case 1:
		kind = "table"
		s.valueType()
		s.limits()
	case 2:
		kind = "memory"
		s.limits()
	case 3:
		kind = "global"
		s.valueType()
		s.byte()
	case 4:
		s.fail(Unsupported, "the module uses exceptions (an imported tag), which this build does not run")
	default:
		s.fail(Malformed, "import kind at byte %d is not known", s.at-1)
	}
	if len(s.foreign) == 0 {
		s.foreign = append(s.foreign, foreignImport{string(module), string(name), kind})
	}
}

func (s *surveyor) table() {
	if s.at < len(s.bytes) && s.bytes[s.at] == 0x40 {
		s.fail(Unsupported, "the module uses typed function references (a table with an initial value), which this build does not run")
		return
	}
	s.valueType()
	minimum, maximum, bounded := s.limits()
	s.limit("table entries", minimum, maxTableEntries)
	s.tables = append(s.tables, tableLimits{minimum, maximum, bounded})
}

// checkTables refuses a table that could grow beyond the bound: its entries lie outside of the memory cap.
func (s *surveyor) checkTables() {
	for i, t := range s.tables {
		if s.grown[uint32(i)] && (!t.bounded || t.maximum > maxTableEntries) {
			s.err = &CompileError{OverLimit, fmt.Sprintf("table %d is grown by the module and has no maximum of at most %d entries", i, maxTableEntries),
				"declare a maximum for it (wasm-ld: do not pass --growable-table)"}
			return
		}
	}
}

func (s *surveyor) memory() {
	minimum, _, _ := s.limits()
	s.limit("memory pages", minimum, maxMemoryPages)
	s.memoryPages = minimum
}

// limits reads the limits of a table or memory.
func (s *surveyor) limits() (minimum, maximum uint64, bounded bool) {
	flags := s.byte()
	if flags&4 != 0 {
		s.fail(Unsupported, "the module uses 64-bit memory (memory64), which this build does not run")
		return 0, 0, false
	}
	if flags&2 != 0 {
		s.fail(Unsupported, "the module uses shared memory (threads), which this build does not run")
		return 0, 0, false
	}
	if flags > 1 {
		s.fail(Malformed, "limits flag 0x%02x at byte %d is not known", flags, s.at-1)
		return 0, 0, false
	}
	minimum = uint64(s.u32())
	if flags == 1 {
		maximum, bounded = uint64(s.u32()), true
	}
	return minimum, maximum, bounded
}

// element walks one element segment: bit 0 passive or declarative, bit 1 explicit table or declarative, bit 2 expressions.
func (s *surveyor) element() {
	flags := s.u32()
	if flags > 7 {
		s.fail(Malformed, "element segment flags %d at byte %d are not known", flags, s.at-1)
		return
	}
	if flags&1 == 0 {
		if flags&2 != 0 {
			s.u32()
		}
		s.constExpr()
	}
	if flags&3 != 0 {
		if flags&4 != 0 {
			s.valueType()
		} else {
			s.byte()
		}
	}
	entry, size := func() { s.u32() }, 1
	if flags&4 != 0 {
		entry, size = s.constExpr, 2
	}
	s.elements += s.vector("elements of a segment", maxElements, size, entry)
	s.limit("elements of all segments", s.elements, maxElements)
}

func (s *surveyor) data() {
	switch flags := s.u32(); flags {
	case 0:
		s.constExpr()
	case 1:
	case 2:
		s.u32()
		s.constExpr()
	default:
		s.fail(Malformed, "data segment flags %d at byte %d are not known", flags, s.at-1)
		return
	}
	s.skip(s.u32())
}

// name reads a length and so many bytes of UTF-8.
func (s *surveyor) name() []byte {
	n := s.u32()
	if s.err != nil {
		return nil
	}
	if uint64(n) > uint64(len(s.bytes)-s.at) {
		s.fail(Malformed, "a name at byte %d declares %d bytes, %d are left", s.at, n, len(s.bytes)-s.at)
		return nil
	}
	b := s.bytes[s.at : s.at+int(n)]
	s.at += int(n)
	if !utf8.Valid(b) {
		s.fail(Malformed, "a name at byte %d is not UTF-8", s.at)
	}
	return b
}

// vector reads a count, holds it against the limit and against the bytes left, of which each entry takes at least size, and walks the entries.
func (s *surveyor) vector(what string, limit uint64, size int, entry func()) uint64 {
	n := uint64(s.u32())
	s.limit(what, n, limit)
	if s.err != nil {
		return 0
	}
	if left := len(s.bytes) - s.at; n*uint64(size) > uint64(left) {
		s.fail(Malformed, "%d %s are declared at byte %d, where %d bytes are left", n, what, s.at, left)
		return 0
	}
	for range n {
		if entry(); s.err != nil {
			return 0
		}
	}
	return n
}

// limit refuses n above most, by name.
func (s *surveyor) limit(what string, n, most uint64) {
	if n > most && s.err == nil {
		s.err = &CompileError{OverLimit, fmt.Sprintf("%d %s, at most %d are allowed", n, what, most), ""}
	}
}
