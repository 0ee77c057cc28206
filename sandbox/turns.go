package sandbox

import (
	"sync"
	"time"
)

// turns lets as many guests compute at once as the process has processors. A guest has its turn while it computes; it gives it up while the
// host waits for something on its behalf, and at the end of a slice of fuel.
//
// Guests at their first slice go before those that have used one up ("tired"), so that a handler of microseconds never waits behind handlers
// of seconds; one turn in four goes to a tired guest all the same, so that none of them starves. While there are guests of the first kind,
// the tired ones leave one processor alone: with all of them taken by computing guests Go would look for network events once in 10 ms, and
// every message would wait for that.
type turns struct {
	processors int

	mu     sync.Mutex
	free   int
	tired  int       // turns held by tired guests
	quick  time.Time // when a guest last began
	fresh  []*turn   // waiting, first slice; as many as there are invocations at most
	used   []*turn   // waiting, tired; likewise
	served int       // turns given to fresh ones since a tired one that could have it got one
}

// turn is one invocation's place. All of it is guarded by turns.mu but held, which belongs to the invocation between ready and leave.
type turn struct {
	held  bool
	tired bool
	ready chan struct{} // capacity 1
}

const (
	quickFor = 20 * time.Millisecond // after a guest began others are expected to
	fairness = 3                     // turns for first slices for each that goes to a tired guest
)

func newTurns(processors int) *turns { return &turns{processors: processors, free: processors} }

// begin waits for the first turn of an invocation.
func (t *turns) begin(one *turn, now time.Time) {
	t.mu.Lock()
	one.tired, t.quick = false, now
	if t.free > 0 {
		t.free--
		one.held = true
		t.mu.Unlock()
		return
	}
	t.wait(one, now)
}

// enter waits for a turn, unless it is held already.
func (t *turns) enter(one *turn) {
	if one.held {
		return
	}
	t.mu.Lock()
	t.wait(one, time.Now())
}

// leave gives a turn up, if it is held.
func (t *turns) leave(one *turn) {
	if !one.held {
		return
	}
	t.mu.Lock()
	t.release(one)
	if len(t.fresh)+len(t.used) > 0 {
		t.serve(time.Now())
	}
	t.mu.Unlock()
}

// yield ends a slice: whoever waits has the turn, until it is this one's again.
func (t *turns) yield(one *turn) {
	t.mu.Lock()
	if one.held {
		t.release(one)
	}
	one.tired = true
	t.wait(one, time.Now())
}

func (t *turns) release(one *turn) {
	one.held = false
	t.free++
	if one.tired {
		t.tired--
	}
}

// wait queues, gives out what is free, and blocks until it was served. It is called with mu locked and unlocks it.
func (t *turns) wait(one *turn, now time.Time) {
	if one.ready == nil {
		one.ready = make(chan struct{}, 1)
	}
	if one.tired {
		t.used = append(t.used, one)
	} else {
		t.fresh = append(t.fresh, one)
	}
	t.serve(now)
	t.mu.Unlock()
	<-one.ready // comes: whoever has a turn ends its slice, and then serves
}

// serve gives free turns to those who wait.
func (t *turns) serve(now time.Time) {
	most := t.processors
	if most > 1 && now.Sub(t.quick) < quickFor {
		most--
	}
	for t.free > 0 {
		tiredMay := len(t.used) > 0 && t.tired < most
		var one *turn
		switch {
		case len(t.fresh) > 0 && !(tiredMay && t.served >= fairness):
			one, t.fresh = first(t.fresh)
			t.served++
		case tiredMay:
			one, t.used = first(t.used)
			t.tired++
			t.served = 0
		default:
			return
		}
		t.free--
		one.held = true
		one.ready <- struct{}{}
	}
}

func first(queue []*turn) (*turn, []*turn) {
	one := queue[0]
	copy(queue, queue[1:])
	return one, queue[:len(queue)-1]
}
