package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// schema is the form of records that this code reads and writes. A change of form adds one, and a migration from the form before.
const schema = 1

// migration rewrites a record's data from the schema before: migrations[0] leads from 1 to 2. Returning nil deletes the record.
type migration func(key string, data json.RawMessage) (json.RawMessage, error)

var migrations []migration

// about is what a store says of itself.
type about struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
}

// Open makes a store of what records are kept in: it marks an empty one as its own, brings an older one forward, and refuses a newer one
// (ErrNewer) and one that a restore left half done (ErrRestoring). A migration that is cut short goes on at the next Open. The Store closes k.
func Open(ctx context.Context, k kv.Store) (*Store, error) {
	return open(ctx, k, schema, migrations)
}

func open(ctx context.Context, k kv.Store, want int, migrations []migration) (*Store, error) {
	if _, err := k.Get(ctx, keyRestoring); !errors.Is(err, kv.ErrNotFound) {
		if err == nil {
			err = ErrRestoring
		}
		return nil, fmt.Errorf("open store: %w", err)
	}
	r, err := k.Get(ctx, keySchema)
	if errors.Is(err, kv.ErrNotFound) {
		r, err = mark(ctx, k, want)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	var a about
	if err := json.Unmarshal(r.Value, &a); err != nil || a.Schema < 1 {
		return nil, fmt.Errorf("open store: %w: %s cannot be read; put the store aside and restore a backup", kv.ErrDamaged, keySchema)
	}
	if a.Schema > want {
		return nil, fmt.Errorf("open store: %w: its schema is %d, this one knows up to %d; start the newer tenloom, or restore a backup from before", ErrNewer, a.Schema, want)
	}
	for a.Schema < want {
		if err := migrate(ctx, k, a.Schema, migrations[a.Schema-1]); err != nil {
			return nil, fmt.Errorf("open store: bring schema %d to %d: %w", a.Schema, a.Schema+1, err)
		}
		a.Schema++
		if r, err = writeAbout(ctx, k, a, r.Revision); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	s := &Store{kv: k, schema: r, name: a.Name}
	s.reader = reader{direct{k}}
	return s, nil
}

// mark makes an empty store this program's. One that holds something else is left alone.
func mark(ctx context.Context, k kv.Store, schema int) (kv.Record, error) {
	others, err := k.List(ctx, kv.Range{Limit: 1, KeysOnly: true})
	if err != nil {
		return kv.Record{}, err
	}
	if len(others) > 0 {
		return kv.Record{}, fmt.Errorf("it holds %q and says nothing of its schema, so it is none of tenloom's; name an empty one", others[0].Key)
	}
	return writeAbout(ctx, k, about{schema, newName()}, 0)
}

// newName is random enough: two stores are mixed up only where somebody restores one over another.
func newName() string {
	id := string(tenants.NewID[tenants.RequestID](time.Now()))
	return id[len(id)-8:]
}

func writeAbout(ctx context.Context, k kv.Store, a about, had Revision) (kv.Record, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return kv.Record{}, err
	}
	_, err = k.Commit(ctx, []kv.Condition{{Key: keySchema, Revision: had}}, []kv.Write{{Key: keySchema, Value: b}})
	var conflict *kv.Conflict
	if err != nil && !errors.As(err, &conflict) { // in a conflict another process did the same
		return kv.Record{}, err
	}
	return k.Get(ctx, keySchema)
}

// migrate rewrites every record that has the old schema. One that has the next already was done before the migration was cut short.
func migrate(ctx context.Context, k kv.Store, from int, step migration) error {
	for after := ""; ; {
		records, err := k.List(ctx, kv.Range{After: after, Limit: 50})
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return nil
		}
		for _, r := range records {
			if after = r.Key; r.Key == keySchema {
				continue
			}
			if err := migrateOne(ctx, k, r, from, step); err != nil {
				return fmt.Errorf("%s: %w", r.Key, err)
			}
		}
	}
}

func migrateOne(ctx context.Context, k kv.Store, r kv.Record, from int, step migration) error {
	var e envelope
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrDamaged, err)
	}
	if e.Schema != from {
		return nil
	}
	data, err := step(r.Key, e.Data)
	if err != nil {
		return err
	}
	w := kv.Write{Key: r.Key}
	if data != nil {
		if w.Value, err = json.Marshal(envelope{from + 1, data}); err != nil {
			return err
		}
	}
	_, err = k.Commit(ctx, []kv.Condition{{Key: r.Key, Revision: r.Revision}}, []kv.Write{w})
	return err
}
