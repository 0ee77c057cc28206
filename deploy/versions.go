package deploy

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// Created is what CreateVersion made, or found.
type Created struct {
	Version   tenants.Version
	Unchanged bool                // the app had this content before
	Operation tenants.OperationID // that prepares it; "" where nothing is to be done
}

// CheckVersion tells what CreateVersion and the preparation of the version would say, and makes none. It compiles the modules.
func (c *Controller) CheckVersion(ctx context.Context, t tenants.ID, a tenants.AppName, s VersionSource) (tenants.Version, error) {
	p, err := c.config.Store.Policy(ctx, t)
	if err != nil {
		return tenants.Version{}, err
	}
	if s, err = c.pull(ctx, p.Value, s); err != nil {
		return tenants.Version{}, err
	}
	d, err := c.draft(ctx, p.Value, s)
	if err != nil {
		return tenants.Version{}, err
	}
	v, err := d.version(ctx, c)
	if err != nil {
		return v, err
	}
	v.Tenant, v.App = t, a
	one, err := c.prepare(ctx, &v, false)
	if err != nil {
		return v, problemOf(err)
	}
	c.release(one.loaded)
	return v, nil
}

// CreateVersion makes a version of what was uploaded, and an operation that prepares it: validating, compiling, ready or rejected. What is wrong
// with the source itself (InvalidManifest, InvalidVersion, ArtifactMissing, TooLarge) is said at once and leaves nothing behind. Content that
// the app has already is the version that has it; one that was rejected is tried again.
func (c *Controller) CreateVersion(ctx context.Context, by Actor, t tenants.ID, a tenants.AppName, s VersionSource) (Created, error) {
	p, err := c.config.Store.Policy(ctx, t)
	if err != nil {
		return Created{}, err
	}
	if s, err = c.pull(ctx, p.Value, s); err != nil {
		return Created{}, err
	}
	d, err := c.draft(ctx, p.Value, s)
	if err != nil {
		return Created{}, err
	}
	v, err := d.version(ctx, c)
	if err != nil {
		return Created{}, err
	}
	now := time.Now().UTC()
	v.Key, v.Tenant, v.App, v.By, v.Created = tenants.NewID[tenants.VersionKey](now), t, a, by.Name, now
	v.State = tenants.VersionUploaded
	v.Steps = []tenants.Step{{State: string(tenants.VersionUploaded), At: now}}
	o, err := c.begin(by, t, a, "version.create", string(v.Key))
	if err != nil {
		return Created{}, err
	}
	made := Created{}
	err = c.change(ctx, entry(by, tenants.CreateVersion, t, a, string(v.Key)), func(tx *store.Tx) (err error) {
		made, err = c.addVersion(ctx, tx, v, o)
		return err
	})
	switch {
	case errors.Is(err, errUnchanged):
		c.forget(o)
		return made, nil
	case err != nil:
		c.forget(o)
		return Created{}, err
	}
	c.run(o, func(ctx context.Context) error { return c.ready(ctx, o, made.Version) }, func(p *Problem) { c.rejected(o, made.Version, p) })
	return made, nil
}

// errUnchanged takes a transaction back that would change nothing.
var errUnchanged = errors.New("unchanged")

func (c *Controller) addVersion(ctx context.Context, tx *store.Tx, v tenants.Version, o *operation) (made Created, err error) {
	have, created, err := tx.CreateVersion(ctx, v)
	if err != nil {
		return made, err
	}
	made = Created{Version: have, Unchanged: !created, Operation: o.now.ID}
	if !created {
		if have.State != tenants.VersionRejected {
			made.Operation = ""
			if o := c.at(string(have.Key)); o != nil {
				made.Operation = o.now.ID
			}
			return made, errUnchanged
		}
	}
	o.mu.Lock()
	o.now.Target = string(have.Key)
	now := o.now
	o.mu.Unlock()
	return made, tx.CreateOperation(ctx, now)
}

// ready leads a version to where it can take traffic.
func (c *Controller) ready(ctx context.Context, o *operation, v tenants.Version) error {
	v.Steps = slices.Clone(v.Steps)
	enter := func(s tenants.VersionState) error {
		o.note(string(s), "")
		return v.Move(s, "", "", time.Now().UTC())
	}
	if err := enter(tenants.VersionValidating); err != nil {
		return err
	}
	l, want, err := c.validate(ctx, &v, false)
	if err != nil {
		return err
	}
	if err := c.fetch(ctx, l, &v, want.sys); err != nil {
		return err
	}
	if err := enter(tenants.VersionCompiling); err != nil {
		return err
	}
	if err := c.update(ctx, silent(v.Tenant), func(tx *store.Tx) error { return tx.PutVersion(ctx, v) }); err != nil {
		return err
	}
	if err := c.load(ctx, l, want.sys, true); err != nil {
		return err
	}
	if _, err := connectScoped(ctx, l, want); err != nil {
		c.release(l)
		return err
	}
	if err := enter(tenants.VersionReady); err != nil {
		return err
	}
	err = c.ending(o, silent(v.Tenant), v, nil, func(ctx context.Context, tx *store.Tx) error { return tx.PutVersion(ctx, v) })
	if err != nil {
		c.release(l)
		return err
	}
	c.warm(l)
	return nil
}

// rejected notes why a version cannot take traffic.
func (c *Controller) rejected(o *operation, v tenants.Version, p *Problem) {
	c.ending(o, silent(v.Tenant), nil, p, func(ctx context.Context, tx *store.Tx) error {
		have, err := tx.Version(ctx, v.Tenant, v.App, strconv.Itoa(v.Number))
		if errors.Is(err, store.ErrNotFound) {
			return nil // it was removed
		}
		if err != nil {
			return err
		}
		v := have.Value
		if v.State == tenants.VersionRejected {
			v.State = tenants.VersionValidating // a second try
		}
		if err := v.Move(tenants.VersionRejected, string(p.Code), p.Error(), time.Now().UTC()); err != nil {
			return err
		}
		return tx.PutVersion(ctx, v)
	})
}

// DeleteVersion removes a version that takes no traffic and is not the one to roll back to (store.ErrState).
func (c *Controller) DeleteVersion(ctx context.Context, by Actor, t tenants.ID, a tenants.AppName, ref string) error {
	have, err := c.config.Store.Version(ctx, t, a, ref)
	if err != nil {
		return err
	}
	return c.change(ctx, entry(by, tenants.DeleteVersion, t, a, string(have.Value.Key)), func(tx *store.Tx) error {
		return tx.DeleteVersion(ctx, t, a, have.Value.Number)
	})
}
