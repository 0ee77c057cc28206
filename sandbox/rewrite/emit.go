package rewrite

import "encoding/binary"

// code is WebAssembly being written.
type code []byte

func (c *code) op(ops ...byte) { *c = append(*c, ops...) }
func (c *code) u32(n uint32)   { *c = binary.AppendUvarint(*c, uint64(n)) }

// with writes an opcode and its one index.
func (c *code) with(op byte, index uint32) {
	c.op(op)
	c.u32(index)
}

func (c *code) signed(n int64) {
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			c.op(b)
			return
		}
		c.op(b | 0x80)
	}
}

func (c *code) i64(n int64) {
	c.op(opI64Const)
	c.signed(n)
}

func (c *code) i32(n int32) {
	c.op(opI32Const)
	c.signed(int64(n))
}

func (c *code) name(s string) {
	c.u32(uint32(len(s)))
	*c = append(*c, s...)
}

// sized writes what emit writes, with its length before it.
func (c *code) sized(emit func()) {
	start := len(*c)
	emit()
	var length [binary.MaxVarintLen32]byte
	n := binary.PutUvarint(length[:], uint64(len(*c)-start))
	*c = append(*c, length[:n]...)
	copy((*c)[start+n:], (*c)[start:len(*c)-n])
	copy((*c)[start:], length[:n])
}
