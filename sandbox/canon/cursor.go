package canon

import "github.com/tenloom/tenloom/sandbox/component/types"

// cursor walks a block's ops, and those of the lists in it. Jumps, the ends of elements and lists of fixed length are walked by itself.
type cursor struct {
	side  *side
	flat  []uint64 // the values of a flat block
	block *block
	pc    int
	base  uint32 // of the block's values in memory
	more  uint32 // elements of the list after this one
	outer []frame
}

type frame struct {
	block *block
	pc    int
	base  uint32
	more  uint32
}

func (c *cursor) begin(s *side, b *block, flat []uint64, base uint32) {
	c.side, c.block, c.flat, c.base = s, b, flat, base
	c.pc, c.more, c.outer = 0, 0, c.outer[:0]
}

// next goes past the op that is next and has to have the code.
func (c *cursor) next(k types.Kind) *op {
	o := &c.block.ops[c.pc]
	if o.code != code(k) {
		if o = c.settle(); o == nil || o.code != code(k) {
			c.differs(k, o)
		}
	}
	c.pc++
	return o
}

func (c *cursor) differs(k types.Kind, o *op) {
	if o == nil {
		misuse("a host function passes a %s where the values of its type are at their end", k)
	}
	misuse("a host function passes a %s where its type has a %s next", k, types.Kind(o.code))
}

// settle gives the op that is next, without going past it; nil at the end.
func (c *cursor) settle() *op {
	for {
		o := &c.block.ops[c.pc]
		switch o.code {
		case codeJump:
			c.pc = int(o.n)
		case codeFixed:
			c.pc++
			c.elements(o.elem, c.base+o.at, o.n)
		case codeEnd:
			n := len(c.outer)
			switch {
			case c.more > 0:
				c.more--
				c.base += c.block.size
				c.pc = 0
			case n == 0:
				return nil
			default:
				f := c.outer[n-1]
				c.outer = c.outer[:n-1]
				c.block, c.pc, c.base, c.more = f.block, f.pc, f.base, f.more
			}
		default:
			return o
		}
	}
}

// elements goes on with the n elements at base, and then with what comes after the list.
func (c *cursor) elements(b *block, base, n uint32) {
	if n == 0 {
		return
	}
	c.outer = append(c.outer, frame{c.block, c.pc, c.base, c.more})
	c.block, c.pc, c.base, c.more = b, 0, base, n-1
}

// over gives up what the cursor holds.
func (c *cursor) over() {
	*c = cursor{outer: c.outer[:0]}
}
