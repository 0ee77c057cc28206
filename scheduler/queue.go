package scheduler

import (
	"cmp"
	"sync"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// queue keeps the deliveries that wait. All of it lies under one lock, which is taken once for each read of a socket and once for each run
// of a worker, never for each message, and never during a call out of this package.
//
// A tenant that has its share of the slots is held in the round of tenants: it gets more when everybody else who waits is held, too, and
// enough slots stay free for those who may come.
type queue struct {
	mu       sync.Mutex
	tenants  round[tenantQueue]
	slots    int  // all
	busy     int  // taken by workers
	waiting  int  // deliveries in all triggers
	spilled  int  // deliveries beyond those, on disk or on the way there or back
	shared   bool // more than one tenant is registered
	stopping bool // what waited was dropped, and nothing may wait any more
	runs     runs // on their way
	late     runs // of those that have lasted too long: nothing is left of them but the delivery that they are at
	weight   int  // of the tenants that have work

	spiller *spiller // nil where nothing is spilled

	generation *generation   // of the runs that begin now; nil before the first
	older      []*generation // those that Settle waits for

	unfinished map[*triggerQueue]*Unfinished // while stopping

	later func(d time.Duration, f func(now time.Time)) *time.Timer // calls f under the lock; nil where nothing needs it
}

// tenantQueue is one tenant's share: its bounds, its account, and the round of its triggers.
type tenantQueue struct {
	id       tenants.ID
	apps     []appTriggers // under Scheduler.mu; all that follows under the queue's lock
	policy   policy
	account  *telemetry.Account
	turn     member[tenantQueue]
	triggers round[triggerQueue] // those with work that may run
	active   bool                // its weight is counted in the queue's
	members  int                 // triggers registered
	running  int                 // slots taken
	count    int                 // deliveries waiting
	bytes    int64               // what they cost
	spilled  spilled             // beyond those
	tokens   float64             // of the rate's bucket
	filled   time.Time           // when tokens was last brought up to date
}

// policy is what the queue looks at of a tenants.Policy, under its names there. It is kept for each tenant, so the rest is left out.
type policy struct {
	concurrency, count, burst, breakAfter int
	bytes, spillBytes, spillTotal         int64
	rate                                  float64
}

func policyOf(p *tenants.Policy) policy {
	return policy{
		concurrency: p.Concurrency, count: p.QueueCount, bytes: p.QueueBytes, rate: p.Rate, burst: p.Burst, breakAfter: p.BreakAfter,
		spillBytes: max(cmp.Or(p.SpillBytes, tenants.DefaultSpillBytes), 0), spillTotal: max(cmp.Or(p.SpillTotal, tenants.DefaultSpillTotal), 0),
	}
}

func newTenantQueue(id tenants.ID, p tenants.Policy, account *telemetry.Account) *tenantQueue {
	q := &tenantQueue{id: id, policy: policyOf(&p), account: account}
	q.turn = member[tenantQueue]{owner: q, weight: time.Duration(max(p.Weight, 1))}
	return q
}

// soft is how many slots a tenant may take while others wait: half of them. One that outweighs all others that have work together was promised
// more than half: it may take all but the reserve, and the round keeps it to its weight.
func (q *queue) soft(t *tenantQueue) int {
	half, weight := max(q.slots/2, 1), int(t.turn.weight)
	switch {
	case !q.shared:
		return q.slots
	case 2*weight > q.weight && weight < q.weight:
		return max(half, q.slots-q.reserve())
	}
	return half
}

// reserve is how many slots stay free for whoever comes next: a handler that has begun is never taken back, and nobody should wait for one.
func (q *queue) reserve() int { return max(q.slots/4, 1) }

// hard is how many slots a tenant may ever take.
func (q *queue) hard(t *tenantQueue) int {
	if t.policy.concurrency > 0 {
		return min(t.policy.concurrency, q.slots)
	}
	return q.slots
}

// mayLend tells whether a slot that the caller holds may go to a tenant that has its share already.
func (q *queue) mayLend() bool { return q.slots-q.busy >= q.reserve() }

// ready tells whether one slot more would find work.
func (q *queue) ready() bool {
	if q.busy == q.slots {
		return false
	}
	q.busy++
	lend := q.mayLend()
	q.busy--
	return q.tenants.n > q.tenants.held || q.tenants.n > 0 && lend
}

// settle brings a trigger and its tenant into their rounds, or out of them, after something about them changed.
func (q *queue) settle(t *triggerQueue, now time.Time) {
	tenant := t.tenant
	if t.running < t.limits.concurrency && t.breaker.lets() && t.source() != nil {
		tenant.triggers.add(&t.turn, now)
	} else {
		tenant.triggers.remove(&t.turn, now)
	}
	q.seat(tenant, now)
}

// seat brings a tenant into its round, or out of it.
func (q *queue) seat(t *tenantQueue, now time.Time) {
	if active := t.triggers.n > 0 || t.running > 0; active != t.active {
		t.active = active
		if active {
			q.weight += int(t.turn.weight)
		} else {
			q.weight -= int(t.turn.weight)
		}
	}
	if t.triggers.n == 0 || t.running >= q.hard(t) {
		q.tenants.remove(&t.turn, now)
		return
	}
	q.tenants.add(&t.turn, now)
	q.tenants.hold(&t.turn, t.running >= q.soft(t))
}

// weigh changes a tenant's weight.
func (q *queue) weigh(t *tenantQueue, weight int) {
	if t.active {
		q.weight += weight - int(t.turn.weight)
	}
	t.turn.weight = time.Duration(weight)
}

// put appends a delivery that was admitted.
func (q *queue) put(a arrival, now time.Time) {
	t, l := a.trigger, &a.trigger.main
	if t.strands != nil {
		l = t.strands.of(a.key)
	}
	l.push(a.message)
	if t.strands != nil {
		t.strands.open(l)
	}
	t.waiting++
	t.tenant.count++
	t.tenant.bytes += a.message.cost()
	q.waiting++
	if t.turn.next == nil || t.tenant.turn.next == nil { // else more work changes nothing
		q.settle(t, now)
	}
}

// take removes the oldest delivery of a strand from what waits.
func (q *queue) take(t *triggerQueue, l *strand) *Message {
	m := l.pop()
	t.waiting--
	t.tenant.count--
	t.tenant.bytes -= m.cost()
	q.waiting--
	return m
}
