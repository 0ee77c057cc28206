package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// app is what runs of one app. Who changes it holds its turn, over the whole of the change.
type app struct {
	turn chan struct{} // capacity 1

	mu   sync.Mutex
	live *rollout // takes the traffic; nil where nothing does
}

// rollout is a deployment that takes an app's traffic.
type rollout struct {
	deployment tenants.Deployment
	versions   []*opened // by weight
	bound      []Bound
	split      *Split
	stop       context.CancelFunc // of its guard; nil without
}

// enter takes an app's turn, which leave gives back.
func (c *Controller) enter(ctx context.Context, key appKey) (*app, error) {
	for {
		c.mu.Lock()
		a := c.apps[key]
		if a == nil {
			a = &app{turn: make(chan struct{}, 1)}
			c.apps[key] = a
		}
		c.mu.Unlock()
		select {
		case a.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		c.mu.Lock()
		same := c.apps[key] == a
		c.mu.Unlock()
		if same {
			return a, nil
		}
		a.leave() // it was removed meanwhile
	}
}

func (a *app) leave() { <-a.turn }

// set makes a rollout the one that takes the traffic, and returns the one before. The caller holds the turn.
func (a *app) set(r *rollout) *rollout {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.live
	a.live = r
	return before
}

func (a *app) running() *rollout {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.live
}

func (a *app) versions() []*opened {
	if r := a.running(); r != nil {
		return r.versions
	}
	return nil
}

// newRollout puts together what a deployment runs. The versions are the caller's, by weight.
func newRollout(d tenants.Deployment, versions []*opened) (*rollout, error) {
	r := &rollout{deployment: d, versions: versions}
	if len(versions) == 1 {
		r.bound = bind(versions[0])
		return r, nil
	}
	var err error
	if r.split, err = newSplit(d); err != nil {
		return nil, err
	}
	r.bound = share(bind(versions[0]), bind(versions[1]), r.split)
	return r, nil
}

// setting is what the running system is to do for an app.
type setting struct {
	bound  []Bound
	paused string // why none of them is subscribed; "" where they are
}

// setting is a rollout with what people want of its app and its tenant beside it.
func (r *rollout) setting(a tenants.App, t tenants.Tenant) (s setting) {
	if r == nil || a.Deleting || t.State == tenants.TenantDeleting {
		return s
	}
	switch {
	case t.State == tenants.TenantSuspended:
		s.paused = "the tenant is suspended"
	case a.Paused:
		s.paused = "paused"
		if a.PausedReason != "" {
			s.paused += ": " + a.PausedReason
		}
	}
	s.bound = slices.DeleteFunc(slices.Clone(r.bound), func(b Bound) bool { return slices.Contains(a.PausedTriggers, b.ID) })
	return s
}

// hold subscribes to the targets of triggers that others do not have, and returns when the servers have acknowledged them.
func (c *Controller) hold(ctx context.Context, next, now setting) (release func(), err error) {
	if next.paused != "" {
		return func() {}, nil
	}
	fresh := map[tenants.EndpointID]map[tenants.Target]bool{}
	for _, b := range next.bound {
		if fresh[b.Endpoint] == nil {
			fresh[b.Endpoint] = map[tenants.Target]bool{}
		}
		fresh[b.Endpoint][b.Target] = true
	}
	for _, b := range now.bound {
		delete(fresh[b.Endpoint], b.Target)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.SubscribeWait)
	defer cancel()
	var held []func()
	release = func() {
		for _, f := range held {
			f()
		}
	}
	for on, targets := range fresh {
		if len(targets) == 0 {
			continue
		}
		f, err := c.config.Hold(ctx, on, slices.Collect(maps.Keys(targets)))
		if err != nil {
			release()
			return nil, problemf(NotSubscribed, "look at the server and at what its user may subscribe to, then deploy again", "subscribe on %s: %w", on, err)
		}
		held = append(held, f)
	}
	return release, nil
}

// drainWithin bounds how long what was replaced stays loaded while invocations go on; the longest time-out of a policy is below it.
const drainWithin = 15 * time.Minute

// retire gives a rollout's versions back when no message is on its way to them any more.
func (c *Controller) retire(r *rollout) {
	if r == nil {
		return
	}
	if r.stop != nil {
		r.stop()
	}
	c.work.Go(func() { // ends with the drain, or with life
		ctx, cancel := context.WithTimeout(c.life, drainWithin)
		defer cancel()
		if err := c.config.Drain(ctx); err != nil {
			if c.life.Err() == nil {
				c.config.Log.Error("a version that was replaced stays loaded", "tenant", r.deployment.Tenant, "app", r.deployment.App, "error", err)
			}
			return // an invocation may still use it
		}
		c.releaseAll(r.versions)
	})
}

// switchTo has the running system do what is to be done for an app.
func (c *Controller) switchTo(key appKey, s setting) error {
	if err := c.config.Switch(key.tenant, key.name, s.bound, s.paused); err != nil {
		return fmt.Errorf("switch %s/%s: %w", key.tenant, key.name, err)
	}
	return nil
}
