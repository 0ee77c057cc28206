package sandbox

import (
	"slices"
	"sync"
	"time"
)

// pool keeps the instances of one Component that wait for a message, each equal to the component's snapshot. They are never shared with
// another component. The last one used is used next: its pages are warm.
//
// It holds as many as ran at once, until trim gives back those that were not needed for a while. At its bound, which is the Runtime's budget
// of bytes for all pools together, put is not called: the instance is closed, and squeeze closes those of any pool that were not used for
// longest.
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

// before takes out the instances that were last used before a time, the oldest first, as long as so many stay.
func (p *pool) before(t time.Time, stay int) []*instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle)-stay && p.idle[n].used.Before(t) {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	return old
}

// back puts instances that before has taken out where they were. It answers those that must be closed.
func (p *pool) back(old []*instance) (left []*instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return old
	}
	p.idle = slices.Insert(p.idle, 0, old...)
	return nil
}

// ages appends when each instance was last used and what it counts for.
func (p *pool) ages(into []age) []age {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.idle {
		into = append(into, age{i.used, i.cost})
	}
	return into
}

type age struct {
	used time.Time
	cost int64
}

func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// close takes out all instances and lets none in again.
func (p *pool) close() []*instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.idle
	p.idle, p.closed = nil, true
	return all
}
