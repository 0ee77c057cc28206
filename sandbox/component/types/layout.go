package types

import "fmt"

// Limits of the canonical ABI.
const (
	MaxFlat            = 16        // flat values of any one signature
	MaxFlatParams      = 16        // beyond, parameters travel as one tuple in memory
	MaxFlatAsyncParams = 4         // the same, where an import is lowered async
	MaxFlatResults     = 1         // beyond, a result travels in memory
	MaxBytes           = 1<<28 - 1 // of a string, of a list, and of any one value
	MaxHandles         = 1<<28 - 1 // entries of a handle table
)

var primitives = func() (all [ErrorContext + 1]*Type) {
	for k, p := range map[Kind]struct {
		size uint8
		flat CoreType
	}{
		Bool: {1, CoreI32}, S8: {1, CoreI32}, U8: {1, CoreI32}, S16: {2, CoreI32}, U16: {2, CoreI32}, S32: {4, CoreI32}, U32: {4, CoreI32}, S64: {8, CoreI64}, U64: {8, CoreI64},
		F32: {4, CoreF32}, F64: {8, CoreF64}, Char: {4, CoreI32}, ErrorContext: {4, CoreI32},
	} {
		all[k] = &Type{kind: k, align: p.size, size: uint32(p.size), size64: uint32(p.size), depth: 1, nodes: 1, flat: []CoreType{p.flat}}
	}
	all[ErrorContext].holds = holdsErrorContext
	all[String] = &Type{kind: String, align: 4, size: 8, size64: 16, depth: 1, nodes: 1, holds: holdsPointer, flat: []CoreType{CoreI32, CoreI32}}
	return all
}()

// Primitive gives the type of a primitive kind. It belongs to all tables.
func Primitive(k Kind) *Type {
	if !k.Primitive() {
		panic(fmt.Sprintf("types: %s is not primitive", k))
	}
	return primitives[k]
}

// measurement is the layout of parts, in turn or one instead of another, for pointers of one width.
type measurement struct{ align, size uint64 }

func (m *measurement) add(align, size uint64) (offset uint64) {
	m.align = max(m.align, align)
	offset = aligned(m.size, align)
	m.size = offset + size
	return offset
}

func aligned(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }

// align64 is a type's alignment where pointers take 8 bytes. It differs from align in types that hold pointers alone, and then it is 8.
func (t *Type) align64() uint64 {
	if t.holds&holdsPointer != 0 {
		return 8
	}
	return uint64(t.align)
}

// measure works out all that depends on the parts, which are laid out already.
func (t *Type) measure(tb *Table, most uint64) error {
	if err := t.count(tb); err != nil {
		return err
	}
	var narrow, wide measurement // pointers of 4 and of 8 bytes
	narrow.align, wide.align = 1, 1
	switch t.kind {
	case Record, Tuple:
		for i, f := range t.fields {
			t.fields[i].Offset = uint32(narrow.add(uint64(f.Type.align), uint64(f.Type.size)))
			if wide.add(f.Type.align64(), uint64(f.Type.size64)); wide.size > most {
				return t.tooLarge()
			}
		}
	case Variant, Enum, Option, Result:
		t.discriminant = discriminant(len(t.cases))
		narrow = t.chosen(func(c *Type) (uint64, uint64) { return uint64(c.align), uint64(c.size) })
		wide = t.chosen(func(c *Type) (uint64, uint64) { return c.align64(), uint64(c.size64) })
		align := uint64(1)
		for _, c := range t.cases {
			if c.Type != nil {
				align = max(align, uint64(c.Type.align))
			}
		}
		t.payload = uint32(aligned(uint64(t.discriminant), align))
	case FixedList:
		n := uint64(t.length)
		narrow = measurement{uint64(t.elem.align), n * uint64(t.elem.size)}
		wide = measurement{t.elem.align64(), n * uint64(t.elem.size64)}
	case Flags:
		bytes := uint64(1)
		if n := len(t.labels); n > 16 {
			bytes = 4
		} else if n > 8 {
			bytes = 2
		}
		narrow.add(bytes, bytes)
		wide = narrow
	case List, Map:
		narrow.add(4, 8)
		wide.add(8, 16)
	default: // handles, streams, futures: an index
		narrow.add(4, 4)
		wide = narrow
	}
	narrow.size = aligned(narrow.size, narrow.align)
	wide.size = aligned(wide.size, wide.align)
	if wide.size > most {
		return t.tooLarge()
	}
	t.align, t.size, t.size64 = uint8(narrow.align), uint32(narrow.size), uint32(wide.size)
	t.flat = t.flatten()
	return nil
}

func (t *Type) tooLarge() error {
	return fmt.Errorf("a value of a %s exceeds maximum byte size: it must be below %d bytes, counted with 64-bit pointers", t.kind, MaxBytes+1)
}

// chosen lays out a discriminant and then the largest payload, at the alignment that suits all.
func (t *Type) chosen(of func(*Type) (align, size uint64)) measurement {
	align, largest := uint64(1), uint64(0)
	for _, c := range t.cases {
		if c.Type != nil {
			a, s := of(c.Type)
			align, largest = max(align, a), max(largest, s)
		}
	}
	d := uint64(t.discriminant)
	return measurement{max(align, d), aligned(d, align) + largest}
}

// discriminant is the number of bytes that tell n cases apart.
func discriminant(n int) uint8 {
	switch {
	case n <= 1<<8:
		return 1
	case n <= 1<<16:
		return 2
	}
	return 4
}

// count adds up nodes, depth and what is held.
func (t *Type) count(tb *Table) error {
	nodes, depth := uint64(1), 0
	part := func(p *Type) {
		if p == nil {
			return
		}
		if p.table != tb && p.table != nil {
			panic("types: a type of another table")
		}
		nodes += uint64(p.nodes)
		depth = max(depth, int(p.depth))
		t.holds |= p.holds
	}
	for _, f := range t.fields {
		part(f.Type)
	}
	for _, c := range t.cases {
		part(c.Type)
	}
	if t.kind != Option { // its case counts
		part(t.elem)
	}
	if nodes > uint64(tb.limits.Nodes) {
		return fmt.Errorf("%w: a type of %d parts, at most %d are allowed", ErrLimit, nodes, tb.limits.Nodes)
	}
	if depth++; depth > tb.limits.Depth {
		return fmt.Errorf("%w: a type of %d levels, at most %d are allowed", ErrLimit, depth, tb.limits.Depth)
	}
	t.nodes, t.depth = uint32(nodes), uint16(depth)
	switch t.kind {
	case List, Map:
		t.holds |= holdsPointer
	case Own:
		t.holds |= holdsOwn
	case Borrow:
		t.holds |= holdsBorrow
	case Stream:
		t.holds = t.holds&^holdsPointer | holdsStream // the value is an index; elements travel on their own
	case Future:
		t.holds = t.holds&^holdsPointer | holdsFuture
	}
	return nil
}

var (
	flatIndex   = []CoreType{CoreI32}
	flatPointer = []CoreType{CoreI32, CoreI32}
)

// flatten gives nil where there are more than MaxFlat values.
func (t *Type) flatten() []CoreType {
	switch t.kind {
	case List, Map:
		return flatPointer
	case Flags, Own, Borrow, Stream, Future, Enum:
		return flatIndex
	case FixedList:
		if t.elem.flat == nil || uint64(len(t.elem.flat))*uint64(t.length) > MaxFlat {
			return nil
		}
		var flat []CoreType
		for range t.length {
			flat = append(flat, t.elem.flat...)
		}
		return flat
	case Record, Tuple:
		flat, _ := concatenate(t.fields)
		return flat
	}
	flat := append(make([]CoreType, 0, 4), CoreI32)
	for _, c := range t.cases {
		if c.Type == nil {
			continue
		}
		if c.Type.flat == nil || len(c.Type.flat)+1 > MaxFlat {
			return nil
		}
		for i, f := range c.Type.flat {
			if i+1 < len(flat) {
				flat[i+1] = Join(flat[i+1], f)
			} else {
				flat = append(flat, f)
			}
		}
	}
	return flat
}

// concatenate gives the flat form of fields; ok is false, and the form nil, where it has more than MaxFlat values.
func concatenate(fields []Field) (flat []CoreType, ok bool) {
	for _, f := range fields {
		if f.Type.flat == nil || len(flat)+len(f.Type.flat) > MaxFlat {
			return nil, false
		}
		flat = append(flat, f.Type.flat...)
	}
	return flat, true
}
