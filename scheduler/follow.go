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
	Matched int // triggers that the message wakes, as of now

	endpoint int
	channel  string
	payload  string
	pending  []tenants.Target // whose frames have not come yet
	owner    *follows

	mu    sync.Mutex
	ended []telemetry.Invocation
	all   chan struct{} // closed when ended is complete
}

// follows is the list of those whose frames have not all come. It is bounded by the requests that wait for an answer.
type follows struct {
	some atomic.Bool // whether there are any: what the reader looks at for each message
	mu   sync.Mutex
	list []*Follow
}

// Follow begins to watch for a message that the caller is about to publish; the caller must Wait for it.
func (s *Scheduler) Follow(endpoint tenants.EndpointID, channel string, payload []byte) *Follow {
	s.mu.Lock()
	index, known := s.index[endpoint]
	s.mu.Unlock()
	f := &Follow{
		ID: tenants.MessageID(s.ids.Next(time.Now())), endpoint: index, channel: channel, payload: string(payload),
		owner: &s.follows, all: make(chan struct{}),
	}
	if known {
		s.table.Load().matching(index, channel, func(target tenants.Target, r *route) {
			if len(r.triggers) > 0 {
				f.Matched += len(r.triggers)
				f.pending = append(f.pending, target)
			}
		})
	}
	if f.Matched == 0 {
		close(f.all)
		return f
	}
	s.follows.mu.Lock()
	s.follows.list = append(s.follows.list, f)
	s.follows.some.Store(true)
	s.follows.mu.Unlock()
	return f
}

// Wait returns what is known of the deliveries when all have ended or ctx has, whichever is first, and stops watching.
func (f *Follow) Wait(ctx context.Context) []telemetry.Invocation {
	select {
	case <-f.all:
	case <-ctx.Done():
	}
	f.owner.forget(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ended)
}

// end takes one delivery's record.
func (f *Follow) end(rec *telemetry.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, rec.Keep())
	if len(f.ended) == f.Matched {
		close(f.all)
	}
}

// claim returns who waits for this frame, or nil.
func (l *follows) claim(endpoint int, frame *frame) *Follow {
	target := tenants.Target{Kind: tenants.Exact, Name: string(frame.channel)}
	if frame.kind == 'p' {
		target = tenants.Target{Kind: tenants.Pattern, Name: string(frame.pattern)}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.list {
		if f.endpoint != endpoint || f.channel != string(frame.channel) || f.payload != string(frame.payload) {
			continue
		}
		i := slices.Index(f.pending, target)
		if i < 0 {
			continue
		}
		if f.pending = slices.Delete(f.pending, i, i+1); len(f.pending) == 0 {
			l.drop(f)
		}
		return f
	}
	return nil
}

func (l *follows) forget(f *Follow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(f)
}

func (l *follows) drop(f *Follow) {
	if i := slices.Index(l.list, f); i >= 0 {
		l.list = slices.Delete(l.list, i, i+1)
	}
	l.some.Store(len(l.list) > 0)
}
