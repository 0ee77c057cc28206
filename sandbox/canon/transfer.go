package canon

import (
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// transfer lifts values on one side of a call and lowers them on the other, both of the same type. Their ops differ in places only, so one walk
// does.
func transfer(r *Reader, w *Writer) {
	for o := r.settle(); o != nil; o = r.settle() {
		switch k := types.Kind(o.code); k {
		case types.String:
			transferString(r, w)
		case types.List:
			transferList(r, w)
		case types.Variant, types.Option, types.Result, types.Enum:
			w.discriminant(k, r.discriminant(k))
		case types.Own:
			w.OwnHandle(r.Own())
		case types.Borrow:
			w.BorrowHandle(r.Borrow())
		default:
			transferLeaf(r, w, k)
		}
	}
}

func transferLeaf(r *Reader, w *Writer, k types.Kind) {
	switch k {
	case types.Bool:
		w.Bool(r.Bool())
	case types.U8:
		w.U8(r.U8())
	case types.S8:
		w.S8(r.S8())
	case types.U16:
		w.U16(r.U16())
	case types.S16:
		w.S16(r.S16())
	case types.U32:
		w.U32(r.U32())
	case types.S32:
		w.S32(r.S32())
	case types.U64:
		w.U64(r.U64())
	case types.S64:
		w.S64(r.S64())
	case types.F32:
		w.F32(r.F32())
	case types.F64:
		w.F64(r.F64())
	case types.Char:
		w.Char(r.Char())
	case types.Flags:
		w.Flags(r.Flags())
	}
}

func transferString(r *Reader, w *Writer) {
	p, n := r.place(r.next(types.String))
	raw, simple := r.side.raw(p, n)
	o := w.next(types.String)
	if simple != UTF8 || w.side.opts.Encoding != UTF8 {
		to, size := lowerString(w.side, decode(raw, simple))
		r.side.refresh()
		w.place(o, to, size)
		return
	}
	to := w.side.text(uint64(n), 1)
	r.side.refresh() // it can be the same memory
	copy(w.side.bytes[to:], r.side.bytes[p:uint64(p)+uint64(n)])
	w.place(o, to, n)
}

func transferList(r *Reader, w *Writer) {
	o := r.next(types.List)
	p, n := r.place(o)
	r.side.list(p, n, o.elem)
	into := w.next(types.List)
	to := w.array(into, uint64(n))
	r.side.refresh()
	if !o.elem.plain {
		r.elements(o.elem, p, n)
		w.elements(into.elem, to, n)
		return
	}
	size := uint64(n) * uint64(o.elem.size)
	copy(w.side.bytes[to:], r.side.bytes[p:uint64(p)+size])
}
