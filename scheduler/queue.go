package scheduler

import (
	"sync"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// queue keeps the deliveries that wait. All of it lies under one lock, which is taken once for each read of a socket and once for each run
// of a worker, never for each message, and never during a call out of this package.
type queue struct {
	mu      sync.Mutex
	tenants round[tenantQueue] // those with a trigger that may run
	slots   int                // all
	busy    int                // taken by workers
	waiting int                // deliveries in all triggers
	flying  int                // deliveries in runs
	shared  bool               // more than one tenant is registered
}

// tenantQueue is one tenant's share: its bounds, its account, and the round of its triggers.
type tenantQueue struct {
	id       tenants.ID
	policy   tenants.Policy
	account  *telemetry.Account
	turn     member[tenantQueue]
	triggers round[triggerQueue] // those with work that may run
	members  int                 // triggers registered
	running  int                 // slots taken
	count    int                 // deliveries waiting
	bytes    int64               // what they cost
	flying   int                 // deliveries in runs
	tokens   float64             // of the rate's bucket
	filled   time.Time           // when tokens was last brought up to date
}

// triggerQueue is what waits for one trigger, in order of arrival.
type triggerQueue struct {
	Trigger
	tenant   *tenantQueue
	turn     member[triggerQueue]
	waiting  ring
	running  int           // runs, each of which handles one delivery at a time
	estimate time.Duration // of one handler call, a moving average; 0 before the first
	removed  bool
}

func newTriggerQueue(t Trigger, tenant *tenantQueue) *triggerQueue {
	t.Limits = t.Limits.WithDefaults()
	q := &triggerQueue{Trigger: t, tenant: tenant}
	q.turn = member[triggerQueue]{owner: q, weight: 1}
	return q
}

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
	if t.waiting.n > 0 && t.running < t.Limits.Concurrency {
		tenant.triggers.add(&t.turn, now)
	} else {
		tenant.triggers.remove(&t.turn, now)
	}
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
	maxRun    = 64                     // deliveries in one run
	runLength = 500 * time.Microsecond // of handler time in one run, as far as it can be foreseen
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
	for t.waiting.n > 0 && len(r.messages) < n {
		m := q.take(t)
		if t.Limits.MaxWait > 0 && now.Sub(m.Received) > t.Limits.MaxWait {
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
	flying := len(r.messages) + len(r.expired)
	tenant.flying += flying
	q.flying += flying
	q.settle(t, now)
	return true
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
	flying := len(r.messages) + len(r.expired)
	t.tenant.flying -= flying
	q.flying -= flying
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
		grown := make([]*Message, max(2*len(r.items), 8))
		for i := range r.n {
			grown[i] = r.items[(r.head+i)&(len(r.items)-1)]
		}
		r.items, r.head = grown, 0
	}
	r.items[(r.head+r.n)&(len(r.items)-1)] = m
	r.n++
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
