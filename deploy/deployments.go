package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// Share is a part of an app's messages.
type Share struct {
	Version string // number, id or digest
	Percent int    // 1 to 100; together 100
}

// DeploymentRequest asks for versions to take an app's traffic.
type DeploymentRequest struct {
	Shares   []Share        // one, or two of which the first is tried against the second
	Affinity string         // top-level field of a JSON payload, or a JSON pointer into it, whose value keeps to one version; "" means the message id
	Guard    *tenants.Guard // takes the first version's share back where it does worse; nil judges nothing
	Reason   string         // at most 1,000 bytes
	IfMatch  string         // ETag of the app that the request was made from; "" is whatever it is now
}

// Deployed is a deployment that was begun.
type Deployed struct {
	Deployment tenants.Deployment
	Operation  tenants.OperationID // that carries it out
}

// CreateDeployment has versions take an app's traffic. The operation warms them, subscribes to targets that are new, then switches; until
// then, and if any of this fails, what was live goes on. One deployment of an app goes on at a time (DeployInProgress).
func (c *Controller) CreateDeployment(ctx context.Context, by Actor, t tenants.ID, a tenants.AppName, r DeploymentRequest) (Deployed, error) {
	d, err := c.design(ctx, by, t, a, r)
	if err != nil {
		return Deployed{}, err
	}
	return c.deploy(ctx, by, d, r.IfMatch, "deployment.create", nil)
}

// design makes the record of a request.
func (c *Controller) design(ctx context.Context, by Actor, t tenants.ID, a tenants.AppName, r DeploymentRequest) (tenants.Deployment, error) {
	now := time.Now().UTC()
	d := tenants.Deployment{
		ID: tenants.NewID[tenants.DeploymentID](now), Tenant: t, App: a, Affinity: r.Affinity, Guard: r.Guard, Actor: by.Name, Reason: r.Reason,
		Created: now, State: tenants.DeploymentPending, Steps: []tenants.Step{{State: string(tenants.DeploymentPending), At: now}},
	}
	for _, s := range r.Shares {
		v, err := c.config.Store.Version(ctx, t, a, s.Version)
		if err != nil {
			return d, err
		}
		if v.Value.State != tenants.VersionReady {
			return d, notReady(v.Value)
		}
		d.Weights = append(d.Weights, tenants.Weight{Version: v.Value.Number, Percent: s.Percent})
	}
	if r.Affinity != "" {
		if _, err := affinity(r.Affinity); err != nil {
			return d, problemf(InvalidRequest, "name a field, such as customer, or a pointer, such as /order/customer", "affinity: %w", err)
		}
	}
	if err := d.Check(); err != nil {
		p := problemf(InvalidRequest, "correct the request", "the deployment makes no sense")
		errors.As(err, &p.Faults)
		return d, p
	}
	return d, nil
}

func notReady(v tenants.Version) *Problem {
	last := v.Steps[len(v.Steps)-1]
	if v.State == tenants.VersionRejected {
		return problemf(VersionNotReady, "mend what it was rejected for, and create it again", "version %d was rejected: %s", v.Number, last.Detail)
	}
	return problemf(VersionNotReady, "wait until it is ready", "version %d is %s", v.Number, v.State)
}

// deploy writes a deployment down and begins to carry it out. look may refuse it, in the same transaction.
func (c *Controller) deploy(ctx context.Context, by Actor, d tenants.Deployment, ifMatch, kind string, look func(tx *store.Tx) error) (Deployed, error) {
	o, err := c.begin(by, d.Tenant, d.App, kind, string(d.ID))
	if err != nil {
		return Deployed{}, err
	}
	marks, err := c.marks(ctx, d.Tenant, d.App)
	if err != nil {
		c.forget(o)
		return Deployed{}, err
	}
	d.Config = marks
	e := entry(by, tenants.CreateDeployment, d.Tenant, d.App, string(d.ID))
	e.Detail = map[string]string{"versions": shares(d.Weights)}
	err = c.change(ctx, e, func(tx *store.Tx) error {
		if look != nil {
			if err := look(tx); err != nil {
				return err
			}
		}
		if err := c.addDeployment(ctx, tx, &d, ifMatch); err != nil {
			return err
		}
		return tx.CreateOperation(ctx, o.now)
	})
	if err != nil {
		c.forget(o)
		return Deployed{}, err
	}
	c.run(o, func(ctx context.Context) error { return c.roll(ctx, o, d) }, func(p *Problem) { c.failed(o, d, p) })
	return Deployed{d, o.now.ID}, nil
}

func shares(weights []tenants.Weight) (text string) {
	for i, w := range weights {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("v%d %d %%", w.Version, w.Percent)
	}
	return text
}

// addDeployment makes d the app's newest, unless the one before it has not come to its end.
func (c *Controller) addDeployment(ctx context.Context, tx *store.Tx, d *tenants.Deployment, ifMatch string) error {
	a, err := tx.App(ctx, d.Tenant, string(d.App))
	if err != nil {
		return err
	}
	if err := c.config.Store.Match(ifMatch, a.Revision); err != nil {
		return fmt.Errorf("app %q %w", string(d.App), err)
	}
	d.Previous = a.Value.Deployment
	if d.Previous != "" {
		before, err := tx.Deployment(ctx, d.Tenant, d.App, string(d.Previous))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if s := before.Value.State; s == tenants.DeploymentPending || s == tenants.DeploymentRolling {
			return problemf(DeployInProgress, "wait until it has ended, or cancel it", "deployment %s by %s is %s", d.Previous, before.Value.Actor, s)
		}
	}
	return tx.CreateDeployment(ctx, *d)
}

// roll carries a deployment out. With an error the traffic is where it was.
//
//	warm the versions ─► hold the new targets until they are acknowledged ─► switch ─► write it down ─► let go of the old targets, drain
func (c *Controller) roll(ctx context.Context, o *operation, d tenants.Deployment) error {
	key := appKey{d.Tenant, d.App}
	a, err := c.enter(ctx, key)
	if err != nil {
		return err
	}
	defer a.leave()
	if err := c.moved(ctx, &d, tenants.DeploymentRolling); err != nil {
		return err
	}
	o.note("warming", shares(d.Weights))
	versions, err := c.openAll(ctx, d)
	if err != nil {
		return err
	}
	next, err := newRollout(d, versions)
	if err == nil {
		err = c.takeOver(ctx, o, a, key, next)
	}
	if err != nil {
		c.retire(&rollout{deployment: d, versions: versions})
	}
	return err
}

// moved writes down that a deployment has entered a state.
func (c *Controller) moved(ctx context.Context, d *tenants.Deployment, to tenants.DeploymentState) error {
	if err := d.Move(to, "", "", time.Now().UTC()); err != nil {
		return err
	}
	return c.update(ctx, silent(d.Tenant), func(tx *store.Tx) error { return tx.PutDeployment(ctx, *d) })
}

// openAll opens a deployment's versions, by weight. Their user releases them.
func (c *Controller) openAll(ctx context.Context, d tenants.Deployment) ([]*opened, error) {
	return c.openWith(ctx, d, c.open)
}

func (c *Controller) openWith(ctx context.Context, d tenants.Deployment, open func(context.Context, *tenants.Version) (*opened, error)) (all []*opened, err error) {
	for _, w := range d.Weights {
		v, err := c.config.Store.Version(ctx, d.Tenant, d.App, strconv.Itoa(w.Version))
		var one *opened
		if err == nil {
			one, err = open(ctx, &v.Value)
		}
		if err != nil {
			c.releaseAll(all)
			return nil, fmt.Errorf("version %d: %w", w.Version, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// takeOver switches from what is live to the next rollout and writes that down. The caller holds the app's turn.
func (c *Controller) takeOver(ctx context.Context, o *operation, a *app, key appKey, next *rollout) error {
	have, owner, err := c.asked(ctx, key)
	if err != nil {
		return err
	}
	before := a.running()
	was, is := before.setting(have, owner), next.setting(have, owner)
	o.note("subscribing", "")
	release, err := c.hold(ctx, is, was)
	if err != nil {
		return err
	}
	defer release()
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := c.config.Store.Policy(ctx, key.tenant) // not the versions': it may have changed since they were opened
	if err != nil {
		return err
	}
	o.note("switching", "")
	c.config.Policy(key.tenant, p.Value)
	if err := c.switchTo(key, is); err != nil {
		return problemf(NotSwitched, "", "%w", err)
	}
	if err := c.written(o, before, next); err != nil {
		if back := c.switchTo(key, was); back != nil {
			c.config.Log.Error("the traffic could not be given back", "tenant", key.tenant, "app", key.name, "error", back)
		}
		return problemf(NotSwitched, "deploy again", "write the deployment down: %w", err)
	}
	a.set(next)
	c.watch(key, next)
	c.retire(before)
	return nil
}

// asked is what people want of an app beside its deployment.
func (c *Controller) asked(ctx context.Context, key appKey) (tenants.App, tenants.Tenant, error) {
	a, err := c.config.Store.App(ctx, key.tenant, string(key.name))
	if err != nil {
		return tenants.App{}, tenants.Tenant{}, err
	}
	t, err := c.config.Store.Tenant(ctx, key.tenant)
	return a.Value, t.Value, err
}

// written writes down that a rollout has taken over.
func (c *Controller) written(o *operation, before, next *rollout) error {
	d := next.deployment
	if err := d.Move(tenants.DeploymentLive, "", "", time.Now().UTC()); err != nil {
		return err
	}
	err := c.ending(o, silent(d.Tenant), d, nil, func(ctx context.Context, tx *store.Tx) error {
		if before != nil {
			if err := supersede(ctx, tx, before.deployment, d); err != nil {
				return err
			}
		}
		return tx.PutDeployment(ctx, d)
	})
	next.deployment = d
	return err
}

// supersede ends the deployment that was live.
func supersede(ctx context.Context, tx *store.Tx, old, by tenants.Deployment) error {
	have, err := tx.Deployment(ctx, old.Tenant, old.App, string(old.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil // it was so long ago that it is not kept
	}
	if err != nil {
		return err
	}
	d := have.Value
	if d.Ended() {
		return nil
	}
	if err := d.Move(tenants.DeploymentSuperseded, "", "by "+string(by.ID), time.Now().UTC()); err != nil {
		return err
	}
	return tx.PutDeployment(ctx, d)
}

// failed writes down that a deployment never took traffic.
func (c *Controller) failed(o *operation, d tenants.Deployment, p *Problem) {
	c.ending(o, silent(d.Tenant), nil, p, func(ctx context.Context, tx *store.Tx) error { return fail(ctx, tx, d, p) })
}

func fail(ctx context.Context, tx *store.Tx, d tenants.Deployment, p *Problem) error {
	have, err := tx.Deployment(ctx, d.Tenant, d.App, string(d.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil // its app was removed
	}
	if err != nil {
		return err
	}
	d = have.Value
	if d.Ended() {
		return nil
	}
	if err := d.Move(tenants.DeploymentFailed, string(p.Code), p.Error(), time.Now().UTC()); err != nil {
		return err
	}
	return tx.PutDeployment(ctx, d)
}

// CancelDeployment stops a deployment that has not switched yet, and returns how it ended. One that has ended, or is about to, is store.ErrState.
func (c *Controller) CancelDeployment(ctx context.Context, by Actor, t tenants.ID, a tenants.AppName, ref string) (tenants.Deployment, error) {
	have, err := c.config.Store.Deployment(ctx, t, a, ref)
	if err != nil {
		return tenants.Deployment{}, err
	}
	id := have.Value.ID
	o := c.at(string(id))
	if o == nil || have.Value.Ended() {
		return have.Value, fmt.Errorf("deployment %s is %s and %w", id, have.Value.State, store.ErrState)
	}
	if err := c.change(ctx, entry(by, tenants.CancelDeployment, t, a, string(id)), func(*store.Tx) error { return nil }); err != nil {
		return have.Value, err
	}
	o.cancel(errCancelled)
	if _, err := c.Wait(ctx, o.now.ID); err != nil {
		return have.Value, err
	}
	if have, err = c.config.Store.Deployment(ctx, t, a, string(id)); err != nil {
		return have.Value, err
	}
	if have.Value.State != tenants.DeploymentFailed {
		return have.Value, fmt.Errorf("deployment %s is %s and %w", id, have.Value.State, store.ErrState)
	}
	return have.Value, nil
}
