package store

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/tenants"
)

func appNamed(t tenants.ID, ref string) string {
	return fmt.Sprintf("app %q of %s", ref, tenantNamed(t))
}

// App returns an app of a tenant by its name or id, or ErrNotFound.
func (r reader) App(ctx context.Context, t tenants.ID, ref string) (Record[tenants.App], error) {
	what := appNamed(t, ref)
	name := tenants.AppName(ref)
	if tenants.IsID[tenants.AppID](ref) { // a name has no "_"
		place, err := read[tenants.AppName](ctx, r.from, indexApp(t, tenants.AppID(ref)), what)
		if err != nil {
			return Record[tenants.App]{}, err
		}
		name = place.Value
	} else if tenants.CheckName(ref) != nil {
		return Record[tenants.App]{}, fmt.Errorf("%.100s: %w", what, ErrNotFound)
	}
	return read[tenants.App](ctx, r.from, keyApp(t, name), what)
}

// Apps lists a tenant's apps by name.
func (r reader) Apps(ctx context.Context, t tenants.ID, q Query) (Page[tenants.App], error) {
	return page[tenants.App](ctx, r.from, keyApp(t, ""), q, false)
}

// CreateApp adds an app.
func (tx *Tx) CreateApp(ctx context.Context, a tenants.App) error {
	if err := a.Check(); err != nil {
		return err
	}
	g, err := tx.grants(ctx, a.Tenant)
	if err != nil {
		return err
	}
	if err := tx.room(ctx, keyApp(a.Tenant, ""), "the apps of "+tenantNamed(a.Tenant), g.Apps); err != nil {
		return err
	}
	if err := tx.create(ctx, keyApp(a.Tenant, a.Name), appNamed(a.Tenant, string(a.Name)), a); err != nil {
		return err
	}
	return tx.create(ctx, indexApp(a.Tenant, a.ID), "app "+string(a.ID), a.Name)
}

// PutApp changes an app: pauses, and what else a person says of it. Its Generation is counted here.
func (tx *Tx) PutApp(ctx context.Context, a tenants.App) error {
	if err := a.Check(); err != nil {
		return err
	}
	have, err := tx.openApp(ctx, a.Tenant, a.Name)
	if err != nil {
		return err
	}
	if have.ID != a.ID {
		return fmt.Errorf("%s %w", appNamed(a.Tenant, string(a.Name)), ErrMismatch)
	}
	a.Generation = have.Generation + 1
	return tx.put(keyApp(a.Tenant, a.Name), a)
}

// openApp returns an app that is not being removed, of a tenant that is not.
func (tx *Tx) openApp(ctx context.Context, t tenants.ID, name tenants.AppName) (tenants.App, error) {
	if _, err := tx.open(ctx, t); err != nil {
		return tenants.App{}, err
	}
	have, err := tx.App(ctx, t, string(name))
	if err == nil && have.Value.Deleting {
		err = fmt.Errorf("%s is being removed and %w", appNamed(t, string(name)), ErrState)
	}
	return have.Value, err
}

// touch counts a change of something that belongs to an app.
func (tx *Tx) touch(ctx context.Context, t tenants.ID, name tenants.AppName) error {
	a, err := tx.openApp(ctx, t, name)
	if err != nil {
		return err
	}
	a.Generation++
	return tx.put(keyApp(t, name), a)
}
