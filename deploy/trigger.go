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
	sharded          string // a sharded channel; none: ""
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
		if c.Tool.Sharded != nil {
			w.sharded = r.target(c.Tool.Sharded.Line, shardedPath(c), "sharded channel", *c.Tool.Sharded, render)
		}
		r.address(&w, render)
		all = append(all, w)
	}
	return all
}

// shardedPath is what faults call a component's sharded channel.
func shardedPath(c *manifest.Component) string {
	return "component." + string(c.ID) + ".tool.tenloom.sharded"
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
	b := builder{version: v, units: map[tenants.ComponentID]*Unit{}, taken: map[string]bool{}, named: map[namedOf]bool{}}
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
		if s.err == nil {
			r.sharded(&b, w, s.id, sys)
		}
		b.add(w, s.id)
	}
	return b.triggers, r.err(ctx)
}

// sharded refuses a component's sharded channel, once, on a server that has none.
func (r *refusal) sharded(b *builder, w wanted, on tenants.EndpointID, sys System) {
	c := b.units[w.trigger.Component].Component
	if w.sharded != "" && sys.Sharded != nil && !b.named[namedOf{c.ID, on, tenants.Sharded}] {
		r.fail(c.Tool.Sharded.Line, shardedPath(c), sys.Sharded(on))
	}
}

// builder makes a version's triggers.
type builder struct {
	version  *Version
	units    map[tenants.ComponentID]*Unit
	taken    map[string]bool // trigger ids
	named    map[namedOf]bool
	triggers []tenants.Trigger
}

// namedOf is a pattern or sharded channel, which a component names once for all its triggers.
type namedOf struct {
	component tenants.ComponentID
	endpoint  tenants.EndpointID
	kind      tenants.Kind
}

// add makes a trigger for the channel, and one each for the component's pattern and sharded channel on the same server, if it has them and this
// is the first of its triggers there: two would run the component twice for each message.
func (b *builder) add(w wanted, on tenants.EndpointID) {
	u := b.units[w.trigger.Component]
	t := tenants.Trigger{
		Tenant: b.version.Tenant, App: b.version.App, Version: b.version.ID, ID: w.trigger.ID, Component: w.trigger.Component, Endpoint: on,
		Target: tenants.Target{Kind: tenants.Exact, Name: w.channel}, Limits: u.Limits, Isolation: u.Isolation, Why: u.Why,
	}
	b.triggers = append(b.triggers, t)
	b.beside(t, tenants.Target{Kind: tenants.Pattern, Name: w.pattern})
	b.beside(t, tenants.Target{Kind: tenants.Sharded, Name: w.sharded})
}

// beside makes a trigger like t for a target that the component names, where it does.
func (b *builder) beside(t tenants.Trigger, target tenants.Target) {
	key := namedOf{t.Component, t.Endpoint, target.Kind}
	if target.Name == "" || b.named[key] {
		return
	}
	b.named[key] = true
	for b.taken[t.ID] {
		t.ID += "-" + target.Kind.String()
	}
	b.taken[t.ID] = true
	t.Target = target
	b.triggers = append(b.triggers, t)
}
