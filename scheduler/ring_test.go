package scheduler

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRingAgainstSlice fills and empties several rings, which hand their slots on to each other, by random operations.
func TestRingAgainstSlice(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var rings [3]ring
	var want [len(rings)][]*Message
	for range 200 {
		k := random.IntN(len(rings))
		r, w, n := &rings[k], &want[k], random.IntN(1500)
		grow := random.IntN(2) == 0
		for range n {
			switch m := new(Message); {
			case !grow && r.n > 0:
				if r.pop() != (*w)[0] {
					t.Fatal("what comes out is not the oldest")
				}
				*w = (*w)[1:]
			case random.IntN(4) == 0:
				r.pushFront(m)
				*w = slices.Insert(*w, 0, m)
			default:
				r.push(m)
				*w = append(*w, m)
			}
		}
		for i, m := range *w {
			if *r.at(i) != m {
				t.Fatalf("at %d of %d is another message", i, r.n)
			}
		}
		kept := 0
		for _, m := range r.items {
			if m != nil {
				kept++
			}
		}
		if r.n != len(*w) || kept != r.n || r.n == 0 && len(r.items) > keepRing {
			t.Fatalf("%d messages, %d of them kept alive by %d slots; want %d", r.n, kept, len(r.items), len(*w))
		}
	}
}
