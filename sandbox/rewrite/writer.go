package rewrite

import (
	"fmt"
	"strconv"
)

// segmentsPerInit is how many data segments one generated function copies: the compiler's time grows faster than a function.
const segmentsPerInit = 64

// writer writes the rewritten module. What is added stands behind what was there, so that no index moves but those of the functions that are
// not imported: the refuel function is imported last, which makes them one more.
type writer struct {
	*module
	out code

	free       []uint32          // what a call of each function costs its caller, see freeFunctions
	blockTypes map[uint32]uint32 // for a function's type with several results: a type that gives these and takes nothing
	added      code              // types that are appended, encoded
	addedTypes int
	nullary    uint32 // type () -> ()
	refuel     uint32 // function
	fuel       uint32 // global
	inits      int    // generated functions: the first is exported and calls the others
	metered    int
}

func newWriter(m *module) *writer {
	w := &writer{module: m, free: m.freeFunctions(), refuel: uint32(m.imported.functions), fuel: uint32(len(m.globals)), blockTypes: map[uint32]uint32{}}
	known := map[string]uint32{} // what types give that take nothing
	for i := len(m.types) - 1; i >= 0; i-- {
		if t := m.types[i]; t.nParams == 0 {
			known[string(m.wasm[t.results:t.results+int(t.nResults)])] = uint32(i)
		}
	}
	w.nullary = w.typeOf(known, nil)
	for _, t := range m.functions[m.imported.functions:] {
		s := m.types[t]
		if _, done := w.blockTypes[t]; done || s.nResults < 2 {
			continue
		}
		if s.nParams == 0 {
			w.blockTypes[t] = t
		} else {
			w.blockTypes[t] = w.typeOf(known, m.wasm[s.results:s.results+int(s.nResults)])
		}
	}
	if m.actives > 0 || m.start >= 0 {
		w.inits = 1
		if m.actives > segmentsPerInit {
			w.inits += (m.actives + segmentsPerInit - 1) / segmentsPerInit
		}
	}
	return w
}

// typeOf finds or adds the type that takes nothing and gives results.
func (w *writer) typeOf(known map[string]uint32, results []byte) uint32 {
	i, ok := known[string(results)]
	if !ok {
		i = uint32(len(w.types) + w.addedTypes)
		known[string(results)] = i
		w.added.op(0x60, 0)
		w.added.name(string(results))
		w.addedTypes++
	}
	return i
}

// shift tells where a function of the original is now.
func (w *writer) shift(function uint32) uint32 {
	if int(function) >= w.imported.functions {
		return function + 1
	}
	return function
}

// initFunction is the index of the first generated function.
func (w *writer) initFunction() uint32 { return uint32(len(w.functions)) + 1 }

// write writes all sections.
func (w *writer) write() ([]byte, error) {
	w.out = make(code, 0, len(w.wasm)+len(w.wasm)/4+256)
	w.out.op([]byte(header)...)
	w.extend(1, len(w.types), w.addedTypes, nil, func() { w.out.op(w.added...) })
	w.extend(2, w.entries(2), 1, nil, func() {
		w.out.name(w.options.RefuelModule)
		w.out.name(w.options.RefuelName)
		w.out.with(0, w.nullary)
	})
	w.extend(3, len(w.bodies), w.inits, nil, func() {
		for range w.inits {
			w.out.u32(w.nullary)
		}
	})
	w.tableSection()
	w.memorySection()
	w.extend(6, len(w.globals)-w.imported.globals, 1, w.globalEntry, func() { w.out.op(0x7e, 1, opI64Const, 0, opEnd) })
	w.exportSection()
	w.extend(9, w.elements, 0, w.elementEntry, nil)
	if w.inits > 0 && w.data > 0 || w.dataCount >= 0 {
		w.section(12, func() { w.out.u32(uint32(w.data)) })
	}
	if err := w.codeSection(); err != nil {
		return nil, err
	}
	w.extend(11, w.data, 0, w.dataEntry, nil)
	for _, s := range w.customs {
		w.section(0, func() { w.custom(s) })
	}
	if err := w.grown(); err != nil {
		return nil, err
	}
	return w.out, nil
}

// grown refuses a module that becomes much larger than it was, which only what is built for that does.
func (w *writer) grown() error {
	if most := w.options.Limits.Growth*uint64(len(w.wasm)) + 1<<16; uint64(len(w.out)) > most {
		return &Error{Kind: Limit, Detail: fmt.Sprintf("%d bytes with metering, at most %d are allowed", len(w.out), most), Offset: len(w.wasm), Function: -1}
	}
	return nil
}

func (w *writer) section(id byte, emit func()) {
	w.out.op(id)
	w.out.sized(emit)
}

// read gives a reader of a section's entries.
func (w *writer) read(id byte) (r reader, entries int) {
	s := w.sections[id]
	if s.at == 0 {
		return reader{function: -1}, 0
	}
	r = reader{bytes: w.wasm[:s.end], at: s.at, section: id, function: -1}
	return r, int(r.u32())
}

func (w *writer) entries(id byte) int {
	_, n := w.read(id)
	return n
}

// extend writes a section of count entries, each by entry or, where that is nil, all as they stand in the original; and so many more by add.
func (w *writer) extend(id byte, count, more int, entry func(r *reader), add func()) {
	r, _ := w.read(id)
	if count+more == 0 && r.bytes == nil {
		return
	}
	w.section(id, func() {
		w.out.u32(uint32(count + more))
		if entry == nil {
			w.out.op(r.bytes[r.at:]...)
		} else {
			for range count {
				entry(&r)
			}
		}
		if more > 0 {
			add()
		}
	})
}

// tableSection writes maxima down: entries lie outside of every memory cap.
func (w *writer) tableSection() {
	tables := w.tables[w.imported.tables:]
	at := 0
	w.extend(4, len(tables), 0, func(r *reader) {
		t := tables[at]
		at++
		most := t.Minimum + w.options.Limits.TableHeadroom
		if t.Bounded {
			most = min(most, t.Maximum)
		}
		w.out.op(r.byte(), 1)
		w.out.u32(uint32(t.Minimum))
		w.out.u32(uint32(min(most, 1<<32-1)))
		if r.byte(); t.Bounded {
			r.u32()
		}
		r.u32()
	}, nil)
}

func (w *writer) memorySection() {
	w.extend(5, w.memories-w.imported.memories, 0, func(*reader) {
		m := w.memory
		most := w.options.Limits.MemoryPages
		switch {
		case m.bounded:
			w.out.op(1)
			w.out.u32(uint32(m.minimum))
			w.out.u32(uint32(min(m.maximum, most)))
		case most < maxPages:
			w.out.op(1)
			w.out.u32(uint32(m.minimum))
			w.out.u32(uint32(most))
		default:
			w.out.op(0)
			w.out.u32(uint32(m.minimum))
		}
	}, nil)
}

func (w *writer) globalEntry(r *reader) {
	w.out.op(r.byte(), r.byte())
	w.constExpr(r)
}

// constExpr copies a constant expression, moving the functions it names.
func (w *writer) constExpr(r *reader) {
	var in instruction
	for r.err == nil {
		r.next(&in)
		if in.op == opRefFunc {
			w.out.with(opRefFunc, w.shift(in.x))
			continue
		}
		w.out.op(w.wasm[in.at:in.end]...)
		if in.op == opEnd {
			return
		}
	}
}

func (w *writer) exportSection() {
	_, count := w.read(7)
	names := w.globalNames()
	more := 1 + len(names)
	if w.inits > 0 {
		more++
	}
	w.extend(7, count, more, func(r *reader) {
		w.out.name(string(r.name()))
		kind := r.byte()
		index := r.u32()
		if kind == 0 {
			index = w.shift(index)
		}
		w.out.with(kind, index)
	}, func() {
		w.out.name(fuelName)
		w.out.with(3, w.fuel)
		at := 0
		for i, g := range w.globals {
			if g.mutable && i >= w.imported.globals {
				w.out.name(names[at])
				w.out.with(3, uint32(i))
				at++
			}
		}
		if w.inits > 0 {
			w.out.name(initName)
			w.out.with(0, w.initFunction())
		}
	})
}

// globalNames are the exports of the mutable globals that are not imported.
func (w *writer) globalNames() []string {
	var names []string
	for _, g := range w.globals[w.imported.globals:] {
		if g.mutable {
			names = append(names, globalName+strconv.Itoa(len(names)))
		}
	}
	return names
}

// elementEntry copies an element segment, moving the functions it names; see surveyor.element for the flags.
func (w *writer) elementEntry(r *reader) {
	flags := r.u32()
	w.out.u32(flags)
	if flags&1 == 0 {
		if flags&2 != 0 {
			w.out.u32(r.u32())
		}
		w.constExpr(r)
	}
	if flags&3 != 0 {
		w.out.op(r.byte())
	}
	n := r.u32()
	w.out.u32(n)
	for range n {
		if flags&4 != 0 {
			w.constExpr(r)
		} else {
			w.out.u32(w.shift(r.u32()))
		}
	}
}

// dataEntry copies a data segment as a passive one.
func (w *writer) dataEntry(r *reader) {
	w.offset(r, nil)
	content := r.take(r.u32())
	w.out.op(1)
	w.out.name(string(content))
}

// offset reads a data segment up to its content and gives its offset, without the end, to use; it does not where the segment is passive.
func (w *writer) offset(r *reader, use func(expression []byte)) {
	flags := r.u32()
	if flags == 1 {
		return
	}
	if flags == 2 {
		r.u32()
	}
	var in instruction
	start := r.at
	for in.op != opEnd && r.err == nil {
		r.next(&in)
	}
	if use != nil {
		use(w.wasm[start:in.at])
	}
}

func (w *writer) codeSection() error {
	if len(w.bodies)+w.inits == 0 && w.sections[10].at == 0 {
		return nil
	}
	f := &meter{writer: w}
	var err error
	w.section(10, func() {
		w.out.u32(uint32(len(w.bodies) + w.inits))
		for i := range w.bodies {
			w.out.sized(func() { f.function(i) })
			if f.form != free {
				w.metered++
			}
			if err = w.grown(); f.reader.err != nil {
				err = f.reader.err
			}
			if err != nil {
				return
			}
		}
		w.initFunctions()
	})
	return err
}

// initFunctions writes the functions that do what instantiating the original did: copy the active data segments in their order, then start.
func (w *writer) initFunctions() {
	if w.inits == 0 {
		return
	}
	r, _ := w.read(11)
	segment := 0
	copySegments := func(most int) {
		for copied := 0; copied < most && segment < w.data; segment++ {
			active := false
			w.offset(&r, func(expression []byte) {
				w.out.op(expression...)
				active = true
			})
			n := r.u32()
			r.take(n)
			if active {
				w.out.i32(0)
				w.out.i32(int32(n))
				w.out.op(opBulk, bulkMemoryInit)
				w.out.u32(uint32(segment))
				w.out.op(0)
				copied++
			}
		}
	}
	w.out.sized(func() {
		w.out.op(0)
		w.out.with(opGlobalGet, w.fuel)
		w.out.i64(int64(w.initUnits()))
		w.out.op(opI64Sub)
		w.out.with(opGlobalSet, w.fuel)
		if w.inits == 1 {
			copySegments(segmentsPerInit)
		}
		for i := 1; i < w.inits; i++ {
			w.out.with(opCall, w.initFunction()+uint32(i))
		}
		if w.start >= 0 {
			w.out.with(opCall, w.shift(uint32(w.start)))
		}
		w.out.op(opEnd)
	})
	for range w.inits - 1 {
		w.out.sized(func() {
			w.out.op(0)
			copySegments(segmentsPerInit)
			w.out.op(opEnd)
		})
	}
}

// initUnits is what copying the data costs: one unit for a segment and for 16 bytes.
func (w *writer) initUnits() int {
	s := w.sections[11]
	return w.actives + (s.end-s.at)/16
}

// custom copies a custom section; in the name section it moves functions.
func (w *writer) custom(s span) {
	r := reader{bytes: w.wasm[:s.end], at: s.at, function: -1}
	if name := string(r.name()); name != "name" {
		w.out.op(w.wasm[s.at:s.end]...)
		return
	}
	w.out.name("name")
	for r.at < len(r.bytes) && r.err == nil {
		id := r.byte()
		size := r.u32()
		content := r.take(size)
		switch {
		case id == 1 || id == 2:
			w.section(id, func() { w.functionNames(id, reader{bytes: content, function: -1}) })
		case id == 3 || id > 9: // labels, which metering moves, and what is not known
		default:
			w.out.op(id)
			w.out.name(string(content))
		}
	}
}

// functionNames writes the names of functions, or of their locals.
func (w *writer) functionNames(id byte, r reader) {
	n := r.u32()
	w.out.u32(n)
	for range n {
		function := r.u32()
		if int(function) < len(w.functions) {
			function = w.shift(function)
		}
		w.out.u32(function)
		if id == 1 {
			w.out.name(string(r.name()))
			continue
		}
		start := r.at
		for range r.u32() {
			r.u32()
			r.name()
		}
		w.out.op(r.bytes[start:r.at]...)
	}
}

func (w *writer) report() Report {
	r := Report{
		Version: Version, Fuel: fuelName, Start: w.start >= 0, Globals: w.globalNames(), Foreign: w.foreign, Tables: w.tables,
		Functions: len(w.bodies), Metered: w.metered, WhyLinked: w.keeps(),
	}
	r.Linked = r.WhyLinked == ""
	if r.Why = w.shares(); r.Why == "" {
		r.Why = r.WhyLinked
	}
	r.Resettable = r.Why == ""
	if w.inits > 0 {
		r.Init = initName
	}
	if w.memories > 0 {
		r.MemoryMin, r.MemoryMax = w.memory.minimum, w.options.Limits.MemoryPages
		if w.memory.bounded {
			r.MemoryMax = min(r.MemoryMax, w.memory.maximum)
		}
	}
	return r
}

// shares tells what an instance changes that belongs to another module, "" where there is nothing.
func (w *writer) shares() string {
	if w.imported.memories > 0 {
		return "its memory is imported"
	}
	if w.imported.tables > 0 {
		return "it imports a table"
	}
	for i, g := range w.globals[:w.imported.globals] {
		if g.mutable {
			return fmt.Sprintf("it imports the mutable global %d", i)
		}
	}
	return ""
}

// keeps tells what an instance keeps from one invocation to the next beside memories and globals, "" where there is nothing.
func (w *writer) keeps() string {
	for i, g := range w.globals {
		switch {
		case !g.mutable || i < w.imported.globals:
		case g.valueType == typeV128:
			return fmt.Sprintf("global %d is mutable and a v128, which cannot be set from outside", i)
		case g.valueType == typeFuncref || g.valueType == typeExternref:
			return fmt.Sprintf("global %d is mutable and a reference, which belongs to one instance", i)
		}
	}
	if w.writes.name != "" {
		return fmt.Sprintf("function %d changes a table (%s)", w.writes.function, w.writes.name)
	}
	return ""
}
