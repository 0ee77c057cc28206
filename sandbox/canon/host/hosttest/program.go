package hosttest

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// A program is a list of calls for fuzzing: the function as a u16, then core values in a form of two bytes each, which make most of them handles
// that exist, addresses in the memory and small numbers.

// most is how many calls of a program are made.
const most = 24

// Seed gives a fuzz target a program for each function, and one that makes one thing of all that can be made first.
func Seed(f *testing.F, interfaces ...host.Interface) {
	n := len(New(f, interfaces...).sorted())
	for i := range n {
		program := binary.LittleEndian.AppendUint16(nil, uint16(i))
		f.Add(append(program, 1, 0, 2, 0, 1, 0, 64, 2, 8, 0))
	}
}

func (g *Guest) sorted() []*Import {
	all := g.Imports()
	slices.SortFunc(all, func(a, b *Import) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Run runs a program. A call that ends the guest ends it; anything but a Trap, an error that the host means to throw, fails the test.
func Run(ctx context.Context, t *testing.T, g *Guest, program []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond) // of those that wait for ever
	defer cancel()
	for i := range g.memory[:1024] {
		g.memory[i] = byte(i * 7)
	}
	g.next = 4096
	all := g.sorted()
	next := func() uint64 {
		var b [2]byte
		n := copy(b[:], program)
		program = program[n:]
		v := uint64(b[0])
		switch b[1] & 7 {
		case 0, 1:
			return v
		case 2:
			return v * 8
		case 3:
			return uint64(g.next) - v
		case 4:
			return uint64(len(g.memory)) - v
		case 5:
			return v << (b[1] >> 2)
		case 6:
			return -v
		}
		return v * 0x0101010101010101
	}
	for range most {
		if len(program) < 2 {
			return
		}
		imp := all[int(binary.LittleEndian.Uint16(program))%len(all)]
		program = program[2:]
		sig := imp.Type.Lowered(false)
		flat := make([]uint64, len(sig.Params))
		for i := range flat {
			flat[i] = next()
		}
		err := g.Raw(ctx, imp, flat)
		if misuse := (*canon.Misuse)(nil); errors.As(err, &misuse) {
			t.Fatalf("%s %s: %v", imp.Interface, imp.Name, err)
		}
	}
}
