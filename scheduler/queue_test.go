package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// model is the queue as one would write it without thinking of cost: a list of names for each trigger.
type model struct {
	waiting map[*triggerQueue][]string
	running map[*triggerQueue]int
	bytes   map[*tenantQueue]int64
	over    map[*tenantQueue]int64 // bytes that runs have given back
	back    map[*run]bool          // runs whose rest was taken back
}

func (m *model) count(t *tenantQueue) (n int) {
	for q, names := range m.waiting {
		if q.tenant == t {
			n += len(names)
		}
	}
	return n
}

func (m *model) slots(t *tenantQueue) (n int) {
	for q, runs := range m.running {
		if q.tenant == t {
			n += runs
		}
	}
	return n
}

// queueOf is a trigger with a breaker of its own.
func queueOf(t Trigger, owner *tenantQueue) *triggerQueue {
	v, err := newVersion(t)
	if err != nil {
		panic(err)
	}
	q := newTriggerQueue(v, owner)
	new(breaker).join(q)
	return q
}

// end records what a run has begun.
func end(r *run) {
	for range r.begun {
		r.trigger.tenant.account.Record(&telemetry.Record{Trigger: &tenants.Trigger{}})
	}
}

func waitingMessage(name string, size int, at time.Time) *Message {
	return new(stock).newMessage(&frame{kind: 'p', channel: []byte(name), payload: make([]byte, size)}, "p", at, 1)
}

// TestQueueAgainstModel applies random operations to the queue and to the model and compares what both hold after each.
func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(1000, 0)
		q := &queue{slots: 1 + r.IntN(8), shared: true}
		m := &model{waiting: map[*triggerQueue][]string{}, running: map[*triggerQueue]int{}, bytes: map[*tenantQueue]int64{}, over: map[*tenantQueue]int64{}, back: map[*run]bool{}}
		var triggers []*triggerQueue
		for i := range 3 {
			policy := tenants.Policy{Weight: 1 + i, QueueCount: 4 + r.IntN(20), QueueBytes: 4000 + r.Int64N(4000)}
			owner := newTenantQueue(tenants.ID(fmt.Sprint("t", i)), policy, telemetry.New(1).Account("t"))
			for range 1 + r.IntN(3) {
				limits := tenants.Limits{Concurrency: 1 + r.IntN(3), Overflow: tenants.Overflow(r.IntN(3))}
				triggers = append(triggers, queueOf(Trigger{Trigger: tenants.Trigger{Limits: limits}}, owner))
				owner.members++
			}
		}
		var flying []*run
		for step := range 400 {
			now = now.Add(time.Duration(r.IntN(1000)) * time.Microsecond)
			switch r.IntN(3) {
			case 0:
				tq := triggers[r.IntN(len(triggers))]
				msg := waitingMessage(fmt.Sprintf("%d-%d", r.IntN(3), step), r.IntN(600), now)
				m.admit(t, q, tq, msg, now)
			case 1:
				one := new(run)
				if q.busy >= q.slots {
					continue
				}
				q.busy++
				q.overdue(now)
				for _, other := range flying {
					if now.Sub(other.began) > overrun {
						m.tookBack(other)
					}
				}
				if !q.next(one, now) {
					m.nothingMayRun(t, q, triggers)
					q.busy--
					continue
				}
				m.took(t, q, one, triggers)
				flying = append(flying, one)
			case 2:
				if len(flying) == 0 {
					continue
				}
				i := r.IntN(len(flying))
				one := flying[i]
				one.took = time.Duration(r.IntN(3000)) * time.Microsecond
				for range 1 + r.IntN(2*maxRun) {
					one.claim()
				}
				if r.IntN(2) == 0 { // by somebody else, before the end
					q.recall(one.trigger, now)
					for _, other := range slices.Backward(flying) {
						if other.trigger == one.trigger {
							m.tookBack(other)
						}
					}
				}
				m.tookBack(one)
				end(one)
				q.done(one, now)
				flying = slices.Delete(flying, i, i+1)
				q.busy--
				m.running[one.trigger]--
			}
			m.compare(t, q, triggers, flying)
		}
	}
}

// admit says what must become of a message, and holds the queue's answer against it.
func (m *model) admit(t *testing.T, q *queue, tq *triggerQueue, msg *Message, now time.Time) {
	t.Helper()
	policy, names := tq.tenant.policy, m.waiting[tq]
	share := policy.count
	if tq.tenant.members > 1 {
		share = max(share/2, 1)
	}
	fits := m.count(tq.tenant) < policy.count && len(names) < share && m.bytes[tq.tenant]+msg.cost() <= policy.bytes
	refused := q.admit([]arrival{{trigger: tq, message: msg}}, now)
	for range refused {
		tq.tenant.account.Record(&telemetry.Record{Trigger: &tenants.Trigger{}})
	}
	switch {
	case fits:
		if len(refused) > 0 {
			t.Fatalf("refused %v although it fits", refused[0].reason)
		}
		m.waiting[tq] = append(names, msg.Channel())
		m.bytes[tq.tenant] += msg.cost()
	case len(refused) != 1 || refused[0].outcome != tenants.Dropped:
		t.Fatalf("a full queue gave up %d deliveries, want 1 dropped", len(refused))
	case refused[0].message == msg:
		if reason := refused[0].reason; reason != tenants.QueueFull && reason != tenants.QueueBytes {
			t.Fatalf("refused the new one for %v", reason)
		}
	case refused[0].reason == tenants.Oldest:
		if len(names) == 0 || names[0] != refused[0].message.Channel() {
			t.Fatalf("gave up %s, not the oldest of %v", refused[0].message.Channel(), names)
		}
		m.waiting[tq] = append(slices.Clone(names[1:]), msg.Channel())
		m.bytes[tq.tenant] += msg.cost() - refused[0].message.cost()
	case refused[0].reason == tenants.Coalesced:
		t.Fatal("coalesced messages of different channels")
	}
}

// took: what waited longest, within all bounds; and more than half of the slots only where nobody else waits and a quarter stays free.
func (m *model) took(t *testing.T, q *queue, one *run, triggers []*triggerQueue) {
	t.Helper()
	tq := one.trigger
	for _, msg := range one.messages {
		if m.waiting[tq][0] != msg.Channel() {
			t.Fatalf("took %s, first is %s", msg.Channel(), m.waiting[tq][0])
		}
		m.waiting[tq] = m.waiting[tq][1:]
		m.bytes[tq.tenant] -= msg.cost()
	}
	m.running[tq]++
	if m.running[tq] > tq.limits.concurrency {
		t.Fatalf("%d runs of a trigger with concurrency %d", m.running[tq], tq.limits.concurrency)
	}
	if m.slots(tq.tenant) <= q.soft(tq.tenant) {
		return
	}
	if free := q.slots - q.busy; free < max(q.slots/4, 1) {
		t.Fatalf("a tenant holds %d of %d slots, and %d stay free", m.slots(tq.tenant), q.slots, free)
	}
	for _, other := range triggers {
		if other.tenant != tq.tenant && m.mayRun(q, other) {
			t.Fatalf("a tenant holds %d of %d slots while another waits", m.slots(tq.tenant), q.slots)
		}
	}
}

// mayRun tells whether a trigger has work that fits into its tenant's half.
func (m *model) mayRun(q *queue, tq *triggerQueue) bool {
	return len(m.waiting[tq]) > 0 && m.running[tq] < tq.limits.concurrency && m.slots(tq.tenant) < max(q.slots/2, 1)
}

// tookBack: what a run has not begun waits before all the others again, in its order.
func (m *model) tookBack(one *run) {
	if m.back[one] {
		return
	}
	m.back[one] = true
	var names []string
	for _, msg := range one.messages[min(one.begun, len(one.messages)):] {
		names = append(names, msg.Channel())
		m.bytes[one.trigger.tenant] += msg.cost()
		m.over[one.trigger.tenant] += msg.cost()
	}
	m.waiting[one.trigger] = append(names, m.waiting[one.trigger]...)
}

// nothingMayRun: the queue is work-conserving, but for the quarter of the slots.
func (m *model) nothingMayRun(t *testing.T, q *queue, triggers []*triggerQueue) {
	t.Helper()
	for _, tq := range triggers {
		lend := len(m.waiting[tq]) > 0 && m.running[tq] < tq.limits.concurrency && q.slots-q.busy >= max(q.slots/4, 1)
		if m.mayRun(q, tq) || lend {
			t.Fatal("a slot is free and work may run, but the queue gave none")
		}
	}
}

func (m *model) compare(t *testing.T, q *queue, triggers []*triggerQueue, flying []*run) {
	t.Helper()
	total, flies := 0, map[*tenantQueue]int64{}
	for _, tq := range triggers {
		if tq.waiting != len(m.waiting[tq]) {
			t.Fatalf("%d wait, want %d", tq.waiting, len(m.waiting[tq]))
		}
		total += tq.waiting
		if tq.tenant.count != m.count(tq.tenant) || tq.tenant.bytes != m.bytes[tq.tenant] {
			t.Fatalf("tenant holds %d, %d bytes; want %d, %d", tq.tenant.count, tq.tenant.bytes, m.count(tq.tenant), m.bytes[tq.tenant])
		}
	}
	for _, one := range flying {
		n := len(one.messages)
		if m.back[one] {
			n = min(n, one.begun)
		}
		flies[one.trigger.tenant] += int64(n)
	}
	for _, tq := range triggers {
		c := tq.tenant.account.Counts()
		if c.InFlight != flies[tq.tenant] || c.Queued != int64(tq.tenant.count) || c.Received != c.Ended()+c.Queued+c.InFlight {
			t.Fatalf("the account has %+v; %d wait and %d are in flight", c, tq.tenant.count, flies[tq.tenant])
		}
		if tq.tenant.bytes > tq.tenant.policy.bytes+m.over[tq.tenant] {
			t.Fatalf("%d bytes wait, the policy allows %d", tq.tenant.bytes, tq.tenant.policy.bytes)
		}
	}
	if q.waiting != total {
		t.Fatalf("queue says %d waiting, want %d", q.waiting, total)
	}
}

func TestCoalesceKeepsNewestOfEachChannel(t *testing.T) {
	now := time.Unix(1000, 0)
	q := &queue{slots: 1}
	owner := newTenantQueue("t", tenants.Policy{QueueCount: 3, QueueBytes: 1 << 20}, telemetry.New(1).Account("t"))
	owner.members = 1
	tq := queueOf(Trigger{Trigger: tenants.Trigger{Limits: tenants.Limits{Overflow: tenants.Coalesce}}}, owner)
	for i, channel := range []string{"a", "b", "c"} {
		if no := q.admit([]arrival{{trigger: tq, message: waitingMessage(channel, i, now)}}, now); len(no) > 0 {
			t.Fatalf("refused %s", channel)
		}
	}
	newest := waitingMessage("b", 9, now)
	no := q.admit([]arrival{{trigger: tq, message: newest}}, now)
	if len(no) != 1 || no[0].reason != tenants.Coalesced || no[0].message == newest {
		t.Fatalf("got %+v, want the older b coalesced", no)
	}
	if no := q.admit([]arrival{{trigger: tq, message: waitingMessage("d", 0, now)}}, now); len(no) != 1 || no[0].reason != tenants.QueueFull {
		t.Fatalf("got %+v, want d refused", no)
	}
	var got []string
	var r run
	for q.next(&r, now) {
		for m := r.claim(); m != nil; m = r.claim() {
			got = append(got, fmt.Sprint(m.Channel(), len(m.Payload())))
		}
		q.done(&r, now)
	}
	if want := []string{"a0", "b9", "c2"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// TestRemovedIsRefused: a reader that still had the old table comes after the trigger is gone.
func TestRemovedIsRefused(t *testing.T) {
	now := time.Unix(1000, 0)
	q := &queue{slots: 1}
	owner := newTenantQueue("t", tenants.DefaultPolicy(), telemetry.New(1).Account("t"))
	tq := queueOf(Trigger{}, owner)
	tq.removed = true
	no := q.admit([]arrival{{trigger: tq, message: waitingMessage("a", 0, now)}}, now)
	if len(no) != 1 || no[0].outcome != tenants.Dropped || no[0].reason != tenants.Removed || q.next(new(run), now) {
		t.Fatalf("got %+v, want the message refused as removed", no)
	}
}

func TestRate(t *testing.T) {
	now := time.Unix(1000, 0)
	owner := newTenantQueue("t", tenants.Policy{Rate: 10, Burst: 5}, telemetry.New(1).Account("t"))
	admitted := 0
	for range 1000 { // one second in steps of a millisecond, ten arrivals each
		for range 10 {
			if owner.token(now) {
				admitted++
			}
		}
		now = now.Add(time.Millisecond)
	}
	if admitted != 14 && admitted != 15 { // the burst, and ten for the second, less what has not filled yet
		t.Fatalf("admitted %d, want 5 + 10", admitted)
	}
}

// TestRateOfTwoReaders: reads of two endpoints come to the lock in another order than they were made; the rate is not refilled twice for it.
func TestRateOfTwoReaders(t *testing.T) {
	now := time.Unix(1000, 0)
	owner := newTenantQueue("t", tenants.Policy{Rate: 1000, Burst: 1}, telemetry.New(1).Account("t"))
	admitted := 0
	for range 100 { // one tenth of a second
		now = now.Add(time.Millisecond)
		for _, at := range []time.Time{now, now.Add(-time.Millisecond), now} {
			if owner.token(at) {
				admitted++
			}
		}
	}
	if admitted != 100 {
		t.Fatalf("admitted %d, want 100", admitted)
	}
}

func TestMaxWaitExpires(t *testing.T) {
	now := time.Unix(1000, 0)
	q := &queue{slots: 1}
	owner := newTenantQueue("t", tenants.DefaultPolicy(), telemetry.New(1).Account("t"))
	tq := queueOf(Trigger{Trigger: tenants.Trigger{Limits: tenants.Limits{MaxWait: time.Second}}}, owner)
	q.admit([]arrival{{trigger: tq, message: waitingMessage("old", 0, now)}, {trigger: tq, message: waitingMessage("new", 0, now.Add(time.Second))}}, now)
	var r run
	if !q.next(&r, now.Add(1500*time.Millisecond)) {
		t.Fatal("nothing to run")
	}
	if len(r.expired) != 1 || r.expired[0].Channel() != "old" || len(r.messages) != 1 || r.messages[0].Channel() != "new" {
		t.Fatalf("expired %d, running %d", len(r.expired), len(r.messages))
	}
}
