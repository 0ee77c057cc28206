package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// removeChunk is how many records are removed in one transaction; each may have an index record beside it.
const removeChunk = 50

// DeleteApp removes an app with everything that belongs to it, and the tokens that are bound to it. It marks the app first, so that nothing is
// added while it goes on; cut short, it can be called again. first is done in the same transaction as the mark, for the audit entry; it may
// be nil.
func (s *Store) DeleteApp(ctx context.Context, t tenants.ID, name tenants.AppName, first func(tx *Tx) error) error {
	var id tenants.AppID
	_, err := s.Update(ctx, func(tx *Tx) error {
		a, err := tx.App(ctx, t, string(name))
		if err != nil {
			return err
		}
		id = a.Value.ID
		a.Value.Deleting = true
		a.Value.Generation++
		if err := tx.put(keyApp(t, name), a.Value); err != nil {
			return err
		}
		return tx.then(first)
	})
	if err != nil {
		return err
	}
	if err := s.revokeBound(ctx, t, name); err != nil {
		return fmt.Errorf("remove the tokens of %s: %w", appNamed(t, string(name)), err)
	}
	for _, noun := range []string{"c/variable/", "c/secret/", "c/deployment/", "c/version/", "x/version/", "x/digest/"} {
		if err := s.clear(ctx, of(noun, t, name)); err != nil {
			return fmt.Errorf("remove %s: %w", appNamed(t, string(name)), err)
		}
	}
	_, err = s.Update(ctx, func(tx *Tx) error {
		tx.delete(indexApp(t, id))
		return tx.remove(ctx, keyApp(t, name), appNamed(t, string(name)))
	})
	return err
}

// DeleteTenant removes a tenant with everything that belongs to it, apart from its audit chain. It marks the tenant first, so that nothing is
// added while it goes on; cut short, it can be called again. first is done in the same transaction as the mark; it may be nil.
func (s *Store) DeleteTenant(ctx context.Context, t tenants.ID, first func(tx *Tx) error) error {
	_, err := s.Update(ctx, func(tx *Tx) error {
		have, err := tx.Tenant(ctx, t)
		if err != nil {
			return err
		}
		if have.Value.State != tenants.TenantDeleting {
			have.Value.State, have.Value.Changed = tenants.TenantDeleting, time.Now().UTC()
		}
		if err := tx.put(keyTenant(t), have.Value); err != nil {
			return err
		}
		return tx.then(first)
	})
	if err != nil {
		return err
	}
	place := string(t) + "/"
	for _, prefix := range []string{
		keyToken(t, ""), keyMember(t, ""), keyOperation(t, ""), // those with an index of their own first
		"c/connection/" + place, "c/variable/" + place, "c/secret/" + place, "c/deployment/" + place, "c/version/" + place, "c/app/" + place,
		"x/app/" + place, "x/version/" + place, "x/digest/" + place,
		uploads.prefix(t), uploads.index(t, ""), answers.prefix(t), answers.index(t, ""),
	} {
		if err := s.clear(ctx, prefix); err != nil {
			return fmt.Errorf("remove %s: %w", tenantNamed(t), err)
		}
	}
	_, err = s.Update(ctx, func(tx *Tx) error {
		tx.delete(keyPolicy(t))
		return tx.remove(ctx, keyTenant(t), tenantNamed(t))
	})
	return err
}

func (tx *Tx) then(f func(tx *Tx) error) error {
	if f == nil {
		return nil
	}
	return f(tx)
}

// clear removes every record of a prefix, and the index records that lead to it.
func (s *Store) clear(ctx context.Context, prefix string) error {
	for {
		records, err := s.kv.List(ctx, kv.Range{Prefix: prefix, Limit: removeChunk})
		if err != nil || len(records) == 0 {
			return err
		}
		_, err = s.Update(ctx, func(tx *Tx) error {
			for _, r := range records {
				tx.delete(r.Key)
				if index := indexOf(r); index != "" {
					tx.delete(index)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// indexOf gives the key of the index record of those records whose index is not under a prefix of its own.
func indexOf(r kv.Record) string {
	parts := strings.Split(r.Key, "/")
	last := parts[len(parts)-1]
	switch parts[0] + "/" + parts[1] {
	case "c/token":
		if have, err := decode[tokenRecord](r); err == nil {
			return indexToken(fromToken(have).Value.Hash)
		}
	case "c/member":
		if subject, err := url.PathUnescape(last); err == nil {
			return indexMember(subject, tenants.ID(parts[2]))
		}
	case "l/operation":
		return indexOperation(tenants.OperationID(last))
	}
	return ""
}

// revokeBound revokes the tokens that are good for one app only: an app made later under its name is another one.
func (s *Store) revokeBound(ctx context.Context, t tenants.ID, name tenants.AppName) error {
	q := Query{Limit: MaxPage}
	for {
		p, err := s.Tokens(ctx, t, q)
		if err != nil {
			return err
		}
		for _, have := range p.Items {
			if have.Value.App != name {
				continue
			}
			_, err := s.Update(ctx, func(tx *Tx) error { return tx.RevokeToken(ctx, t, have.Value.ID) })
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return nil
		}
	}
}
