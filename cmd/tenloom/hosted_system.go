package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// system is deploy.Config.System: the platform as one application sees it.
func (h *hosted) system(ctx context.Context, s deploy.Scope) (deploy.System, error) {
	key := appKey{s.Tenant, s.App}
	if err := errors.Join(h.variables.refresh(ctx, key), h.connections.refresh(ctx, s.Tenant)); err != nil {
		return deploy.System{}, err
	}
	resolver := h.resolver(key, s.Manifest)
	return deploy.System{
		Policy: s.Policy, MaxModule: maxModule,
		Required:     resolver.Check,
		Render:       resolver.Render,
		CheckHosts:   func(entries []string) error { _, err := outbound.Parse(entries, nil); return withNext(err) },
		GrantedHosts: h.scoped(s, h.grantedHosts(s.Tenant, s.Policy.Grants)),
		Endpoint: func(_ context.Context, address string) (tenants.EndpointID, error) {
			if own := h.connections.meant(s.Tenant, address); own != nil {
				return own.id, h.scoped(s, h.grantedHosts(s.Tenant, s.Policy.Grants))(address)
			}
			one, err := h.servers.granted(address, s.Policy.Grants)
			if err != nil {
				return "", err
			}
			return one.id, nil
		},
		Shared:  h.servers.is,
		Sharded: h.servers.sharded,
		Load:    func(ctx context.Context, u *deploy.Unit) error { return h.load(ctx, u, resolver) },
	}, nil
}

// resolver knows the variables of an application.
func (h *hosted) resolver(key appKey, m *manifest.Manifest) *secrets.Resolver {
	return secrets.NewResolver(declared(m), append([]secrets.Provider{h.variables.of(key)}, h.vault.providers(key)...)...)
}

// compile takes an artifact by its digest, which was verified when it was read.
func (h *hosted) compile(ctx context.Context, u *deploy.Unit) (*sandbox.Program, error) {
	digest, err := hex.DecodeString(strings.TrimPrefix(u.Digest, "sha256:"))
	if err != nil || len(digest) != sha256.Size {
		return h.runtime.Compile(ctx, u.Wasm)
	}
	return h.runtime.CompileKnown(ctx, [sha256.Size]byte(digest), u.Wasm)
}

// load compiles a unit, binds it to what it may do, and starts it once unless that was done before.
func (h *hosted) load(ctx context.Context, u *deploy.Unit, resolver *secrets.Resolver) error {
	program, err := h.compile(ctx, u)
	if err != nil {
		return withNext(err)
	}
	host, err := h.host(u, resolver)
	if err != nil {
		return errors.Join(err, program.Close())
	}
	log := h.log.With("tenant", u.Tenant, "app", u.App, "component", u.Component.ID)
	tenant, app, id, version := u.Tenant, u.App, u.Component.ID, u.Version
	bound := program.Bind(sandbox.Binding{
		Host: host, Env: u.Component.Environment, Owner: string(u.Tenant), Files: u.Files, Memory: u.Limits.Memory, Timeout: u.Limits.Timeout,
		Fuel: u.Limits.Fuel, Budget: h.room(u.Tenant).budget, Output: int64(u.Limits.Output), LogRate: u.Limits.LogRate,
		Reuse: u.Component.Tool.Isolation == manifest.Reuse,
		Lines: func(l sandbox.Line) {
			if l.Platform {
				l.Text = []byte(advice(string(l.Text), id))
			}
			line := telemetry.Line{At: time.Now(), Tenant: tenant, App: app, Component: id, Version: version, Stream: l.Stream, Text: l.Text}
			if names, ok := l.Attributes.(*ownedNames); ok {
				line.Invoked, line.Trace = names.Invocation, names.Trace
			}
			h.line(line)
		},
	})
	u.Isolation, u.Why = bound.Isolation()
	if !u.Started {
		if err := bound.Check(ctx); err != nil {
			bound.Close()
			return errors.Join(errors.New("the component does not start, which every message would meet: "+named(err, id)), program.Close())
		}
	}
	u.Handler = &handler{program: program, component: bound, log: log}
	return nil
}

// offered tells whether an address means a server that a tenant may reach for another reason than that the address itself is granted.
func (h *hosted) offered(t tenants.ID, r *tenantRoom, address string) bool {
	if own := h.connections.meant(t, address); own != nil {
		return own.within(r.ceiling.Load()) == nil
	}
	_, ours, err := h.servers.meant(address)
	return err == nil && ours
}

// host is what one component may reach.
func (h *hosted) host(u *deploy.Unit, resolver *secrets.Resolver) (*spin.Host, error) {
	allowed, err := allowList(u.Component, resolver)
	if err != nil {
		return nil, err
	}
	tenant, app, id, version, room := u.Tenant, u.App, u.Component.ID, u.Version, h.room(u.Tenant)
	host := &spin.Host{
		Wrap: wrapping(u),
		Gate: &outbound.Gate{
			Allowed: allowed, Ceiling: room.ceiling.Load, Pool: room.pool, HTTP: room.http, Dial: h.outward,
			Offered: func(address string) bool { return h.offered(tenant, room, address) },
			Denied: func(d *outbound.Denied) {
				text := d.Error() + "; to allow it, add to [component." + string(id) + "]: " + d.Hint
				if d.Beyond {
					text = d.Error() + "; the manifest allows it, the tenant's policy does not: ask the operator to add it to grants.hosts"
				}
				h.line(telemetry.Line{At: time.Now(), Tenant: tenant, App: app, Component: id, Version: version, Stream: telemetry.Stderr, Text: []byte(text)})
			},
		},
		Variables: componentVariables(u.Component, resolver),
		Stores:    map[string]spin.Store{},
		Limits: spin.Limits{
			HostCalls: int64(u.Limits.HostCalls), BytesOut: int64(u.Limits.BytesOut), BytesIn: int64(u.Limits.BytesIn),
			Connections: u.Limits.Handles, StoreHandles: u.Limits.Handles,
		},
	}
	for _, label := range u.Component.KeyValueStores {
		h.servers.mu.Lock()
		main := h.servers.known[tenants.DefaultEndpoint]
		h.servers.mu.Unlock()
		host.Stores[label] = spin.NewRedisStore(main.client, fmt.Sprintf("tenloom:kv:%s/%s/%s", u.Tenant, u.App, label))
	}
	return host, nil
}

// hold is deploy.Config.Hold.
func (h *hosted) hold(ctx context.Context, on tenants.EndpointID, targets []tenants.Target) (release func(), err error) {
	h.connections.attach(on)
	return h.scheduler.Hold(ctx, on, targets)
}

// switchTo is deploy.Config.Switch.
func (h *hosted) switchTo(tenant tenants.ID, app tenants.AppName, bound []deploy.Bound, paused string) error {
	if paused != "" {
		switch err := h.scheduler.Pause(tenant, app, paused); {
		case errors.Is(err, scheduler.ErrUnknown):
			return nil // it never ran here, and does not begin now
		case err != nil:
			return err
		}
	}
	triggers := make([]scheduler.Trigger, len(bound))
	for i := range bound {
		h.connections.attach(bound[i].Endpoint)
		triggers[i] = entry(&bound[i])
	}
	if err := h.scheduler.Apply(tenant, app, triggers); err != nil || paused != "" || len(bound) == 0 {
		return err
	}
	return h.scheduler.Resume(tenant, app)
}

// entry is a trigger as the scheduler takes it.
func entry(b *deploy.Bound) scheduler.Trigger {
	t := scheduler.Trigger{Trigger: b.Trigger, Invoker: enter(b)}
	if b.Split == nil {
		return t
	}
	return scheduler.Trigger{Trigger: b.Leading(), Invoker: &scheduler.Split{
		Of:     [2]scheduler.Trigger{t, {Trigger: b.Other.Trigger, Invoker: enter(b.Other)}},
		Choose: b.Split.Choose, Note: b.Split.Note,
	}}
}

func enter(b *deploy.Bound) scheduler.Invoker { return &entrance{b.Handler.(*handler), b.Prefix} }
