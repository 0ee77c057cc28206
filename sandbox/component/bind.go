package component

import "slices"

// Bytes gives the module with an import section that names the true sources of its imports; all other sections are copied. It makes
// them anew each time.
func (c *Core) Bytes() []byte {
	m := c.Module
	if len(c.Imports) == 0 {
		return m.wasm
	}
	s := m.imports
	types := importTypes(m.wasm[s.start:s.end])
	var content []byte
	content = appendU32(content, uint32(len(c.Imports)))
	for i, ref := range c.Imports {
		content = appendName(content, ref.module())
		content = appendName(content, ref.field())
		content = append(content, types[i]...)
	}
	out := make([]byte, 0, len(m.wasm)+len(content))
	out = append(out, m.wasm[:s.start]...)
	out = append(out, s.id)
	out = appendU32(out, uint32(len(content)))
	out = append(out, content...)
	return append(out, m.wasm[s.end:]...)
}

// importTypes cuts the types of imports out of an import section that has been read before.
func importTypes(section []byte) [][]byte {
	r := &reader{bytes: section, at: 1, name: len(section)}
	r.u32()
	n := r.u32()
	all := make([][]byte, 0, n)
	for range n {
		r.string("a module's name")
		r.string("an import's name")
		start := r.at
		r.coreExternType(func(uint32) *CoreFuncType { return nil })
		all = append(all, slices.Clip(section[start:r.at]))
	}
	return all
}

func appendU32(b []byte, n uint32) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func appendName(b []byte, s string) []byte { return append(appendU32(b, uint32(len(s))), s...) }
