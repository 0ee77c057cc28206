package canon

import (
	"math"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Reader lifts values in the order of their type, the fields of records and tuples one after another. Each method reads the value that is next;
// for a value of another kind it throws a Misuse, because that is a mistake of the host's own code. A value that the canonical ABI does not
// allow is a Trap.
//
// Lists, options, results and variants are read in two steps: the method gives the length or the case, and then come the elements or the payload.
//
// What is a view of guest memory is valid until guest code runs: until the next string, list or other value that a Writer needs memory for.
type Reader struct{ cursor }

const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

// bits gives the raw bits of a leaf that takes width bytes in memory.
func (r *Reader) bits(o *op, width uint8) uint64 {
	if r.block.flat {
		return r.flat[o.slot]
	}
	return load(r.side.bytes, r.base+o.at, width)
}

// Bool reads a bool.
func (r *Reader) Bool() bool { return uint32(r.bits(r.next(types.Bool), 1)) != 0 }

// U8 reads a u8.
func (r *Reader) U8() uint8 { return uint8(r.bits(r.next(types.U8), 1)) }

// S8 reads an s8.
func (r *Reader) S8() int8 { return int8(r.bits(r.next(types.S8), 1)) }

// U16 reads a u16.
func (r *Reader) U16() uint16 { return uint16(r.bits(r.next(types.U16), 2)) }

// S16 reads an s16.
func (r *Reader) S16() int16 { return int16(r.bits(r.next(types.S16), 2)) }

// U32 reads a u32.
func (r *Reader) U32() uint32 { return uint32(r.bits(r.next(types.U32), 4)) }

// S32 reads an s32.
func (r *Reader) S32() int32 { return int32(r.bits(r.next(types.S32), 4)) }

// U64 reads a u64.
func (r *Reader) U64() uint64 { return r.bits(r.next(types.U64), 8) }

// S64 reads an s64.
func (r *Reader) S64() int64 { return int64(r.bits(r.next(types.S64), 8)) }

// F32 reads an f32; every NaN is the canonical one.
func (r *Reader) F32() float32 {
	return math.Float32frombits(canonical32(uint32(r.bits(r.next(types.F32), 4))))
}

// F64 reads an f64; every NaN is the canonical one.
func (r *Reader) F64() float64 {
	return math.Float64frombits(canonical64(r.bits(r.next(types.F64), 8)))
}

func canonical32(b uint32) uint32 {
	if b&0x7fffffff > 0x7f800000 {
		return nan32
	}
	return b
}

func canonical64(b uint64) uint64 {
	if b&math.MaxInt64 > 0x7ff0000000000000 {
		return nan64
	}
	return b
}

// Char reads a char, a Unicode scalar value.
func (r *Reader) Char() rune { return char(uint32(r.bits(r.next(types.Char), 4))) }

func char(c uint32) rune {
	if c > 0x10ffff || c>>11 == 0xd800>>11 {
		trap("invalid `char` bit pattern: %#x", c)
	}
	return rune(c)
}

// place gives the pointer and the length of a string or list.
func (r *Reader) place(o *op) (p, n uint32) {
	if r.block.flat {
		return uint32(r.flat[o.slot]), uint32(r.flat[o.slot+1])
	}
	at := r.base + o.at
	return uint32(load(r.side.bytes, at, 4)), uint32(load(r.side.bytes, at+4, 4))
}

// String reads a string.
func (r *Reader) String() string {
	p, n := r.place(r.next(types.String))
	raw, simple := r.side.raw(p, n)
	return decode(raw, simple)
}

// Text reads a string as UTF-8 bytes: a view of guest memory where the guest keeps it so, else a copy.
func (r *Reader) Text() []byte {
	p, n := r.place(r.next(types.String))
	raw, simple := r.side.raw(p, n)
	if simple == UTF8 {
		return raw
	}
	return appendDecoded(nil, raw, simple)
}

// Bytes reads a list<u8> as a view of guest memory.
func (r *Reader) Bytes() []byte {
	o := r.next(types.List)
	if !o.elem.isBytes() {
		misuse("a host function reads bytes where its type has a list of something else")
	}
	p, n := r.place(o)
	r.side.list(p, n, o.elem)
	return r.side.bytes[p : uint64(p)+uint64(n) : uint64(p)+uint64(n)]
}

func (b *block) isBytes() bool { return b.plain && b.size == 1 && b.ops[0].code == code(types.U8) }

// List reads the length of a list or map; its elements come next. Each entry of a map is its key and its value.
func (r *Reader) List() int {
	o := r.next(types.List)
	p, n := r.place(o)
	r.side.list(p, n, o.elem)
	r.elements(o.elem, p, n)
	return int(n)
}

// discriminant reads which case it is and goes on with its payload.
func (r *Reader) discriminant(k types.Kind) uint32 {
	o := r.next(k)
	n := uint32(r.bits(o, o.width))
	if n >= o.n {
		trap("invalid variant discriminant: %d of %d cases", n, o.n)
	}
	if o.cases != nil {
		r.pc = int(o.cases[n])
	}
	return n
}

// Option tells whether an option holds a value, which comes next.
func (r *Reader) Option() bool { return r.discriminant(types.Option) == 1 }

// Result tells whether a result is ok; the payload of either, where the type has one, comes next.
func (r *Reader) Result() bool { return r.discriminant(types.Result) == 0 }

// Case reads which case of a variant it is, from 0; its payload, where the type has one, comes next.
func (r *Reader) Case() int { return int(r.discriminant(types.Variant)) }

// Enum reads which case of an enum it is, from 0.
func (r *Reader) Enum() int { return int(r.discriminant(types.Enum)) }

// Flags reads flags, the first label in bit 0.
func (r *Reader) Flags() uint32 {
	o := r.next(types.Flags)
	return uint32(r.bits(o, o.width)) & o.n
}

// Own reads an own handle: the handle leaves the guest's table, and the resource is the reader's.
func (r *Reader) Own() Handle { return r.own(r.next(types.Own)) }

func (r *Reader) own(o *op) Handle {
	return r.side.inst.table.liftOwn(uint32(r.bits(o, 4)), o.resource)
}

// Borrow reads a borrow handle, of a resource that the guest lends until the call is over.
func (r *Reader) Borrow() Handle { return r.borrow(r.next(types.Borrow)) }

func (r *Reader) borrow(o *op) Handle {
	i := uint32(r.bits(o, 4))
	e := r.side.inst.table.handle(i, o.resource)
	if r.side.lenders == nil {
		misuse("a borrow handle is read from a result")
	}
	e.lends++
	*r.side.lenders = append(*r.side.lenders, i)
	return e.handle()
}

// Own reads an own handle of a resource of the host: the object is the host's again.
func Own[T any](r *Reader) T { return r.Own().Object.(T) }

// Borrow reads a borrow handle of a resource of the host. An own handle passed for it does as well.
func Borrow[T any](r *Reader) T { return r.Borrow().Object.(T) }

// Skip lifts whatever is left and forgets it. Own handles are dropped where the resource is the host's.
func (r *Reader) Skip() {
	for o := r.settle(); o != nil; o = r.settle() {
		r.pc++
		switch types.Kind(o.code) {
		case types.Char:
			char(uint32(r.bits(o, 4)))
		case types.String:
			p, n := r.place(o)
			if raw, simple := r.side.raw(p, n); simple == UTF16 {
				decode(raw, simple)
			}
		case types.List:
			p, n := r.place(o)
			r.side.list(p, n, o.elem)
			if !o.elem.plain {
				r.elements(o.elem, p, n)
			}
		case types.Own:
			if h := r.own(o); h.Resource.drop != nil {
				h.Resource.drop(r.side.inst.store, h.Object)
			}
		case types.Borrow:
			r.borrow(o)
		case types.Variant, types.Enum, types.Option, types.Result:
			r.pc--
			r.discriminant(types.Kind(o.code))
		}
	}
}

func (r *Reader) finish() {
	if o := r.settle(); o != nil {
		misuse("a host function leaves values unread: its type has a %s next", types.Kind(o.code))
	}
}
