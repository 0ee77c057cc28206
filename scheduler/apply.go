package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// SetPolicy states what a tenant may take. It comes before the tenant's first Apply; later it holds from the next message on.
func (s *Scheduler) SetPolicy(id tenants.ID, p tenants.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.mu.Lock()
	t := s.tenants[id]
	if t == nil {
		t = newTenantQueue(id, p, s.config.Recorder.Account(id))
		s.tenants[id] = t
		s.queue.shared = len(s.tenants) > 1
	}
	t.policy = p
	t.turn.weight = time.Duration(max(p.Weight, 1))
	s.queue.seat(t, time.Now())
	w := s.wake()
	s.queue.mu.Unlock()
	s.submit(w)
}

// ErrUnknown is returned for a tenant without a policy and for a trigger whose endpoint was not added.
var ErrUnknown = errors.New("unknown")

// Apply makes triggers the whole set of an application's: new ones are subscribed, those that are gone are unsubscribed and what waits for
// them is dropped, and those that are equal keep their queue. No triggers removes the application.
//
// The table is swapped before new targets are asked for and before old ones are given up, so that a message always finds a trigger.
func (s *Scheduler) Apply(tenant tenants.ID, app tenants.AppName, triggers []Trigger) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner := s.tenants[tenant]
	if owner == nil {
		return fmt.Errorf("apply triggers: %w tenant %q", ErrUnknown, tenant)
	}
	for _, t := range triggers {
		if _, ok := s.index[t.Endpoint]; !ok {
			return fmt.Errorf("apply triggers: %w endpoint %q", ErrUnknown, t.Endpoint)
		}
	}
	key := appKey{tenant, app}
	old := s.apps[key]
	more := len(triggers) - len(old)
	var now []*triggerQueue
	var added []Trigger
	for _, t := range triggers {
		i := slices.IndexFunc(old, func(q *triggerQueue) bool { return q.same(t) })
		if i >= 0 {
			now = append(now, old[i])
			old = slices.Delete(slices.Clone(old), i, i+1)
			continue
		}
		now = append(now, newTriggerQueue(t, owner))
		added = append(added, t)
	}
	if s.apps[key] = now; len(now) == 0 {
		delete(s.apps, key)
	}
	s.swap()
	for _, t := range added {
		s.hub(t.Endpoint).Add(t.Target)
	}
	for _, q := range old {
		s.hub(q.Endpoint).Remove(q.Target)
	}
	s.retire(owner, old, more)
	return nil
}

// same tells whether a trigger is what runs already.
func (q *triggerQueue) same(t Trigger) bool {
	t.Limits = t.Limits.WithDefaults()
	return q.Trigger.Trigger == t.Trigger && q.Invoker == t.Invoker
}

func (s *Scheduler) hub(id tenants.EndpointID) *hub { return s.endpoints[s.index[id]].hub }

// swap publishes the table for what s.apps and s.taps hold.
func (s *Scheduler) swap() {
	var all []*triggerQueue
	for _, triggers := range s.apps {
		all = append(all, triggers...)
	}
	t := build(len(s.endpoints), all, s.taps, s.index)
	s.table.Store(t)
	s.follows.swapped(t)
}

// retire drops what waits for triggers that are gone. more is by how many its owner's triggers have grown.
func (s *Scheduler) retire(owner *tenantQueue, gone []*triggerQueue, more int) {
	now := time.Now()
	var dropped []arrival
	s.queue.mu.Lock()
	owner.members += more
	for _, q := range gone {
		q.removed = true
		dropped = s.queue.empty(q, tenants.Removed, dropped, now)
	}
	s.queue.mu.Unlock()
	var rec telemetry.Record
	for _, a := range dropped {
		s.refuse(&rec, a, now)
	}
}

// empty takes everything that waits for a trigger.
func (q *queue) empty(t *triggerQueue, why tenants.Reason, into []arrival, now time.Time) []arrival {
	for t.waiting.n > 0 {
		into = append(into, arrival{trigger: t, message: q.take(t), outcome: tenants.Dropped, reason: why})
	}
	q.settle(t, now)
	return into
}
