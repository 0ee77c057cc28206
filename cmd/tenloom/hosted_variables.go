package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// appKey names an application of the platform.
type appKey struct {
	tenant tenants.ID
	app    tenants.AppName
}

// settled are the variables and opened secrets of all applications, so that a guest that asks for one does not wait for the store. Its size is
// bounded by the tenants' policies. A change is here a moment after it is in the store.
type settled struct {
	store  *store.Store
	sealer *secrets.Sealer
	log    *slog.Logger

	mu   sync.RWMutex
	apps map[appKey]map[string]secrets.Value // written by follow and refresh, read by guests
}

func newSettled(s *store.Store, sealer *secrets.Sealer, log *slog.Logger) *settled {
	return &settled{store: s, sealer: sealer, log: log, apps: map[appKey]map[string]secrets.Value{}}
}

// follow keeps what is here, and whatever else takes the changes, like the store, until ctx ends.
func (s *settled) follow(ctx context.Context, beside func(store.Changes)) {
	for changes, err := range s.store.Watch(ctx, 0) {
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("changes of variables are not heard of", "cause", err)
			}
			continue
		}
		s.take(changes)
		beside(changes)
	}
}

func (s *settled) take(changes store.Changes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changes.Reset {
		clear(s.apps)
	}
	for _, c := range changes.Items {
		key := appKey{c.Tenant, c.App}
		switch c.Noun {
		case "app":
			if c.Deleted {
				delete(s.apps, appKey{c.Tenant, tenants.AppName(c.Name)})
			}
		case "variable", "secret":
			s.put(key, c)
		}
	}
}

// put takes one change. The caller holds mu.
func (s *settled) put(key appKey, c store.Change) {
	if c.Deleted {
		delete(s.apps[key], c.Name)
		return
	}
	if s.apps[key] == nil {
		s.apps[key] = map[string]secrets.Value{}
	}
	switch v := c.Value.(type) {
	case tenants.Variable:
		s.apps[key][c.Name] = secrets.NewValue(v.Value)
	case tenants.Secret:
		value, err := s.sealer.Open(v.Sealed)
		if err != nil { // a guest that asks for it is told that nobody knows it
			s.log.Error("a secret cannot be opened", "tenant", key.tenant, "app", key.app, "secret", c.Name, "error", err)
			delete(s.apps[key], c.Name)
			return
		}
		s.apps[key][c.Name] = value
	}
}

// refresh reads an application's variables now: what was set before a deployment counts for it, heard of or not.
func (s *settled) refresh(ctx context.Context, key appKey) error {
	var items []store.Change
	err := errors.Join(
		everyRecord(func(q store.Query) (store.Page[tenants.Variable], error) {
			return s.store.Variables(ctx, key.tenant, key.app, q)
		},
			func(v tenants.Variable) {
				items = append(items, store.Change{Noun: "variable", Tenant: key.tenant, App: key.app, Name: v.Name, Value: v})
			}),
		everyRecord(func(q store.Query) (store.Page[tenants.Secret], error) {
			return s.store.Secrets(ctx, key.tenant, key.app, q)
		},
			func(v tenants.Secret) {
				items = append(items, store.Change{Noun: "secret", Tenant: key.tenant, App: key.app, Name: v.Name, Value: v})
			}),
	)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.apps, key)
	for _, c := range items {
		s.put(key, c)
	}
	return nil
}

// everyRecord reads a list to its end, page by page.
func everyRecord[T any](page func(store.Query) (store.Page[T], error), each func(T)) error {
	q := store.Query{Limit: store.MaxPage}
	for {
		p, err := page(q)
		if err != nil {
			return err
		}
		for _, r := range p.Items {
			each(r.Value)
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return nil
		}
	}
}

// of is the provider of one application's variables.
func (s *settled) of(key appKey) secrets.Provider { return appProvider{s, key} }

type appProvider struct {
	*settled
	key appKey
}

// Lookup implements secrets.Provider.
func (p appProvider) Lookup(_ context.Context, name string) (secrets.Value, bool, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	v, ok := p.apps[p.key][name]
	return v, ok, nil
}

// String implements secrets.Provider.
func (p appProvider) String() string { return "the variables and secrets of " + string(p.key.app) }
