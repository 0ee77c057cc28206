package store

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/tenants"
)

func tenantNamed(t tenants.ID) string { return fmt.Sprintf("tenant %q", string(t)) }

// Tenant returns a tenant, or ErrNotFound.
func (r reader) Tenant(ctx context.Context, t tenants.ID) (Record[tenants.Tenant], error) {
	return read[tenants.Tenant](ctx, r.from, keyTenant(t), tenantNamed(t))
}

// Tenants lists all tenants by name.
func (r reader) Tenants(ctx context.Context, q Query) (Page[tenants.Tenant], error) {
	return page[tenants.Tenant](ctx, r.from, keyTenant(""), q, false)
}

// Policy returns a tenant's policy, or ErrNotFound.
func (r reader) Policy(ctx context.Context, t tenants.ID) (Record[tenants.Policy], error) {
	return read[tenants.Policy](ctx, r.from, keyPolicy(t), "policy of "+tenantNamed(t))
}

// CreateTenant adds a tenant with its policy.
func (tx *Tx) CreateTenant(ctx context.Context, t tenants.Tenant, p tenants.Policy) error {
	if err := t.Check(); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	if err := tx.create(ctx, keyTenant(t.ID), tenantNamed(t.ID), t); err != nil {
		return err
	}
	return tx.put(keyPolicy(t.ID), p)
}

// PutTenant changes a tenant. One that is being removed stays so.
func (tx *Tx) PutTenant(ctx context.Context, t tenants.Tenant) error {
	if err := t.Check(); err != nil {
		return err
	}
	if _, err := tx.open(ctx, t.ID); err != nil {
		return err
	}
	return tx.put(keyTenant(t.ID), t)
}

// PutPolicy changes a tenant's policy.
func (tx *Tx) PutPolicy(ctx context.Context, t tenants.ID, p tenants.Policy) error {
	if err := p.Check(); err != nil {
		return err
	}
	return tx.replace(ctx, keyPolicy(t), "policy of "+tenantNamed(t), p)
}

// open returns a tenant that is not being removed.
func (tx *Tx) open(ctx context.Context, t tenants.ID) (tenants.Tenant, error) {
	have, err := tx.Tenant(ctx, t)
	if err == nil && have.Value.State == tenants.TenantDeleting {
		err = fmt.Errorf("%s is being removed and %w", tenantNamed(t), ErrState)
	}
	return have.Value, err
}

// grants returns what an open tenant may keep.
func (tx *Tx) grants(ctx context.Context, t tenants.ID) (tenants.Grants, error) {
	if _, err := tx.open(ctx, t); err != nil {
		return tenants.Grants{}, err
	}
	p, err := tx.Policy(ctx, t)
	return p.Value.Grants, err
}
