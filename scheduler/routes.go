package scheduler

import (
	"slices"

	"github.com/tenloom/tenloom/tenants"
)

// table says which triggers and taps a frame wakes. It is immutable: a change makes a new one, and a Message sees one table, the old or the
// new, never a mix.
type table struct {
	endpoints []endpointRoutes // by the endpoint's index
}

type endpointRoutes struct {
	exact   map[string]*route
	pattern map[string]*route
}

// route is one target of one endpoint.
type route struct {
	name     string
	triggers []*triggerQueue
	taps     []*Tap
}

// find returns where a frame goes, or nil: between an unsubscribe and its acknowledgement frames may still come.
func (t *table) find(endpoint int, f *frame) *route {
	if endpoint >= len(t.endpoints) {
		return nil
	}
	if f.kind == 'p' {
		return t.endpoints[endpoint].pattern[string(f.pattern)]
	}
	return t.endpoints[endpoint].exact[string(f.channel)]
}

// matching calls visit for each route that a message published on channel takes.
func (t *table) matching(endpoint int, channel string, visit func(tenants.Target, *route)) {
	if endpoint >= len(t.endpoints) {
		return
	}
	if r := t.endpoints[endpoint].exact[channel]; r != nil {
		visit(tenants.Target{Kind: tenants.Exact, Name: channel}, r)
	}
	for pattern, r := range t.endpoints[endpoint].pattern {
		if Match(pattern, channel) {
			visit(tenants.Target{Kind: tenants.Pattern, Name: pattern}, r)
		}
	}
}

// spread gives every pattern that matches a frame of its own, where the server sent one for all of them.
func (t *table) spread(endpoint int, frames []frame) []frame {
	var all []frame
	for _, f := range frames {
		if f.kind != 'p' {
			all = append(all, f)
			continue
		}
		t.matching(endpoint, string(f.channel), func(target tenants.Target, _ *route) {
			if target.Kind == tenants.Pattern {
				f.pattern = []byte(target.Name)
				all = append(all, f)
			}
		})
	}
	return all
}

// wakes tells whether a target has triggers.
func (t *table) wakes(endpoint int, target tenants.Target) bool {
	routes := t.endpoints[endpoint].exact
	if target.Kind == tenants.Pattern {
		routes = t.endpoints[endpoint].pattern
	}
	r := routes[target.Name]
	return r != nil && len(r.triggers) > 0
}

// build makes the table for all triggers and taps.
func build(endpoints int, triggers []*triggerQueue, taps []*Tap, index map[tenants.EndpointID]int) *table {
	t := &table{endpoints: make([]endpointRoutes, endpoints)}
	for i := range t.endpoints {
		t.endpoints[i] = endpointRoutes{exact: map[string]*route{}, pattern: map[string]*route{}}
	}
	at := func(e tenants.EndpointID, target tenants.Target) *route {
		var routes map[string]*route
		switch target.Kind {
		case tenants.Exact:
			routes = t.endpoints[index[e]].exact
		case tenants.Pattern:
			routes = t.endpoints[index[e]].pattern
		default:
			return &route{} // of a kind that the hub refuses: no frame comes
		}
		r := routes[target.Name]
		if r == nil {
			r = &route{name: target.Name}
			routes[target.Name] = r
		}
		return r
	}
	for _, q := range triggers {
		r := at(q.Endpoint, q.Target)
		r.triggers = append(r.triggers, q)
	}
	for _, tap := range taps {
		for _, target := range tap.targets {
			if r := at(tap.endpoint, target); !slices.Contains(r.taps, tap) {
				r.taps = append(r.taps, tap)
			}
		}
	}
	return t
}
