package component

import "fmt"

// Module is one core module that a component holds.
type Module struct {
	Start, End int // its bytes in the component's
	wasm       []byte
	ty         *moduleType
	imports    span   // of the import section, its id included; empty where there is none
	foreign    string // a proposal that it uses and no runtime here has; "" for none
}

// span is a range of a module's bytes.
type span struct {
	id         byte
	start, end int
}

// Bytes are the module's bytes. They are not to be changed.
func (m *Module) Bytes() []byte { return m.wasm }

// order is the place of each section in a module; custom ones go anywhere.
var order = map[byte]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 13: 6, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}

const coreHeader = "\x00asm\x01\x00\x00\x00"

// moduleReader reads a core module as far as components need it: what it imports and exports, with types. Its code is for the runtime to validate.
type moduleReader struct {
	*reader
	account  func(bytes int) bool
	module   *Module
	types    []*CoreFuncType
	spaces   [CoreTag + 1][]coreExtern
	declared int // functions of the function section
}

// module reads the module that the reader holds to its end.
func (d *decoder) module() *Module {
	r := &d.reader
	m := &moduleReader{reader: r, module: &Module{Start: r.at, End: len(r.bytes), wasm: r.bytes[r.at:], ty: &moduleType{exports: map[string]coreExtern{}}},
		account: func(bytes int) bool { return d.charge(bytes) }}
	if head := r.take(8, "a core module's header"); r.err == nil && string(head) != coreHeader {
		r.refuse(Malformed, m.module.Start, "expected a version header for a module: a core module of version 1")
	}
	last := 0
	for r.err == nil && r.at < len(r.bytes) {
		start := r.at - m.module.Start
		id := r.byte()
		place, known := order[id]
		switch {
		case id != 0 && !known:
			r.refuse(Malformed, r.at-1, "malformed section id %d in a core module", id)
			return nil
		case known && place <= last:
			r.refuse(Malformed, r.at-1, "section out of order: section %d of a core module", id)
			return nil
		case known:
			last = place
		}
		size := r.u32()
		r.within(fmt.Sprintf("section %d of a core module", id), size, func() { m.section(id) })
		if id == 2 {
			m.module.imports = span{id, start, r.at - m.module.Start}
		}
	}
	m.module.foreign = m.foreign()
	return m.module
}

// foreign names a proposal about memories that the module uses.
func (m *moduleReader) foreign() string {
	memories := m.spaces[CoreMemory]
	if len(memories) > 1 {
		return "several memories (multi-memory)"
	}
	for _, e := range memories {
		if e.limits.wide {
			return "memories with 64-bit addresses (memory64)"
		}
		if e.limits.shared {
			return "shared memories (threads)"
		}
	}
	return ""
}

func (m *moduleReader) section(id byte) {
	switch id {
	case 0:
		m.string("the name of a custom section")
		m.at = len(m.bytes)
	case 1:
		m.each("types", 1, func() {
			switch b := m.byte(); b {
			case 0x60:
				m.types = append(m.types, m.coreFuncType())
			case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
				m.refuse(Unsupported, m.at-1, "a core module uses recursive or aggregate types (garbage collection), which are not offered")
			default:
				m.wrong(b, "a core type")
			}
		})
	case 2:
		seen := map[[2]string]bool{}
		m.each("imports", 3, func() { m.imported(seen) })
	case 3:
		m.each("functions", 1, func() {
			m.declared++
			m.spaces[CoreFunc] = append(m.spaces[CoreFunc], coreExtern{sort: CoreFunc, fn: m.function(m.u32())})
		})
	case 4:
		m.each("tables", 3, func() { m.spaces[CoreTable] = append(m.spaces[CoreTable], m.coreTable()) })
	case 5:
		m.each("memories", 2, func() { m.spaces[CoreMemory] = append(m.spaces[CoreMemory], m.coreMemory()) })
	case 6:
		m.each("globals", 4, func() {
			m.spaces[CoreGlobal] = append(m.spaces[CoreGlobal], m.coreGlobal())
			m.expression()
		})
	case 7:
		m.each("exports", 3, m.exported)
	case 13:
		m.each("tags", 2, func() {
			m.expect(0, "the attribute of a tag")
			m.spaces[CoreTag] = append(m.spaces[CoreTag], coreExtern{sort: CoreTag, fn: m.function(m.u32())})
		})
	case 10:
		if n := m.u32(); m.err == nil && int64(n) != int64(m.declared) {
			m.malformed("function and code section have inconsistent lengths: %d and %d", m.declared, n)
		}
		m.at = len(m.bytes)
	default: // the runtime reads them
		m.at = len(m.bytes)
	}
}

// Bytes charged for an entry of a core module's section, whose list grows by doubling, and beside for what imports and exports are found by.
const (
	coreBytes       = 160
	coreImportBytes = 640
	coreExportBytes = 320
)

func (m *moduleReader) each(what string, size int, entry func()) {
	for range m.count(what, size) {
		if entry(); m.err != nil || !m.account(coreBytes) {
			return
		}
	}
}

func (m *moduleReader) function(index uint32) *CoreFuncType {
	if uint64(index) >= uint64(len(m.types)) {
		m.malformed("type index out of bounds: type %d of a core module, there are %d", index, len(m.types))
		return nil
	}
	return m.types[index]
}

func (m *moduleReader) imported(seen map[[2]string]bool) {
	module := m.string("a module's name")
	name := m.string("an import's name")
	e := m.coreExternType(m.function)
	if m.err != nil || !m.account(2*(len(module)+len(name))+coreImportBytes) {
		return
	}
	key := [2]string{module, name}
	if seen[key] {
		m.invalid("duplicate import name `%s:%s`", module, name)
		return
	}
	seen[key] = true
	m.module.ty.imports = append(m.module.ty.imports, coreImport{module, name, e})
	m.spaces[e.sort] = append(m.spaces[e.sort], e)
}

func (m *moduleReader) exported() {
	name := m.string("an export's name")
	b := m.byte()
	if b > byte(CoreTag) {
		m.wrong(b, "a core export")
		return
	}
	index := m.u32()
	space := m.spaces[b]
	if m.err != nil || !m.account(len(name)+coreExportBytes) {
		return
	}
	if uint64(index) >= uint64(len(space)) {
		m.malformed("%s index out of bounds: %d is exported, there are %d", CoreSort(b), index, len(space))
		return
	}
	if _, twice := m.module.ty.exports[name]; twice {
		m.invalid("duplicate export name `%s` already defined", name)
		return
	}
	m.module.ty.exports[name] = space[index]
}

// expression passes over a constant expression.
func (m *moduleReader) expression() {
	for m.err == nil {
		switch b := m.byte(); b {
		case 0x0b:
			return
		case 0x41, 0x23, 0xd2: // i32.const, global.get, ref.func
			m.leb()
		case 0x42: // i64.const
			m.leb()
		case 0x43:
			m.take(4, "an f32")
		case 0x44:
			m.take(8, "an f64")
		case 0xd0: // ref.null
			m.leb()
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // add, sub, mul (extended-const)
		case 0xfd:
			if m.u32() != 0x0c && m.err == nil {
				m.malformed("constant expression required: a vector instruction")
			}
			m.take(16, "a v128")
		default:
			if m.err == nil {
				m.refuse(Malformed, m.at-1, "constant expression required: instruction %#02x", b)
			}
		}
	}
}

// leb passes over a LEB128 number of up to ten bytes.
func (m *moduleReader) leb() {
	for range 10 {
		if m.byte() < 0x80 {
			return
		}
	}
	m.malformed("integer representation too long")
}
