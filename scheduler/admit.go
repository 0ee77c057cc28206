package scheduler

import (
	"bytes"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// arrival is a delivery between routes and the queue.
type arrival struct {
	trigger *triggerQueue
	message *Message
	version *version        // that key is by
	key     uint64          // 0 for none
	outcome tenants.Outcome // of one that was refused
	reason  tenants.Reason
}

// admit decides over the arrivals of one read. It is the one place that says no before memory is spent: every refusal has an Outcome and,
// where it is a drop, a Reason. What it gave up appears in refused, which may reuse the arrivals' memory.
func (q *queue) admit(arrivals []arrival, now time.Time) (refused []arrival) {
	refused = arrivals[:0] // an arrival gives rise to one refusal at most, and is read before it is overwritten
	for i := 0; i < len(arrivals); {
		tenant, from, before := arrivals[i].trigger.tenant, i, len(refused)
		for ; i < len(arrivals) && arrivals[i].trigger.tenant == tenant; i++ {
			if no, is := q.decide(arrivals[i], now); is {
				refused = append(refused, no)
			}
		}
		tenant.account.Receive(i - from)
		tenant.account.Begin(len(refused) - before)
	}
	return refused
}

// decide puts a into the queue, or returns what has to go instead: a itself, or an older delivery that made room for it.
func (q *queue) decide(a arrival, now time.Time) (no arrival, is bool) {
	t, tenant := a.trigger, a.trigger.tenant
	switch {
	case q.stopping:
		return refuse(a, tenants.Dropped, tenants.Stopping)
	case t.removed:
		return refuse(a, tenants.Dropped, tenants.Removed)
	case t.breaker.refuses(t):
		return refuse(a, tenants.Dropped, tenants.BreakerOpen)
	case !tenant.token(now):
		return refuse(a, tenants.Throttled, tenants.NoReason)
	}
	a.rekey()
	full := q.full(t, a.message)
	if full == tenants.NoReason && t.spill == nil {
		q.put(a, now)
		return a, false
	}
	if t.spill != nil || t.limits.overflow == tenants.Spill {
		return q.spill(a, full)
	}
	switch t.limits.overflow {
	case tenants.DropOldest:
		return q.dropOldest(a, full, now)
	case tenants.Coalesce:
		return q.coalesce(a, full)
	}
	return refuse(a, tenants.Dropped, full)
}

func refuse(a arrival, o tenants.Outcome, r tenants.Reason) (arrival, bool) {
	a.outcome, a.reason = o, r
	return a, true
}

// full tells why a message does not fit. One trigger may fill half of its tenant's queue where the tenant has others, so that a slow
// component does not take the room of its neighbours.
func (q *queue) full(t *triggerQueue, m *Message) tenants.Reason {
	tenant := t.tenant
	switch {
	case tenant.count >= tenant.policy.count || t.waiting >= q.share(tenant):
		return tenants.QueueFull
	case tenant.bytes+m.cost() > tenant.policy.bytes:
		return tenants.QueueBytes
	}
	return tenants.NoReason
}

// dropOldest gives up the delivery of the same trigger that waited longest, if that makes room.
func (q *queue) dropOldest(a arrival, full tenants.Reason, now time.Time) (arrival, bool) {
	t := a.trigger
	l := t.oldest()
	if l == nil {
		return refuse(a, tenants.Dropped, full)
	}
	if !t.tenant.fits(*l.at(0), a.message) {
		return refuse(a, tenants.Dropped, tenants.QueueBytes)
	}
	old := q.take(t, l)
	q.put(a, now)
	return arrival{trigger: t, message: old, outcome: tenants.Dropped, reason: tenants.Oldest}, true
}

// coalesceDepth is how far back a full queue is searched for a waiting message of the same channel.
const coalesceDepth = 256

// coalesce puts the message in the place of the newest waiting one of the same channel and trigger; where keys order them, of the same strand.
func (q *queue) coalesce(a arrival, full tenants.Reason) (arrival, bool) {
	t, l := a.trigger, &a.trigger.main
	if t.strands != nil {
		l = t.strands.of(a.key)
	}
	for i := l.n - 1; i >= 0 && i >= l.n-coalesceDepth; i-- {
		place := l.at(i)
		old := *place
		if old.sameChannel(a.message) && t.tenant.fits(old, a.message) {
			t.tenant.bytes += a.message.cost() - old.cost()
			*place = a.message
			return arrival{trigger: t, message: old, outcome: tenants.Dropped, reason: tenants.Coalesced}, true
		}
	}
	return refuse(a, tenants.Dropped, full)
}

// fits tells whether the bytes allow a message in the place of another.
func (t *tenantQueue) fits(old, m *Message) bool {
	return t.bytes-old.cost()+m.cost() <= t.policy.bytes
}

func (m *Message) sameChannel(o *Message) bool {
	return bytes.Equal(m.buf[:m.at], o.buf[:o.at])
}

// token takes one from the tenant's bucket, which fills by Rate for each second up to Burst.
func (t *tenantQueue) token(now time.Time) bool {
	rate := t.policy.rate
	if rate <= 0 {
		return true
	}
	burst := float64(t.policy.burst)
	if burst <= 0 {
		burst = max(rate, 1)
	}
	if t.filled.IsZero() {
		t.tokens, t.filled = burst, now
	} else if since := now.Sub(t.filled); since > 0 { // readers of two endpoints may come in another order than their reads
		t.tokens, t.filled = min(burst, t.tokens+rate*since.Seconds()), now
	}
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}
