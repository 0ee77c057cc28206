package rewrite

import (
	"crypto/sha256"
	"fmt"
)

// outlineName is the custom section that tells outlines of modules apart which differ in code alone.
const outlineName = "tenloom.outline"

// Outline is a valid module without its functions' code: each function is there, with its type and name, and does nothing but trap. All else
// is as it was, and a digest of the whole module is added. A runtime that has a module's machine code already needs its outline only, which
// is decoded and validated in a fraction of the time.
//
// The module must be one that Module has made and that is valid; the error is about one that is not.
func Outline(metered []byte) ([]byte, error) {
	r := reader{bytes: metered, function: -1}
	if string(r.take(uint32(len(header)))) != header {
		return nil, fmt.Errorf("outline: not a core WebAssembly module of version 1")
	}
	out := code(make([]byte, 0, len(metered)/2))
	out.op(metered[:len(header)]...)
	for r.err == nil && r.at < len(r.bytes) {
		id := r.byte()
		content := r.take(r.u32())
		out.op(id)
		if id == sectionCode {
			functions := reader{bytes: content, function: -1}
			content = hollow(functions.u32())
		}
		out.name(string(content))
	}
	if r.err != nil {
		return nil, fmt.Errorf("outline: %w", r.err)
	}
	digest := sha256.Sum256(metered)
	out.op(0)
	out.sized(func() {
		out.name(outlineName)
		out.op(digest[:]...)
	})
	return out, nil
}

const sectionCode = 10

// hollow is the content of a code section whose n functions trap.
func hollow(n uint32) []byte {
	var c code
	c.u32(n)
	for range n {
		c.op(3, 0, opUnreachable, opEnd) // bytes, groups of locals, code
	}
	return c
}
