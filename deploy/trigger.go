package deploy

import (
	"context"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// maxTarget is the longest channel or pattern, in bytes, that is subscribed to.
const maxTarget = 64 << 10

// wanted is a trigger of the manifest with its variables filled in, before its server is known.
type wanted struct {
	trigger          *manifest.Trigger
	address          string // "" where the manifest gives none: the platform's own server
	channel, pattern string // no pattern: ""
	line             int    // of the address
	path             string
}

// triggers fills in the variables of all triggers. One whose component was left out of the manifest is left out too.
func (r *refusal) triggers(render renderer) (all []wanted) {
	components := map[tenants.ComponentID]*manifest.Component{}
	for i := range r.m.Components {
		components[r.m.Components[i].ID] = &r.m.Components[i]
	}
	for i := range r.m.Triggers {
		t := &r.m.Triggers[i]
		c := components[t.Component]
		if c == nil {
			continue
		}
		w := wanted{trigger: t}
		w.channel = r.target(t.Line, r.path(t)+".channel", "channel", t.Channel, render)
		if c.Tool.Pattern != nil {
			w.pattern = r.target(c.Tool.Pattern.Line, "component."+string(c.ID)+".tool.tenloom.pattern", "pattern", *c.Tool.Pattern, render)
		}
		r.address(&w, render)
		all = append(all, w)
	}
	return all
}

// path is what faults call a trigger.
func (r *refusal) path(t *manifest.Trigger) string {
	if r.m.SpinVersion == 1 {
		return "component." + string(t.Component) + ".trigger"
	}
	return "trigger.redis[" + t.ID + "]"
}

// target renders a channel or pattern.
func (r *refusal) target(line int, path, what string, t manifest.Text, render renderer) string {
	text, ok, err := render(t)
	switch {
	case ok && text == "":
		err = hintf("give its variable a value", "the %s is empty", what)
	case len(text) > maxTarget:
		err = hintf("choose a shorter name", "the %s has %s, at most %s can be subscribed to", what, size(int64(len(text))), size(int64(maxTarget)))
	}
	r.fail(line, path, err)
	return text
}

// address renders the address of a trigger's server: its own, or the application's.
func (r *refusal) address(w *wanted, render renderer) {
	address := w.trigger.Address
	w.line, w.path = w.trigger.Line, r.path(w.trigger)+".address"
	if address.Raw == "" && r.m.Address.Raw != "" {
		address, w.line, w.path = r.m.Address, r.m.Address.Line, "application.trigger.redis.address"
		if r.m.SpinVersion == 1 {
			w.path = "trigger.address"
		}
	}
	if address.Raw == "" {
		return
	}
	text, ok, err := render(address)
	if ok && text == "" {
		err = hintf("give its variable a value, or remove the address to use the platform's own server", "the address is empty")
	}
	r.fail(w.line, w.path, err)
	w.address = text
}

// connect opens the servers of all triggers. An address that several share is opened, and found faulty, once.
func connect(ctx context.Context, v *Version, all []wanted, sys System) ([]tenants.Trigger, error) {
	r := refusal{m: v.Manifest}
	if len(all) == 0 {
		r.add(manifest.Fault{Path: "trigger", Problem: "the application has no triggers, so nothing would ever run", Next: "add a trigger and its channel"})
		return nil, r.err(ctx)
	}
	b := builder{version: v, units: map[tenants.ComponentID]*Unit{}, taken: map[string]bool{}, patterns: map[patternOf]bool{}}
	for i := range v.Units {
		b.units[v.Units[i].Component.ID] = &v.Units[i]
	}
	for _, w := range all {
		b.taken[w.trigger.ID] = true
	}
	type server struct {
		id  tenants.EndpointID
		err error
	}
	servers := map[string]server{} // by address
	for _, w := range all {
		s, known := servers[w.address]
		if !known {
			s.id, s.err = sys.Endpoint(ctx, w.address)
			servers[w.address] = s
		}
		r.fail(w.line, w.path, s.err)
		b.add(w, s.id)
	}
	return b.triggers, r.err(ctx)
}

// builder makes a version's triggers.
type builder struct {
	version  *Version
	units    map[tenants.ComponentID]*Unit
	taken    map[string]bool // trigger ids
	patterns map[patternOf]bool
	triggers []tenants.Trigger
}

type patternOf struct {
	component tenants.ComponentID
	endpoint  tenants.EndpointID
}

// add makes a trigger for the channel, and one for the component's pattern on the same server, if it has one and this is the first of its
// triggers there: two would run the component twice for each message.
func (b *builder) add(w wanted, on tenants.EndpointID) {
	u := b.units[w.trigger.Component]
	t := tenants.Trigger{
		Tenant: b.version.Tenant, App: b.version.App, Version: b.version.ID, ID: w.trigger.ID, Component: w.trigger.Component, Endpoint: on,
		Target: tenants.Target{Kind: tenants.Exact, Name: w.channel}, Limits: u.Limits, Isolation: u.Isolation, Why: u.Why,
	}
	b.triggers = append(b.triggers, t)
	key := patternOf{t.Component, on}
	if w.pattern == "" || b.patterns[key] {
		return
	}
	b.patterns[key] = true
	for b.taken[t.ID] {
		t.ID += "-pattern"
	}
	b.taken[t.ID] = true
	t.Target = tenants.Target{Kind: tenants.Pattern, Name: w.pattern}
	b.triggers = append(b.triggers, t)
}
