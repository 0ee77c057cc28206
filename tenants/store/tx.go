package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// tries is how often Update runs its function before it gives up with ErrContended.
const tries = 12

// Tx is a change in the making. What it reads, it reads as if its own writes had been done; they are done when Update's function returns, if
// nothing that it read one by one has changed meanwhile. Lists are not guarded so. It is for one goroutine.
type Tx struct {
	reader
	store  *Store
	read   map[string]kv.Record // what was read; without revision: it is not there
	writes map[string]kv.Write
}

// Update runs f and does what it wrote, all or nothing, and durably. Where somebody else changed what f read, f runs again, so it must have no
// other effects. An error of f's is returned as it is, and nothing is done; so that no error comes of reading one record before somebody
// else's change and another after it, it counts only where nothing that f read has changed either.
func (s *Store) Update(ctx context.Context, f func(tx *Tx) error) (Revision, error) {
	var conflict *kv.Conflict
	for try := range tries {
		tx := &Tx{store: s, read: map[string]kv.Record{}, writes: map[string]kv.Write{}}
		tx.reader = reader{tx}
		refused := f(tx)
		if refused != nil {
			tx.writes = nil
		}
		rev, err := tx.commit(ctx)
		if !errors.As(err, &conflict) {
			if refused != nil {
				return 0, refused
			}
			return rev, err
		}
		if conflict.Key == keySchema {
			return 0, fmt.Errorf("write: %w or emptied while this process ran; start it again", ErrNewer)
		}
		if err := pause(ctx, time.Duration(rand.Int64N(int64(time.Millisecond)<<min(try, 6)))); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%s %w", conflict.Key, ErrContended)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (tx *Tx) commit(ctx context.Context) (Revision, error) {
	conditions := []kv.Condition{{Key: keySchema, Revision: tx.store.schema.Revision}}
	for _, key := range slices.Sorted(maps.Keys(tx.read)) {
		conditions = append(conditions, kv.Condition{Key: key, Revision: tx.read[key].Revision})
	}
	var writes []kv.Write
	for _, key := range slices.Sorted(maps.Keys(tx.writes)) {
		writes = append(writes, tx.writes[key])
	}
	rev, err := tx.store.kv.Commit(ctx, conditions, writes)
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return rev, nil
}

func (tx *Tx) get(ctx context.Context, key string) (kv.Record, error) {
	if w, ok := tx.writes[key]; ok {
		if w.Value == nil {
			return kv.Record{}, kv.ErrNotFound
		}
		return kv.Record{Key: key, Value: w.Value, Revision: tx.read[key].Revision}, nil
	}
	r, ok := tx.read[key]
	if !ok {
		var err error
		if r, err = tx.store.kv.Get(ctx, key); err != nil && !errors.Is(err, kv.ErrNotFound) {
			return r, err
		}
		tx.read[key] = r
	}
	if r.Revision == 0 {
		return r, kv.ErrNotFound
	}
	return r, nil
}

// list lays the writes over what the store has.
func (tx *Tx) list(ctx context.Context, r kv.Range) ([]kv.Record, error) {
	limit := r.Count()
	r.Limit = limit + len(tx.writes)
	records, err := tx.store.kv.List(ctx, r)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(have kv.Record) bool { _, ok := tx.writes[have.Key]; return ok })
	for key, w := range tx.writes {
		behind := r.After == "" || !r.Reverse && key > r.After || r.Reverse && key < r.After
		if w.Value != nil && strings.HasPrefix(key, r.Prefix) && behind {
			records = append(records, kv.Record{Key: key, Value: w.Value, Revision: tx.read[key].Revision})
		}
	}
	slices.SortFunc(records, func(a, b kv.Record) int {
		if r.Reverse {
			a, b = b, a
		}
		return strings.Compare(a.Key, b.Key)
	})
	return records[:min(limit, len(records))], nil
}

// put writes a record that was checked.
func (tx *Tx) put(key string, v any) error {
	b, err := encode(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	tx.writes[key] = kv.Write{Key: key, Value: b}
	return nil
}

func (tx *Tx) delete(key string) { tx.writes[key] = kv.Write{Key: key} }

// has tells whether there is a record, and makes the commit depend on it.
func (tx *Tx) has(ctx context.Context, key string) (bool, error) {
	_, err := tx.get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// create writes a record that must not be there yet.
func (tx *Tx) create(ctx context.Context, key, what string, v any) error {
	there, err := tx.has(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if there {
		return fmt.Errorf("%s %w", what, ErrExists)
	}
	return tx.put(key, v)
}

// replace writes a record that must be there.
func (tx *Tx) replace(ctx context.Context, key, what string, v any) error {
	there, err := tx.has(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if !there {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return tx.put(key, v)
}

// remove deletes a record that must be there.
func (tx *Tx) remove(ctx context.Context, key, what string) error {
	there, err := tx.has(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if !there {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	tx.delete(key)
	return nil
}

// room holds the number of records of a kind against what the policy allows. It may be overstepped by as many as are added at once.
func (tx *Tx) room(ctx context.Context, prefix, what string, most int) error {
	n, err := count(ctx, tx, prefix, most)
	if err != nil {
		return err
	}
	if n >= most {
		return fmt.Errorf("one more of %s %w: %d", what, ErrQuota, most)
	}
	return nil
}
