package deploy

import (
	"github.com/tenloom/tenloom/tenants"
)

// Handler is a unit that is ready for messages: what System.Load made of it. Only who gave System looks into it.
type Handler interface {
	// Close frees it. It is called once, when no invocation of it goes on and none can begin.
	Close() error
}

// Bound is a trigger of a deployment and what runs it.
type Bound struct {
	tenants.Trigger
	Handler Handler
	Prefix  string // of the target's name, which the manifest does not have and the guest does not see
	Split   *Split // shares the messages with Other; nil where only one version has the trigger
	Other   *Bound // the second version's, of the same component, endpoint and target
}

// place is what scheduler.Apply knows a trigger by: another one at the same place takes over what waits.
type place struct {
	component tenants.ComponentID
	endpoint  tenants.EndpointID
	target    tenants.Target
}

func placeOf(t *tenants.Trigger) place { return place{t.Component, t.Endpoint, t.Target} }

// bind makes a version's triggers with what runs them.
func bind(one *opened) []Bound {
	handlers := map[tenants.ComponentID]Handler{}
	for _, u := range one.Units {
		handlers[u.Component.ID] = u.Handler
	}
	all := make([]Bound, len(one.triggers))
	for i, t := range one.triggers {
		all[i] = Bound{Trigger: t, Handler: handlers[t.Component], Prefix: one.prefixes[i]}
	}
	return all
}

// share puts two versions' triggers together. At a place that both have, the version with the larger weight sets the limits of the queue, the
// second one where they are equal; a place that one of them has alone is that one's, with all its messages.
func share(tried, other []Bound, s *Split) []Bound {
	second := make(map[place][]*Bound, len(other))
	for i := range other {
		p := placeOf(&other[i].Trigger)
		second[p] = append(second[p], &other[i])
	}
	taken := map[*Bound]bool{}
	var all []Bound
	for _, b := range tried {
		p := placeOf(&b.Trigger)
		if at := second[p]; len(at) > 0 {
			b.Split, b.Other = s, at[0]
			taken[at[0]] = true
			second[p] = at[1:]
		}
		all = append(all, b)
	}
	for i := range other {
		if !taken[&other[i]] {
			all = append(all, other[i])
		}
	}
	return all
}

// Leading is the trigger that a queue for both versions goes by.
func (b *Bound) Leading() tenants.Trigger {
	if b.Split != nil && b.Split.percent <= 50 {
		return b.Other.Trigger
	}
	return b.Trigger
}
