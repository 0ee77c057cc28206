package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// QueueLoads tells what waits, for each tenant that has something waiting. It holds the queue's lock for as long as looking at each trigger takes.
func (s *Scheduler) QueueLoads(tell func(tenants.ID, telemetry.QueueLoad)) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	for id, t := range s.tenants {
		off := abs(t.account.Queued() - int64(t.count+t.spilled.count)) // both sides change under the lock alone
		if t.count == 0 && t.spilled.count == 0 && off == 0 {
			continue
		}
		load := telemetry.QueueLoad{Unaccounted: off, Bytes: t.bytes, Spilled: t.spilled.count, SpilledBytes: t.spilled.bytes}
		for _, app := range t.apps {
			for _, q := range app.triggers {
				if l := q.oldest(); l != nil {
					load.Oldest = max(load.Oldest, now.Sub((*l.at(0)).Received))
				}
			}
		}
		tell(id, load)
	}
}

// Observe is a telemetry.Source: how subscriptions stand, by endpoint and state, and the slots.
func (s *Scheduler) Observe(add func(telemetry.Family)) {
	s.mu.Lock()
	endpoints := maps.Clone(s.index)
	breakers := s.openBreakers()
	s.mu.Unlock()
	targets := telemetry.Family{Name: "tenloom.subscriptions", Unit: "{target}", Kind: telemetry.Gauge, Help: "Channels and patterns that are subscribed to, by endpoint and state."}
	for _, id := range slices.Sorted(maps.Keys(endpoints)) {
		var count [Closed + 1]int
		for _, t := range s.TargetStates(id) {
			count[t.State]++
		}
		for state, n := range count {
			targets.Series = append(targets.Series, telemetry.Series{
				Labels: []telemetry.Label{{Name: "endpoint", Value: string(id)}, {Name: "state", Value: State(state).String()}}, Value: float64(n),
			})
		}
	}
	add(targets)
	s.queue.mu.Lock()
	busy, slots := s.queue.busy, s.queue.slots
	s.queue.mu.Unlock()
	add(telemetry.GaugeOf("tenloom.slots.busy", "{slot}", "Slots for handlers that are in use.", float64(busy)))
	add(telemetry.GaugeOf("tenloom.slots", "{slot}", "Slots for handlers.", float64(slots)))
	add(telemetry.GaugeOf("tenloom.breakers.open", "{trigger}", "Triggers whose component's breaker is not closed.", float64(breakers)))
}

// openBreakers counts triggers whose component's breaker is not closed. The caller holds mu.
func (s *Scheduler) openBreakers() (n int) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	for _, t := range s.tenants {
		for _, app := range t.apps {
			for _, q := range app.triggers {
				if q.breaker.state != BreakerClosed {
					n++
				}
			}
		}
	}
	return n
}

func abs(n int64) int64 { return max(n, -n) }
