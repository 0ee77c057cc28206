package scheduler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Stopped is what Shutdown could not finish.
type Stopped struct {
	Dropped   int          // deliveries whose handlers had not begun
	Cancelled int          // handlers that were told to give up
	Triggers  []Unfinished // whose they were, by tenant, application and target
}

// Nothing tells whether everything was finished.
func (s Stopped) Nothing() bool { return s.Dropped == 0 && s.Cancelled == 0 }

// Unfinished is what Shutdown could not finish of one trigger.
type Unfinished struct {
	tenants.Trigger
	Dropped, Cancelled int
}

// Shutdown ends intake, waits until everything that was admitted is handled, and ends the workers. When ctx ends first, what still waits is
// dropped and running handlers are cancelled; the answer says of which triggers and how many. A second call waits for the same end and gives
// the same answer.
//
// Senders stop before receivers: the hubs first, then the queue, then the pool.
func (s *Scheduler) Shutdown(ctx context.Context) (Stopped, error) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stopIntake()
	err := s.hubs.Wait()
	if !s.await(ctx) {
		s.abandon()
		s.await(context.Background()) // handlers return soon after their context has ended
	}
	s.queue.spiller.wait()
	s.stopWork()
	s.pool.Release()
	s.audit()
	return s.left(), err
}

// await returns true when nothing waits or runs, false when ctx ended before.
func (s *Scheduler) await(ctx context.Context) bool {
	for {
		s.queue.mu.Lock()
		still := s.queue.waiting == 0 && s.queue.spilled == 0 && s.queue.busy == 0
		if still {
			s.quiet() // for another that waits
		}
		s.queue.mu.Unlock()
		if still {
			return true
		}
		select {
		case <-s.rest:
		case <-ctx.Done():
			return false
		}
	}
}

// quiet tells await that a slot became free. The caller holds the queue's lock.
func (s *Scheduler) quiet() {
	if s.queue.busy > 0 {
		return
	}
	select {
	case s.rest <- struct{}{}:
	default:
	}
}

// abandon drops what has not begun and cancels what runs.
func (s *Scheduler) abandon() {
	now := time.Now()
	var dropped []arrival
	s.mu.Lock()
	s.queue.mu.Lock()
	s.queue.stopping = true
	for _, t := range s.tenants {
		for _, app := range t.apps {
			for _, q := range app.triggers {
				before := len(dropped)
				dropped = s.queue.empty(q, tenants.Stopping, dropped, now)
				n := len(dropped) - before
				if q.spill != nil {
					n += q.spill.count
				}
				if n > 0 {
					s.queue.unfinishedOf(q).Dropped += n
				}
			}
		}
	}
	s.queue.mu.Unlock()
	s.mu.Unlock()
	s.stopWork()
	var rec telemetry.Record
	var given stock
	for _, a := range dropped {
		s.refuse(&rec, &given, a, now)
	}
	given.empty()
}

// unfinishedOf is where what is left of a trigger is counted while the queue is stopping.
func (q *queue) unfinishedOf(t *triggerQueue) *Unfinished {
	if q.unfinished == nil {
		q.unfinished = map[*triggerQueue]*Unfinished{}
	}
	u := q.unfinished[t]
	if u == nil {
		u = &Unfinished{Trigger: *t.version.Load().public}
		q.unfinished[t] = u
	}
	return u
}

func (s *Scheduler) left() (left Stopped) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	for _, u := range s.queue.unfinished {
		left.Dropped += u.Dropped
		left.Cancelled += u.Cancelled
		left.Triggers = append(left.Triggers, *u)
	}
	slices.SortFunc(left.Triggers, func(a, b Unfinished) int { return compareTriggers(&a.Trigger, &b.Trigger) })
	return left
}

func compareTriggers(a, b *tenants.Trigger) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.App, b.App), cmp.Compare(a.Target.Kind, b.Target.Kind),
		cmp.Compare(a.Target.Name, b.Target.Name), cmp.Compare(a.ID, b.ID))
}

// audit holds each tenant's account against the queue when nothing waits or runs any more.
func (s *Scheduler) audit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.tenants {
		c := t.account.Counts()
		if c.Queued == 0 && c.InFlight == 0 {
			continue
		}
		s.config.Log.Error("deliveries were lost or counted twice: this is a fault of tenloom, please report it", "tenant", id,
			"received", c.Received, "ended", c.Ended(), "queued", c.Queued, "in_flight", c.InFlight)
	}
}
