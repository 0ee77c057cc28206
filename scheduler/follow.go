package scheduler

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Follow watches one published message until all its deliveries have ended.
//
// Redis' pub/sub carries no id, so a message is known again by its endpoint, channel and payload. Two equal messages on their way at the
// same time may be taken for each other, which nobody can tell since they are equal.
type Follow struct {
	ID      tenants.MessageID
	Matched int // triggers that the message wakes; triggers that come and go before it arrives are counted when Wait returns

	endpoint int
	target   tenants.Target // a channel, or a sharded one
	payload  string
	owner    *follows
	pending  []expected             // whose frames have not come yet; under owner.mu
	count    int                    // deliveries of all frames, those that come and those that came; under owner.mu
	ended    []telemetry.Invocation // under owner.mu
	all      chan struct{}          // closed when ended is complete: each pending frame has a delivery, so that happens once
}

// expected is a frame that a Follow waits for.
type expected struct {
	target   tenants.Target
	triggers int
}

// follows is the list of those whose frames have not all come. It is bounded by the requests that wait for an answer.
type follows struct {
	some atomic.Bool // whether there are any: what the reader looks at for each message
	mu   sync.Mutex
	list []*Follow
}

// Follow begins to watch for a message that the caller is about to publish on a channel; the caller must Wait for it.
func (s *Scheduler) Follow(endpoint tenants.EndpointID, channel string, payload []byte) *Follow {
	return s.FollowTo(endpoint, tenants.Target{Name: channel}, payload)
}

// FollowTo is Follow for a channel or a sharded channel.
func (s *Scheduler) FollowTo(endpoint tenants.EndpointID, target tenants.Target, payload []byte) *Follow {
	s.mu.Lock()
	index, known := s.index[endpoint]
	var table *atomic.Pointer[table]
	if known {
		table = &s.endpoints[index].table
	}
	s.mu.Unlock()
	f := &Follow{
		ID: tenants.MessageID(s.ids.Next(time.Now())), endpoint: index, target: target, payload: string(payload),
		owner: &s.follows, all: make(chan struct{}),
	}
	s.follows.mu.Lock()
	defer s.follows.mu.Unlock()
	if known { // under the lock, so that a table that comes later finds f in the list
		table.Load().matching(target, func(target tenants.Target, r *route) {
			if n := len(r.triggers); n > 0 {
				f.count += n
				f.pending = append(f.pending, expected{target, n})
			}
		})
	}
	if f.Matched = f.count; f.count == 0 {
		close(f.all)
		return f
	}
	s.follows.list = append(s.follows.list, f)
	s.follows.some.Store(true)
	return f
}

// Wait returns what is known of the deliveries when all have ended or ctx has, whichever is first, and stops watching.
func (f *Follow) Wait(ctx context.Context) []telemetry.Invocation {
	select {
	case <-f.all:
	case <-ctx.Done():
	}
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	f.owner.drop(f)
	f.Matched = f.count
	return slices.Clone(f.ended)
}

// end takes one delivery's record.
func (f *Follow) end(rec *telemetry.Record) {
	in := rec.Keep()
	f.owner.mu.Lock()
	defer f.owner.mu.Unlock()
	f.ended = append(f.ended, in)
	f.settle()
}

// settle looks whether everything has ended after something of it has. The caller holds owner.mu.
func (f *Follow) settle() {
	if len(f.ended) == f.count {
		close(f.all)
	}
}

// claim returns who waits for this frame, or nil. Its route has as many deliveries as there are triggers now.
func (l *follows) claim(endpoint int, r *route, frame *frame) *Follow {
	target := tenants.Target{Kind: tenants.Exact, Name: r.name}
	switch frame.kind {
	case 'p':
		target.Kind = tenants.Pattern
	case 's':
		target.Kind = tenants.Sharded
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.list {
		if f.endpoint != endpoint || (f.target.Kind == tenants.Sharded) != (frame.kind == 's') || f.target.Name != string(frame.channel) || f.payload != string(frame.payload) {
			continue
		}
		i := slices.IndexFunc(f.pending, func(e expected) bool { return e.target == target })
		if i < 0 {
			continue
		}
		f.count += len(r.triggers) - f.pending[i].triggers
		if f.pending = slices.Delete(f.pending, i, i+1); len(f.pending) == 0 {
			l.drop(f)
		}
		return f
	}
	return nil
}

// swapped gives up the frames that no trigger of an endpoint's new table waits for, because they may not come any more.
func (l *follows) swapped(endpoint int, t *table) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range slices.Clone(l.list) {
		if f.endpoint != endpoint {
			continue
		}
		gone := 0
		f.pending = slices.DeleteFunc(f.pending, func(e expected) bool {
			if t.wakes(e.target) {
				return false
			}
			gone += e.triggers
			return true
		})
		if gone == 0 {
			continue
		}
		if f.count -= gone; len(f.pending) == 0 {
			l.drop(f)
		}
		f.settle()
	}
}

// drop takes f from the list. The caller holds mu.
func (l *follows) drop(f *Follow) {
	if i := slices.Index(l.list, f); i >= 0 {
		l.list = slices.Delete(l.list, i, i+1)
	}
	l.some.Store(len(l.list) > 0)
}
