package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// BreakerState says whether a component's breaker lets deliveries through.
type BreakerState uint8

const (
	BreakerClosed   BreakerState = iota // all
	BreakerOpen                         // none: so many calls in a row have timed out that the next would, too
	BreakerHalfOpen                     // one, the probe: how it ends decides
)

var breakerNames = [...]string{"closed", "open", "half_open"}

func (s BreakerState) String() string {
	if int(s) < len(breakerNames) {
		return breakerNames[s]
	}
	return fmt.Sprintf("breaker(%d)", uint8(s))
}

// MarshalText gives the name.
func (s BreakerState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// How long an open breaker waits before its probe: the first time, and at most after doubling with each probe that timed out.
const (
	breakerBackoff    = time.Second
	maxBreakerBackoff = time.Minute
)

// breaker keeps a component whose handlers hang from holding slots until each of them times out. All triggers of the component in one version
// share it; a new version begins with a closed one. Under the queue's lock.
//
//	closed ── so many time-outs in a row ──► open ── backoff ──► half-open ── the probe ends otherwise ──► closed
//	                                          ▲                      │
//	                                          └─ twice the backoff ──┘ the probe times out
//
// While it is not closed, new deliveries are refused, except one for a probe where nothing waits. What was admitted before waits, and the
// probe is taken from it.
type breaker struct {
	members  []*triggerQueue
	state    BreakerState
	probing  bool      // half-open: the probe is on its way
	timeouts int       // in a row, while closed
	opened   int       // times in a row
	since    time.Time // of the state; zero before the first change
	until    time.Time // open: when the probe comes
	timer    *time.Timer
}

// lets tells whether a run may begin.
func (b *breaker) lets() bool {
	return b.state == BreakerClosed || b.state == BreakerHalfOpen && !b.probing
}

// refuses tells whether a new delivery of a member is refused.
func (b *breaker) refuses(t *triggerQueue) bool {
	return b.state == BreakerOpen || b.state == BreakerHalfOpen && (b.probing || t.waiting > 0)
}

// judge takes what a run says of its component.
func (q *queue) judge(r *run, now time.Time) {
	b, limit := r.trigger.breaker, r.trigger.tenant.policy.breakAfter
	switch {
	case limit == 0:
		limit = tenants.DefaultBreakAfter
	case limit < 0:
		return
	}
	if r.probe {
		b.probing = false
		switch {
		case b.state != BreakerHalfOpen || r.begun == 0:
			q.settleAll(b, now)
		case r.timedOut:
			q.open(b, now)
		default:
			b.timeouts, b.opened = 0, 0
			q.turn(b, BreakerClosed, now)
		}
		return
	}
	if b.state != BreakerClosed || r.begun == 0 {
		return // of a call from before; the probe decides
	}
	if !r.timedOut || r.begun > 1 {
		b.timeouts = 0
	}
	if r.timedOut {
		if b.timeouts++; b.timeouts >= limit {
			q.open(b, now)
		}
	}
}

// open lets nothing through until the backoff is over.
func (q *queue) open(b *breaker, now time.Time) {
	wait := min(breakerBackoff<<min(b.opened, 16), maxBreakerBackoff)
	b.opened++
	b.until = now.Add(wait)
	q.turn(b, BreakerOpen, now)
	if q.later != nil {
		b.timer = q.later(wait, func(now time.Time) { q.probe(b, now) })
	}
}

// probe lets one through, when it is time.
func (q *queue) probe(b *breaker, now time.Time) {
	if b.state == BreakerOpen {
		q.turn(b, BreakerHalfOpen, now)
	}
}

func (q *queue) turn(b *breaker, to BreakerState, now time.Time) {
	b.state, b.since = to, now
	q.settleAll(b, now)
}

// settleAll settles all members.
func (q *queue) settleAll(b *breaker, now time.Time) {
	for _, t := range b.members {
		q.settle(t, now)
	}
}

// join makes a trigger that has no breaker a member.
func (b *breaker) join(t *triggerQueue) {
	t.breaker = b
	b.members = append(b.members, t)
}

// forget lets go of a member, and of the timer with the last.
func (b *breaker) forget(t *triggerQueue) {
	b.members = slices.DeleteFunc(b.members, func(o *triggerQueue) bool { return o == t })
	if len(b.members) == 0 && b.timer != nil {
		b.timer.Stop()
	}
}
