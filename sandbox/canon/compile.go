package canon

import (
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// code says what an op does. Values up to codeMap are kinds of types.
type code uint8

const (
	codeJump  code = iota + 64 // to op n: the end of a case
	codeEnd                    // of the block
	codeFixed                  // n elements in place
)

// op is one step of a compiled type. Records and tuples have none of their own: their fields stand one after another, at places that are known
// beforehand, because a case's payload has the same place whichever case is chosen.
type op struct {
	code     code
	width    uint8  // bytes of a discriminant or of flags
	slot     uint8  // of a flat value, from the first of the block
	at       uint32 // of a value in memory, from the beginning of the block
	n        uint32 // how many cases or elements; the bits that flags may have; where a jump goes
	cases    []int32
	elem     *block
	resource *Resource
}

const opBytes = 72 // what an op is charged for

// block is a compiled tuple of values: parameters, a result, or one element of a list.
type block struct {
	ops   []op
	flat  bool
	plain bool   // integers side by side without padding, so that any bytes are valid and copying them is lifting and lowering them
	size  uint32 // in memory, in bytes
	align uint32
}

type compiler struct {
	program *Program
	err     error
	out     *block
}

func (c *compiler) passage(fields []types.Field, size, align uint32) passage {
	var p passage
	flat := true
	for _, f := range fields {
		t, ok := f.Type.Flat()
		p.slots += len(t)
		flat = flat && ok
	}
	if flat && p.slots <= types.MaxFlat {
		p.flat = c.block(fields, true, size, align)
	}
	p.memory = c.block(fields, false, size, align)
	return p
}

func (c *compiler) block(fields []types.Field, flat bool, size, align uint32) *block {
	outer := c.out
	b := &block{flat: flat, size: size, align: align}
	c.out = b
	slot := 0
	for _, f := range fields {
		c.value(f.Type, f.Offset, slot)
		t, _ := f.Type.Flat()
		slot += len(t)
	}
	c.emit(op{code: codeEnd})
	c.out = outer
	return b
}

func (c *compiler) emit(o op) int {
	if c.program.left -= opBytes; c.program.left < 0 {
		c.program.left = 0
		c.err = fmt.Errorf("%w: the function types of the component need too much memory", ErrLimit)
		return 0
	}
	c.out.ops = append(c.out.ops, o)
	return len(c.out.ops) - 1
}

// value compiles a value at an offset in memory or from a flat slot on.
func (c *compiler) value(t *types.Type, at uint32, slot int) {
	if c.err != nil {
		return
	}
	o := op{code: code(t.Kind()), at: at, slot: uint8(slot)}
	switch t.Kind() {
	case types.Record, types.Tuple:
		for _, f := range t.Fields() {
			c.value(f.Type, at+f.Offset, slot)
			flat, _ := f.Type.Flat()
			slot += len(flat)
		}
		return
	case types.Variant, types.Enum, types.Option, types.Result:
		c.cases(t, o, at, slot)
		return
	case types.Flags:
		o.width = uint8(t.Size())
		o.n = uint32(1<<len(t.Labels()) - 1)
	case types.List, types.Map:
		o.code, o.elem = code(types.List), c.element(t.Elem())
	case types.FixedList:
		if c.out.flat {
			flat, _ := t.Elem().Flat()
			for i := range t.Length() {
				c.value(t.Elem(), 0, slot+int(i)*len(flat))
			}
			return
		}
		o.code, o.n, o.elem = codeFixed, t.Length(), c.element(t.Elem())
	case types.Own, types.Borrow:
		if o.resource = c.program.known[t.Resource()]; o.resource == nil {
			misuse("the resource %s is unknown to the program", t.Resource().Name())
		}
	}
	c.emit(o)
}

// cases compiles the discriminant, then each payload with a jump behind it. A payload's place does not depend on the case.
func (c *compiler) cases(t *types.Type, o op, at uint32, slot int) {
	o.width, o.n = uint8(t.Discriminant()), uint32(len(t.Cases()))
	if t.Kind() == types.Enum {
		c.emit(o)
		return
	}
	if c.program.left -= 4 * int64(o.n); c.program.left < 0 { // before the slice is made
		c.program.left = 0
	}
	b := c.out
	o.cases = make([]int32, o.n)
	c.emit(o)
	var jumps []int
	for i, k := range t.Cases() {
		o.cases[i] = int32(len(b.ops))
		if k.Type == nil && i > 0 && t.Cases()[i-1].Type == nil {
			o.cases[i] = o.cases[i-1] // the jump of the case before does for both
			continue
		}
		if k.Type != nil {
			c.value(k.Type, at+t.Payload(), slot+1)
		}
		jumps = append(jumps, c.emit(op{code: codeJump}))
		if c.err != nil {
			return
		}
	}
	for _, j := range jumps {
		b.ops[j].n = uint32(len(b.ops))
	}
}

// element compiles the elements of a list, once for each type.
func (c *compiler) element(t *types.Type) *block {
	if b, ok := c.program.blocks[t]; ok {
		return b
	}
	b := c.block([]types.Field{{Type: t}}, false, t.Size(), t.Align())
	b.plain = b.isPlain()
	c.program.blocks[t] = b
	return b
}

func (b *block) isPlain() bool {
	var next uint32
	for _, o := range b.ops {
		var size uint32
		switch types.Kind(o.code) {
		case types.U8, types.S8:
			size = 1
		case types.U16, types.S16:
			size = 2
		case types.U32, types.S32:
			size = 4
		case types.U64, types.S64:
			size = 8
		default:
			return o.code == codeEnd && next == b.size
		}
		if o.at != next {
			return false
		}
		next += size
	}
	return false
}
