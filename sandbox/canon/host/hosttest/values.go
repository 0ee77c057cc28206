package hosttest

import (
	"encoding/binary"
	"math"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// bits gives the core value of a leaf.
func bits(v canon.Value) uint64 {
	switch v := v.(type) {
	case bool:
		if v {
			return 1
		}
		return 0
	case uint8:
		return uint64(v)
	case int8:
		return uint64(uint32(v))
	case uint16:
		return uint64(v)
	case int16:
		return uint64(uint32(v))
	case uint32:
		return uint64(v)
	case int32:
		return uint64(uint32(v))
	case uint64:
		return v
	case int64:
		return uint64(v)
	case float32:
		return uint64(math.Float32bits(v))
	case float64:
		return math.Float64bits(v)
	case canon.Char:
		return uint64(v)
	case canon.Enum:
		return uint64(v)
	case canon.Flags:
		return uint64(v)
	case H:
		return uint64(v)
	}
	panic("hosttest: no such value")
}

// elements of a string or list, as a list of values or as bytes.
func (g *Guest) list(t *types.Type, v canon.Value) (p, n uint32) {
	switch v := v.(type) {
	case string:
		p = g.alloc(uint32(len(v)), 1)
		return p, uint32(copy(g.memory[p:], v))
	case []byte:
		p = g.alloc(uint32(len(v)), 1)
		return p, uint32(copy(g.memory[p:], v))
	}
	all := v.([]canon.Value)
	size := t.Elem().Size()
	p = g.alloc(size*uint32(len(all)), t.Elem().Align())
	for i, e := range all {
		g.store(t.Elem(), p+size*uint32(i), e)
	}
	return p, uint32(len(all))
}

// flatten gives the core values of a value.
func (g *Guest) flatten(t *types.Type, v canon.Value) []uint64 {
	switch t.Kind() {
	case types.String, types.List:
		p, n := g.list(t, v)
		return []uint64{uint64(p), uint64(n)}
	case types.Record, types.Tuple:
		var flat []uint64
		for i, f := range t.Fields() {
			flat = append(flat, g.flatten(f.Type, v.([]canon.Value)[i])...)
		}
		return flat
	case types.Variant, types.Option, types.Result:
		c := v.(canon.Variant)
		all, _ := t.Flat()
		flat := append(make([]uint64, 0, len(all)), uint64(c.Case))
		if p := t.Cases()[c.Case].Type; p != nil {
			flat = append(flat, g.flatten(p, c.Payload)...)
		}
		return flat[:len(all)]
	}
	return []uint64{bits(v)}
}

// store writes a value to memory.
func (g *Guest) store(t *types.Type, at uint32, v canon.Value) {
	switch t.Kind() {
	case types.String, types.List:
		p, n := g.list(t, v)
		binary.LittleEndian.PutUint32(g.memory[at:], p)
		binary.LittleEndian.PutUint32(g.memory[at+4:], n)
	case types.Record, types.Tuple:
		for i, f := range t.Fields() {
			g.store(f.Type, at+f.Offset, v.([]canon.Value)[i])
		}
	case types.Variant, types.Option, types.Result:
		c := v.(canon.Variant)
		g.put(at, t.Discriminant(), uint64(c.Case))
		if p := t.Cases()[c.Case].Type; p != nil {
			g.store(p, at+t.Payload(), c.Payload)
		}
	default:
		g.put(at, t.Size(), bits(v))
	}
}

func (g *Guest) put(at, width uint32, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	copy(g.memory[at:at+width], b[:])
}

func (g *Guest) get(at, width uint32) uint64 {
	var b [8]byte
	copy(b[:], g.memory[at:at+width])
	return binary.LittleEndian.Uint64(b[:])
}

// load reads a value from memory.
func (g *Guest) load(t *types.Type, at uint32) canon.Value {
	switch t.Kind() {
	case types.String, types.List:
		return g.loadList(t, uint32(g.get(at, 4)), uint32(g.get(at+4, 4)))
	case types.Record, types.Tuple:
		var all []canon.Value
		for _, f := range t.Fields() {
			all = append(all, g.load(f.Type, at+f.Offset))
		}
		return all
	case types.Variant, types.Option, types.Result:
		c := canon.Variant{Case: int(g.get(at, t.Discriminant()))}
		if p := t.Cases()[c.Case].Type; p != nil {
			c.Payload = g.load(p, at+t.Payload())
		}
		return c
	}
	return leaf(t.Kind(), g.get(at, t.Size()))
}

func (g *Guest) loadList(t *types.Type, p, n uint32) canon.Value {
	switch {
	case t.Kind() == types.String:
		return string(g.memory[p : p+n])
	case t.Elem().Kind() == types.U8:
		return append([]byte{}, g.memory[p:p+n]...)
	}
	all := []canon.Value{}
	for i := range n {
		all = append(all, g.load(t.Elem(), p+i*t.Elem().Size()))
	}
	return all
}

func leaf(k types.Kind, b uint64) canon.Value {
	switch k {
	case types.Bool:
		return b != 0
	case types.U8:
		return uint8(b)
	case types.S8:
		return int8(b)
	case types.U16:
		return uint16(b)
	case types.S16:
		return int16(b)
	case types.U32:
		return uint32(b)
	case types.S32:
		return int32(b)
	case types.U64:
		return b
	case types.S64:
		return int64(b)
	case types.F32:
		return math.Float32frombits(uint32(b))
	case types.F64:
		return math.Float64frombits(b)
	case types.Char:
		return canon.Char(b)
	case types.Enum:
		return canon.Enum(b)
	case types.Flags:
		return canon.Flags(b)
	}
	return H(b)
}

// OK is the payload of a result that is ok; false where it is an error.
func OK(v canon.Value) (payload canon.Value, ok bool) {
	r, isVariant := v.(canon.Variant)
	return r.Payload, isVariant && r.Case == 0
}

// None, Some and the like spell values of options.
func None() canon.Value              { return canon.Variant{} }
func Some(v canon.Value) canon.Value { return canon.Variant{Case: 1, Payload: v} }
