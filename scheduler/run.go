package scheduler

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

const (
	maxRun    = 64                     // deliveries in one run, and as many that have expired
	runLength = 500 * time.Microsecond // of handler time in one run, as far as it can be foreseen
	overrun   = 4 * runLength          // after which what a run has not begun is there for others
)

// run is what a worker does between two visits to the queue: deliveries of one trigger and strand, in order, one after the other.
//
// Whoever begins a delivery claims it: the worker itself one after the other, without the queue's lock, and whoever takes back the rest, under
// it, all that is left. So each is begun or taken back, never both.
type run struct {
	trigger  *triggerQueue
	strand   *strand
	messages []*Message
	claimed  atomic.Int32  // how many are begun; taken where the rest was taken back
	charged  time.Duration // in advance
	expired  []*Message    // those that had waited too long; not part of the run
	began    time.Time
	probe    bool // of a component whose breaker is half-open

	// What the worker did, for done: written by it before it takes the lock.
	begun    int
	took     time.Duration
	timedOut bool // the last one; a time-out ends its run

	in         *runs
	prev, next *run
	generation *generation
}

const taken = maxRun + 1 // above every index

// claim returns the next delivery to begin, or nil.
func (r *run) claim() *Message {
	i := int(r.claimed.Add(1)) - 1
	if i >= len(r.messages) {
		return nil
	}
	r.begun = i + 1
	return r.messages[i]
}

// rest claims all that is not begun. The caller holds the queue's lock.
func (r *run) rest() []*Message {
	return r.messages[min(int(r.claimed.Swap(taken)), len(r.messages)):]
}

// runs is a list of those on their way, in the order in which they began.
type runs struct {
	first, last *run
	several     int // of more than one delivery
}

func (l *runs) add(r *run) {
	if r.in, r.prev, r.next = l, l.last, nil; l.last == nil {
		l.first = r
	} else {
		l.last.next = r
	}
	l.last = r
	if len(r.messages) > 1 {
		l.several++
	}
}

func (l *runs) remove(r *run) {
	if r.prev == nil {
		l.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		l.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.in, r.prev, r.next = nil, nil, nil
	if len(r.messages) > 1 {
		l.several--
	}
}

// next fills r with the run whose turn it is, for a slot that the caller holds. It returns false when nothing may run.
func (q *queue) next(r *run, now time.Time) bool {
	r.trigger, r.strand, r.messages, r.expired = nil, nil, r.messages[:0], r.expired[:0]
	if first := q.runs.first; first != nil && now.Sub(first.began) > overrun {
		q.overdue(now)
	}
	tenant := q.tenants.pick(q.mayLend())
	for tenant != nil && !tenant.turn.held && tenant.running >= q.soft(tenant) { // another one's work has come since it was seated
		q.tenants.hold(&tenant.turn, true)
		tenant = q.tenants.pick(q.mayLend())
	}
	if tenant == nil {
		return false
	}
	t := tenant.triggers.pick(false)
	n := 1 // of an unknown handler: it may be slow, and others can take what is left
	if t.estimate > 0 {
		n = int(min(max(runLength/t.estimate, 1), maxRun))
	}
	if r.probe = t.breaker.state == BreakerHalfOpen; r.probe {
		n = 1
		t.breaker.probing = true
	}
	r.trigger, r.strand, r.began = t, t.source(), now
	for r.strand.n > 0 && len(r.messages) < n && len(r.expired) < maxRun {
		m := q.take(t, r.strand)
		if t.limits.maxWait > 0 && now.Sub(m.Received) > t.limits.maxWait {
			r.expired = append(r.expired, m)
			continue
		}
		r.messages = append(r.messages, m)
	}
	if t.spill != nil {
		q.refill(t)
	}
	tenant.account.Begin(len(r.messages) + len(r.expired))
	t.leave(r.strand)
	r.claimed.Store(0)
	r.begun, r.took, r.timedOut = 0, 0, false
	r.charged = time.Duration(len(r.messages)) * t.estimate
	if t.estimate == 0 {
		r.charged = quantum
	}
	t.turn.charge(r.charged)
	tenant.turn.charge(r.charged)
	t.running++
	tenant.running++
	q.runs.add(r)
	q.join(r)
	if r.probe {
		q.settleAll(t.breaker, now)
	} else {
		q.settle(t, now)
	}
	return true
}

// overdue takes back what runs that have lasted too long have not begun, so that others find it: their handler turned slow, or hangs.
func (q *queue) overdue(now time.Time) {
	for r := q.runs.first; r != nil && now.Sub(r.began) > overrun; r = q.runs.first {
		q.runs.remove(r)
		q.late.add(r)
		q.takeBack(r, now)
	}
}

// takeBack cuts a run short: what it has not begun goes back before all that waits in its strand, in its order. It was admitted, so it is put
// there even if newer deliveries have filled the queue meanwhile. Where one at a time is asked for, it waits there for the run's end.
func (q *queue) takeBack(r *run, now time.Time) {
	left := r.rest()
	if len(left) == 0 {
		return
	}
	t := r.trigger
	for _, m := range slices.Backward(left) {
		r.strand.pushFront(m)
		t.tenant.bytes += m.cost()
	}
	t.waiting += len(left)
	t.tenant.count += len(left)
	q.waiting += len(left)
	t.tenant.account.Begin(-len(left))
	q.settle(t, now)
}

// recall takes back what all runs of a trigger have not begun. There are as many runs as slots at most.
func (q *queue) recall(t *triggerQueue, now time.Time) {
	for _, list := range []*runs{&q.runs, &q.late} {
		for r := list.last; r != nil; r = r.prev { // the youngest first, so that the oldest one's rest comes to stand before all others
			if r.trigger == t {
				q.takeBack(r, now)
			}
		}
	}
}

// done ends a run, correcting what was charged in advance. What it has not begun waits again.
func (q *queue) done(r *run, now time.Time) {
	t := r.trigger
	q.takeBack(r, now)
	r.in.remove(r)
	r.generation.leave()
	if r.begun > 0 {
		each := max(r.took/time.Duration(r.begun), time.Nanosecond)
		if t.estimate == 0 {
			t.estimate = each
		} else {
			t.estimate += (each - t.estimate) / 8
		}
		t.estimate = max(t.estimate, time.Nanosecond)
	}
	t.turn.charge(r.took - r.charged)
	t.tenant.turn.charge(r.took - r.charged)
	t.running--
	t.tenant.running--
	t.back(r.strand)
	if q.stopping && r.begun > 0 {
		q.unfinishedOf(t).Cancelled++
	}
	q.judge(r, now)
	q.settle(t, now)
}

// empty takes everything of a trigger that has not begun. What is spilled of it the spiller drops.
func (q *queue) empty(t *triggerQueue, why tenants.Reason, into []arrival, now time.Time) []arrival {
	q.recall(t, now)
	n := 0
	for l := t.oldest(); l != nil; l = t.oldest() {
		into = append(into, arrival{trigger: t, message: q.take(t, l), outcome: tenants.Dropped, reason: why})
		n++
	}
	t.tenant.account.Begin(n)
	q.settle(t, now)
	if t.spill != nil {
		q.spiller.list(t)
	}
	return into
}
