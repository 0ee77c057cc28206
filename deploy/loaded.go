package deploy

import (
	"context"
	"reflect"
	"slices"

	"github.com/tenloom/tenloom/tenants"
)

// loaded is a version whose units are ready for messages. Deployments that use it at the same time share it.
type loaded struct {
	Version
	number int
	policy tenants.Policy // that its units were bound under
	users  int            // under Controller.mu; the last one closes the units
}

// opened is a version with the triggers that the variables of the moment give it.
type opened struct {
	*loaded
	triggers []tenants.Trigger
	prefixes []string // of each trigger's target, which the manifest does not have
}

// wishes are what a manifest asks of the platform as it is now.
type wishes struct {
	sys    System
	wanted []wanted
}

// validate reads a version's manifest and holds it against the platform as it is now; live is for one that takes messages already.
func (c *Controller) validate(ctx context.Context, v *tenants.Version, live bool) (*loaded, wishes, error) {
	m, err := c.manifestOf(ctx, v)
	if err != nil {
		return nil, wishes{}, err
	}
	p, err := c.config.Store.Policy(ctx, v.Tenant)
	if err != nil {
		return nil, wishes{}, err
	}
	l := &loaded{Version: Version{ID: v.Digest, Tenant: v.Tenant, App: v.App, Manifest: m}, number: v.Number, policy: p.Value, users: 1}
	w, err := c.wishes(ctx, l, p.Value, live)
	return l, w, err
}

func (c *Controller) wishes(ctx context.Context, l *loaded, p tenants.Policy, live bool) (w wishes, err error) {
	if w.sys, err = c.config.System(ctx, Scope{l.Tenant, l.App, l.Manifest, p}); err != nil {
		return w, err
	}
	w.sys.Policy, w.sys.Live = p, live
	w.wanted, err = verify(ctx, &l.Version, w.sys)
	return w, err
}

// load compiles and binds a version's units. start has each of them started once, as its first message would. With an error nothing stays.
func (c *Controller) load(ctx context.Context, l *loaded, sys System, start bool) error {
	for i := range l.Units {
		l.Units[i].Started = !start
	}
	err := load(ctx, &l.Version, sys)
	for i := range l.Units {
		l.Units[i].Wasm = nil // it is compiled
	}
	if err != nil {
		c.release(l)
	}
	return err
}

// connectScoped finds a version's servers and gives its triggers the names that are its tenant's on each of them.
func connectScoped(ctx context.Context, l *loaded, w wishes) (*opened, error) {
	triggers, err := connect(ctx, &l.Version, w.wanted, w.sys)
	if err != nil {
		return nil, err
	}
	one := &opened{l, triggers, make([]string, len(triggers))}
	for i := range triggers {
		t := &triggers[i]
		if w.sys.Shared == nil || !w.sys.Shared(t.Endpoint) {
			continue
		}
		own := w.sys.Policy.Grants.Subscribed(l.Tenant, t.Target)
		one.prefixes[i] = own.Name[:len(own.Name)-len(t.Target.Name)]
		t.Target = own
	}
	return one, nil
}

// prepare is all of it, from the version's record on. live is for a version that takes messages already: it is not started to see whether it can be.
func (c *Controller) prepare(ctx context.Context, v *tenants.Version, live bool) (*opened, error) {
	l, w, err := c.validate(ctx, v, live)
	if err != nil {
		return nil, err
	}
	if err := c.fetch(ctx, l, v, w.sys); err != nil {
		return nil, err
	}
	if err := c.load(ctx, l, w.sys, !live); err != nil {
		return nil, err
	}
	one, err := connectScoped(ctx, l, w)
	if err != nil {
		c.release(l)
	}
	return one, err
}

// open gives a version as the policy and the variables of now have it: one that is loaded already, where there is one. Its user releases it.
func (c *Controller) open(ctx context.Context, v *tenants.Version) (*opened, error) {
	l := c.take(appKey{v.Tenant, v.App}, v.Number)
	if l == nil {
		return c.prepare(ctx, v, false)
	}
	one, err := c.again(ctx, v, l)
	if err != nil || one.loaded != l {
		c.release(l)
	}
	return one, err
}

// again holds a version that is loaded against the platform as it is now. Where the policy has changed it is loaded anew.
func (c *Controller) again(ctx context.Context, v *tenants.Version, l *loaded) (*opened, error) {
	p, err := c.config.Store.Policy(ctx, v.Tenant)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(p.Value, l.policy) {
		return c.prepare(ctx, v, false)
	}
	w, err := c.wishes(ctx, l, p.Value, false)
	if err != nil {
		return nil, err
	}
	return connectScoped(ctx, l, w)
}

// maxPrepared is how many versions stay loaded that no deployment has taken yet. One more closes the oldest.
const maxPrepared = 16

// warm keeps a version that was prepared for the deployment that comes next.
func (c *Controller) warm(l *loaded) {
	c.mu.Lock()
	var old *loaded
	c.prepared = append(c.prepared, l)
	if len(c.prepared) > maxPrepared {
		old = c.prepared[0]
		c.prepared = slices.Delete(c.prepared, 0, 1)
	}
	c.mu.Unlock()
	if old != nil {
		c.release(old)
	}
}

// take finds a version that is loaded: it takes traffic, or was prepared.
func (c *Controller) take(key appKey, number int) *loaded {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.apps[key]; a != nil {
		for _, one := range a.versions() {
			if one.number == number && one.users > 0 {
				one.users++
				return one.loaded
			}
		}
	}
	i := slices.IndexFunc(c.prepared, func(l *loaded) bool { return l.number == number && l.Tenant == key.tenant && l.App == key.name })
	if i < 0 {
		return nil
	}
	l := c.prepared[i]
	c.prepared = slices.Delete(c.prepared, i, i+1)
	return l
}

func (c *Controller) releaseAll(all []*opened) {
	for _, one := range all {
		c.release(one.loaded)
	}
}

// release gives a version back that nothing is sent to any more. The last user closes its units.
func (c *Controller) release(l *loaded) {
	c.mu.Lock()
	l.users--
	last := l.users == 0
	c.mu.Unlock()
	if !last {
		return
	}
	for _, u := range l.Units {
		if u.Handler == nil {
			continue
		}
		if err := u.Handler.Close(); err != nil {
			c.config.Log.Error("a component could not be closed", "tenant", u.Tenant, "app", u.App, "component", u.Component.ID, "error", err)
		}
	}
}
