package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Hold subscribes to targets of an endpoint ahead of the triggers that are to have them, and returns when the server has acknowledged all. What
// comes on them meanwhile finds no trigger. release gives them up; triggers that have them by then keep them. An error says which target was
// refused or still waits when ctx ends, and why, and nothing is held.
func (s *Scheduler) Hold(ctx context.Context, id tenants.EndpointID, targets []tenants.Target) (release func(), err error) {
	s.mu.Lock()
	i, ok := s.index[id]
	var h *hub
	if ok {
		h = s.endpoints[i].hub
	}
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("hold targets: %w endpoint %q", ErrUnknown, id)
	}
	for _, t := range targets {
		h.Add(t)
	}
	release = func() {
		for _, t := range targets {
			h.Remove(t)
		}
	}
	if err := h.acknowledged(ctx, targets); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// acknowledged waits until targets that are referenced are Active.
func (h *hub) acknowledged(ctx context.Context, targets []tenants.Target) error {
	for wait := newLook(); ; {
		waiting := ""
		for _, t := range targets {
			state, _ := h.State(t)
			switch state.State {
			case Active:
			case Rejected, Closed:
				return fmt.Errorf("%s %q is %s: %s", t.Kind, t.Name, state.State, state.Reason)
			default:
				waiting = fmt.Sprintf("%s %q is %s", t.Kind, t.Name, state.State)
				if state.Reason != "" {
					waiting += ": " + state.Reason
				}
			}
		}
		if waiting == "" {
			return nil
		}
		if err := wait.again(ctx); err != nil {
			return fmt.Errorf("%s: %w", waiting, err)
		}
	}
}

// look waits between looks at what changes without telling: 100 µs at first, then longer, up to 20 ms.
type look struct{ next time.Duration }

func newLook() *look { return &look{100 * time.Microsecond} }

func (l *look) again(ctx context.Context) error {
	t := time.NewTimer(l.next)
	defer t.Stop()
	l.next = min(2*l.next, 20*time.Millisecond)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
