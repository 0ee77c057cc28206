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
	var all []TriggerState
	if tenant != "" {
		if t := s.tenants[tenant]; t != nil {
			all = s.statesOf(t, nil)
		}
	} else {
		for _, t := range s.tenants {
			all = s.statesOf(t, all)
		}
	}
	slices.SortFunc(all, func(a, b TriggerState) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.App, b.App), cmp.Compare(a.Target.Kind, b.Target.Kind),
			cmp.Compare(a.Target.Name, b.Target.Name), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// statesOf appends a tenant's triggers.
func (s *Scheduler) statesOf(t *tenantQueue, all []TriggerState) []TriggerState {
	for _, app := range t.apps {
		for _, q := range app.triggers {
			one := TriggerState{Trigger: *q.version.Load().public}
			state, _ := s.endpoint(q).hub.State(one.Target)
			one.State, one.Reason, one.Since = state.State, state.Reason, state.Since
			all = append(all, one)
		}
	}
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
