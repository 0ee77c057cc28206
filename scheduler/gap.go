package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Gap is a time in which messages for some targets of an Endpoint were lost, or may have been.
type Gap struct {
	Endpoint tenants.EndpointID
	Since    time.Time // last sign of life of the lost connection
	Until    time.Time // all targets are acknowledged again, refused or given up; or the hub ended
	Targets  int       // that were active when their connection was lost
	AtMost   int64     // messages lost, at most; 0 where nobody can know
	Cause    string
	Concerns []Concern // whose triggers listen to these targets, by tenant, application and component
}

// Concern is one component that a Gap concerns.
type Concern struct {
	Tenant    tenants.ID
	App       tenants.AppName
	Component tenants.ComponentID
	Targets   int // of its triggers
}

// interruption is a gap that is still open for some targets.
type interruption struct {
	Gap
	open    int       // members that are neither acknowledged again nor refused nor given up
	members []*target // that were active
}

// lose counts x, which was active, into the open gap of its lane. The caller holds mu.
func (t *targets) lose(l *lane, x *target, since time.Time, cause string) {
	if l.gap == nil || l.gap.open == 0 {
		l.gap = &interruption{Gap: Gap{Since: since, Cause: cause}}
	}
	l.gap.open++
	l.gap.members = append(l.gap.members, x)
	x.gap = l.gap
}

// found takes x out of the open gap, and ends the gap with the last one. The caller holds mu.
func (t *targets) found(x *target, now time.Time) {
	g := x.gap
	if g == nil {
		return
	}
	x.gap = nil
	if g.open--; g.open > 0 {
		return
	}
	g.Until = now
	t.report(g)
}

// report has a gap announced that has ended. The caller holds mu.
func (t *targets) report(g *interruption) {
	g.Targets = len(g.members)
	t.news.gaps = append(t.news.gaps, g)
	t.tell()
}

// doubt reports that a handover may have lost messages of some slots between two moments, at most so many.
func (t *targets) doubt(slots uint64, since, until time.Time, atMost int64, cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := &interruption{Gap: Gap{Since: since, Until: until, AtMost: atMost, Cause: cause}}
	for x := range t.in(slots) {
		if x.state == Active && x.refs > 0 {
			g.members = append(g.members, x)
		}
	}
	if len(g.members) > 0 {
		t.report(g)
	}
}

// gap counts an interruption for every tenant that it concerned, and tells who and where.
func (s *Scheduler) gap(ep *endpoint, g Gap, targets []tenants.Target) {
	if s.intake.Err() != nil {
		return // not an interruption: no more messages are wanted
	}
	s.config.Log.Warn("subscriptions were interrupted: messages published meanwhile are lost", "endpoint", ep.Name,
		"seconds", g.Until.Sub(g.Since).Seconds(), "targets", g.Targets, "cause", g.Cause)
	g.Concerns = s.concerned(ep, targets)
	var last tenants.ID
	for i, c := range g.Concerns {
		if i == 0 || c.Tenant != last {
			s.config.Recorder.Account(c.Tenant).Gap(g.Until.Sub(g.Since))
		}
		last = c.Tenant
	}
	if s.config.OnGap != nil {
		s.config.OnGap(g)
	}
}

// concerned lists the components that listen to targets of an endpoint.
func (s *Scheduler) concerned(ep *endpoint, targets []tenants.Target) []Concern {
	count := map[Concern]int{}
	table := ep.table.Load()
	for _, target := range targets {
		r := table.at(target)
		if r == nil {
			continue
		}
		for _, q := range r.triggers {
			t := q.version.Load().public
			count[Concern{Tenant: t.Tenant, App: t.App, Component: t.Component}]++
		}
	}
	all := slices.Collect(maps.Keys(count))
	for i := range all {
		all[i].Targets = count[all[i]]
	}
	slices.SortFunc(all, func(a, b Concern) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.App, b.App), cmp.Compare(a.Component, b.Component))
	})
	return all
}
