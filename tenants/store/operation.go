package store

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// operationsKept is how many operations of a tenant are kept; the oldest go first, whatever became of them.
const operationsKept = 500

func operationNamed(id tenants.OperationID) string { return fmt.Sprintf("operation %.80q", string(id)) }

// Operation returns an operation of any tenant, or ErrNotFound. Whether it may be seen is for the caller to ask.
func (r reader) Operation(ctx context.Context, id tenants.OperationID) (Record[tenants.Operation], error) {
	if !tenants.IsID[tenants.OperationID](string(id)) {
		return Record[tenants.Operation]{}, fmt.Errorf("%s: %w", operationNamed(id), ErrNotFound)
	}
	tenant, err := read[tenants.ID](ctx, r.from, indexOperation(id), operationNamed(id))
	if err != nil {
		return Record[tenants.Operation]{}, err
	}
	return read[tenants.Operation](ctx, r.from, keyOperation(tenant.Value, id), operationNamed(id))
}

// Operations lists a tenant's operations, the newest first.
func (r reader) Operations(ctx context.Context, t tenants.ID, q Query) (Page[tenants.Operation], error) {
	return page[tenants.Operation](ctx, r.from, keyOperation(t, ""), q, true)
}

// CreateOperation adds an operation.
func (tx *Tx) CreateOperation(ctx context.Context, o tenants.Operation) error {
	if err := o.Check(); err != nil {
		return err
	}
	if _, err := tx.open(ctx, o.Tenant); err != nil {
		return err
	}
	n, err := count(ctx, tx, keyOperation(o.Tenant, ""), operationsKept+1)
	if err != nil {
		return err
	}
	if n >= operationsKept {
		oldest, err := tx.list(ctx, kv.Range{Prefix: keyOperation(o.Tenant, ""), Limit: 1, KeysOnly: true})
		if err != nil {
			return fmt.Errorf("list operations: %w", err)
		}
		for _, r := range oldest {
			tx.delete(r.Key)
			tx.delete(indexOperation(tenants.OperationID(r.Key[len(keyOperation(o.Tenant, "")):])))
		}
	}
	if err := tx.create(ctx, indexOperation(o.ID), operationNamed(o.ID), o.Tenant); err != nil {
		return err
	}
	return tx.create(ctx, keyOperation(o.Tenant, o.ID), operationNamed(o.ID), o)
}

// PutOperation writes how far an operation has come.
func (tx *Tx) PutOperation(ctx context.Context, o tenants.Operation) error {
	if err := o.Check(); err != nil {
		return err
	}
	return tx.replace(ctx, keyOperation(o.Tenant, o.ID), operationNamed(o.ID), o)
}
