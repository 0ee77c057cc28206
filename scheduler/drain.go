package scheduler

import (
	"context"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Stopped is what Shutdown could not finish.
type Stopped struct {
	Dropped   int // deliveries whose handlers had not begun
	Cancelled int // handlers that were told to give up
}

// Shutdown ends intake, waits until everything that was admitted is handled, and ends the workers. When ctx ends first, what still waits is
// dropped and running handlers are cancelled; the answer says how many. A second call waits for the same end and gives the same answer.
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
	s.stopWork()
	s.pool.Release()
	return Stopped{Dropped: int(s.dropped.Load()), Cancelled: int(s.cancelled.Load())}, err
}

// await returns true when nothing waits or runs, false when ctx ended before.
func (s *Scheduler) await(ctx context.Context) bool {
	for {
		s.queue.mu.Lock()
		still := s.queue.waiting == 0 && s.queue.busy == 0
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

// abandon drops what waits and cancels what runs. Runs that are on their way drop what they have not begun.
func (s *Scheduler) abandon() {
	now := time.Now()
	var dropped []arrival
	s.mu.Lock()
	s.queue.mu.Lock()
	s.queue.stopping = true
	for _, t := range s.tenants {
		for _, app := range t.apps {
			for _, q := range app.triggers {
				dropped = s.queue.empty(q, tenants.Stopping, dropped, now)
			}
		}
	}
	s.queue.mu.Unlock()
	s.mu.Unlock()
	s.stopWork()
	var rec telemetry.Record
	for _, a := range dropped {
		s.refuse(&rec, a, now)
	}
	s.dropped.Add(int64(len(dropped)))
}
