package api

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// target is what triggers of a tenant listen to.
type target struct {
	Endpoint tenants.EndpointID `json:"endpoint"`
	Kind     string             `json:"kind"`
	Target   string             `json:"target"`                  // as the tenant wrote it
	Actual   string             `json:"actual_target,omitempty"` // on the server, where that is another
}

// channelAnswer is a channel, pattern or stream with who handles its messages.
type channelAnswer struct {
	target
	Handlers []handlerOf `json:"handlers"`
}

type handlerOf struct {
	App       tenants.AppName     `json:"app"`
	Component tenants.ComponentID `json:"component"`
	Trigger   string              `json:"trigger"`
}

// subscriptionAnswer is a target and how Redis stands to it.
type subscriptionAnswer struct {
	target
	State    scheduler.State `json:"state"`
	Reason   string          `json:"reason,omitempty"`
	Since    time.Time       `json:"since,omitzero"`
	Triggers int             `json:"triggers"`
}

// grouped puts the triggers of a tenant together by what they listen to. A tenant sees its own targets only, whatever else the server has.
func (s *server) grouped(id tenants.ID) [][]scheduler.TriggerState {
	groups := map[target][]scheduler.TriggerState{}
	for _, t := range s.Scheduler.Triggers(id) {
		k := s.targetOf(t)
		groups[k] = append(groups[k], t)
	}
	all := make([][]scheduler.TriggerState, 0, len(groups))
	for _, g := range groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b []scheduler.TriggerState) int {
		x, y := s.targetOf(a[0]), s.targetOf(b[0])
		return cmp.Or(cmp.Compare(x.Target, y.Target), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Endpoint, y.Endpoint))
	})
	return all
}

func (s *server) targetOf(t scheduler.TriggerState) target {
	name, actual := s.written(t.Tenant, t.Endpoint, t.Target.Name)
	return target{t.Endpoint, t.Target.Kind.String(), name, actual}
}

// channels lists what a tenant's triggers listen to, and which handlers each wakes. Its length is bounded by what the tenant has deployed.
func (s *server) channels(c *call) error {
	out := listing[channelAnswer]{Data: []channelAnswer{}}
	for _, g := range s.grouped(c.tenant.Value.ID) {
		one := channelAnswer{target: s.targetOf(g[0])}
		for _, t := range g {
			one.Handlers = append(one.Handlers, handlerOf{t.App, t.Component, t.ID})
		}
		out.Data = append(out.Data, one)
	}
	return c.json(http.StatusOK, out)
}

// subscriptions lists how Redis stands to each of a tenant's targets.
func (s *server) subscriptions(c *call) error {
	out := listing[subscriptionAnswer]{Data: []subscriptionAnswer{}}
	for _, g := range s.grouped(c.tenant.Value.ID) {
		out.Data = append(out.Data, subscriptionAnswer{s.targetOf(g[0]), g[0].State, g[0].Reason, g[0].Since, len(g)})
	}
	return c.json(http.StatusOK, out)
}
