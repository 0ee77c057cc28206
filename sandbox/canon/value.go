package canon

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Value is any value of the component model in a general form, for callers that do not know the type when they are written. It is, by its type:
//
//	bool                        bool
//	u8 ... s64, f32, f64        uint8 ... int64, float32, float64
//	char, string                Char, string
//	list<u8>                    []byte
//	other lists and maps        []Value; an entry of a map is a []Value of two
//	records, tuples             []Value, in the order of the fields
//	variant, option, result     Variant; an option's cases are none and some, a result's ok and error
//	enum, flags                 Enum, Flags
//	own, borrow                 Handle
type Value = any

// Char is a char as a Value, which a rune could not tell from an int32.
type Char rune

// Variant is a case with its payload; a nil Payload where the case has none.
type Variant struct {
	Case    int
	Payload Value
}

// Enum is the case of an enum.
type Enum int

// Flags are flags, the first label in bit 0.
type Flags uint32

// valueBytes is what a Value in a tree is charged for, so that Limits.Lifted bounds its memory too.
const valueBytes = 48

// Value reads the value of type t that is next.
func (r *Reader) Value(t *types.Type) Value {
	switch t.Kind() {
	case types.Record, types.Tuple:
		fields := make([]Value, len(t.Fields()))
		for i, f := range t.Fields() {
			fields[i] = r.Value(f.Type)
		}
		return fields
	case types.List, types.Map:
		return r.values(t.Elem())
	case types.FixedList:
		return r.some(int(t.Length()), t.Elem())
	case types.Variant, types.Option, types.Result:
		n := int(r.discriminant(t.Kind()))
		v := Variant{Case: n}
		if p := t.Cases()[n].Type; p != nil {
			v.Payload = r.Value(p)
		}
		return v
	case types.Enum:
		return Enum(r.Enum())
	}
	return r.leaf(t.Kind())
}

func (r *Reader) leaf(k types.Kind) Value {
	switch k {
	case types.Bool:
		return r.Bool()
	case types.U8:
		return r.U8()
	case types.S8:
		return r.S8()
	case types.U16:
		return r.U16()
	case types.S16:
		return r.S16()
	case types.U32:
		return r.U32()
	case types.S32:
		return r.S32()
	case types.U64:
		return r.U64()
	case types.S64:
		return r.S64()
	case types.F32:
		return r.F32()
	case types.F64:
		return r.F64()
	case types.Char:
		return Char(r.Char())
	case types.String:
		return r.String()
	case types.Flags:
		return Flags(r.Flags())
	case types.Own:
		return r.Own()
	}
	return r.Borrow()
}

func (r *Reader) values(elem *types.Type) Value {
	if elem.Kind() == types.U8 {
		return append([]byte{}, r.Bytes()...)
	}
	return r.some(r.List(), elem)
}

func (r *Reader) some(n int, elem *types.Type) []Value {
	r.side.charge(uint64(n) * valueBytes * uint64(elem.Nodes()))
	all := make([]Value, n)
	for i := range all {
		all[i] = r.Value(elem)
	}
	return all
}

// Value writes the value of type t that is next. A Value of another form is an error of the host's own code.
func (w *Writer) Value(t *types.Type, v Value) {
	switch v := v.(type) {
	case []byte:
		w.Bytes(v)
	case []Value:
		w.values(t, v)
	case Variant:
		w.discriminant(t.Kind(), uint32(v.Case))
		if p := t.Cases()[v.Case].Type; p != nil {
			w.Value(p, v.Payload)
		}
	case Enum:
		w.Enum(int(v))
	case Flags:
		w.Flags(uint32(v))
	case Handle:
		if t.Kind() == types.Own {
			w.OwnHandle(v)
		} else {
			w.BorrowHandle(v)
		}
	default:
		w.leaf(v)
	}
}

func (w *Writer) values(t *types.Type, v []Value) {
	elem := func(int) *types.Type { return t.Elem() }
	switch t.Kind() {
	case types.Record, types.Tuple:
		elem = func(i int) *types.Type { return t.Fields()[i].Type }
	case types.FixedList:
	default:
		w.List(len(v))
	}
	for i, e := range v {
		w.Value(elem(i), e)
	}
}

func (w *Writer) leaf(v Value) {
	switch v := v.(type) {
	case bool:
		w.Bool(v)
	case uint8:
		w.U8(v)
	case int8:
		w.S8(v)
	case uint16:
		w.U16(v)
	case int16:
		w.S16(v)
	case uint32:
		w.U32(v)
	case int32:
		w.S32(v)
	case uint64:
		w.U64(v)
	case int64:
		w.S64(v)
	case float32:
		w.F32(v)
	case float64:
		w.F64(v)
	case Char:
		w.Char(rune(v))
	case string:
		w.String(v)
	default:
		misuse("%s is no Value", fmt.Sprintf("%T", v))
	}
}

// CallValues is Call with Values; the result is nil for a function without one.
func (l *Lift) CallValues(ctx context.Context, args ...Value) (result Value, err error) {
	t := l.fn.t
	if len(args) != len(t.Params()) {
		return nil, fmt.Errorf("call %s: %d arguments are given, it has %d parameters", l.name, len(args), len(t.Params()))
	}
	write := func(out *Writer) {
		for i, p := range t.Params() {
			out.Value(p.Type, args[i])
		}
	}
	err = l.Call(ctx, write, func(in *Reader) {
		if t.Result() != nil {
			result = in.Value(t.Result())
		}
	})
	return result, err
}
