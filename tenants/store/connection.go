package store

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/tenants"
)

// connectionRecord is a connection with what does not go out as JSON.
type connectionRecord struct {
	tenants.Connection
	Login []byte `json:"login,omitempty"` // stands before the embedded one, and so does Keys
	Keys  []byte `json:"keys,omitempty"`
}

func fromConnection(r Record[connectionRecord]) Record[tenants.Connection] {
	n := r.Value.Connection
	n.Login, n.Keys = r.Value.Login, r.Value.Keys
	return Record[tenants.Connection]{n, r.Revision}
}

func connectionNamed(t tenants.ID, name string) string {
	return fmt.Sprintf("connection %q of %s", name, tenantNamed(t))
}

// Connection returns one of a tenant's connections, or ErrNotFound.
func (r reader) Connection(ctx context.Context, t tenants.ID, name string) (Record[tenants.Connection], error) {
	have, err := read[connectionRecord](ctx, r.from, keyConnection(t, name), connectionNamed(t, name))
	return fromConnection(have), err
}

// Connections lists a tenant's connections by name.
func (r reader) Connections(ctx context.Context, t tenants.ID, q Query) (Page[tenants.Connection], error) {
	have, err := page[connectionRecord](ctx, r.from, keyConnection(t, ""), q, false)
	return convert(have, fromConnection), err
}

// convert turns stored forms into resources.
func convert[A, B any](p Page[A], f func(Record[A]) Record[B]) Page[B] {
	out := Page[B]{Next: p.Next, Items: make([]Record[B], len(p.Items))}
	for i := range p.Items {
		out.Items[i] = f(p.Items[i])
	}
	return out
}

// PutConnection adds or changes a connection.
func (tx *Tx) PutConnection(ctx context.Context, n tenants.Connection) error {
	if err := n.Check(); err != nil {
		return err
	}
	g, err := tx.grants(ctx, n.Tenant)
	if err != nil {
		return err
	}
	there, err := tx.has(ctx, keyConnection(n.Tenant, n.Name))
	if err != nil {
		return fmt.Errorf("read %s: %w", connectionNamed(n.Tenant, n.Name), err)
	}
	if !there {
		if err := tx.room(ctx, keyConnection(n.Tenant, ""), "the connections of "+tenantNamed(n.Tenant), g.Connections); err != nil {
			return err
		}
	}
	return tx.put(keyConnection(n.Tenant, n.Name), connectionRecord{n, n.Login, n.Keys})
}

// DeleteConnection removes a connection. Whether triggers use it is for the caller to know.
func (tx *Tx) DeleteConnection(ctx context.Context, t tenants.ID, name string) error {
	return tx.remove(ctx, keyConnection(t, name), connectionNamed(t, name))
}
