package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// watch begins to guard a rollout that two versions share, until it is replaced.
func (c *Controller) watch(key appKey, r *rollout) {
	if r.split == nil || r.split.guard == nil {
		return
	}
	ctx, cancel := context.WithCancel(c.life)
	r.stop = cancel
	c.work.Go(func() { // ends with the rollout, or with life
		tick := time.NewTicker(min(r.split.guard.Window/windowParts, time.Second))
		defer tick.Stop()
		w := r.deployment.Weights
		names := [2]string{fmt.Sprintf("v%d", w[0].Version), fmt.Sprintf("v%d", w[1].Version)}
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				why := r.split.judge(now, names)
				if why == "" {
					continue
				}
				err := c.giveBack(ctx, key, r, why)
				if err == nil || ctx.Err() != nil {
					return
				}
				c.config.Log.Error("a canary could not be rolled back; trying again", "tenant", key.tenant, "app", key.name, "error", err)
			}
		}
	})
}

// giveBack gives a canary's traffic to the other version, which is loaded and subscribed: a deployment of its own, that takes the canary's back.
func (c *Controller) giveBack(ctx context.Context, key appKey, r *rollout, why string) error {
	a, err := c.enter(ctx, key)
	if err != nil {
		return err
	}
	defer a.leave()
	if a.running() != r {
		return nil // somebody was faster
	}
	have, owner, err := c.asked(ctx, key)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	stable := r.versions[1]
	d := tenants.Deployment{
		ID: tenants.NewID[tenants.DeploymentID](now), Tenant: key.tenant, App: key.name, Weights: []tenants.Weight{{Version: stable.number, Percent: 100}},
		Actor: platform.Name, Reason: "guard: " + why, RollbackOf: r.deployment.ID, Created: now, State: tenants.DeploymentPending,
		Steps: []tenants.Step{{State: string(tenants.DeploymentPending), At: now}},
	}
	if d.Config, err = c.marks(ctx, key.tenant, key.name); err != nil {
		return err
	}
	next, err := newRollout(d, []*opened{stable})
	if err != nil {
		return err
	}
	if err := c.switchTo(key, next.setting(have, owner)); err != nil {
		return err
	}
	if err := c.writeBack(ctx, next, r, why); err != nil {
		return fmt.Errorf("write it down: %w", err) // the traffic stays with the stable version
	}
	c.mu.Lock()
	stable.users++ // r gives its own back
	c.mu.Unlock()
	a.set(next)
	c.config.Log.Warn("a canary was rolled back", "tenant", key.tenant, "app", key.name, "why", why)
	c.retire(r)
	return nil
}

// writeBack ends the canary's deployment and begins, live, the one that takes it back.
func (c *Controller) writeBack(ctx context.Context, next, r *rollout, why string) error {
	e := entry(platform, tenants.CreateDeployment, next.deployment.Tenant, next.deployment.App, string(next.deployment.ID))
	e.Detail = map[string]string{"versions": shares(next.deployment.Weights), "rollback_of": string(r.deployment.ID), "guard": why}
	return c.update(ctx, e, func(tx *store.Tx) error {
		d := next.deployment
		a, err := tx.App(ctx, d.Tenant, string(d.App))
		if err != nil {
			return err
		}
		d.Previous = a.Value.Deployment
		if err := tx.CreateDeployment(ctx, d); err != nil {
			return err
		}
		for _, s := range []tenants.DeploymentState{tenants.DeploymentRolling, tenants.DeploymentLive} {
			if err := d.Move(s, "guard", "", time.Now().UTC()); err != nil {
				return err
			}
		}
		canary, err := tx.Deployment(ctx, d.Tenant, d.App, string(r.deployment.ID))
		if err != nil {
			return err
		}
		if err := canary.Value.Move(tenants.DeploymentRolledBack, "guard", why, time.Now().UTC()); err != nil {
			return err
		}
		next.deployment = d
		if err := tx.PutDeployment(ctx, canary.Value); err != nil {
			return err
		}
		return tx.PutDeployment(ctx, d)
	})
}
