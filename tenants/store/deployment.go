package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// deploymentsKept is how many deployments of an app are kept; the oldest that have ended go first.
const deploymentsKept = 200

// Current names an app's newest deployment.
const Current = "current"

func deploymentNamed(a tenants.AppName, ref string) string {
	return fmt.Sprintf("deployment %.80q of app %q", ref, string(a))
}

// Deployment returns a deployment of an app by its id, or the newest one by Current, or ErrNotFound.
func (r reader) Deployment(ctx context.Context, t tenants.ID, a tenants.AppName, ref string) (Record[tenants.Deployment], error) {
	what := deploymentNamed(a, ref)
	if ref == Current {
		app, err := r.App(ctx, t, string(a))
		if err != nil {
			return Record[tenants.Deployment]{}, err
		}
		ref = string(app.Value.Deployment)
	}
	if !tenants.IsID[tenants.DeploymentID](ref) {
		return Record[tenants.Deployment]{}, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return read[tenants.Deployment](ctx, r.from, keyDeployment(t, a, tenants.DeploymentID(ref)), what)
}

// Deployments lists an app's deployments, the newest first.
func (r reader) Deployments(ctx context.Context, t tenants.ID, a tenants.AppName, q Query) (Page[tenants.Deployment], error) {
	return page[tenants.Deployment](ctx, r.from, of("c/deployment/", t, a), q, true)
}

// CreateDeployment adds a deployment of ready versions and makes it the app's newest. Its Previous must be the app's newest one so far:
// ErrMismatch tells that somebody else deployed meanwhile.
func (tx *Tx) CreateDeployment(ctx context.Context, d tenants.Deployment) error {
	if err := d.Check(); err != nil {
		return err
	}
	a, err := tx.openApp(ctx, d.Tenant, d.App)
	if err != nil {
		return err
	}
	if d.Previous != a.Deployment {
		return fmt.Errorf("the newest deployment of app %q is %q; it %w", string(d.App), string(a.Deployment), ErrMismatch)
	}
	for _, w := range d.Weights {
		v, err := tx.Version(ctx, d.Tenant, d.App, strconv.Itoa(w.Version))
		if err != nil {
			return err
		}
		if v.Value.State != tenants.VersionReady {
			return fmt.Errorf("%s is %s, and %w", versionNamed(d.App, strconv.Itoa(w.Version)), v.Value.State, ErrState)
		}
	}
	if err := tx.pruneDeployments(ctx, a); err != nil {
		return err
	}
	if err := tx.create(ctx, keyDeployment(d.Tenant, d.App, d.ID), deploymentNamed(d.App, string(d.ID)), d); err != nil {
		return err
	}
	a.Deployment = d.ID
	a.Generation++
	return tx.put(keyApp(d.Tenant, d.App), a)
}

// PutDeployment writes how far a deployment has come; what it deploys never changes.
func (tx *Tx) PutDeployment(ctx context.Context, d tenants.Deployment) error {
	if err := d.Check(); err != nil {
		return err
	}
	have, err := tx.Deployment(ctx, d.Tenant, d.App, string(d.ID))
	if err != nil {
		return err
	}
	have.Value.State, have.Value.Steps = d.State, d.Steps
	return tx.put(keyDeployment(d.Tenant, d.App, d.ID), have.Value)
}

func (tx *Tx) pruneDeployments(ctx context.Context, a tenants.App) error {
	prefix := of("c/deployment/", a.Tenant, a.Name)
	n, err := count(ctx, tx, prefix, deploymentsKept+1)
	if err != nil || n < deploymentsKept {
		return err
	}
	oldest, err := tx.list(ctx, kv.Range{Prefix: prefix, Limit: 3})
	if err != nil {
		return fmt.Errorf("list deployments: %w", err)
	}
	for _, r := range oldest {
		d, err := decode[tenants.Deployment](r)
		if err != nil {
			return err
		}
		if d.Value.Ended() {
			tx.delete(r.Key)
			break
		}
	}
	return nil
}
