package telemetry

import (
	"math/bits"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Tally ends the deliveries of a run one after the other, and adds what they came to to their account together: where handlers take less
// than the accounts of all they did, that is most of the accounts' cost. One goroutine uses it; its zero value is ready.
//
// Outcomes are counted at once, so an Account adds up at any time. Handler time, memory, fuel and payload of quick handlers that did nothing
// else wait for the last of the run, and are there before it counts as ended.
type Tally struct {
	account     *Account // of what waits; nil where nothing does
	app         tenants.AppName
	n           int64
	ran, waited tallied
	instances   [Instances]int64
	payload     int64
	fuel        uint64
	held        [2]uint64 // as usage.held
}

// quick is how long a handler may take for what it came to to wait: the longest run of such handlers lasts some milliseconds.
const quick = 50 * time.Microsecond

// Record ends a Delivery as Account.Record does. more tells that the run has another, which begins at once.
func (t *Tally) Record(a *Account, rec *Record, more bool) {
	plain := rec.Outcome == tenants.Handled && rec.Ran <= quick && rec.Attempt <= 1 && rec.CallsMade == [Systems]int32{} && !rec.Awaited
	if t.account != nil && (t.account != a || t.app != rec.Trigger.App) {
		t.Flush()
	}
	switch {
	case plain && (more || t.account != nil):
		t.add(a, rec)
		if !more {
			t.Flush()
		}
		a.end(rec, a.working())
	default:
		t.Flush()
		a.Record(rec)
	}
}

func (t *Tally) add(a *Account, rec *Record) {
	t.account, t.app = a, rec.Trigger.App
	t.n++
	t.ran.add(rec.Ran)
	t.waited.add(rec.Waited)
	t.instances[rec.Instance]++
	t.payload += int64(rec.Bytes)
	t.fuel += rec.Fuel
	var carry uint64
	t.held[0], carry = bits.Add64(t.held[0], pageNanos(rec.Memory, rec.Ran), 0)
	t.held[1] += carry
}

// Flush adds what waits to its account. A run that ended before its last delivery is ended by it.
func (t *Tally) Flush() {
	if t.account == nil {
		return
	}
	w := t.account.working()
	t.ran.flush(&w.ran)
	t.waited.flush(&w.waited)
	w.payload.Add(t.payload)
	for i, n := range t.instances {
		if n > 0 {
			w.instances[i].Add(n)
		}
	}
	u := w.of(t.app)
	u.outcomes[tenants.Handled].Add(t.n)
	u.invocations.Add(t.n)
	u.ran.Add(int64(t.ran.sum))
	u.payload.Add(t.payload)
	u.fuel.Add(t.fuel)
	u.hold(t.held)
	*t = Tally{}
}

// tallied is what waits for a Histogram.
type tallied struct {
	counts [buckets]int64
	sum    time.Duration
}

func (t *tallied) add(d time.Duration) {
	t.counts[bucketOf(d)]++
	t.sum += d
}

func (t *tallied) flush(to *Histogram) {
	for i, n := range t.counts {
		if n > 0 {
			to.counts[i].Add(n)
		}
	}
	to.sum.Add(int64(t.sum))
}
