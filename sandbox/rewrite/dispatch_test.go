package rewrite_test

import (
	"bytes"
	"slices"
	"testing"
)

// A branch to a loop that begins with a table of jumps goes where the table would send it, if that lies ahead. Function 0 has two locals; in
// its table 0, 1 and 2 stand for the blocks' ends, 3 for the function's, 4 for the loop, and above for the last block's end.
func TestJumps(t *testing.T) {
	head := []byte{2, 1, 0x7f, 1, 0x7f, 0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 5, 0, 1, 2, 4, 3, 2, 0x0b}
	for _, row := range []struct {
		name       string
		code, want []byte // behind the end of the innermost block; from the loop's label 2 on
	}{
		{"ahead", []byte{0x41, 2, 0x21, 0, 0x0c, 2}, []byte{0x41, 2, 0x21, 0, 0x0c, 1}},
		{"next", []byte{0x41, 1, 0x21, 0, 0x0c, 2}, []byte{0x41, 1, 0x21, 0, 0x0c, 0}},
		{"default", []byte{0x41, 9, 0x21, 0, 0x0c, 2}, []byte{0x41, 9, 0x21, 0, 0x0c, 1}},
		{"padded", []byte{0x41, 0x82, 0x80, 0x80, 0x80, 0, 0x21, 0, 0x0c, 2}, []byte{0x21, 0, 0x0c, 1}},
		{"out of the function", []byte{0x41, 3, 0x21, 0, 0x0c, 2}, []byte{0x21, 0, 0x0c, 3}},
		{"in an if", []byte{0x41, 0, 0x04, 0x40, 0x41, 2, 0x21, 0, 0x0c, 3, 0x0b}, []byte{0x21, 0, 0x0c, 2, 0x0b}},
		{"back", []byte{0x41, 0, 0x21, 0, 0x0c, 2}, []byte{0x41, 0, 0x21, 0, 0x0c, 2}},
		{"to the loop", []byte{0x41, 4, 0x21, 0, 0x0c, 2}, []byte{0x41, 4, 0x21, 0, 0x0c, 2}},
		{"another local", []byte{0x41, 2, 0x21, 1, 0x0c, 2}, []byte{0x41, 2, 0x21, 1, 0x0c, 2}},
		{"negative", []byte{0x41, 0x7f, 0x21, 0, 0x0c, 2}, []byte{0x41, 0x7f, 0x21, 0, 0x0c, 2}},
		{"not a constant", []byte{0x41, 2, 0x45, 0x21, 0, 0x0c, 2}, []byte{0x45, 0x21, 0, 0x0c, 2}},
		{"something between", []byte{0x41, 2, 0x21, 0, 0x01, 0x0c, 2}, []byte{0x21, 0, 0x01, 0x0c, 2}},
		{"another block in the place of the destination", []byte{0x02, 0x40, 0x41, 0, 0x21, 0, 0x0c, 3, 0x0b}, []byte{0x21, 0, 0x0c, 3, 0x0b}},
		{"back, out of a block", []byte{0x02, 0x40, 0x41, 1, 0x21, 0, 0x0c, 3, 0x0b}, []byte{0x21, 0, 0x0c, 1, 0x0b}},
	} {
		t.Run(row.name, func(t *testing.T) {
			called := body(0, 0x10, 0, 0x0b) // so that no function is free
			code := slices.Concat(head, []byte{0x10, 1}, row.code, []byte{0x0b, 0x00, 0x0b, 0x0b, 0x0b})
			out, _ := rewritten(t, program(body(code...), called))
			if !bytes.Contains(out, row.want) {
				t.Errorf("% x\nis not in\n% x", row.want, out)
			}
			if _, err := newHost(t, &meter{}).CompileModule(t.Context(), out); err != nil {
				t.Error(err)
			}
		})
	}
}
