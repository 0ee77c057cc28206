package store

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/tenants"
)

// secretRecord is a secret with what does not go out as JSON.
type secretRecord struct {
	tenants.Secret
	Sealed []byte `json:"sealed"` // stands before the embedded one
}

func fromSecret(r Record[secretRecord]) Record[tenants.Secret] {
	s := r.Value.Secret
	s.Sealed = r.Value.Sealed
	return Record[tenants.Secret]{s, r.Revision}
}

func variableNamed(a tenants.AppName, name string) string {
	return fmt.Sprintf("variable %.80q of app %q", name, string(a))
}

func secretNamed(a tenants.AppName, name string) string {
	return fmt.Sprintf("secret %.80q of app %q", name, string(a))
}

// Variable returns one of an app's variables, or ErrNotFound.
func (r reader) Variable(ctx context.Context, t tenants.ID, a tenants.AppName, name string) (Record[tenants.Variable], error) {
	return read[tenants.Variable](ctx, r.from, keyVariable(t, a, name), variableNamed(a, name))
}

// Variables lists an app's variables by name.
func (r reader) Variables(ctx context.Context, t tenants.ID, a tenants.AppName, q Query) (Page[tenants.Variable], error) {
	return page[tenants.Variable](ctx, r.from, keyVariable(t, a, ""), q, false)
}

// Secret returns one of an app's secrets, sealed, or ErrNotFound.
func (r reader) Secret(ctx context.Context, t tenants.ID, a tenants.AppName, name string) (Record[tenants.Secret], error) {
	have, err := read[secretRecord](ctx, r.from, keySecret(t, a, name), secretNamed(a, name))
	return fromSecret(have), err
}

// Secrets lists an app's secrets by name, sealed.
func (r reader) Secrets(ctx context.Context, t tenants.ID, a tenants.AppName, q Query) (Page[tenants.Secret], error) {
	have, err := page[secretRecord](ctx, r.from, keySecret(t, a, ""), q, false)
	return convert(have, fromSecret), err
}

// PutVariable adds or changes a variable. A name is a variable or a secret, not both (ErrExists).
func (tx *Tx) PutVariable(ctx context.Context, v tenants.Variable) error {
	if err := v.Check(); err != nil {
		return err
	}
	if err := tx.placeFor(ctx, v.Tenant, v.App, keyVariable(v.Tenant, v.App, v.Name), keySecret(v.Tenant, v.App, v.Name), secretNamed(v.App, v.Name)); err != nil {
		return err
	}
	return tx.put(keyVariable(v.Tenant, v.App, v.Name), v)
}

// PutSecret adds a secret or gives it a new value; its Version is counted here.
func (tx *Tx) PutSecret(ctx context.Context, s tenants.Secret) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := tx.placeFor(ctx, s.Tenant, s.App, keySecret(s.Tenant, s.App, s.Name), keyVariable(s.Tenant, s.App, s.Name), variableNamed(s.App, s.Name)); err != nil {
		return err
	}
	s.Version = 1
	if there, err := tx.has(ctx, keySecret(s.Tenant, s.App, s.Name)); err != nil {
		return err
	} else if there {
		have, err := tx.Secret(ctx, s.Tenant, s.App, s.Name)
		if err != nil {
			return err
		}
		s.Version = have.Value.Version + 1
	}
	return tx.put(keySecret(s.Tenant, s.App, s.Name), secretRecord{s, s.Sealed})
}

// placeFor makes sure that an app has room for one more variable or secret, and that the name is not taken by the other kind.
func (tx *Tx) placeFor(ctx context.Context, t tenants.ID, a tenants.AppName, key, other, otherNamed string) error {
	if err := tx.touch(ctx, t, a); err != nil {
		return err
	}
	taken, err := tx.has(ctx, other)
	if err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%s %w", otherNamed, ErrExists)
	}
	there, err := tx.has(ctx, key)
	if err != nil || there {
		return err
	}
	g, err := tx.grants(ctx, t)
	if err != nil {
		return err
	}
	secrets, err := count(ctx, tx, keySecret(t, a, ""), g.Variables)
	if err != nil {
		return err
	}
	return tx.room(ctx, keyVariable(t, a, ""), "the variables and secrets of "+appNamed(t, string(a)), g.Variables-secrets)
}

// DeleteVariable removes a variable.
func (tx *Tx) DeleteVariable(ctx context.Context, t tenants.ID, a tenants.AppName, name string) error {
	if err := tx.touch(ctx, t, a); err != nil {
		return err
	}
	return tx.remove(ctx, keyVariable(t, a, name), variableNamed(a, name))
}

// DeleteSecret removes a secret.
func (tx *Tx) DeleteSecret(ctx context.Context, t tenants.ID, a tenants.AppName, name string) error {
	if err := tx.touch(ctx, t, a); err != nil {
		return err
	}
	return tx.remove(ctx, keySecret(t, a, name), secretNamed(a, name))
}
