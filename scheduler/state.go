package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// TriggerState is a trigger and how its subscription stands.
type TriggerState struct {
	tenants.Trigger
	State  State
	Reason string
	Since  time.Time
}

// Triggers lists the triggers of a tenant, or of all where the tenant is "", by application and target.
func (s *Scheduler) Triggers(tenant tenants.ID) []TriggerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make([]map[tenants.Target]TargetState, len(s.endpoints))
	for i, ep := range s.endpoints {
		known[i] = map[tenants.Target]TargetState{}
		for _, t := range ep.hub.States() {
			known[i][t.Target] = t
		}
	}
	var all []TriggerState
	for key, triggers := range s.apps {
		if tenant != "" && key.tenant != tenant {
			continue
		}
		for _, q := range triggers {
			t := known[s.index[q.Endpoint]][q.Target]
			all = append(all, TriggerState{Trigger: q.Trigger.Trigger, State: t.State, Reason: t.Reason, Since: t.Since})
		}
	}
	slices.SortFunc(all, func(a, b TriggerState) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.App, b.App), cmp.Compare(a.Target.Kind, b.Target.Kind),
			cmp.Compare(a.Target.Name, b.Target.Name), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// TargetStates lists how the targets of an endpoint stand.
func (s *Scheduler) TargetStates(id tenants.EndpointID) []TargetState {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[id]
	if !ok {
		return nil
	}
	return s.endpoints[i].hub.States()
}

// Load is how much a tenant has waiting and running.
type Load struct {
	Queued   int   `json:"queued"`
	Bytes    int64 `json:"queued_bytes"`
	InFlight int   `json:"in_flight"`
}

// Load reads a tenant's load.
func (s *Scheduler) Load(id tenants.ID) Load {
	s.mu.Lock()
	t := s.tenants[id]
	s.mu.Unlock()
	if t == nil {
		return Load{}
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return Load{Queued: t.count, Bytes: t.bytes, InFlight: int(t.flying.Load())}
}
