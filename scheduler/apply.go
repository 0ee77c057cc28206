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

// Apply makes triggers the whole set of an application's. Those that are equal stay as they are. One that has the component, endpoint and
// target of an old one takes over its place: what waits there keeps its order and is handled by the new one, while calls that have begun end
// in the old one. New ones are subscribed; those that are gone are unsubscribed, and what waits for them is dropped. No triggers removes the
// application. Its cost grows with the triggers that it is given and those that they replace, not with the others there are.
//
// Tables are swapped before new targets are asked for and before old ones are given up, so that a message always finds a trigger.
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
	c := compare(owner, owner.triggersOf(app), triggers)
	owner.setTriggers(app, c.now)
	edits := edits{}
	for _, q := range c.added {
		edits.of(s.endpoint(q)).add(q.target(), q)
	}
	for _, q := range c.gone {
		edits.of(s.endpoint(q)).remove(q.target(), q)
	}
	s.publish(edits)
	for _, q := range c.added {
		s.endpoint(q).hub.Add(q.target())
	}
	for _, q := range c.gone {
		s.endpoint(q).hub.Remove(q.target())
	}
	s.change(owner, c)
	return nil
}

func (s *Scheduler) endpoint(q *triggerQueue) *endpoint {
	return s.endpoints[s.index[q.version.Load().public.Endpoint]]
}

// comparison is what becomes of an application's triggers.
type comparison struct {
	now, added, gone []*triggerQueue
	taken            []taking
}

// taking is a trigger that takes over an old one's place.
type taking struct {
	queue *triggerQueue
	by    *version
}

// place is where a trigger stands in its application. Two triggers of one place, if an application has such, take over in their order.
type place struct {
	component tenants.ComponentID
	endpoint  tenants.EndpointID
	target    tenants.Target
}

func placeOf(t *tenants.Trigger) place { return place{t.Component, t.Endpoint, t.Target} }

func compare(owner *tenantQueue, old []*triggerQueue, triggers []Trigger) (c comparison) {
	free := make(map[place][]*triggerQueue, len(old))
	for _, q := range old {
		p := placeOf(q.version.Load().public)
		free[p] = append(free[p], q)
	}
	take := func(p place, i int) *triggerQueue {
		q := free[p][i]
		free[p] = slices.Delete(free[p], i, i+1)
		return q
	}
	c.now = make([]*triggerQueue, len(triggers))
	versions := make([]*version, len(triggers))
	for i, t := range triggers {
		versions[i] = newVersion(t)
		p := placeOf(&t.Trigger)
		if same := slices.IndexFunc(free[p], func(q *triggerQueue) bool { return q.version.Load().same(versions[i]) }); same >= 0 {
			c.now[i] = take(p, same)
		}
	}
	for i, v := range versions {
		p := placeOf(v.public)
		switch {
		case c.now[i] != nil:
		case len(free[p]) > 0:
			c.now[i] = take(p, 0)
			c.taken = append(c.taken, taking{c.now[i], v})
		default:
			c.now[i] = newTriggerQueue(v, owner)
			c.added = append(c.added, c.now[i])
		}
	}
	for _, left := range free {
		c.gone = append(c.gone, left...)
	}
	return c
}

// edits are the tables that a change touches.
type edits map[*endpoint]*edit

func (e edits) of(ep *endpoint) *edit {
	if e[ep] == nil {
		e[ep] = &edit{*ep.table.Load()}
	}
	return e[ep]
}

// publish swaps the tables.
func (s *Scheduler) publish(all edits) {
	for ep, e := range all {
		ep.table.Store(&e.table)
		s.follows.swapped(ep.index, &e.table)
	}
}

// change lets triggers take over, and drops what waits for those that are gone.
func (s *Scheduler) change(owner *tenantQueue, c comparison) {
	if len(c.added)+len(c.taken)+len(c.gone) == 0 {
		return
	}
	now := time.Now()
	var dropped []arrival
	s.queue.mu.Lock()
	owner.members += len(c.added) - len(c.gone)
	for _, t := range c.taken {
		t.queue.run(t.by)
		s.queue.settle(t.queue, now)
	}
	for _, q := range c.gone {
		q.removed = true
		dropped = s.queue.empty(q, tenants.Removed, dropped, now)
	}
	w := s.wake()
	s.queue.mu.Unlock()
	s.submit(w)
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
