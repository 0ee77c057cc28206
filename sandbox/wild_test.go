package sandbox

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// wild writes random guests that leave traces wherever a guest can. Each begins a message by printing 8 bytes: a hash of everything that it can
// see of itself but the message: memory and its size, globals, tables. If the message's tenth byte asks for it, that is done with a page more.
// Then it does what the message's first 8 bytes, as a seed, and the module make it do, and ends as the ninth byte says.
type wild struct {
	*rand.Rand
	code   []byte
	tables bool // it changes them
	types  []byte
}

// How a message asks a wild guest to end. It may trap before.
const (
	endOK byte = iota
	endError
	endTrap
	endExit
	endOverflow
	endLoop
	wildEnds
)

// Functions, in the order of their indices.
const (
	wildWrite, wildExit, wildRandom = 0, 1, 2 // imported
	wildRealloc                     = 3
	wildHandle                      = 4
	wildInit                        = 5
	wildOverflow                    = 6
	wildNext                        = 7 // () -> i64: the next random number
	wildHash                        = 8 // () -> i64
	wildAct                         = 9 // (i32): does one of some things
	wildOne, wildTwo                = 10, 11
)

const (
	wildSeed    = 0    // global
	wildMessage = 1024 // where the payload lies
	wildRoom    = 16   // bytes there
	wildActs    = 12
	wildI32     = 0x7f
	wildI64     = 0x7e
	wildF32     = 0x7d
	wildF64     = 0x7c
)

func (w *wild) op(b ...byte) { w.code = append(w.code, b...) }
func (w *wild) u(n int)      { w.code = binary.AppendUvarint(w.code, uint64(n)) }

// i32 and i64 write a constant.
func (w *wild) i32(n int64) { w.op(0x41); w.signed(n) }
func (w *wild) i64(n int64) { w.op(0x42); w.signed(n) }

func (w *wild) signed(n int64) {
	for ; n < -64 || n > 63; n >>= 7 {
		w.op(byte(n)&0x7f | 0x80)
	}
	w.op(byte(n) & 0x7f)
}

func (w *wild) call(f int)  { w.op(0x10); w.u(f) }
func (w *wild) next()       { w.call(wildNext) }
func (w *wild) below(n int) { w.next(); w.i64(int64(n)); w.op(0x82, 0xa7) } // i64.rem_u, i32.wrap
func (w *wild) zero(t byte) {
	w.op(map[byte][]byte{wildI32: {0x41, 0}, wildI64: {0x42, 0}, wildF32: {0x43, 0, 0, 0, 0}, wildF64: {0x44, 0, 0, 0, 0, 0, 0, 0, 0}}[t]...)
}
func (w *wild) local(i byte) { w.op(0x20, i) }
func (w *wild) set(i byte)   { w.op(0x21, i) }

// address writes an address in memory, with room for as many bytes as a store takes.
func (w *wild) address() {
	w.next()
	w.op(0x3f, 0, 0xad) // memory.size, as i64
	w.i64(16)
	w.op(0x86) // shl
	w.i64(8)
	w.op(0x7d, 0x82, 0xa7) // sub, rem_u, wrap
}

// random writes a random value of a type.
func (w *wild) random(t byte) {
	w.next()
	switch t {
	case wildI32:
		w.op(0xa7)
	case wildF32:
		w.op(0xb4) // convert: no NaNs, whose bits may change
	case wildF64:
		w.op(0xb9)
	}
}

// act writes one thing that leaves a trace, or may trap.
func (w *wild) act() {
	kinds := 12
	if w.tables {
		kinds = 16
	}
	switch w.IntN(kinds) {
	case 0:
		w.address()
		w.random(wildI32)
		w.op(0x3a, 0, 0) // store8
	case 1, 2:
		w.address()
		w.next()
		w.op(0x37, 0, 0)
	case 3:
		w.address()
		w.below(256)
		w.below(1 + w.IntN(9000))
		w.op(0xfc, 11, 0) // fill
	case 4:
		w.address()
		w.address()
		w.below(1 + w.IntN(9000))
		w.op(0xfc, 10, 0, 0) // copy
	case 5:
		w.address()
		w.i32(0)
		w.below(12)
		w.op(0xfc, 8, 1, 0) // init
	case 6:
		w.op(0xfc, 9, 1) // drop
	case 7:
		w.below(3)
		w.op(0x40, 0, 0x1a) // grow
	case 8, 9:
		g := w.IntN(len(w.types))
		w.random(w.types[g])
		w.op(0x24)
		w.u(g)
	case 10:
		w.below(1 + w.IntN(8))
		w.op(0x11, 5, 0, 0x1a) // call_indirect, which traps on null
	case 11:
		w.below(40)
		w.op(0x45, 0x04, 0x40, 0x00, 0x0b) // trap, seldom
	case 12:
		w.below(8)
		w.op(0xd0, 0x70, 0x26, 0) // table.set null
	case 13:
		w.below(8)
		w.op(0xd2, wildTwo, 0x26, 0)
	case 14:
		w.op(0xd2, wildOne)
		w.below(3)
		w.op(0xfc, 15, 0, 0x1a) // table.grow
	case 15:
		w.below(4)
		w.op(0xd2, wildTwo)
		w.below(5)
		w.op(0xfc, 17, 0) // table.fill
	}
}

// outside writes a call of the host that leaves a trace.
func (w *wild) outside() {
	w.i32(512)
	w.address()
	w.op(0x36, 0, 0) // where from
	w.i32(516)
	w.below(9)
	w.op(0x36, 0, 0)
	if w.IntN(2) == 0 {
		w.i32(int64(1 + w.IntN(2)))
		w.i32(512)
		w.i32(1)
		w.i32(520)
		w.call(wildWrite)
	} else {
		w.address()
		w.below(300) // which may not fit
		w.call(wildRandom)
	}
	w.op(0x1a)
}

// body closes a function with so many i64 locals.
func (w *wild) body(locals byte, write func()) []byte {
	w.code = []byte{1, locals, wildI64}
	write()
	w.op(0x0b)
	return append(binary.AppendUvarint(nil, uint64(len(w.code))), w.code...)
}

// mixed writes local 0 = (local 0 xor the value on the stack) * a prime.
func (w *wild) mixed() {
	w.local(0)
	w.op(0x85)
	w.i64(0x100000001b3)
	w.op(0x7e)
	w.set(0)
}

// words hashes memory from local 1 to local 2.
func (w *wild) words() {
	w.op(0x02, 0x40, 0x03, 0x40)
	w.local(1)
	w.local(2)
	w.op(0x5a, 0x0d, 1) // ge_u, br_if
	w.local(1)
	w.op(0xa7, 0x29, 0, 0)
	w.mixed()
	w.local(1)
	w.i64(8)
	w.op(0x7c)
	w.set(1)
	w.op(0x0c, 0, 0x0b, 0x0b)
}

func (w *wild) hash() {
	w.i64(0)
	w.set(1)
	w.i64(wildMessage)
	w.set(2)
	w.words()
	w.i64(wildMessage + wildRoom)
	w.set(1)
	w.op(0x3f, 0, 0xad)
	w.i64(16)
	w.op(0x86)
	w.set(2)
	w.words()
	w.local(2)
	w.mixed()
	for g, t := range w.types {
		w.op(0x23)
		w.u(g)
		w.op(map[byte][]byte{wildI32: {0xad}, wildF32: {0xbc, 0xad}, wildF64: {0xbd}}[t]...)
		w.mixed()
	}
	w.op(0xfc, 16, 0, 0xad) // table.size
	w.set(2)
	w.i64(0)
	w.set(1)
	w.op(0x02, 0x40, 0x03, 0x40)
	w.local(1)
	w.local(2)
	w.op(0x5a, 0x0d, 1)
	w.local(1)
	w.op(0xa7, 0x25, 0, 0xd1, 0x04, wildI64) // table.get, is null?
	w.i64(3)
	w.op(0x05)
	w.local(1)
	w.op(0xa7, 0x11, 5, 0, 0xad, 0x0b)
	w.mixed()
	w.local(1)
	w.i64(1)
	w.op(0x7c)
	w.set(1)
	w.op(0x0c, 0, 0x0b, 0x0b)
	w.local(0)
}

// handle is the handler: parameters 0 and 1, then the i64 locals.
func (w *wild) handle() {
	w.i32(wildMessage + 9)
	w.op(0x2d, 0, 0, 0x04, 0x40, 0x41, 1, 0x40, 0, 0x1a, 0x0b)
	w.i32(16)
	w.call(wildHash)
	w.op(0x37, 0, 0)
	w.i32(24)
	w.i64(8<<32 | 16)
	w.op(0x37, 0, 0)
	w.i32(1)
	w.i32(24)
	w.i32(1)
	w.i32(40)
	w.call(wildWrite)
	w.op(0x1a)
	w.i32(wildMessage + 8)
	w.op(0x31, 0, 0) // how to end, before anything writes there
	w.set(3)
	w.local(0)
	w.op(0x29, 0, 0, 0x24, wildSeed) // the seed
	w.next()
	w.i64(31)
	w.op(0x83)
	w.set(2)
	w.op(0x02, 0x40, 0x03, 0x40)
	w.local(2)
	w.op(0x50, 0x0d, 1)
	w.below(wildActs)
	w.call(wildAct)
	w.local(2)
	w.i64(1)
	w.op(0x7d)
	w.set(2)
	w.op(0x0c, 0, 0x0b, 0x0b)
	ended := func(how byte, then ...byte) {
		w.local(3)
		w.i64(int64(how))
		w.op(0x51, 0x04, 0x40)
		w.op(then...)
		w.op(0x0b)
	}
	w.i32(64)
	w.i32(0)
	w.op(0x3b, 0, 0)
	ended(endError, 0x41, 0xc0, 0, 0x41, 0x81, 0x04, 0x3b, 0, 0) // 64, 01 02
	ended(endTrap, 0x00)
	ended(endExit, 0x41, 3, 0x10, wildExit)
	ended(endOverflow, 0x10, wildOverflow)
	ended(endLoop, 0x03, 0x40, 0x0c, 0, 0x0b)
	w.i32(64)
}

// wildGuest writes the module of a seed.
func wildGuest(seed uint64) []byte {
	w := &wild{Rand: rand.New(rand.NewPCG(seed, 9)), tables: seed%3 == 2}
	w.types = []byte{wildI64}
	for range 1 + w.IntN(5) {
		w.types = append(w.types, []byte{wildI32, wildI64, wildF32, wildF64}[w.IntN(4)])
	}
	var bodies [][]byte
	bodies = append(bodies, w.body(0, func() { w.i32(wildMessage) }), w.body(2, w.handle), w.body(0, func() {
		w.i64(w.Int64() | 1)
		w.op(0x24, wildSeed)
		for range w.IntN(20) {
			w.address()
			w.next()
			w.op(0x37, 0, 0)
		}
		for g, t := range w.types {
			w.random(t)
			w.op(0x24)
			w.u(g)
		}
		w.i32(int64(w.IntN(2)))
		w.op(0x40, 0, 0x1a)
	}))
	bodies = append(bodies, w.body(0, func() { w.op(0x10, wildOverflow, 0x10, wildOverflow) }))
	bodies = append(bodies, w.body(0, func() { // a linear congruence, its upper half
		w.op(0x23, wildSeed)
		w.i64(6364136223846793005)
		w.op(0x7e)
		w.i64(1442695040888963407)
		w.op(0x7c, 0x24, wildSeed, 0x23, wildSeed)
		w.i64(24)
		w.op(0x88)
	}))
	bodies = append(bodies, w.body(3, w.hash), w.body(0, func() {
		w.op(bytesOf(wildActs, 0x02, 0x40)...)
		w.local(0)
		w.op(0x0e, wildActs-1)
		for i := range wildActs {
			w.u(i)
		}
		w.op(0x0b)
		for range wildActs - 1 {
			if w.IntN(5) == 0 {
				w.outside()
			} else {
				w.act()
			}
			w.op(0x0f, 0x0b)
		}
		w.act()
	}))
	bodies = append(bodies, w.body(0, func() { w.i32(11) }), w.body(0, func() { w.i32(22) }))
	return w.module(bodies)
}

func bytesOf(n int, b ...byte) (all []byte) {
	for range n {
		all = append(all, b...)
	}
	return all
}

func (w *wild) module(bodies [][]byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, write func()) {
		w.code = nil
		write()
		out = binary.AppendUvarint(append(out, id), uint64(len(w.code)))
		out = append(out, w.code...)
	}
	name := func(s string) {
		w.u(len(s))
		w.op([]byte(s)...)
	}
	section(1, func() {
		w.op(7, 0x60, 0, 0, 0x60, 2, wildI32, wildI32, 1, wildI32, 0x60, 4, wildI32, wildI32, wildI32, wildI32, 1, wildI32)
		w.op(0x60, 1, wildI32, 0, 0x60, 0, 1, wildI64, 0x60, 0, 1, wildI32, 0x60, 0, 0)
	})
	section(2, func() {
		w.op(3)
		for _, i := range []struct {
			name string
			kind byte
		}{{"fd_write", 2}, {"proc_exit", 3}, {"random_get", 1}} {
			name("wasi_snapshot_preview1")
			name(i.name)
			w.op(0, i.kind)
		}
	})
	section(3, func() { w.op(9, 2, 1, 0, 0, 4, 4, 3, 5, 5) })
	section(4, func() { w.op(1, 0x70, 1, 8, byte(8+w.IntN(8))) })
	least := 1 + w.IntN(3)
	section(5, func() { w.op(1, 1, byte(least), byte(least+w.IntN(8))) })
	section(6, func() {
		w.u(len(w.types))
		for _, t := range w.types {
			w.op(t, 1)
			w.zero(t)
			w.op(0x0b)
		}
	})
	section(7, func() {
		w.op(4)
		name("memory")
		w.op(2, 0)
		name("canonical_abi_realloc")
		w.op(0, wildRealloc)
		name("handle-redis-message")
		w.op(0, wildHandle)
		name("_initialize")
		w.op(0, wildInit)
	})
	section(9, func() { w.op(1, 0, 0x41, 0, 0x0b, 6, wildOne, wildTwo, wildOne, wildTwo, wildTwo, wildOne) })
	section(12, func() { w.op(2) })
	section(10, func() {
		w.u(len(bodies))
		w.op(slices.Concat(bodies...)...)
	})
	section(11, func() {
		w.op(2, 0, 0x41)
		w.signed(int64(2000 + w.IntN(50000)))
		w.op(0x0b)
		name("as it was at the start")
		w.op(1)
		name("passive data")
	})
	return out
}
