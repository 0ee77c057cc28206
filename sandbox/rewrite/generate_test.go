package rewrite_test

import (
	"encoding/binary"
	"math/rand/v2"
)

// generator writes random valid modules: nested control flow with labels that cross it, loops with parameters, several results, dead code, calls of
// every kind, globals, memory, tables and segments. Whatever it writes ends: each turn of a loop and each call takes one from a global budget, and
// at its end traps.
type generator struct {
	*rand.Rand
	code      []byte
	functions []signature // imported ones first
	labels    []label     // innermost last
	locals    []byte      // types, parameters included
	results   []byte
	room      int // instructions still to be written in this function, roughly
	types     []signature
	self      int  // the function being written
	bare      bool // it takes nothing from the budget, and calls what stands before it
}

type signature struct{ params, results []byte }

// label is what a branch to it takes, and whether it goes back.
type label struct {
	takes []byte
	loop  bool
}

const (
	i32, i64, f64 = 0x7f, 0x7e, 0x7c

	imports       = 1 // env.log: (i32) -> ()
	definedGlobal = 5 // budget, then an i32, an i64, an f64, and one that is not mutable
	passive       = 2 // data segments: 0 and 1 are active, 2 and 3 passive
)

var valueTypes = []byte{i32, i32, i32, i64, i64, f64}

func (g *generator) op(b ...byte)      { g.code = append(g.code, b...) }
func (g *generator) u(n int)           { g.code = binary.AppendUvarint(g.code, uint64(n)) }
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }
func (g *generator) valueType() byte   { return valueTypes[g.IntN(len(valueTypes))] }

func (g *generator) valueList(most int) []byte {
	list := make([]byte, g.IntN(most+1))
	for i := range list {
		list[i] = g.valueType()
	}
	return list
}

func (g *generator) signed(n int64) {
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			g.op(b)
			return
		}
		g.op(b | 0x80)
	}
}

// typeIndex finds or adds a type. Block types may be added while functions are written: the type section comes last to be put together.
func (g *generator) typeIndex(s signature) int {
	for i, t := range g.types {
		if string(t.params) == string(s.params) && string(t.results) == string(s.results) {
			return i
		}
	}
	g.types = append(g.types, s)
	return len(g.types) - 1
}

func (g *generator) blockType(s signature) {
	switch {
	case len(s.params) == 0 && len(s.results) == 0:
		g.op(0x40)
	case len(s.params) == 0 && len(s.results) == 1:
		g.op(s.results[0])
	default:
		g.signed(int64(g.typeIndex(s)))
	}
}

func (g *generator) constant(t byte) {
	switch t {
	case i32:
		g.op(0x41)
		g.signed(int64(int32(g.Uint32()) >> g.IntN(32)))
	case i64:
		g.op(0x42)
		g.signed(int64(g.Uint64()) >> g.IntN(64))
	case f64:
		g.op(0x44)
		g.code = binary.LittleEndian.AppendUint64(g.code, uint64(g.IntN(100))<<52|0x3ff<<52)
	}
}

// address writes an i32 that mostly lies within the first page.
func (g *generator) address() {
	if g.chance(200) {
		g.value(i32, 1)
		return
	}
	g.value(i32, 1)
	g.op(0x41)
	g.signed(0x7fff)
	g.op(0x71)
}

// value writes code that gives one value.
func (g *generator) value(t byte, depth int) {
	g.room--
	if depth <= 0 || g.room < 0 {
		if l, ok := g.local(t); ok && g.chance(2) {
			g.op(0x20)
			g.u(l)
			return
		}
		g.constant(t)
		return
	}
	switch g.IntN(14) {
	case 0, 1:
		g.constant(t)
	case 2, 3:
		g.value(t, 0)
	case 4, 5, 6:
		g.binary(t, depth)
	case 7:
		g.op(0x23)
		g.u(map[byte]int{i32: 1, i64: 2, f64: 3}[t])
	case 8:
		g.address()
		g.op(map[byte]byte{i32: 0x28, i64: 0x29, f64: 0x2b}[t], 0)
		g.u(g.IntN(100))
	case 9:
		g.block(signature{nil, []byte{t}}, depth)
	case 10:
		g.callFor(t, depth)
	case 11:
		g.value(t, depth-1)
		g.value(t, depth-1)
		g.value(i32, depth-1)
		g.op(0x1b)
	case 12:
		if l, ok := g.local(t); ok {
			g.value(t, depth-1)
			g.op(0x22)
			g.u(l)
			return
		}
		g.constant(t)
	case 13:
		if t == i32 && g.chance(3) {
			g.op(0x41)
			g.signed(int64(g.IntN(2)))
			g.op(0x40, 0)
			return
		}
		if g.chance(6) { // what gives a value by never coming back
			g.branch(depth)
			return
		}
		g.value(t, depth-1)
	}
}

func (g *generator) local(t byte) (int, bool) {
	var found []int
	for i, l := range g.locals {
		if l == t {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return 0, false
	}
	return found[g.IntN(len(found))], true
}

func (g *generator) binary(t byte, depth int) {
	switch t {
	case i32:
		switch g.IntN(5) {
		case 0: // compare
			of := []byte{i32, i64}[g.IntN(2)]
			g.value(of, depth-1)
			g.value(of, depth-1)
			if of == i32 {
				g.op(byte(0x46 + g.IntN(10)))
			} else {
				g.op(byte(0x51 + g.IntN(10)))
			}
		case 1:
			g.value(i64, depth-1)
			g.op(0xa7)
		case 2:
			g.value(i32, depth-1)
			g.op(0x45)
		default:
			g.value(i32, depth-1)
			g.value(i32, depth-1)
			g.op([]byte{0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x76, 0x72, 0x73, 0x6a, 0x6b, 0x6c, 0x71, 0x74, 0x6e}[g.IntN(16)])
		}
	case i64:
		if g.chance(4) {
			g.value(i32, depth-1)
			g.op(0xac)
			return
		}
		g.value(i64, depth-1)
		g.value(i64, depth-1)
		g.op([]byte{0x7c, 0x7d, 0x7e, 0x83, 0x84, 0x85, 0x86, 0x88, 0x83, 0x84, 0x85, 0x7c, 0x7d, 0x7e, 0x85, 0x7f}[g.IntN(16)])
	case f64:
		g.value(f64, depth-1)
		g.value(f64, depth-1)
		g.op([]byte{0xa0, 0xa1, 0xa4}[g.IntN(3)])
	}
}

func (g *generator) values(types []byte, depth int) {
	for _, t := range types {
		g.value(t, depth-1)
	}
}

// drop takes values off again.
func (g *generator) drop(types []byte) {
	for i := len(types) - 1; i >= 0; i-- {
		if l, ok := g.local(types[i]); ok && g.chance(2) {
			g.op(0x21)
			g.u(l)
		} else {
			g.op(0x1a)
		}
	}
}

// callFor calls something whose first result is kept.
func (g *generator) callFor(t byte, depth int) {
	for range 4 {
		f := g.callee()
		if s := g.functions[f]; len(s.results) > 0 && s.results[0] == t {
			g.call(f, depth)
			g.drop(s.results[1:])
			return
		}
	}
	g.constant(t)
}

// callee chooses what to call.
func (g *generator) callee() int {
	switch {
	case !g.bare:
		return imports + g.IntN(len(g.functions)-imports)
	case g.self > imports:
		return imports + g.IntN(g.self-imports)
	}
	return 0
}

// addressed tells whether a function is in the table.
func addressed(f int) bool { return f%2 == 1 }

// call calls a function, by name or through the table, where a wrong entry traps.
func (g *generator) call(f, depth int) {
	s := g.functions[f]
	g.values(s.params, depth)
	if !addressed(f) || !g.chance(3) {
		g.op(0x10)
		g.u(f)
		return
	}
	g.op(0x41)
	g.signed(int64(f))
	if !g.bare && g.chance(100) {
		g.value(i32, 1)
		g.op(0x6a)
	}
	g.op(0x11)
	g.u(g.typeIndex(s))
	g.op(0)
}

// spend takes one from the budget.
func (g *generator) spend() {
	g.op(0x23, 0, 0x41, 1, 0x6b, 0x24, 0, 0x23, 0, 0x41, 0, 0x48, 0x04, 0x40, 0x00, 0x0b)
}

// block writes a block, loop or if of a type; its parameters are written before it.
func (g *generator) block(s signature, depth int) {
	kind := g.IntN(3)
	if kind == 1 && g.chance(2) || kind == 0 && g.chance(4) {
		s.params = g.valueList(2)
	}
	g.values(s.params, depth)
	if kind == 2 {
		g.value(i32, depth-1)
	}
	g.op(byte(0x02 + kind))
	g.blockType(s)
	takes := s.results
	if kind == 1 {
		takes = s.params
	}
	g.labels = append(g.labels, label{takes, kind == 1})
	if kind == 1 {
		g.spend()
	}
	g.drop(s.params)
	g.inside(s.results, depth)
	if kind == 2 && (len(s.results) > 0 || len(s.params) > 0 || g.chance(2)) {
		g.op(0x05)
		g.drop(s.params)
		g.inside(s.results, depth)
	}
	if kind == 1 && !g.chance(4) { // turn again, a few times
		g.drop(s.results)
		g.values(s.params, depth)
		g.value(i32, depth-1)
		g.op(0x23, 0, 0x41)
		g.signed(int64(2800 + g.IntN(200)))
		g.op(0x4a, 0x71)
		g.op(0x0d, 0)
		g.drop(s.params)
		g.values(s.results, 0)
	}
	g.op(0x0b)
	g.labels = g.labels[:len(g.labels)-1]
}

func (g *generator) inside(results []byte, depth int) {
	for range g.IntN(4) {
		g.statement(depth - 1)
	}
	g.values(results, depth)
}

// target chooses a label: seldom one that goes back.
func (g *generator) target() int {
	l := g.IntN(len(g.labels))
	for range 3 {
		if g.labels[len(g.labels)-1-l].loop {
			l = g.IntN(len(g.labels))
		}
	}
	return l
}

// branch leaves, and never comes back.
func (g *generator) branch(depth int) {
	switch g.IntN(6) {
	case 0:
		g.values(g.results, depth)
		g.op(0x0f)
	case 1:
		if f := g.callee(); string(g.functions[f].results) == string(g.results) { // tail call
			g.values(g.functions[f].params, depth)
			if !addressed(f) || g.chance(2) {
				g.op(0x12)
				g.u(f)
			} else {
				g.op(0x41)
				g.signed(int64(f))
				g.op(0x13)
				g.u(g.typeIndex(g.functions[f]))
				g.op(0)
			}
			break
		}
		fallthrough
	case 2:
		l := g.target()
		takes := g.labels[len(g.labels)-1-l].takes
		g.values(takes, depth)
		g.value(i32, depth-1)
		var same []int
		for i, other := range g.labels {
			if string(other.takes) == string(takes) && (!other.loop || g.chance(3) || i == len(g.labels)-1-l) {
				same = append(same, len(g.labels)-1-i)
			}
		}
		g.op(0x0e)
		n := g.IntN(5)
		g.u(n)
		for range n + 1 {
			g.u(same[g.IntN(len(same))])
		}
	default:
		l := g.target()
		g.values(g.labels[len(g.labels)-1-l].takes, depth)
		g.op(0x0c)
		g.u(l)
	}
	for range g.IntN(3) { // dead code; what pops here finds whatever it wants
		switch g.IntN(3) {
		case 0:
			g.op(0x6a, 0x1a)
		case 1:
			g.op(0x1a)
		default:
			g.statement(min(depth-1, 1))
		}
	}
}

// statement writes code that leaves the stack as it was.
func (g *generator) statement(depth int) {
	g.room--
	if depth <= 0 || g.room < 0 {
		return
	}
	switch g.IntN(17) {
	case 0, 1:
		t := g.valueType()
		if l, ok := g.local(t); ok {
			g.value(t, depth)
			g.op(0x21)
			g.u(l)
		}
	case 2, 3:
		n := 1 + g.IntN(3)
		g.value([]byte{0, i32, i64, f64}[n], depth)
		g.op(0x24)
		g.u(n)
	case 4, 5:
		g.address()
		t := g.valueType()
		g.value(t, depth)
		g.op(map[byte]byte{i32: 0x36, i64: 0x37, f64: 0x39}[t], 0)
		g.u(g.IntN(100))
	case 6, 7, 8, 9:
		results := g.valueList(2)
		g.block(signature{nil, results}, depth)
		g.drop(results)
	case 10:
		f := g.callee()
		g.call(f, depth)
		g.drop(g.functions[f].results)
	case 11: // leave, perhaps
		l := g.target()
		takes := g.labels[len(g.labels)-1-l].takes
		g.values(takes, depth)
		g.value(i32, depth-1)
		g.op(0x0d)
		g.u(l)
		g.drop(takes)
	case 12:
		g.value(i32, depth-1)
		g.op(0x04, 0x40)
		g.labels = append(g.labels, label{})
		g.branch(depth)
		g.labels = g.labels[:len(g.labels)-1]
		g.op(0x0b)
	case 13:
		g.bulk()
	case 14:
		g.value(i32, depth)
		g.op(0x10, 0) // log
	case 15:
		g.value(g.valueType(), depth)
		g.op(0x1a)
	case 16:
		if l, ok := g.local(i32); ok {
			g.dispatch(l, depth)
		}
	}
}

// dispatch writes jumps as Go's compiler does: a loop that begins with a table, and branches to it behind a constant.
func (g *generator) dispatch(to, depth int) {
	if g.chance(2) {
		g.value(i32, depth-1)
		g.op(0x21)
		g.u(to)
	}
	n := 1 + g.IntN(5)
	g.op(0x03, 0x40)
	g.labels = append(g.labels, label{loop: true})
	for range n {
		g.op(0x02, 0x40)
		g.labels = append(g.labels, label{})
	}
	g.op(0x20)
	g.u(to)
	g.op(0x0e)
	count := g.IntN(n + 2)
	g.u(count)
	for range count + 1 {
		l := g.IntN(n)
		if other := g.target(); g.chance(8) && other > n && len(g.labels[len(g.labels)-1-other].takes) == 0 {
			l = other
		}
		g.u(l)
	}
	for left := n - 1; left >= 0; left-- { // blocks that are open still
		g.op(0x0b)
		g.labels = g.labels[:len(g.labels)-1]
		g.spend()
		g.statement(depth - 1)
		switch g.IntN(4) {
		case 0:
			g.jump(to, n, left)
		case 1:
			g.value(i32, depth-1)
			g.op(0x04, 0x40)
			g.jump(to, n, left+1)
			g.op(0x0b)
		case 2: // a block where one of the table's has ended
			g.op(0x02, 0x40)
			g.labels = append(g.labels, label{})
			g.value(i32, depth-1)
			g.op(0x0d, 0)
			g.jump(to, n, left+1)
			g.op(0x0b)
			g.labels = g.labels[:len(g.labels)-1]
		}
	}
	g.op(0x0b)
	g.labels = g.labels[:len(g.labels)-1]
}

// jump goes to one of the n places of a table, mostly.
func (g *generator) jump(to, n, loop int) {
	g.op(0x41)
	g.signed(int64(g.IntN(n+3) - 1))
	if l, ok := g.local(i32); ok && g.chance(8) {
		to = l
	}
	if g.chance(8) {
		g.op(0x01)
	}
	g.op(0x21)
	g.u(to)
	g.op(0x0c)
	g.u(loop)
}

// bulk writes a bulk instruction with operands that mostly lie within bounds.
func (g *generator) bulk() {
	three := func() {
		g.address()
		if g.chance(200) {
			g.value(i32, 1)
		} else {
			g.op(0x41, 0)
		}
		g.op(0x41)
		g.signed(int64(g.IntN(12)))
	}
	switch g.IntN(7) {
	case 0:
		three()
		g.op(0xfc, 10, 0, 0)
	case 1:
		three()
		g.op(0xfc, 11, 0)
	case 2:
		three()
		g.op(0xfc, 8, byte(passive+g.IntN(2)), 0)
	case 3:
		g.op(0xfc, 9, 0) // only what nothing is copied from
	case 4:
		g.address()
		g.op(0x41, 0, 0x41, byte(g.IntN(8)), 0xfc, 8, 1, 0) // wazero leaves active segments as they are
	case 5:
		g.op(0xd0, 0x70, 0x41)
		g.signed(int64(g.IntN(3)))
		g.op(0xfc, 15, 1, 0x1a) // grow table 1
	case 6:
		g.op(0xfc, 16, 1, 0x1a)
	}
}

// function writes a body.
func (g *generator) function(s signature) []byte {
	g.code = nil
	g.results = s.results
	g.room = 30 + g.IntN(250)
	var groups [][2]byte
	g.locals = append([]byte{}, s.params...)
	for range g.IntN(4) {
		n, t := byte(1+g.IntN(3)), g.valueType()
		groups = append(groups, [2]byte{n, t})
		for range n {
			g.locals = append(g.locals, t)
		}
	}
	g.u(len(groups))
	for _, group := range groups {
		g.op(group[:]...)
	}
	g.labels = []label{{takes: s.results}}
	if g.bare = g.chance(4); g.bare { // some are small enough to need no metering
		g.room = 1
	} else {
		g.spend()
	}
	for range 1 + g.IntN(8) {
		g.statement(4)
	}
	g.values(s.results, 4)
	g.op(0x0b)
	return g.code
}

// generate writes the module of a seed. Its exports are "f0"... , "memory" and the globals "g0" to "g3".
func generate(seed uint64) (wasm []byte, functions []signature) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	g.functions = []signature{{[]byte{i32}, nil}}
	for range 2 + g.IntN(6) {
		g.functions = append(g.functions, signature{g.valueList(3), g.valueList(2)})
	}
	start := g.chance(3)
	if start {
		g.functions = append(g.functions, signature{})
	}
	for _, f := range g.functions {
		g.typeIndex(f)
	}
	var bodies [][]byte
	for i, f := range g.functions[imports:] {
		g.self = imports + i
		bodies = append(bodies, g.function(f))
	}
	return g.assemble(bodies, start), g.functions[imports:]
}

func (g *generator) assemble(bodies [][]byte, start bool) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, write func()) {
		g.code = nil
		write()
		out = binary.AppendUvarint(append(out, id), uint64(len(g.code)))
		out = append(out, g.code...)
	}
	list := func(types []byte) {
		g.u(len(types))
		g.op(types...)
	}
	name := func(s string) {
		g.u(len(s))
		g.op([]byte(s)...)
	}
	section(1, func() {
		g.u(len(g.types))
		for _, t := range g.types {
			g.op(0x60)
			list(t.params)
			list(t.results)
		}
	})
	section(2, func() {
		g.u(imports)
		name("env")
		name("log")
		g.op(0)
		g.u(g.typeIndex(g.functions[0]))
	})
	section(3, func() {
		g.u(len(bodies))
		for _, f := range g.functions[imports:] {
			g.u(g.typeIndex(f))
		}
	})
	section(4, func() { g.op(2, 0x70, 0, 16, 0x70, 1, 1, 20) })
	section(5, func() { g.op(1, 1, 1, 3) })
	section(6, func() {
		g.u(definedGlobal)
		g.op(i32, 1, 0x41)
		g.signed(3000)
		g.op(0x0b, i32, 1, 0x41, 7, 0x0b, i64, 1, 0x42, 9, 0x0b, f64, 1)
		g.constant(f64)
		g.op(0x0b, 0x70, 0, 0xd2, imports, 0x0b)
	})
	section(7, func() {
		g.u(len(bodies) + 5)
		for i := range bodies {
			name("f" + string(rune('0'+i)))
			g.op(0)
			g.u(imports + i)
		}
		name("memory")
		g.op(2, 0)
		for i := range 4 {
			name("g" + string(rune('0'+i)))
			g.op(3, byte(i))
		}
	})
	if start {
		section(8, func() { g.u(imports + len(bodies) - 1) })
	}
	section(9, func() {
		g.op(2, 4, 0x41, 0, 0x0b)
		g.u(len(g.functions))
		for i := range g.functions {
			if addressed(i) {
				g.op(0xd2, byte(i), 0x0b)
			} else {
				g.op(0xd0, 0x70, 0x0b)
			}
		}
		g.op(5, 0x70, 1, 0xd2, imports, 0x0b)
	})
	section(12, func() { g.u(4) })
	section(10, func() {
		g.u(len(bodies))
		for _, b := range bodies {
			g.u(len(b))
			g.op(b...)
		}
	})
	section(11, func() {
		g.op(4, 0, 0x41)
		g.signed(int64(g.IntN(1000)))
		g.op(0x0b)
		name("active data")
		g.op(2, 0, 0x41)
		g.signed(int64(g.IntN(2000)))
		g.op(0x0b)
		name("more active data")
		g.op(1)
		name("passive data")
		g.op(1)
		name("more passive data")
	})
	return out
}
