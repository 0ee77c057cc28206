package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// Restored is what Start brought back.
type Restored struct {
	Apps   int      // that take traffic again, or are paused
	Failed []string // apps that could not be brought back, and why: "acme/mailer: ..."; the log has them too
}

// Start brings back what was live when the last process ended, and ends what that process left half done: its operations are interrupted,
// and a deployment that had not taken over yet has failed. An app that cannot be brought back costs no other its messages. It is called once,
// before anything else; that targets are acknowledged is not waited for.
func (c *Controller) Start(ctx context.Context) (Restored, error) {
	var all []*revival
	err := each(ctx, func(q store.Query) (store.Page[tenants.Tenant], error) { return c.config.Store.Tenants(ctx, q) }, func(t tenants.Tenant) error {
		p, err := c.config.Store.Policy(ctx, t.ID)
		if err != nil {
			return err
		}
		c.config.Policy(t.ID, p.Value)
		return each(ctx, func(q store.Query) (store.Page[tenants.App], error) { return c.config.Store.Apps(ctx, t.ID, q) }, func(a tenants.App) error {
			all = append(all, &revival{tenant: t, app: a})
			return nil
		})
	})
	if err != nil {
		return Restored{}, fmt.Errorf("bring back apps: %w", err)
	}
	var g errgroup.Group
	g.SetLimit(c.config.Workers)
	for _, r := range all {
		g.Go(func() error {
			if ctx.Err() == nil {
				r.err = c.revive(ctx, r)
			}
			return nil
		})
	}
	g.Wait() // the functions return nil
	if err := ctx.Err(); err != nil {
		return Restored{}, fmt.Errorf("bring back apps: %w", err)
	}
	done := c.revived(all)
	c.work.Go(func() { c.interrupt(c.life, all) }) // ends soon after life
	return done, nil
}

// each goes through all pages of a list.
func each[T any](ctx context.Context, page func(store.Query) (store.Page[T], error), do func(T) error) error {
	for q := (store.Query{Limit: store.MaxPage}); ; {
		p, err := page(q)
		if err != nil {
			return err
		}
		for _, one := range p.Items {
			if err := do(one.Value); err != nil {
				return err
			}
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return ctx.Err()
		}
	}
}

// revival is an app that is brought back.
type revival struct {
	tenant tenants.Tenant
	app    tenants.App
	live   *rollout // nil where nothing was live
	err    error
}

// revive loads what was live of an app, and ends what was under way.
func (c *Controller) revive(ctx context.Context, r *revival) error {
	for id := r.app.Deployment; id != ""; {
		have, err := c.config.Store.Deployment(ctx, r.tenant.ID, r.app.Name, string(id))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		d := have.Value
		switch d.State {
		case tenants.DeploymentPending, tenants.DeploymentRolling:
			if c.at(string(d.ID)) != nil {
				break // it waits for its turn
			}
			p := problemf(Interrupted, "deploy again", "the server ended in the middle")
			if err := c.update(ctx, silent(d.Tenant), func(tx *store.Tx) error { return fail(ctx, tx, d, p) }); err != nil {
				return err
			}
		case tenants.DeploymentLive:
			if r.app.Deleting || r.tenant.State != tenants.TenantActive {
				return nil
			}
			r.live, err = c.reopen(ctx, d)
			return err
		}
		id = d.Previous
	}
	return nil
}

// reopen loads a deployment's versions. They were started when they were made: what fails now fails with their first message.
func (c *Controller) reopen(ctx context.Context, d tenants.Deployment) (*rollout, error) {
	versions, err := c.openWith(ctx, d, func(ctx context.Context, v *tenants.Version) (*opened, error) { return c.prepare(ctx, v, true) })
	if err != nil {
		return nil, err
	}
	r, err := newRollout(d, versions)
	if err != nil {
		c.releaseAll(versions)
	}
	return r, err
}

// revived makes what was loaded take its traffic again, all at once.
func (c *Controller) revived(all []*revival) (done Restored) {
	for _, r := range all {
		key := appKey{r.tenant.ID, r.app.Name}
		if r.err == nil && r.live != nil {
			r.err = c.switchTo(key, r.live.setting(r.app, r.tenant))
		}
		if r.err != nil {
			done.Failed = append(done.Failed, fmt.Sprintf("%s/%s: %v", key.tenant, key.name, r.err))
			c.config.Log.Error("an app could not be brought back; deploy it again", "tenant", key.tenant, "app", key.name, "error", r.err)
			continue
		}
		if r.live == nil {
			continue
		}
		done.Apps++
		c.mu.Lock()
		c.apps[key] = &app{turn: make(chan struct{}, 1), live: r.live}
		c.mu.Unlock()
		c.watch(key, r.live)
	}
	return done
}

// interrupt ends the operations that the last process did not, and the versions that they prepared, and removes files that no version uses.
func (c *Controller) interrupt(ctx context.Context, all []*revival) {
	seen := map[tenants.ID]bool{}
	for _, r := range all {
		if seen[r.tenant.ID] {
			continue
		}
		seen[r.tenant.ID] = true
		err := each(ctx, func(q store.Query) (store.Page[tenants.Operation], error) {
			return c.config.Store.Operations(ctx, r.tenant.ID, q)
		},
			func(o tenants.Operation) error {
				if o.State != tenants.OperationRunning || c.live(o.ID) != nil {
					return nil
				}
				return c.interrupted(ctx, o)
			})
		if err != nil && ctx.Err() == nil {
			c.config.Log.Error("operations of the last process could not be ended", "tenant", r.tenant.ID, "error", err)
		}
	}
}

func (c *Controller) interrupted(ctx context.Context, o tenants.Operation) error {
	p := problemf(Interrupted, "ask for it again", "the server ended in the middle")
	now := time.Now().UTC()
	return c.update(ctx, silent(o.Tenant), func(tx *store.Tx) error {
		have, err := tx.Operation(ctx, o.ID)
		if err != nil || have.Value.State != tenants.OperationRunning || c.live(o.ID) != nil {
			return err
		}
		o := have.Value
		o.Problem = encodeProblem(p)
		if err := o.End(tenants.OperationFailed, now); err != nil {
			return err
		}
		if tenants.IsID[tenants.VersionKey](o.Target) {
			if err := rejectLeft(ctx, tx, o, p, now); err != nil {
				return err
			}
		}
		return tx.PutOperation(ctx, o)
	})
}

// rejectLeft rejects a version that the last process was preparing.
func rejectLeft(ctx context.Context, tx *store.Tx, o tenants.Operation, p *Problem, now time.Time) error {
	have, err := tx.Version(ctx, o.Tenant, o.App, o.Target)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v := have.Value
	if v.State == tenants.VersionReady || v.State == tenants.VersionRejected {
		return nil
	}
	if err := v.Move(tenants.VersionRejected, string(p.Code), p.Error(), now); err != nil {
		return err
	}
	return tx.PutVersion(ctx, v)
}

// NamedArtifacts gives the digests of everything that any version of any tenant is made of, the files that its lists name among them, for the
// collection of what no version needs any more.
func (c *Controller) NamedArtifacts(ctx context.Context) (map[string]bool, error) {
	named := map[string]bool{}
	add := func(v tenants.Version) error {
		for _, d := range v.Artifacts() {
			named[d] = true
		}
		for _, list := range v.Files {
			files, err := c.filesOf(ctx, list)
			if err != nil {
				return fmt.Errorf("version %d of %s/%s: %w", v.Number, v.Tenant, v.App, err) // rather than forget what it needs
			}
			for _, f := range files {
				named[f.Digest] = true
			}
		}
		return nil
	}
	s := c.config.Store
	err := each(ctx, func(q store.Query) (store.Page[tenants.Tenant], error) { return s.Tenants(ctx, q) }, func(t tenants.Tenant) error {
		return each(ctx, func(q store.Query) (store.Page[tenants.App], error) { return s.Apps(ctx, t.ID, q) }, func(a tenants.App) error {
			return each(ctx, func(q store.Query) (store.Page[tenants.Version], error) { return s.Versions(ctx, t.ID, a.Name, q) }, add)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("name artifacts: %w", err)
	}
	return named, nil
}

// RemoveFiles removes the folders of files that no version names. Nothing that is named may be mounted for the first time meanwhile, so it is
// for the time before Start.
func (c *Controller) RemoveFiles(ctx context.Context) error {
	entries, err := os.ReadDir(c.config.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove files: %w", err)
	}
	named, err := c.NamedArtifacts(ctx)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return named["sha256:"+e.Name()] })
	root, err := os.OpenRoot(c.config.Dir)
	if err != nil {
		return fmt.Errorf("remove files: %w", err)
	}
	defer root.Close()
	for _, e := range entries {
		if tenants.CheckDigest("sha256:"+e.Name()) != nil && !strings.HasPrefix(e.Name(), "writing-") {
			continue // not ours
		}
		if err := root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("remove files: %w", err)
		}
	}
	return nil
}
