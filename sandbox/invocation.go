package sandbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// invocation is the context of one run of a guest: the caller's, with the component's own deadline. It costs no timer and no channel unless
// somebody asks for them, which only host functions that wait for something do; a guest that computes is held to its deadline by refuel.
type invocation struct {
	instance *instance
	parent   context.Context
	deadline time.Time

	lent atomic.Bool // somebody else may hold it beyond its end, so it is not used again

	mu    sync.Mutex
	ended bool
	done  chan struct{} // nil until somebody asks
	timer *time.Timer
	stop  func() bool // ends the watch over parent
}

// begin starts the clock.
func (v *invocation) begin(parent context.Context, now time.Time, timeout time.Duration) {
	v.parent, v.deadline = parent, now.Add(timeout)
}

// end tells whoever still watches that it is over, and whether v may be used again.
func (v *invocation) end() (again bool) {
	if !v.lent.Load() {
		v.parent = nil
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	if v.done != nil {
		v.timer.Stop()
		v.stop()
		v.closeDone()
	}
	return false
}

func (v *invocation) closeDone() {
	select {
	case <-v.done:
	default:
		close(v.done)
	}
}

// overdue tells whether the component's own time is over.
func (v *invocation) overdue() bool { return !time.Now().Before(v.deadline) }

// Deadline implements context.Context.
func (v *invocation) Deadline() (time.Time, bool) {
	v.lent.Store(true)
	if d, ok := v.parent.Deadline(); ok && d.Before(v.deadline) {
		return d, true
	}
	return v.deadline, true
}

// Done implements context.Context.
func (v *invocation) Done() <-chan struct{} {
	v.lent.Store(true)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.done == nil {
		v.done = make(chan struct{})
		over := func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.closeDone()
		}
		v.timer = time.AfterFunc(time.Until(v.deadline), over)
		v.stop = context.AfterFunc(v.parent, over)
	}
	return v.done
}

// Err implements context.Context.
func (v *invocation) Err() error {
	if err := v.parent.Err(); err != nil {
		return err
	}
	if v.overdue() {
		return context.DeadlineExceeded
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return context.Canceled
	}
	return nil
}

type invocationKey struct{}

// Value implements context.Context.
func (v *invocation) Value(key any) any {
	if key == (invocationKey{}) {
		return v
	}
	return v.parent.Value(key)
}
