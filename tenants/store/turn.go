package store

import (
	"context"
	"sync"

	"github.com/tenloom/tenloom/tenants"
)

// turns make the updates of one tenant follow one another in this process: each writes to the tenant's audit chain, so they would only undo each
// other. Those of different tenants do not wait.
type turns struct {
	mu sync.Mutex
	of map[tenants.ID]*turn // of tenants that are being changed
}

type turn struct {
	free  chan struct{} // capacity 1: it holds something while it is free
	users int           // under turns.mu
}

// enter waits for a tenant's turn, which leave gives back.
func (t *turns) enter(ctx context.Context, id tenants.ID) (leave func(), err error) {
	t.mu.Lock()
	if t.of == nil {
		t.of = map[tenants.ID]*turn{}
	}
	one := t.of[id]
	if one == nil {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.of[id] = one
	}
	one.users++
	t.mu.Unlock()
	done := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(t.of, id)
		}
	}
	select {
	case <-one.free:
		return func() {
			one.free <- struct{}{}
			done()
		}, nil
	case <-ctx.Done():
		done()
		return nil, ctx.Err()
	}
}

// UpdateOf is Update for a change of one tenant (tenants.Platform for the platform's own): it waits for those of the same tenant that go on in this
// process.
func (s *Store) UpdateOf(ctx context.Context, t tenants.ID, f func(tx *Tx) error) (Revision, error) {
	leave, err := s.turns.enter(ctx, t)
	if err != nil {
		return 0, err
	}
	defer leave()
	return s.Update(ctx, f)
}
