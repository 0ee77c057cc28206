package canon

import (
	"math"
	"unicode/utf8"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Writer lowers values in the order of their type, the fields of records and tuples one after another. Each method writes the value that is next;
// for a value of another kind it throws a Misuse, because that is a mistake of the host's own code. What the guest's realloc does wrong is a
// Trap.
//
// Lists, options, results and variants are written in two steps: the method says the length or the case, and then come the elements or the
// payload. Strings and lists run the guest's realloc, after which views of guest memory are not valid any more.
type Writer struct{ cursor }

func (w *Writer) put(o *op, width uint8, v uint64) {
	if w.block.flat {
		w.flat[o.slot] = v
		return
	}
	store(w.side.bytes, w.base+o.at, width, v)
}

// Bool writes a bool.
func (w *Writer) Bool(v bool) {
	var b uint64
	if v {
		b = 1
	}
	w.put(w.next(types.Bool), 1, b)
}

// U8 writes a u8.
func (w *Writer) U8(v uint8) { w.put(w.next(types.U8), 1, uint64(v)) }

// S8 writes an s8.
func (w *Writer) S8(v int8) { w.put(w.next(types.S8), 1, uint64(uint32(v))) }

// U16 writes a u16.
func (w *Writer) U16(v uint16) { w.put(w.next(types.U16), 2, uint64(v)) }

// S16 writes an s16.
func (w *Writer) S16(v int16) { w.put(w.next(types.S16), 2, uint64(uint32(v))) }

// U32 writes a u32.
func (w *Writer) U32(v uint32) { w.put(w.next(types.U32), 4, uint64(v)) }

// S32 writes an s32.
func (w *Writer) S32(v int32) { w.put(w.next(types.S32), 4, uint64(uint32(v))) }

// U64 writes a u64.
func (w *Writer) U64(v uint64) { w.put(w.next(types.U64), 8, v) }

// S64 writes an s64.
func (w *Writer) S64(v int64) { w.put(w.next(types.S64), 8, uint64(v)) }

// F32 writes an f32; every NaN becomes the canonical one.
func (w *Writer) F32(v float32) {
	w.put(w.next(types.F32), 4, uint64(canonical32(math.Float32bits(v))))
}

// F64 writes an f64; every NaN becomes the canonical one.
func (w *Writer) F64(v float64) { w.put(w.next(types.F64), 8, canonical64(math.Float64bits(v))) }

// Char writes a char, which must be a Unicode scalar value.
func (w *Writer) Char(v rune) { w.put(w.next(types.Char), 4, uint64(char(uint32(v)))) }

// place writes the pointer and the length of a string or list.
func (w *Writer) place(o *op, p, n uint32) {
	if w.block.flat {
		w.flat[o.slot], w.flat[o.slot+1] = uint64(p), uint64(n)
		return
	}
	at := w.base + o.at
	store(w.side.bytes, at, 4, uint64(p))
	store(w.side.bytes, at+4, 4, uint64(n))
}

// String writes a string. What is not valid UTF-8 in it is replaced by U+FFFD.
func (w *Writer) String(v string) {
	o := w.next(types.String)
	if !utf8.ValidString(v) {
		v = string([]rune(v))
	}
	p, n := lowerString(w.side, v)
	w.place(o, p, n)
}

// Text writes a string that is given as UTF-8 bytes, like String.
func (w *Writer) Text(v []byte) {
	if w.side.opts.Encoding != UTF8 || !utf8.Valid(v) {
		w.String(string(v))
		return
	}
	o := w.next(types.String)
	p := w.side.text(uint64(len(v)), 1)
	copy(w.side.bytes[p:], v)
	w.place(o, p, uint32(len(v)))
}

// Bytes writes a list<u8>.
func (w *Writer) Bytes(v []byte) { copy(w.Buffer(len(v)), v) }

// Buffer writes a list<u8> of n bytes and gives them as a view of guest memory, to be filled before guest code runs again.
func (w *Writer) Buffer(n int) []byte {
	o := w.next(types.List)
	if !o.elem.isBytes() {
		misuse("a host function writes bytes where its type has a list of something else")
	}
	p := w.side.alloc(uint64(n), 1, "list")
	w.side.charge(uint64(n))
	w.place(o, p, uint32(n))
	return w.side.bytes[p : uint64(p)+uint64(n) : uint64(p)+uint64(n)]
}

// List writes the beginning of a list or map of n elements, which come next. Each entry of a map is its key and its value.
func (w *Writer) List(n int) {
	o := w.next(types.List)
	w.elements(o.elem, w.array(o, uint64(n)), uint32(n))
}

// array allocates the elements of a list.
func (w *Writer) array(o *op, n uint64) (p uint32) {
	size := n * uint64(o.elem.size)
	if n > types.MaxBytes {
		size = n
	}
	p = w.side.alloc(size, o.elem.align, "list")
	w.side.charge(size)
	w.place(o, p, uint32(n))
	return p
}

// discriminant writes which case it is and goes on with its payload. The flat values that the payload leaves are 0.
func (w *Writer) discriminant(k types.Kind, n uint32) {
	o := w.next(k)
	if n >= o.n {
		misuse("a host function writes case %d of a %s of %d", n, k, o.n)
	}
	w.put(o, o.width, uint64(n))
	if o.cases != nil {
		w.pc = int(o.cases[n])
	}
}

// None writes an option without a value.
func (w *Writer) None() { w.discriminant(types.Option, 0) }

// Some writes the beginning of an option with a value, which comes next.
func (w *Writer) Some() { w.discriminant(types.Option, 1) }

// OK writes the beginning of a result that is ok; its payload, where the type has one, comes next.
func (w *Writer) OK() { w.discriminant(types.Result, 0) }

// Err writes the beginning of a result that is an error; its payload, where the type has one, comes next.
func (w *Writer) Err() { w.discriminant(types.Result, 1) }

// Case writes which case of a variant it is, from 0; its payload, where the type has one, comes next.
func (w *Writer) Case(n int) { w.discriminant(types.Variant, uint32(n)) }

// Enum writes which case of an enum it is, from 0.
func (w *Writer) Enum(n int) { w.discriminant(types.Enum, uint32(n)) }

// Flags writes flags, the first label in bit 0.
func (w *Writer) Flags(v uint32) {
	o := w.next(types.Flags)
	w.put(o, o.width, uint64(v&o.n))
}

// Own writes an own handle of a resource of the host, which is the guest's from now on.
func (w *Writer) Own(object any) {
	o := w.next(types.Own)
	w.own(o, Handle{Resource: o.resource, Object: object})
}

// OwnHandle writes an own handle that was read elsewhere.
func (w *Writer) OwnHandle(h Handle) {
	o := w.next(types.Own)
	o.accept(h)
	w.own(o, h)
}

func (w *Writer) own(o *op, h Handle) {
	w.put(o, 4, uint64(w.side.inst.table.add(h.entry(true, nil))))
}

// BorrowHandle writes a borrow handle of a resource that its owner keeps until the call is over. To the component that defines the resource it
// is the bare rep.
func (w *Writer) BorrowHandle(h Handle) {
	o := w.next(types.Borrow)
	o.accept(h)
	w.borrow(o, h)
}

func (w *Writer) borrow(o *op, h Handle) {
	if o.resource.Component == w.side.inst.index {
		w.put(o, 4, uint64(h.Rep))
		return
	}
	w.side.task.borrows++
	w.put(o, 4, uint64(w.side.inst.table.add(h.entry(false, w.side.task))))
}

func (o *op) accept(h Handle) {
	if h.Resource != o.resource {
		misuse("a handle of another resource than %s is written", o.resource.Type.Name())
	}
}

func (w *Writer) finish() {
	if o := w.settle(); o != nil {
		misuse("a host function leaves values unwritten: its type has a %s next", types.Kind(o.code))
	}
}
