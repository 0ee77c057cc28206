package sandbox

import (
	"sync"
	"time"
)

// pool keeps the instances of one Component that wait for a message, each equal to the component's snapshot. They are never shared with
// another component. The last one used is used next: its pages are warm.
//
// It holds as many as ran at once, until trim gives back those that were not needed for a while, or the Runtime's budget is used up and put
// closes the instance instead.
type pool struct {
	mu     sync.Mutex
	idle   []*instance
	closed bool
}

func (p *pool) get() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	i := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return i
}

// put takes an instance back, or answers false where it must be closed.
func (p *pool) put(i *instance) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, i)
	return true
}

// idleSince takes out the instances that were last used before a time. The oldest stand first.
func (p *pool) idleSince(t time.Time) []*instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && p.idle[n].used.Before(t) {
		n++
	}
	old := append([]*instance(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	return old
}

// close takes out all instances and lets none in again.
func (p *pool) close() []*instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.idle
	p.idle, p.closed = nil, true
	return all
}
