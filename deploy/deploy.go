package deploy

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// System is the running system as a deployment reaches it. An error that has a method NextStep() string says there what to do about it.
type System struct {
	Policy    tenants.Policy
	MaxModule int64 // bytes of one component's module

	// Required tells which required variables nobody resolves.
	Required func(ctx context.Context) error
	// Render puts variables in place of names.
	Render func(ctx context.Context, t tenants.Template) (string, error)
	// CheckHosts holds the rendered entries of an allow list against its grammar.
	CheckHosts func(entries []string) error
	// GrantedHosts says why one rendered entry is not within what the tenant's policy grants, or nil. nil: everything is.
	GrantedHosts func(entry string) error
	// Live says that the version takes messages already, and comes back after a restart. What the policy does not grant any more is then
	// not held against it: it gets as much as is granted, and its handlers are refused the rest.
	Live bool
	// Endpoint finds or opens the Redis server at an address and names it; "" is the platform's own server. It returns an error for an
	// address that can never work; a server that does not answer now is no error.
	Endpoint func(ctx context.Context, address string) (tenants.EndpointID, error)
	// Shared tells whether other tenants use the same channels of a server, so that a tenant's own names begin with its name there. nil: none.
	Shared func(on tenants.EndpointID) bool
	// Sharded says why sharded channels are not offered on a server, or nil. nil: they are on all.
	Sharded func(on tenants.EndpointID) error
	// Load compiles a unit, binds it to what it may do and, unless it was Started before, runs its initialisation once. It is called for two
	// units at a time, and sets Isolation, Why and Handler.
	Load func(ctx context.Context, u *Unit) error
	// Apply makes a version's triggers the application's active ones.
	Apply func(v *Version) error
}

// Unit is one component of a version, ready to be loaded.
type Unit struct {
	Tenant    tenants.ID
	App       tenants.AppName
	Version   tenants.VersionID
	Component *manifest.Component // HostsGiven is false only where version 1 grants its default
	Digest    string              // of its module; "" where a folder is deployed
	Wasm      []byte              // until it is loaded
	Started   bool                // the same code was started under the same limits before: the first message may meet what is wrong with it
	Files     fs.FS               // nil where it has none
	Limits    tenants.Limits
	Isolation tenants.Isolation // what its messages find
	Why       string            // where that is not what the manifest asks for
	Handler   Handler           // nil where System.Apply knows it by other means
}

// Version is an application's immutable code and configuration.
type Version struct {
	ID       tenants.VersionID
	Tenant   tenants.ID
	App      tenants.AppName
	Manifest *manifest.Manifest
	Units    []Unit
	Triggers []tenants.Trigger // none before Deploy has found their servers
}

// Notes are what its owner may want to know of a version that is deployed: nothing that is wrong, each with the line that it is about.
func (v *Version) Notes() (notes []manifest.Fault) {
	for _, u := range v.Units {
		if u.Why == "" {
			continue
		}
		n := manifest.Fault{File: v.Manifest.File, Line: u.Component.Line, Path: "component." + string(u.Component.ID),
			Problem: "each message gets a fresh instance, which takes longer than a reset, because " + u.Why}
		if u.Component.Tool.Isolation == manifest.Reuse {
			n.Problem = `isolation = "reuse" has no effect: ` + n.Problem
		}
		notes = append(notes, n)
	}
	return notes
}

// Deploy verifies, loads and applies an application. Each stage reports all its faults as a *Refused; a later stage begins when the earlier
// has none. When ctx ends before Apply, the error wraps its error and nothing is applied.
func Deploy(ctx context.Context, tenant tenants.ID, m *manifest.Manifest, sys System) (*Version, error) {
	v, wanted, err := prepare(ctx, tenant, m, sys)
	if err != nil {
		return nil, err
	}
	if v.Triggers, err = connect(ctx, v, wanted, sys); err != nil {
		return nil, err
	}
	if err := sys.Apply(v); err != nil {
		return nil, fmt.Errorf("apply %s/%s: %w", tenant, v.App, err)
	}
	return v, nil
}

// Load does what Deploy does before it touches any Redis: it reads and verifies everything and loads every component.
func Load(ctx context.Context, tenant tenants.ID, m *manifest.Manifest, sys System) (*Version, error) {
	v, _, err := prepare(ctx, tenant, m, sys)
	return v, err
}

func prepare(ctx context.Context, tenant tenants.ID, m *manifest.Manifest, sys System) (*Version, []wanted, error) {
	v := &Version{Tenant: tenant, App: tenants.AppName(m.Name), Manifest: m}
	triggers, err := verify(ctx, v, sys)
	if err != nil {
		return nil, nil, err
	}
	if err := read(ctx, v, sys); err != nil {
		return nil, nil, err
	}
	if err := load(ctx, v, sys); err != nil {
		return nil, nil, err
	}
	return v, triggers, nil
}

// load compiles and initialises all units, as many at a time as there are processors, and two at least: a start with compiled code in the cache
// is bound by them. How many modules are compiled at once System.Load decides.
func load(ctx context.Context, v *Version, sys System) error {
	failed := make([]error, len(v.Units))
	var g errgroup.Group
	g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for i := range v.Units {
		g.Go(func() error {
			if ctx.Err() == nil {
				failed[i] = sys.Load(ctx, &v.Units[i])
			}
			return nil
		})
	}
	g.Wait() // the functions return nil: each fault is reported, not the first alone
	r := refusal{m: v.Manifest}
	for i, err := range failed {
		c := v.Units[i].Component
		r.fail(c.Line, "component."+string(c.ID), err)
	}
	return r.err(ctx)
}
