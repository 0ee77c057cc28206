package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/binding"
)

// meaning is what a name of Dapr's paths stands for to a tenant: its own connection, or one of the platform's servers.
type meaning struct {
	own      *connection
	platform tenants.EndpointID
	tuning   *tenants.Tuning
}

// binding finds what a name stands for. Names of the platform's servers are granted by the policy, as they are to handlers; a token that is bound to an
// app has what the scopes of a component file give to that app, and nothing else.
func (h *hosted) binding(t tenants.ID, app tenants.AppName, name string) (meaning, error) {
	if tenants.CheckName(name) != nil {
		return meaning{}, api.ErrNoBinding
	}
	if h.servers.is(tenants.EndpointID(name)) {
		if app != "" || !slices.Contains(h.grants(t).Endpoints, tenants.EndpointID(name)) {
			return meaning{}, api.ErrNoBinding
		}
		return meaning{platform: tenants.EndpointID(name)}, nil
	}
	n := h.connections.called(t, name)
	if n == nil { // it may have been added a moment ago
		if err := h.connections.refresh(context.Background(), t); err != nil {
			return meaning{}, fmt.Errorf("read connections: %w", err)
		}
		if n = h.connections.called(t, name); n == nil {
			return meaning{}, api.ErrNoBinding
		}
	}
	n.mu.Lock()
	tuning := n.record.Tuning
	n.mu.Unlock()
	if app != "" && (tuning == nil || !slices.Contains(tuning.Apps, app)) {
		return meaning{}, api.ErrNoBinding
	}
	return meaning{own: n, tuning: tuning}, n.within(h.room(t).ceiling.Load())
}

func (c *connections) called(t tenants.ID, name string) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[t][name]
}

// reach gives the client of what a name stands for. On a server that tenants share it puts the tenant's name before keys and channels, as it does for
// handlers (ownNames).
func (h *hosted) reach(ctx context.Context, t tenants.ID, b meaning) (redis.UniversalClient, func(), error) {
	if b.own != nil {
		return b.own.clients.Get(ctx, forPublishing)
	}
	return h.room(t).pool.Get(ctx, "redis://"+string(b.platform)+":6379")
}

// bind is api.Config.Bind.
func (h *hosted) bind(ctx context.Context, t tenants.ID, app tenants.AppName, name string, r binding.Request) (binding.Answer, error) {
	b, err := h.binding(t, app, name)
	if err != nil {
		return binding.Answer{}, err
	}
	client, release, err := h.reach(ctx, t, b)
	if err != nil {
		return binding.Answer{}, err
	}
	defer release()
	return binding.Do(ctx, client, retrying(b.tuning), r)
}

// topics is api.Config.Topics.
func (h *hosted) topics(_ context.Context, t tenants.ID, app tenants.AppName, name string) (api.Topics, error) {
	b, err := h.binding(t, app, name)
	switch {
	case err != nil:
		return api.Topics{}, err
	case b.own == nil:
		one := h.servers.one(b.platform)
		return api.Topics{Server: api.Server{ID: one.id, Publish: publishing(one.client)}}, nil
	}
	to := api.Topics{Server: b.own.server()}
	if b.tuning != nil && b.tuning.Kind == tenants.PubSubComponent {
		to.Add = func(ctx context.Context, topic string, data []byte, metadata map[string]string) error {
			client, release, err := b.own.clients.Get(ctx, forPublishing)
			if err != nil {
				return err
			}
			defer release()
			return addEntry(ctx, client, b.tuning, topic, data, metadata)
		}
	}
	return to, nil
}

// scoped refuses an application the connections that a component file gives to others alone, beside what granted refuses.
func (h *hosted) scoped(to deploy.Scope, granted func(entry string) error) func(entry string) error {
	return func(entry string) error {
		if n := h.connections.meant(to.Tenant, entry); n != nil {
			n.mu.Lock()
			tuning := n.record.Tuning
			n.mu.Unlock()
			if tuning != nil && len(tuning.Apps) > 0 && !slices.Contains(tuning.Apps, to.App) {
				return hint{fmt.Errorf("the connection %q is not for this application", n.name), "add it to the scopes of its component file"}
			}
		}
		return granted(entry)
	}
}
