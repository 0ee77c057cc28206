package scheduler

import (
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// State says how the subscription to a Target stands.
type State uint8

const (
	Pending      State = iota // asked for, not acknowledged yet
	Active                    // acknowledged by the server on the present connection
	Rejected                  // refused, by the server or by the hub; asked for again every 30 s and at each Add
	Reconnecting              // was active on a connection that is lost
	Paused                    // not subscribed to on purpose; its definition stays
	Closed                    // the endpoint is closed, and nothing comes any more
)

var stateNames = [...]string{"pending", "active", "rejected", "reconnecting", "paused", "stopped"}

func (s State) String() string { return stateNames[s] }

// MarshalText gives the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// TargetState is a Target and how its subscription stands.
type TargetState struct {
	tenants.Target
	State  State
	Reason string // why it is not active, in the server's words where it has spoken; may be "" while Pending
	Since  time.Time
}

// TriggerState is a trigger and how its subscription stands.
type TriggerState struct {
	tenants.Trigger
	State  State
	Reason string
	Since  time.Time

	Breaker Breaker

	Queued       int   // deliveries that wait, spilled ones included
	Spilled      int   // of those, the ones that are beyond the queue in memory
	SpilledBytes int64 // of their records
}

// Breaker is how the breaker of a trigger's component stands.
type Breaker struct {
	State    BreakerState
	TimeOuts int       // in a row, while closed
	Since    time.Time // of the state; zero where it never was another
	Probe    time.Time // while open: when one delivery is let through
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
	slices.SortFunc(all, func(a, b TriggerState) int { return compareTriggers(&a.Trigger, &b.Trigger) })
	return all
}

// statesOf appends a tenant's triggers.
func (s *Scheduler) statesOf(t *tenantQueue, all []TriggerState) []TriggerState {
	for _, app := range t.apps {
		for _, q := range app.triggers {
			one := TriggerState{Trigger: *q.version.Load().public}
			s.depth(q, &one)
			if p := app.pause; p != nil {
				one.State, one.Reason, one.Since = Paused, p.why, p.since
				all = append(all, one)
				continue
			}
			state, _ := s.endpoint(q).hub.State(one.Target)
			one.State, one.Reason, one.Since = state.State, state.Reason, state.Since
			one.Breaker = s.breakerOf(q)
			all = append(all, one)
		}
	}
	return all
}

// depth tells how much waits for a trigger.
func (s *Scheduler) depth(t *triggerQueue, one *TriggerState) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	one.Queued = t.waiting
	if t.spill != nil {
		one.Spilled, one.SpilledBytes = t.spill.count, t.spill.bytes
		one.Queued += t.spill.count
	}
}

func (s *Scheduler) breakerOf(t *triggerQueue) Breaker {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	b := t.breaker
	state := Breaker{State: b.state, TimeOuts: b.timeouts, Since: b.since}
	if b.state == BreakerOpen {
		state.Probe = b.until
	}
	return state
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
	Queued       int   `json:"queued"`       // spilled ones included
	Bytes        int64 `json:"queued_bytes"` // of those in memory
	Spilled      int   `json:"spilled"`
	SpilledBytes int64 `json:"spilled_bytes"` // of their records
	InFlight     int   `json:"in_flight"`
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
	return Load{Queued: t.count + t.spilled.count, Bytes: t.bytes, Spilled: t.spilled.count, SpilledBytes: t.spilled.bytes, InFlight: int(t.account.Counts().InFlight)}
}
