package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// A deploy that loses no message takes three steps: Hold subscribes to what is new, Apply hands over, and Settle says when nothing uses any
// more what was replaced.

// Hold subscribes to targets of an endpoint ahead of the triggers that will want them. It returns when the server has acknowledged all, or with
// an error that says which is not and why. release gives them up; what a trigger has come to want meanwhile stays.
func (s *Scheduler) Hold(ctx context.Context, id tenants.EndpointID, targets []tenants.Target) (release func(), err error) {
	s.mu.Lock()
	i, ok := s.index[id]
	if !ok {
		s.mu.Unlock()
		return nil, fmt.Errorf("hold: %w endpoint %q", ErrUnknown, id)
	}
	h := s.endpoints[i].hub
	s.mu.Unlock()
	targets = slices.Clone(targets)
	for _, t := range targets {
		h.Add(t)
	}
	release = sync.OnceFunc(func() {
		for _, t := range targets {
			h.Remove(t)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, t := range targets {
		for {
			state, _ := h.State(t)
			if state.State == Active {
				break
			}
			if state.State == Rejected || state.State == Closed {
				release()
				return nil, fmt.Errorf("subscribe to %s: %s", t.Name, state.Reason)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				release()
				return nil, fmt.Errorf("subscribe to %s: %s %s: %w", t.Name, state.State, state.Reason, ctx.Err())
			}
		}
	}
	return release, nil
}

// generation counts the runs that began between two Settles and have not ended. It is guarded by the queue's lock.
type generation struct {
	runs int
	over chan struct{} // closed at the end of the last run; nil while runs may still join
}

func (q *queue) join(r *run) {
	if q.generation == nil {
		q.generation = &generation{}
	}
	r.generation = q.generation
	r.generation.runs++
}

func (g *generation) leave() {
	if g.runs--; g.runs == 0 && g.over != nil {
		close(g.over)
	}
}

// Settle returns when every invocation that had begun has ended, and so has every run that may yet look at an Invoker that an Apply before the
// call has replaced; or with ctx's error.
func (s *Scheduler) Settle(ctx context.Context) error {
	s.queue.mu.Lock()
	q := &s.queue
	if g := q.generation; g != nil && g.runs > 0 {
		g.over = make(chan struct{})
		q.older = append(q.older, g)
		q.generation = nil
	}
	// One remains for each Settle whose runs go on, and a run goes on for no longer than a time-out and what surrounds it.
	q.older = slices.DeleteFunc(q.older, func(g *generation) bool { return g.runs == 0 })
	waits := slices.Clone(q.older)
	q.mu.Unlock()
	for _, g := range waits {
		select {
		case <-g.over:
		case <-ctx.Done():
			return fmt.Errorf("wait for invocations to end: %w", ctx.Err())
		}
	}
	return nil
}
