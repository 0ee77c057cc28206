package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// work counts what a tenant's deliveries came to. It is apart from the Account so that tenants without deliveries cost little.
type work struct {
	ran         Histogram // of those that reached a handler
	waited      Histogram // of the same
	instances   [Instances]atomic.Int64
	redelivered atomic.Int64
	payload     atomic.Int64 // bytes
	calls       [Systems]atomic.Int64
	callsFailed atomic.Int64

	used atomic.Pointer[map[tenants.AppName]*usage] // immutable; replaced under mu when an app has its first delivery
	mu   sync.Mutex

	exemplars [buckets]atomic.Pointer[Exemplar] // of ran: the last that was traced
}

// usage counts for one application.
type usage struct {
	outcomes                       [tenants.Outcomes]atomic.Int64 // of all deliveries, those that reached no handler too
	invocations, ran, failed       atomic.Int64                   // ran in nanoseconds
	fuel                           atomic.Uint64
	held                           [2]atomic.Uint64 // page-nanoseconds of linear memory, low word first
	payload, sent, replied, called atomic.Int64
	archived                       [2]atomic.Int64 // buckets of what goes to the Archive: handled, and not
}

// Exemplar is one delivery that stands for a bucket.
type Exemplar struct {
	Trace TraceID
	Span  SpanID
	Value time.Duration
	At    time.Time
}

// start makes the work of an account.
func (a *Account) start() *work {
	w := &work{}
	w.used.Store(&map[tenants.AppName]*usage{})
	if a.work.CompareAndSwap(nil, w) {
		return w
	}
	return a.work.Load()
}

func (w *work) add(rec *Record) {
	if rec.Invocation == (tenants.InvocationID{}) {
		w.of(rec.Trigger.App).outcomes[rec.Outcome].Add(1)
		return
	}
	w.ran.Add(rec.Ran)
	w.waited.Add(rec.Waited)
	w.payload.Add(int64(rec.Bytes))
	w.instances[rec.Instance].Add(1)
	if rec.Attempt > 1 {
		w.redelivered.Add(1)
	}
	w.of(rec.Trigger.App).add(rec)
	if rec.CallsFailed > 0 {
		w.callsFailed.Add(int64(rec.CallsFailed))
	}
	for s, n := range rec.CallsMade {
		if n > 0 {
			w.calls[s].Add(int64(n))
		}
	}
}

// OtherApps is the application under which those are summed up that have no account of their own.
const OtherApps tenants.AppName = "_other"

// maxApps is how many applications of a tenant have accounts of their own while the process lasts; those that come later are OtherApps.
const maxApps = 1000

// of finds an application's usage.
func (w *work) of(app tenants.AppName) *usage {
	if u := (*w.used.Load())[app]; u != nil {
		return u
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all := *w.used.Load()
	if all[app] == nil && len(all) >= maxApps {
		app = OtherApps
	}
	u := all[app]
	if u == nil {
		u = &usage{}
		all = maps.Clone(all)
		all[app] = u
		w.used.Store(&all)
	}
	return u
}

func (u *usage) add(rec *Record) {
	u.outcomes[rec.Outcome].Add(1)
	u.invocations.Add(1)
	u.ran.Add(int64(rec.Ran))
	u.payload.Add(int64(rec.Bytes))
	if rec.Fuel > 0 {
		u.fuel.Add(rec.Fuel)
	}
	u.hold([2]uint64{pageNanos(rec.Memory, rec.Ran), 0})
	if rec.Outcome != tenants.Handled {
		u.failed.Add(1)
	}
	if n := rec.CallsMade[Redis] + rec.CallsMade[HTTP]; n > 0 {
		u.called.Add(int64(n))
		u.sent.Add(rec.Sent)
		u.replied.Add(rec.Replied)
	}
}

// page is what linear memory grows by, in bytes.
const page = 64 << 10

// pageNanos is the memory of one invocation over its time. In pages and nanoseconds one product fits a word; their sum does not for ever.
func pageNanos(memory uint64, ran time.Duration) uint64 { return (memory / page) * uint64(max(ran, 0)) }

// hold counts memory over time.
func (u *usage) hold(held [2]uint64) {
	if held[0] > 0 && u.held[0].Add(held[0]) < held[0] {
		held[1]++
	}
	if held[1] > 0 {
		u.held[1].Add(held[1])
	}
}

// Apps reads what each application's invocations came to since the process began.
func (a *Account) Apps() map[tenants.AppName]Used {
	all := map[tenants.AppName]Used{}
	if w := a.work.Load(); w != nil {
		for app, u := range *w.used.Load() {
			all[app] = u.read()
		}
	}
	return all
}

// total sums up all applications.
func (w *work) total() (sum Used) {
	for _, u := range *w.used.Load() {
		sum.Plus(u.read())
	}
	return sum
}

// exemplify keeps a delivery that is traced as the example of its bucket.
func (w *work) exemplify(rec *Record) {
	if rec.Invocation == (tenants.InvocationID{}) {
		return
	}
	w.exemplars[bucketOf(rec.Ran)].Store(&Exemplar{Trace: rec.Trace.ID, Span: rec.Trace.Span, Value: rec.Ran, At: rec.began().Add(rec.Ran)})
}
