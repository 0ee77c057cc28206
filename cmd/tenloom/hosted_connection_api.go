package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// outward connects tenants to the outside: past the blocked networks, and not to the platform's own servers, where a tenant has its own names only
// by the way that the platform gives it. Its errors are for the tenant: they tell nothing of the network here.
func (h *hosted) outward(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := h.guard.DialContext(ctx, network, addr)
	if err != nil {
		return nil, outside(addr, err)
	}
	if h.servers.leadsTo(c.RemoteAddr()) {
		return nil, errors.Join(fmt.Errorf("%w: %s is one of the platform's own; name that one as redis://NAME", outbound.ErrProhibited, addr), c.Close())
	}
	return c, nil
}

// outside leaves out of an error which addresses a name has here, and who was asked for them.
func outside(addr string, err error) error {
	var unknown *net.DNSError
	host, _, _ := net.SplitHostPort(addr)
	switch {
	case errors.Is(err, outbound.ErrProhibited):
		return fmt.Errorf("connect to %q: %w, which the operator has closed to tenants", host, outbound.ErrProhibited)
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return fmt.Errorf("connect to %q: no host is called so", host)
	case errors.As(err, &unknown):
		return fmt.Errorf("connect to %q: its name could not be resolved", host)
	}
	return err
}

// checkConnection is api.Config.CheckConnection: what can be said of an address without going there.
func (h *hosted) checkConnection(n tenants.Connection) error {
	fault := func(pointer, format string, args ...any) error {
		return tenants.Faults{{Pointer: pointer, Code: "invalid", Detail: fmt.Sprintf(format, args...)}}
	}
	if h.servers.is(tenants.EndpointID(n.Name)) {
		return fault("/name", "the platform offers a Redis by the name %s; choose another", n.Name)
	}
	config, err := endpoint.ParseConfig(n.Address)
	if err != nil {
		return fault("/address", "%v", err)
	}
	if n.CA != "" && config.TLS != nil {
		config.TLS.CA = []byte(n.CA)
	}
	keys, err := h.connections.openKeys(n)
	if err != nil {
		return err
	}
	tuned(&config, n.Tuning, keys)
	options, err := endpoint.New(config)
	if err != nil {
		return fault("/address", "%v", err)
	}
	if n.Vault && !h.vault.offersConnections() {
		return fault("/vault", "%v", errNoVault)
	}
	if id, ours, err := h.servers.meant(n.Address); err != nil || ours {
		return fault("/address", "it is the platform's own Redis; a manifest names that one as redis://%s, and a policy grants it", id)
	}
	for _, address := range options.Addresses() {
		host, _, _ := net.SplitHostPort(address)
		if ip, err := netip.ParseAddr(host); err == nil && h.guard.Blocked.Blocks(ip) {
			return fault("/address", "%s is in a network that the operator has closed to tenants", host)
		}
	}
	return nil
}

// testConnection is api.Config.TestConnection.
func (h *hosted) testConnection(ctx context.Context, n tenants.Connection) (api.Found, error) {
	one, err := h.connections.make(n, 0)
	if err != nil {
		return api.Found{}, err
	}
	defer one.clients.Close()
	defer one.end()
	if n.Vault {
		if err := h.connections.lent(ctx, one); err != nil {
			return api.Found{}, err
		}
	}
	p, err := one.options.Probe(ctx)
	f := api.Found{
		Server: p.Server, User: p.User, Version: p.Version, Mode: p.Mode, Role: p.Role, Protocol: p.RESP, TLS: p.TLS,
		ConnectMS: float64(p.Dialled.Microseconds()) / 1000, LatencyMS: float64(p.Latency.Microseconds()) / 1000,
	}
	for _, m := range p.Missing {
		f.Missing = append(f.Missing, api.Missing{Rule: m.Rule, Why: m.Why, Required: m.Required})
	}
	return f, err
}

// connectionState is api.Config.ConnectionState.
func (h *hosted) connectionState(t tenants.ID, name string) api.ConnectionState {
	h.connections.mu.Lock()
	n := h.connections.all[t][name]
	h.connections.mu.Unlock()
	s := api.ConnectionState{State: "unused"}
	if n == nil {
		return s
	}
	s.Credential = n.showsCredential()
	s.UsedBy = h.controller.Running(t, func(m *manifest.Manifest, triggers []tenants.Trigger) bool { return h.uses(n, m, triggers) })
	n.mu.Lock()
	attached, stale := n.attached, n.stale
	n.mu.Unlock()
	if !attached {
		return s
	}
	s.State = "ok"
	for _, target := range h.scheduler.TargetStates(n.id) {
		if target.State != scheduler.Active {
			s.State, s.Detail = "degraded", target.Name+" is "+strings.TrimSpace(target.State.String()+" "+target.Reason)+n.advise(target.Reason)
		}
	}
	if stale != "" {
		s.State, s.Detail = "stale", "subscriptions still have the login before: "+stale
	}
	return s
}

// uses tells whether a version has triggers on a connection, or its components' allow lists name it as variables stand now.
func (h *hosted) uses(n *connection, m *manifest.Manifest, triggers []tenants.Trigger) bool {
	if slices.ContainsFunc(triggers, func(t tenants.Trigger) bool { return t.Endpoint == n.id }) {
		return true
	}
	resolver := h.resolver(appKey{n.tenant, tenants.AppName(m.Name)}, m)
	for _, c := range m.Components {
		for _, entry := range c.AllowedOutboundHosts {
			address, err := resolver.Render(context.Background(), entry.Template)
			if err == nil && (n.named(address) || n.addressed(address)) {
				return true
			}
		}
	}
	return false
}

// find is api.Config.Server: the server that a client named, or whose triggers the target wakes, or the default one.
func (h *hosted) find(t tenants.ID, address string, to tenants.Target) (api.Server, error) {
	g := h.grants(t)
	if address != "" && !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	if address == "" {
		switch wakes := h.woken(t, g, to); {
		case len(wakes) > 1:
			return api.Server{}, fmt.Errorf("triggers on %d servers listen to %q; name one of them as endpoint: %s", len(wakes), to.Name, joinIDs(wakes))
		case len(wakes) == 1 && !h.servers.is(wakes[0]):
			if n := h.connections.at(wakes[0]); n != nil {
				return n.server(), nil
			}
		case len(wakes) == 1:
			address = "redis://" + string(wakes[0])
		}
	}
	if n := h.ownServer(t, address); n != nil {
		h.connections.attach(n.id)
		return n.server(), nil
	}
	one, err := h.servers.granted(address, g)
	if err != nil {
		return api.Server{}, err
	}
	return api.Server{ID: one.id, Publish: publishing(one.client)}, nil
}

func (n *connection) server() api.Server { return api.Server{ID: n.id, Publish: n.publish} }

// ownServer is the tenant's own connection that an address means, or nil. One that was added a moment ago is there, too.
func (h *hosted) ownServer(t tenants.ID, address string) *connection {
	n := h.connections.meant(t, address)
	if _, ours, err := h.servers.meant(address); n != nil || ours || err != nil {
		return n
	}
	if err := h.connections.refresh(context.Background(), t); err != nil {
		h.log.Warn("a tenant's connections were not read", "tenant", t, "cause", err)
	}
	return h.connections.meant(t, address)
}

// woken lists the servers on which a target wakes triggers of a tenant.
func (h *hosted) woken(t tenants.ID, g tenants.Grants, to tenants.Target) (on []tenants.EndpointID) {
	for _, trigger := range h.scheduler.Triggers(t) {
		there := to
		if h.servers.is(trigger.Endpoint) {
			there.Name = g.Published(t, to.Name)
		}
		if wakes(trigger.Target, there) && !slices.Contains(on, trigger.Endpoint) {
			on = append(on, trigger.Endpoint)
		}
	}
	return on
}
