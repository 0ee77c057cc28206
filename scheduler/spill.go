package scheduler

import (
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// spill is what a trigger with overflow "spill" has beyond its queue in memory:
//
//	arrivals ─► unwritten ─► the spiller writes ─► segments ─► the spiller reads ─► the queue in memory
//	                   └──────── where nothing is on disk ───────────────────────────┘
//
// As long as there is one, what arrives goes behind it, so the order of a trigger, and of each key, is that of arrival. It lies under the
// queue's lock but for what the spiller alone touches.
type spill struct {
	count     int   // deliveries: unwritten, on their way to the disk, on it, and on their way back
	bytes     int64 // their records
	unwritten []arrival
	cost      int64 // in memory, of what is unwritten or being written
	listed    bool  // the spiller will look at it

	disk     int // deliveries on disk; written by the spiller under the lock
	segments []*segment
	follows  map[tenants.MessageID]*Follow // of messages on disk whose end somebody waits for; as many as there are requests that wait
}

// Bounds of what comes back from disk at once: deliveries, and bytes of them beyond the first.
const (
	refillCount = 1024
	refillBytes = 1 << 20
)

// spill puts a behind what its trigger has spilled, or returns it with the reason why it cannot be.
func (q *queue) spill(a arrival, full tenants.Reason) (arrival, bool) {
	t, to := a.trigger, q.spiller
	if t.limits.overflow != tenants.Spill || to == nil {
		// A version that spills no more: its queue counts as full until what its predecessor spilled is handled.
		if full == tenants.NoReason {
			full = tenants.QueueFull
		}
		return refuse(a, tenants.Dropped, full)
	}
	if no := to.refuses(t, a.message); no != tenants.NoReason {
		return refuse(a, tenants.Dropped, no)
	}
	if t.spill == nil {
		t.spill = &spill{}
	}
	p, size, cost := t.spill, recordSize(a.message), a.message.cost()
	p.unwritten = append(p.unwritten, a)
	p.count++
	p.bytes += size
	p.cost += cost
	t.tenant.spilled.count++
	t.tenant.spilled.bytes += size
	t.tenant.spilled.cost += cost
	q.spilled++
	to.cost += cost
	to.list(t)
	return a, false
}

// spilled is a sum over the triggers of a tenant.
type spilled struct {
	count       int
	bytes, cost int64
}

// maxUnwritten bounds the messages that wait for the disk, in bytes of memory over all tenants. One tenant may have half of it.
const maxUnwritten = 32 << 20

// refuses tells why a message cannot be spilled.
func (s *spiller) refuses(t *triggerQueue, m *Message) tenants.Reason {
	size, cost, has := recordSize(m), m.cost(), int64(0)
	if t.spill != nil {
		has = t.spill.bytes
	}
	switch of := &t.tenant.spilled; {
	case has+size > t.tenant.policy.spillBytes:
		return tenants.SpillBytes
	case of.bytes+size > t.tenant.policy.spillTotal:
		return tenants.SpillTotal
	case s.cost+cost > maxUnwritten || of.cost+cost > maxUnwritten/2:
		return tenants.SpillBehind
	case !s.retry.IsZero() && time.Now().Before(s.retry):
		return tenants.SpillFailed
	}
	return tenants.NoReason
}

// share is how many deliveries of one trigger may wait in memory.
func (q *queue) share(t *tenantQueue) int {
	if t.members > 1 {
		return max(t.policy.count/2, 1)
	}
	return t.policy.count
}

// room is how many spilled deliveries of a trigger may come back to memory now, and how many bytes of them; 0 where it has enough there, or
// its tenant does, so that few come back at a time only where nothing else would go on. A trigger that has nothing in memory gets some
// whatever its tenant's others hold: as many as a run, but no more than half of its share.
func (q *queue) room(t *triggerQueue) (n int, bytes int64) {
	tenant, share := t.tenant, q.share(t.tenant)
	if t.waiting > min(share/2, 2*refillCount) {
		return 0, 0
	}
	least, leastBytes := min(max(share/2, 1), maxRun), min(tenant.policy.bytes/4, refillBytes/4)
	n = min(share-t.waiting, tenant.policy.count-tenant.count, refillCount)
	bytes = min(tenant.policy.bytes-tenant.bytes, refillBytes)
	switch {
	case n >= least && bytes >= leastBytes:
		return n, bytes
	case t.waiting > 0:
		return 0, 0
	}
	return min(max(n, 1), least), max(bytes, 1)
}

// gone tells why what a trigger has spilled is dropped, or NoReason.
func (q *queue) gone(t *triggerQueue) tenants.Reason {
	switch {
	case q.stopping:
		return tenants.Stopping
	case t.removed:
		return tenants.Removed
	}
	return tenants.NoReason
}

// refill has the spiller bring deliveries back, where there is room for them.
func (q *queue) refill(t *triggerQueue) {
	if n, _ := q.room(t); n > 0 || q.gone(t) != tenants.NoReason {
		q.spiller.list(t)
	}
}

// unspill takes deliveries off what a trigger has spilled: their records' bytes, and what others and they cost no longer in memory.
func (q *queue) unspill(t *triggerQueue, n int, bytes, cost int64) {
	p, of := t.spill, &t.tenant.spilled
	p.count -= n
	p.bytes -= bytes
	p.cost -= cost
	of.count -= n
	of.bytes -= bytes
	of.cost -= cost
	q.spiller.cost -= cost
	q.spilled -= n
}

// rekey brings a's key up to date where its trigger was deployed since it was made. The caller holds the queue's lock.
func (a *arrival) rekey() {
	if v := a.trigger.version.Load(); a.trigger.strands != nil && a.version != v {
		a.version, a.key = v, keyed(v.orderBy, a.message.Payload())
	}
}
