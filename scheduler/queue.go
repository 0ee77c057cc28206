package scheduler

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// queue keeps the deliveries that wait. All of it lies under one lock, which is taken once for each read of a socket and once for each run
// of a worker, never for each message, and never during a call out of this package.
type queue struct {
	mu       sync.Mutex
	tenants  round[tenantQueue] // those with a trigger that may run
	slots    int                // all
	busy     int                // taken by workers
	waiting  int                // deliveries in all triggers
	shared   bool               // more than one tenant is registered
	stopping bool               // what waited was dropped, and nothing may wait any more
}

// tenantQueue is one tenant's share: its bounds, its account, and the round of its triggers.
type tenantQueue struct {
	id       tenants.ID
	apps     []appTriggers // under Scheduler.mu; all that follows under the queue's lock
	policy   tenants.Policy
	account  *telemetry.Account
	turn     member[tenantQueue]
	triggers round[triggerQueue] // those with work that may run
	members  int                 // triggers registered
	running  int                 // slots taken
	count    int                 // deliveries waiting
	bytes    int64               // what they cost
	flying   atomic.Int64        // deliveries in runs that have not ended; grows under the queue's lock alone
	tokens   float64             // of the rate's bucket
	filled   time.Time           // when tokens was last brought up to date
}

// appTriggers are an application's triggers, in the order of its last Apply.
type appTriggers struct {
	name     tenants.AppName
	triggers []*triggerQueue
}

func (t *tenantQueue) triggersOf(app tenants.AppName) []*triggerQueue {
	for _, a := range t.apps {
		if a.name == app {
			return a.triggers
		}
	}
	return nil
}

func (t *tenantQueue) setTriggers(app tenants.AppName, triggers []*triggerQueue) {
	i := slices.IndexFunc(t.apps, func(a appTriggers) bool { return a.name == app })
	switch {
	case len(triggers) == 0 && i >= 0:
		t.apps = slices.Delete(t.apps, i, i+1)
	case i >= 0:
		t.apps[i].triggers = triggers
	case len(triggers) > 0:
		t.apps = append(slices.Clip(t.apps), appTriggers{app, triggers})
	}
}

// version is a trigger and what runs it, immutable.
type version struct {
	public  *tenants.Trigger // apart, because deliveries and records may outlive the trigger and must not keep its Invoker alive
	invoker Invoker
}

func newVersion(t Trigger) *version {
	t.Limits = t.Limits.WithDefaults()
	return &version{public: new(t.Trigger), invoker: t.Invoker}
}

// same tells whether v is what w is.
func (v *version) same(w *version) bool { return *v.public == *w.public && v.invoker == w.invoker }

// triggerQueue is the place of a trigger in its application: what waits for it, in order of arrival. Versions of the application come and go
// in it.
type triggerQueue struct {
	version  atomic.Pointer[version] // looked at for each message, without the lock; never nil, and all have one endpoint and target
	tenant   *tenantQueue
	limits   limits
	turn     member[triggerQueue]
	waiting  ring
	running  int           // runs, each of which handles one delivery at a time
	estimate time.Duration // of one handler call, a moving average; 0 before the first
	removed  bool
}

// limits are what the queue itself looks at of a version's.
type limits struct {
	concurrency int
	maxWait     time.Duration
	overflow    tenants.Overflow
}

func newTriggerQueue(v *version, tenant *tenantQueue) *triggerQueue {
	q := &triggerQueue{tenant: tenant}
	q.turn = member[triggerQueue]{owner: q, weight: 1}
	q.run(v)
	return q
}

// run makes v what handles the deliveries from the next one on. Nothing is known of its handler yet.
func (t *triggerQueue) run(v *version) {
	l := v.public.Limits
	t.limits = limits{concurrency: l.Concurrency, maxWait: l.MaxWait, overflow: l.Overflow}
	t.estimate = 0
	t.version.Store(v)
}

func (t *triggerQueue) target() tenants.Target { return t.version.Load().public.Target }

func newTenantQueue(id tenants.ID, policy tenants.Policy, account *telemetry.Account) *tenantQueue {
	q := &tenantQueue{id: id, policy: policy, account: account}
	q.turn = member[tenantQueue]{owner: q, weight: time.Duration(max(policy.Weight, 1))}
	return q
}

// cap is how many slots a tenant may hold: what its policy says, else half of all where several tenants share them.
func (q *queue) cap(t *tenantQueue) int {
	switch {
	case t.policy.Concurrency > 0:
		return min(t.policy.Concurrency, q.slots)
	case q.shared:
		return max(q.slots/2, 1)
	}
	return q.slots
}

// settle brings a trigger and its tenant into their rounds, or out of them, after something about them changed.
func (q *queue) settle(t *triggerQueue, now time.Time) {
	tenant := t.tenant
	if t.waiting.n > 0 && t.running < t.limits.concurrency {
		tenant.triggers.add(&t.turn, now)
	} else {
		tenant.triggers.remove(&t.turn, now)
	}
	q.seat(tenant, now)
}

// seat brings a tenant into the round of tenants, or out of it.
func (q *queue) seat(tenant *tenantQueue, now time.Time) {
	if tenant.triggers.n > 0 && tenant.running < q.cap(tenant) {
		q.tenants.add(&tenant.turn, now)
	} else {
		q.tenants.remove(&tenant.turn, now)
	}
}

// put appends a delivery that was admitted.
func (q *queue) put(t *triggerQueue, m *Message, now time.Time) {
	t.waiting.push(m)
	t.tenant.count++
	t.tenant.bytes += m.cost()
	q.waiting++
	q.settle(t, now)
}

// take removes the oldest delivery of a trigger from what waits.
func (q *queue) take(t *triggerQueue) *Message {
	m := t.waiting.pop()
	t.tenant.count--
	t.tenant.bytes -= m.cost()
	q.waiting--
	return m
}

const (
	maxRun    = 64                     // deliveries in one run, and as many that have expired
	runLength = 500 * time.Microsecond // of handler time in one run, as far as it can be foreseen
	overrun   = 4 * runLength          // of handler time after which a run gives back what it has not begun
)

// run is what a worker does between two visits to the queue: deliveries of one trigger, in order, one after the other.
type run struct {
	trigger  *triggerQueue
	messages []*Message
	charged  time.Duration // in advance
	expired  []*Message    // those that had waited too long; not part of the run
}

// next fills r with the run whose turn it is, for a slot that the caller holds. It returns false when nothing may run.
func (q *queue) next(r *run, now time.Time) bool {
	r.trigger, r.messages, r.expired = nil, r.messages[:0], r.expired[:0]
	tenant := q.tenants.pick()
	if tenant == nil {
		return false
	}
	t := tenant.triggers.pick()
	n := 1 // of an unknown handler: it may be slow, and others can take what is left
	if t.estimate > 0 {
		n = int(min(max(runLength/t.estimate, 1), maxRun))
	}
	for t.waiting.n > 0 && len(r.messages) < n && len(r.expired) < maxRun {
		m := q.take(t)
		if t.limits.maxWait > 0 && now.Sub(m.Received) > t.limits.maxWait {
			r.expired = append(r.expired, m)
			continue
		}
		r.messages = append(r.messages, m)
	}
	r.trigger = t
	r.charged = time.Duration(len(r.messages)) * t.estimate
	if t.estimate == 0 {
		r.charged = quantum
	}
	t.turn.charge(r.charged)
	tenant.turn.charge(r.charged)
	t.running++
	tenant.running++
	tenant.flying.Add(int64(len(r.messages) + len(r.expired)))
	q.settle(t, now)
	return true
}

// landed counts a delivery of a run that has ended.
func (t *tenantQueue) landed() { t.flying.Add(-1) }

// giveBack cuts a run short: what it has not begun, from its i-th delivery on, goes back before all that waits, in its order. It was admitted,
// so it is put there even if newer deliveries have filled the queue meanwhile. Where nothing may wait any more it says why, and the deliveries
// remain the caller's to end.
func (q *queue) giveBack(r *run, i int, now time.Time) tenants.Reason {
	t, left := r.trigger, r.messages[i:]
	r.messages = r.messages[:i]
	switch {
	case q.stopping:
		return tenants.Stopping
	case t.removed:
		return tenants.Removed
	}
	for _, m := range slices.Backward(left) {
		t.waiting.pushFront(m)
		t.tenant.count++
		t.tenant.bytes += m.cost()
	}
	q.waiting += len(left)
	t.tenant.flying.Add(-int64(len(left)))
	q.settle(t, now)
	return tenants.NoReason
}

// done ends a run that took so long, correcting what was charged in advance.
func (q *queue) done(r *run, took time.Duration, now time.Time) {
	t := r.trigger
	if n := len(r.messages); n > 0 {
		each := max(took/time.Duration(n), time.Nanosecond)
		if t.estimate == 0 {
			t.estimate = each
		} else {
			t.estimate += (each - t.estimate) / 8
		}
		t.estimate = max(t.estimate, time.Nanosecond)
	}
	t.turn.charge(took - r.charged)
	t.tenant.turn.charge(took - r.charged)
	t.running--
	t.tenant.running--
	q.settle(t, now)
}

// ring is a first-in first-out of messages. It grows by doubling up to what admission lets in and gives its memory back when it runs empty.
type ring struct {
	items   []*Message // length is a power of two, or 0
	head, n int
}

const keepRing = 64 // slots that an empty ring keeps

func (r *ring) push(m *Message) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.items[(r.head+r.n)&(len(r.items)-1)] = m
	r.n++
}

// pushFront makes m the oldest.
func (r *ring) pushFront(m *Message) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.head = (r.head - 1) & (len(r.items) - 1)
	r.items[r.head] = m
	r.n++
}

func (r *ring) grow() {
	grown := make([]*Message, max(2*len(r.items), 8))
	for i := range r.n {
		grown[i] = *r.at(i)
	}
	r.items, r.head = grown, 0
}

func (r *ring) pop() *Message {
	m := r.items[r.head]
	r.items[r.head] = nil
	r.head = (r.head + 1) & (len(r.items) - 1)
	if r.n--; r.n == 0 {
		if r.head = 0; len(r.items) > keepRing {
			r.items = nil
		}
	}
	return m
}

// at returns the i-th oldest.
func (r *ring) at(i int) **Message { return &r.items[(r.head+i)&(len(r.items)-1)] }
