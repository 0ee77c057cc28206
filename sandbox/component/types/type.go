package types

import (
	"strconv"
	"strings"
)

// Type is one value type. It comes from a Table or, for primitives, from Primitive; the zero value is no type.
type Type struct {
	kind         Kind
	discriminant uint8
	holds        holds
	align        uint8
	depth        uint16
	size         uint32
	size64       uint32 // where pointers take 8 bytes: validation bounds this one
	payload      uint32
	length       uint32
	nodes        uint32
	hash         uint64
	next         *Type // of the same hash
	table        *Table
	elem         *Type
	fields       []Field
	cases        []Case
	labels       []string
	resource     *Resource
	flat         []CoreType // nil where there are more than MaxFlat
}

// holds says what a value of a type can reach.
type holds uint8

const (
	holdsPointer holds = 1 << iota
	holdsOwn
	holdsBorrow
	holdsStream
	holdsFuture
	holdsErrorContext
)

// Field is one field of a record or tuple, or one parameter of a function.
type Field struct {
	Name   string // "" in tuples
	Type   *Type
	Offset uint32 // bytes from the beginning
}

// Case is one case of a variant, or what is one in all but name: of an enum, an option (none, some) or a result (ok, error).
type Case struct {
	Name string
	Type *Type // of the payload; nil where there is none
}

// Kind is the type's kind.
func (t *Type) Kind() Kind { return t.kind }

// Align is the alignment of a value in memory: 1, 2, 4 or 8 bytes.
func (t *Type) Align() uint32 { return uint32(t.align) }

// Size is the number of bytes of a value in memory, padding at its end included: the step from one element of a list to the next. It is below 1<<28.
func (t *Type) Size() uint32 { return t.size }

// Flat gives the core types of the value where it is passed without memory. ok is false where there are more than MaxFlat of them: such a value
// never travels flat. The slice is not to be changed.
func (t *Type) Flat() (flat []CoreType, ok bool) { return t.flat, t.flat != nil }

// Fields are the fields of a Record or Tuple in their order. The slice is not to be changed.
func (t *Type) Fields() []Field { return t.fields }

// Cases are the cases of a Variant, Enum, Option or Result; a value's discriminant is the index. The slice is not to be changed.
func (t *Type) Cases() []Case { return t.cases }

// Labels are the labels of Flags, bit 0 first. The slice is not to be changed.
func (t *Type) Labels() []string { return t.labels }

// Elem is the element of a List or FixedList, the tuple of key and value of a Map, the payload of an Option, and of a Stream or Future, where it
// may be nil.
func (t *Type) Elem() *Type { return t.elem }

// Length is the number of elements of a FixedList.
func (t *Type) Length() uint32 { return t.length }

// Resource is what a handle of an Own or Borrow type stands for.
func (t *Type) Resource() *Resource { return t.resource }

// Discriminant is the number of bytes that say which case it is, in types that have cases: 1, 2 or 4.
func (t *Type) Discriminant() uint32 { return uint32(t.discriminant) }

// Payload is the offset of every case's payload, in types that have cases.
func (t *Type) Payload() uint32 { return t.payload }

// Nodes counts the types that the type is written with, itself included and repeated ones as often as they occur. It bounds every walk over it.
func (t *Type) Nodes() int { return int(t.nodes) }

// HasPointer tells whether a value can hold a string, list or map, and so reaches memory beyond its own bytes.
func (t *Type) HasPointer() bool { return t.holds&holdsPointer != 0 }

// HasHandle tells whether a value can hold own or borrow handles.
func (t *Type) HasHandle() bool { return t.holds&(holdsOwn|holdsBorrow) != 0 }

// HasBorrow tells whether a value can hold a borrow handle.
func (t *Type) HasBorrow() bool { return t.holds&holdsBorrow != 0 }

// Gated names the kind of value the type can hold that belongs to no offered part of the component model: stream, future or error-context; 0 where
// there is none.
func (t *Type) Gated() Kind {
	switch {
	case t.holds&holdsStream != 0:
		return Stream
	case t.holds&holdsFuture != 0:
		return Future
	case t.holds&holdsErrorContext != 0:
		return ErrorContext
	}
	return 0
}

// most is the number of bytes after which String leaves the rest out.
const most = 200

// String gives the type as WIT would spell it, shortened where it is long.
func (t *Type) String() string {
	var b strings.Builder
	t.write(&b)
	if b.Len() > most {
		return b.String()[:most] + "…"
	}
	return b.String()
}

func (t *Type) write(b *strings.Builder) {
	if t == nil {
		b.WriteByte('_')
		return
	}
	if b.Len() > most {
		return
	}
	b.WriteString(t.kind.String())
	switch t.kind {
	case Record, Tuple:
		writeList(b, len(t.fields), func(i int) { writeNamed(b, t.fields[i].Name, t.fields[i].Type) })
	case Variant, Enum:
		writeList(b, len(t.cases), func(i int) {
			b.WriteString(t.cases[i].Name)
			if p := t.cases[i].Type; p != nil {
				b.WriteByte('(')
				p.write(b)
				b.WriteByte(')')
			}
		})
	case Flags:
		writeList(b, len(t.labels), func(i int) { b.WriteString(t.labels[i]) })
	case Result:
		writeList(b, 2, func(i int) { t.cases[i].Type.write(b) })
	case Map:
		writeList(b, 2, func(i int) { t.elem.fields[i].Type.write(b) })
	case Own, Borrow:
		b.WriteByte('<')
		b.WriteString(t.resource.Name())
		b.WriteByte('>')
	case FixedList:
		writeList(b, 2, func(i int) {
			if i == 0 {
				t.elem.write(b)
			} else {
				b.WriteString(strconv.FormatUint(uint64(t.length), 10))
			}
		})
	case Option, List:
		writeList(b, 1, func(int) { t.elem.write(b) })
	case Stream, Future:
		if t.elem != nil {
			writeList(b, 1, func(int) { t.elem.write(b) })
		}
	}
}

func writeNamed(b *strings.Builder, name string, t *Type) {
	if name != "" {
		b.WriteString(name)
		b.WriteString(": ")
	}
	t.write(b)
}

func writeList(b *strings.Builder, n int, entry func(i int)) {
	b.WriteByte('<')
	for i := 0; i < n && b.Len() <= most; i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		entry(i)
	}
	b.WriteByte('>')
}
