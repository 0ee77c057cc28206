package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

func versionNamed(a tenants.AppName, ref string) string {
	return fmt.Sprintf("version %.80q of app %q", ref, string(a))
}

// Version returns a version of an app by its number ("3" or "v3"), id or digest, or ErrNotFound.
func (r reader) Version(ctx context.Context, t tenants.ID, a tenants.AppName, ref string) (Record[tenants.Version], error) {
	number, err := r.versionNumber(ctx, t, a, ref)
	if err != nil {
		return Record[tenants.Version]{}, err
	}
	return read[tenants.Version](ctx, r.from, keyVersion(t, a, number), versionNamed(a, ref))
}

func (r reader) versionNumber(ctx context.Context, t tenants.ID, a tenants.AppName, ref string) (int, error) {
	index := ""
	switch {
	case tenants.IsID[tenants.VersionKey](ref):
		index = indexVersion(t, a, tenants.VersionKey(ref))
	case tenants.CheckDigest(ref) == nil:
		index = indexDigest(t, a, tenants.VersionID(ref))
	default:
		n, err := strconv.ParseUint(strings.TrimPrefix(ref, "v"), 10, 31)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", versionNamed(a, ref), ErrNotFound)
		}
		return int(n), nil
	}
	place, err := read[int](ctx, r.from, index, versionNamed(a, ref))
	return place.Value, err
}

// Versions lists an app's versions, the newest first.
func (r reader) Versions(ctx context.Context, t tenants.ID, a tenants.AppName, q Query) (Page[tenants.Version], error) {
	return page[tenants.Version](ctx, r.from, of("c/version/", t, a), q, true)
}

// CreateVersion adds a version under the next number and returns it. Where the app has one with this digest already, that one is returned with
// created false, and nothing changes. Beyond tenants.VersionsKept the oldest one that no deployment uses, and no rollback
// would lead to, is removed.
func (tx *Tx) CreateVersion(ctx context.Context, v tenants.Version) (_ tenants.Version, created bool, _ error) {
	a, err := tx.openApp(ctx, v.Tenant, v.App)
	if err != nil {
		return v, false, err
	}
	have, err := tx.Version(ctx, v.Tenant, v.App, string(v.Digest))
	if !errors.Is(err, ErrNotFound) {
		return have.Value, false, err
	}
	a.LastVersion++
	v.Number = a.LastVersion
	if err := v.Check(); err != nil {
		return v, false, err
	}
	p, err := tx.Policy(ctx, v.Tenant)
	if err != nil {
		return v, false, err
	}
	if v.Bytes > p.Value.Grants.AppBytes {
		return v, false, fmt.Errorf("a version of %d bytes %w: %d", v.Bytes, ErrQuota, p.Value.Grants.AppBytes)
	}
	if err := tx.pruneVersions(ctx, a); err != nil {
		return v, false, err
	}
	if err := tx.create(ctx, keyVersion(v.Tenant, v.App, v.Number), versionNamed(v.App, strconv.Itoa(v.Number)), v); err != nil {
		return v, false, err
	}
	if err := tx.create(ctx, indexVersion(v.Tenant, v.App, v.Key), string(v.Key), v.Number); err != nil {
		return v, false, err
	}
	if err := tx.put(indexDigest(v.Tenant, v.App, v.Digest), v.Number); err != nil {
		return v, false, err
	}
	return v, true, tx.put(keyApp(v.Tenant, v.App), a)
}

// PutVersion writes how far a version has come; what it is made of never changes.
func (tx *Tx) PutVersion(ctx context.Context, v tenants.Version) error {
	if err := v.Check(); err != nil {
		return err
	}
	have, err := tx.Version(ctx, v.Tenant, v.App, strconv.Itoa(v.Number))
	if err != nil {
		return err
	}
	if have.Value.Key != v.Key || have.Value.Digest != v.Digest {
		return fmt.Errorf("%s %w", versionNamed(v.App, strconv.Itoa(v.Number)), ErrMismatch)
	}
	have.Value.State, have.Value.Steps = v.State, v.Steps
	return tx.put(keyVersion(v.Tenant, v.App, v.Number), have.Value)
}

// DeleteVersion removes a version, unless a deployment uses it or a rollback would lead to it (ErrState).
func (tx *Tx) DeleteVersion(ctx context.Context, t tenants.ID, name tenants.AppName, number int) error {
	a, err := tx.openApp(ctx, t, name)
	if err != nil {
		return err
	}
	v, err := tx.Version(ctx, t, name, strconv.Itoa(number))
	if err != nil {
		return err
	}
	used, err := tx.usedVersions(ctx, a)
	if err != nil {
		return err
	}
	if used[number] {
		return fmt.Errorf("%s takes traffic or can be rolled back to, and %w", versionNamed(name, strconv.Itoa(number)), ErrState)
	}
	tx.dropVersion(v.Value)
	return nil
}

func (tx *Tx) dropVersion(v tenants.Version) {
	tx.delete(keyVersion(v.Tenant, v.App, v.Number))
	tx.delete(indexVersion(v.Tenant, v.App, v.Key))
	tx.delete(indexDigest(v.Tenant, v.App, v.Digest))
}

// usedVersions are those of deployments that take traffic or are about to, and those of the last one before them that did, which a rollback
// leads to. They are read past the transaction, which may not depend on as many records: each new deployment changes the app, on which it does
// depend, and with what becomes of an old one no version comes into use.
func (tx *Tx) usedVersions(ctx context.Context, a tenants.App) (map[int]bool, error) {
	used := map[int]bool{}
	live := false
	for id := a.Deployment; id != ""; {
		d, err := tx.store.Deployment(ctx, a.Tenant, a.Name, string(id))
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		id = d.Value.Previous
		if d.Value.State == tenants.DeploymentFailed {
			continue
		}
		for _, w := range d.Value.Weights {
			used[w.Version] = true
		}
		if live {
			break
		}
		live = d.Value.State == tenants.DeploymentLive
	}
	return used, nil
}

func (tx *Tx) pruneVersions(ctx context.Context, a tenants.App) error {
	prefix := of("c/version/", a.Tenant, a.Name)
	n, err := count(ctx, tx, prefix, tenants.VersionsKept+1)
	if err != nil || n < tenants.VersionsKept {
		return err
	}
	used, err := tx.usedVersions(ctx, a)
	if err != nil {
		return err
	}
	oldest, err := tx.list(ctx, kv.Range{Prefix: prefix, Limit: len(used) + 1})
	if err != nil {
		return fmt.Errorf("list versions: %w", err)
	}
	for _, r := range oldest {
		v, err := decode[tenants.Version](r)
		if err != nil {
			return err
		}
		if !used[v.Value.Number] {
			tx.dropVersion(v.Value)
			return nil
		}
	}
	return nil
}

// NamedArtifacts gives the digests of everything that any version of any tenant is made of.
func (s *Store) NamedArtifacts(ctx context.Context) (map[string]bool, error) {
	named := map[string]bool{}
	for after := ""; ; {
		records, err := s.kv.List(ctx, kv.Range{Prefix: "c/version/", After: after, Limit: 200})
		if err != nil {
			return nil, fmt.Errorf("list versions: %w", err)
		}
		if len(records) == 0 {
			return named, nil
		}
		for _, r := range records {
			v, err := decode[tenants.Version](r)
			if err != nil {
				return nil, err // rather than forget what one that cannot be read needs
			}
			for _, d := range v.Value.Artifacts() {
				named[d] = true
			}
			after = r.Key
		}
	}
}
