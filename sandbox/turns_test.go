package sandbox

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTurnsAreHeldByFewAndGivenToAll: never more than the bound compute at once, and everybody comes to an end.
func TestTurnsAreHeldByFewAndGivenToAll(t *testing.T) {
	turns := newTurns(2)
	var computing, most atomic.Int32
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			var one turn
			turns.begin(&one, time.Now())
			for range 20 * (i % 5) {
				if n := computing.Add(1); n > most.Load() {
					most.Store(n)
				}
				computing.Add(-1)
				switch i % 3 {
				case 0:
					turns.yield(&one)
				case 1:
					turns.leave(&one)
					turns.enter(&one)
				}
			}
			turns.leave(&one)
			turns.leave(&one) // gives up nothing twice
		})
	}
	all.Wait()
	if most.Load() > 2 || turns.free != 2 || turns.tired != 0 || len(turns.fresh)+len(turns.used) != 0 {
		t.Fatalf("%d computed at once, %d turns free, %d tired, %d wait", most.Load(), turns.free, turns.tired, len(turns.fresh)+len(turns.used))
	}
}

// TestFirstSlicesGoFirst: of those that wait, one at its first slice is served before those that have used one, and those are served too.
func TestFirstSlicesGoFirst(t *testing.T) {
	now := time.Unix(1000, 0)
	turns := newTurns(1)
	turns.free = 0
	for range 4 {
		turns.used = append(turns.used, waiting(true))
		turns.fresh = append(turns.fresh, waiting(false), waiting(false))
	}
	all := append(append([]*turn(nil), turns.fresh...), turns.used...)
	for i, want := range []bool{false, false, false, true, false, false, false, true, false, false, true, true} {
		turns.free = 1
		turns.serve(now)
		for _, one := range all {
			if one.held {
				if one.tired != want {
					t.Fatalf("turn %d went to a tired one: %v, want %v", i, one.tired, want)
				}
				turns.release(one)
			}
		}
	}
}

func waiting(tired bool) *turn { return &turn{tired: tired, ready: make(chan struct{}, 1)} }

// TestTiredLeaveOneProcessor while guests begin, and take all when none has for a while.
func TestTiredLeaveOneProcessor(t *testing.T) {
	now := time.Unix(1000, 0)
	turns := newTurns(4)
	turns.quick = now
	for range 6 {
		turns.used = append(turns.used, waiting(true))
	}
	turns.serve(now)
	if turns.tired != 3 || turns.free != 1 {
		t.Fatalf("tired guests hold %d turns beside quick ones, %d are free", turns.tired, turns.free)
	}
	turns.serve(now.Add(quickFor))
	if turns.tired != 4 || turns.free != 0 {
		t.Fatalf("tired guests hold %d turns alone, %d are free", turns.tired, turns.free)
	}
}
