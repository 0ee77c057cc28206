package scheduler

import (
	"context"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Split is an Invoker that shares a trigger's deliveries between two versions of it. What it handles is recorded under the version that handled
// it.
type Split struct {
	Of     [2]Trigger
	Choose func(id tenants.MessageID, payload []byte) int          // 0 or 1; must not block
	Note   func(version int, o tenants.Outcome, ran time.Duration) // how each invocation ended; must not block
}

// Open implements Invoker.
func (s *Split) Open() Session { return &splitSession{split: s} }

// splitSession has one version's session open at a time, since each may take the thread for itself.
type splitSession struct {
	split   *Split
	session Session // nil before the first delivery
	version int     // that it is of
}

// Invoke implements Session.
func (s *splitSession) Invoke(ctx context.Context, d *Delivery) Result {
	i := s.split.Choose(d.ID, d.Payload())
	if s.session == nil || s.version != i {
		s.Close()
		s.session, s.version = s.split.Of[i].Invoker.Open(), i
	}
	d.Trigger = &s.split.Of[i].Trigger
	r := s.session.Invoke(ctx, d)
	s.split.Note(i, r.Outcome, time.Since(d.Began))
	return r
}

// Close implements Session.
func (s *splitSession) Close() {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
}
