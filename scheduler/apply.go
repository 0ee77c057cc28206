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
	t.policy = policyOf(&p)
	s.queue.weigh(t, max(p.Weight, 1))
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
	versions := make([]*version, len(triggers))
	for i, t := range triggers {
		v, err := newVersion(t)
		if err != nil {
			return fmt.Errorf("apply triggers: %w", err)
		}
		versions[i] = v
	}
	c := compare(owner, owner.triggersOf(app), versions)
	paused := owner.pauseOf(app) != nil
	owner.setTriggers(app, c.now)
	s.install(owner, c)
	if !paused {
		s.listen(c.added, c.gone)
	}
	s.retire(owner, c.gone)
	return nil
}

// listen swaps the tables for triggers that are added and gone, then subscribes and unsubscribes.
func (s *Scheduler) listen(added, gone []*triggerQueue) {
	edits := edits{}
	for _, q := range added {
		edits.of(s.endpoint(q)).add(q.target(), q)
	}
	for _, q := range gone {
		edits.of(s.endpoint(q)).remove(q.target(), q)
	}
	s.publish(edits)
	for _, q := range added {
		s.endpoint(q).hub.Add(q.target())
	}
	for _, q := range gone {
		s.endpoint(q).hub.Remove(q.target())
	}
}

func (s *Scheduler) endpoint(q *triggerQueue) *endpoint {
	return s.at(q.version.Load().public.Endpoint) // it is there for as long as the trigger is
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

func compare(owner *tenantQueue, old []*triggerQueue, versions []*version) (c comparison) {
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
	c.now = make([]*triggerQueue, len(versions))
	for i, v := range versions {
		p := placeOf(v.public)
		if same := slices.IndexFunc(free[p], func(q *triggerQueue) bool { return q.version.Load().same(v) }); same >= 0 {
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

// breakers gives each component one for all its triggers. It stays where some of them do; the triggers of a new version begin with a new one.
func (c *comparison) breakers() {
	of := map[tenants.ComponentID]*breaker{}
	fresh := slices.Clone(c.added)
	for _, t := range c.taken {
		fresh = append(fresh, t.queue)
		t.queue.breaker.forget(t.queue)
		t.queue.breaker = nil
	}
	for _, q := range c.now {
		if q.breaker != nil {
			of[q.version.Load().public.Component] = q.breaker
		}
	}
	for _, q := range fresh {
		component := q.version.Load().public.Component
		if of[component] == nil {
			of[component] = &breaker{}
		}
		of[component].join(q)
	}
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
		if s.endpoints[ep.index] == ep { // else it was removed, and its index may be another's
			s.follows.swapped(ep.index, &e.table)
		}
	}
}

// install lets triggers take over, and readies new ones for their first message.
func (s *Scheduler) install(owner *tenantQueue, c comparison) {
	if len(c.added)+len(c.taken) == 0 {
		return
	}
	now := time.Now()
	s.queue.mu.Lock()
	owner.members += len(c.added)
	for _, t := range c.taken {
		s.queue.recall(t.queue, now)
		t.queue.run(t.by)
	}
	c.breakers()
	for _, t := range c.taken {
		s.queue.settle(t.queue, now)
	}
	w := s.wake()
	s.queue.mu.Unlock()
	s.submit(w)
}

// retire drops what waits for triggers that are gone.
func (s *Scheduler) retire(owner *tenantQueue, gone []*triggerQueue) {
	if len(gone) == 0 {
		return
	}
	now := time.Now()
	var dropped []arrival
	s.queue.mu.Lock()
	owner.members -= len(gone)
	for _, q := range gone {
		q.removed = true
		dropped = s.queue.empty(q, tenants.Removed, dropped, now)
		q.breaker.forget(q) // it remains q's, for those that are on their way
	}
	s.queue.mu.Unlock()
	var rec telemetry.Record
	var given stock
	for _, a := range dropped {
		s.refuse(&rec, &given, a, now)
	}
	given.empty()
}
