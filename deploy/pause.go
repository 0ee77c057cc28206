package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// PauseApp unsubscribes all of an app's triggers until ResumeApp. What waits for them already is handled.
func (c *Controller) PauseApp(ctx context.Context, by Actor, t tenants.ID, ref, reason string) (tenants.App, error) {
	return c.adjust(ctx, by, tenants.PauseApp, t, ref, "", func(a *tenants.App) error {
		a.Paused, a.PausedReason = true, reason
		return nil
	})
}

// ResumeApp takes PauseApp back.
func (c *Controller) ResumeApp(ctx context.Context, by Actor, t tenants.ID, ref string) (tenants.App, error) {
	return c.adjust(ctx, by, tenants.ResumeApp, t, ref, "", func(a *tenants.App) error {
		a.Paused, a.PausedReason = false, ""
		return nil
	})
}

// PauseTrigger unsubscribes one of an app's triggers until ResumeTrigger, or store.ErrNotFound where what is live has no such trigger. What waits
// for it is dropped, with the reason "removed".
func (c *Controller) PauseTrigger(ctx context.Context, by Actor, t tenants.ID, ref, trigger string) (tenants.App, error) {
	return c.adjust(ctx, by, tenants.PauseTrigger, t, ref, trigger, func(a *tenants.App) error {
		if slices.Contains(a.PausedTriggers, trigger) {
			return nil
		}
		if !slices.ContainsFunc(c.Triggers(t, a.Name), func(b tenants.Trigger) bool { return b.ID == trigger }) {
			return fmt.Errorf("trigger %.80q of app %q: %w", trigger, a.Name, store.ErrNotFound)
		}
		a.PausedTriggers = append(slices.Clone(a.PausedTriggers), trigger)
		slices.Sort(a.PausedTriggers)
		return nil
	})
}

// ResumeTrigger takes PauseTrigger back.
func (c *Controller) ResumeTrigger(ctx context.Context, by Actor, t tenants.ID, ref, trigger string) (tenants.App, error) {
	return c.adjust(ctx, by, tenants.ResumeTrigger, t, ref, trigger, func(a *tenants.App) error {
		i := slices.Index(a.PausedTriggers, trigger)
		if i < 0 {
			return fmt.Errorf("paused trigger %.80q of app %q: %w", trigger, a.Name, store.ErrNotFound)
		}
		a.PausedTriggers = slices.Delete(slices.Clone(a.PausedTriggers), i, i+1)
		return nil
	})
}

// adjust changes what is asked of an app, and then what runs of it.
func (c *Controller) adjust(ctx context.Context, by Actor, action tenants.Action, t tenants.ID, ref, target string, f func(*tenants.App) error) (tenants.App, error) {
	found, err := c.config.Store.App(ctx, t, ref)
	if err != nil {
		return tenants.App{}, err
	}
	key := appKey{t, found.Value.Name}
	a, err := c.enter(ctx, key)
	if err != nil {
		return tenants.App{}, err
	}
	defer a.leave()
	if target == "" {
		target = string(found.Value.ID)
	}
	err = c.change(ctx, entry(by, action, t, key.name, target), func(tx *store.Tx) error {
		have, err := tx.App(ctx, t, string(key.name))
		if err != nil {
			return err
		}
		now := have.Value
		if err := f(&now); err != nil {
			return err
		}
		return tx.PutApp(ctx, now)
	})
	if err != nil {
		return tenants.App{}, err
	}
	return c.follow(ctx, key, a)
}

// follow makes what runs of an app what is asked of it. The caller holds the app's turn.
func (c *Controller) follow(ctx context.Context, key appKey, a *app) (tenants.App, error) {
	have, owner, err := c.asked(ctx, key)
	if err != nil {
		return have, err
	}
	if a.running() == nil && owner.State == tenants.TenantActive {
		if err := c.recall(ctx, key, a, have, owner); err != nil {
			return have, err
		}
	}
	return have, c.switchTo(key, a.running().setting(have, owner))
}

// recall loads what is live of an app by the store and does not run here: its tenant was suspended, or it could not be brought back.
func (c *Controller) recall(ctx context.Context, key appKey, a *app, have tenants.App, owner tenants.Tenant) error {
	r := &revival{tenant: owner, app: have}
	if err := c.revive(ctx, r); err != nil || r.live == nil {
		return err
	}
	a.set(r.live)
	c.watch(key, r.live)
	return nil
}

// Triggers lists the triggers of what is live of an app, those that are paused too; of two versions those that lead.
func (c *Controller) Triggers(t tenants.ID, name tenants.AppName) []tenants.Trigger {
	c.mu.Lock()
	a := c.apps[appKey{t, name}]
	c.mu.Unlock()
	if a == nil {
		return nil
	}
	r := a.running()
	if r == nil {
		return nil
	}
	all := make([]tenants.Trigger, len(r.bound))
	for i := range r.bound {
		all[i] = r.bound[i].Leading()
	}
	return all
}

// Running lists a tenant's apps of which something is live, paused ones too, and that uses says yes to: it is told what is live, by version.
func (c *Controller) Running(t tenants.ID, uses func(m *manifest.Manifest, triggers []tenants.Trigger) bool) (names []tenants.AppName) {
	c.mu.Lock()
	apps := map[tenants.AppName]*app{}
	for key, a := range c.apps {
		if key.tenant == t {
			apps[key.name] = a
		}
	}
	c.mu.Unlock()
	for name, a := range apps {
		if slices.ContainsFunc(a.versions(), func(v *opened) bool { return uses(v.Manifest, v.triggers) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SuspendTenant unsubscribes everything of a tenant's, and refuses its changes until ResumeTenant.
func (c *Controller) SuspendTenant(ctx context.Context, by Actor, t tenants.ID, reason string) (tenants.Tenant, error) {
	return c.setTenant(ctx, by, tenants.SuspendTenant, t, tenants.TenantSuspended, reason)
}

// ResumeTenant takes SuspendTenant back.
func (c *Controller) ResumeTenant(ctx context.Context, by Actor, t tenants.ID) (tenants.Tenant, error) {
	return c.setTenant(ctx, by, tenants.ResumeTenant, t, tenants.TenantActive, "")
}

func (c *Controller) setTenant(ctx context.Context, by Actor, action tenants.Action, t tenants.ID, to tenants.TenantState, reason string) (tenants.Tenant, error) {
	var now tenants.Tenant
	err := c.update(ctx, entry(by, action, t, "", string(t)), func(tx *store.Tx) error {
		have, err := tx.Tenant(ctx, t)
		if err != nil {
			return err
		}
		now = have.Value
		if now.State != to {
			now.State, now.Changed = to, time.Now().UTC()
		}
		now.Reason = reason
		return tx.PutTenant(ctx, now)
	})
	if err != nil {
		return now, err
	}
	return now, each(ctx, func(q store.Query) (store.Page[tenants.App], error) { return c.config.Store.Apps(ctx, t, q) }, func(one tenants.App) error {
		key := appKey{t, one.Name}
		a, err := c.enter(ctx, key)
		if err != nil {
			return err
		}
		defer a.leave()
		_, err = c.follow(ctx, key, a)
		return err
	})
}

// SetPolicy changes what a tenant may take. Queues, rates and shares follow at once, and so does where handlers may connect to; their limits with
// the next deployment or the next start. What is live goes on where a policy grants less than its manifest asks for; to be deployed again it has
// to ask for less.
func (c *Controller) SetPolicy(ctx context.Context, by Actor, t tenants.ID, p tenants.Policy, ifMatch string) error {
	err := c.update(ctx, entry(by, tenants.WritePolicy, t, "", string(t)), func(tx *store.Tx) error {
		have, err := tx.Policy(ctx, t)
		if err != nil {
			return err
		}
		if err := c.config.Store.Match(ifMatch, have.Revision); err != nil {
			return fmt.Errorf("policy of tenant %q %w", string(t), err)
		}
		return tx.PutPolicy(ctx, t, p)
	})
	if err == nil {
		c.config.Policy(t, p)
	}
	return err
}

// TellPolicy tells the running system what a tenant may take that was made just now.
func (c *Controller) TellPolicy(t tenants.ID, p tenants.Policy) { c.config.Policy(t, p) }

// DeleteApp removes an app with everything that belongs to it. Cut short, it can be called again.
func (c *Controller) DeleteApp(ctx context.Context, by Actor, t tenants.ID, ref string) error {
	found, err := c.config.Store.App(ctx, t, ref)
	if err != nil {
		return err
	}
	name := found.Value.Name
	if err := c.remove(ctx, appKey{t, name}); err != nil {
		return err
	}
	e := entry(by, tenants.DeleteApp, t, name, string(found.Value.ID))
	return c.config.Store.DeleteApp(ctx, t, name, func(tx *store.Tx) error { return tx.Audit(ctx, e) })
}

// DeleteTenant removes a tenant with everything that belongs to it, apart from its audit log. Cut short, it can be called again.
func (c *Controller) DeleteTenant(ctx context.Context, by Actor, t tenants.ID) error {
	if _, err := c.config.Store.Tenant(ctx, t); err != nil {
		return err
	}
	err := each(ctx, func(q store.Query) (store.Page[tenants.App], error) { return c.config.Store.Apps(ctx, t, q) },
		func(one tenants.App) error { return c.remove(ctx, appKey{t, one.Name}) })
	if err != nil {
		return err
	}
	e := entry(by, tenants.DeleteTenant, t, "", string(t))
	return c.config.Store.DeleteTenant(ctx, t, func(tx *store.Tx) error { return tx.Audit(ctx, e) })
}

// remove takes an app off the running system.
func (c *Controller) remove(ctx context.Context, key appKey) error {
	a, err := c.enter(ctx, key)
	if err != nil {
		return err
	}
	defer a.leave()
	if err := c.switchTo(key, setting{}); err != nil {
		return err
	}
	c.retire(a.set(nil))
	c.mu.Lock()
	delete(c.apps, key)
	var left []*loaded
	c.prepared = slices.DeleteFunc(c.prepared, func(l *loaded) bool {
		gone := l.Tenant == key.tenant && l.App == key.name
		if gone {
			left = append(left, l)
		}
		return gone
	})
	c.mu.Unlock()
	for _, l := range left {
		c.release(l)
	}
	return nil
}
