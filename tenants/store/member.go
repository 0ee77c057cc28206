package store

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/tenants"
)

func memberNamed(t tenants.ID, subject string) string {
	return fmt.Sprintf("member %q of %s", subject, tenantNamed(t))
}

// Member returns a person's membership, or ErrNotFound.
func (r reader) Member(ctx context.Context, t tenants.ID, subject string) (Record[tenants.Member], error) {
	return read[tenants.Member](ctx, r.from, keyMember(t, subject), memberNamed(t, subject))
}

// Members lists a tenant's members by subject.
func (r reader) Members(ctx context.Context, t tenants.ID, q Query) (Page[tenants.Member], error) {
	return page[tenants.Member](ctx, r.from, keyMember(t, ""), q, false)
}

// PutMember adds or changes a member.
func (tx *Tx) PutMember(ctx context.Context, m tenants.Member) error {
	if err := m.Check(); err != nil {
		return err
	}
	g, err := tx.grants(ctx, m.Tenant)
	if err != nil {
		return err
	}
	there, err := tx.has(ctx, keyMember(m.Tenant, m.Subject))
	if err != nil {
		return fmt.Errorf("read %s: %w", memberNamed(m.Tenant, m.Subject), err)
	}
	if !there {
		if err := tx.room(ctx, keyMember(m.Tenant, ""), "the members of "+tenantNamed(m.Tenant), g.Members); err != nil {
			return err
		}
	}
	if err := tx.put(indexMember(m.Subject, m.Tenant), m.Tenant); err != nil {
		return err
	}
	return tx.put(keyMember(m.Tenant, m.Subject), m)
}

// Memberships lists the tenants that a person is a member of, by name.
func (r reader) Memberships(ctx context.Context, subject string, q Query) (Page[tenants.ID], error) {
	return page[tenants.ID](ctx, r.from, indexMember(subject, ""), q, false)
}

// DeleteMember removes a member.
func (tx *Tx) DeleteMember(ctx context.Context, t tenants.ID, subject string) error {
	tx.delete(indexMember(subject, t))
	return tx.remove(ctx, keyMember(t, subject), memberNamed(t, subject))
}
