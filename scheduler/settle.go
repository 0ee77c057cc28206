package scheduler

import (
	"context"
	"fmt"
)

// Settle returns when every run of deliveries that had begun before the call has ended, whoever's it was: what Apply replaced before is not
// invoked any more, and no session of it is open. It gives up when ctx ends.
func (s *Scheduler) Settle(ctx context.Context) error {
	s.queue.mu.Lock()
	began := map[*worker]uint64{}
	for _, w := range s.made {
		if w.working {
			began[w] = w.rounds
		}
	}
	s.queue.mu.Unlock()
	for wait := newLook(); ; {
		s.queue.mu.Lock()
		for w, rounds := range began {
			if !w.working || w.rounds != rounds {
				delete(began, w)
			}
		}
		s.queue.mu.Unlock()
		if len(began) == 0 {
			return nil
		}
		if err := wait.again(ctx); err != nil {
			return fmt.Errorf("wait for %d runs: %w", len(began), err)
		}
	}
}
