package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// batchKeys is how many keys of the log one batch looks at.
const batchKeys = 1000

// Watch is kv.Store's. It holds nothing between batches but its place in the log, so a slow reader costs nothing.
func (s *Store) Watch(ctx context.Context, prefix string, after kv.Revision) iter.Seq2[kv.Batch, error] {
	return func(yield func(kv.Batch, error) bool) {
		reset := after <= 0
		for {
			s.mu.Lock()
			changed := s.changed // taken before looking, so that no commit falls between looking and waiting
			s.mu.Unlock()
			var b kv.Batch
			var more bool
			err := s.db.View(func(tx *bbolt.Tx) error {
				b, more = batch(tx, prefix, after, reset)
				return nil
			})
			if err != nil {
				yield(kv.Batch{}, explain(err, s.path))
				return
			}
			after, reset = b.Revision, false
			if (b.Reset || len(b.Records) > 0) && !yield(b, nil) {
				return
			}
			if more {
				changed = nil
			}
			if err := s.wait(ctx, changed); err != nil {
				yield(kv.Batch{}, err)
				return
			}
		}
	}
}

// wait waits for a commit; nil means that there is one already.
func (s *Store) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return kv.ErrClosed
	default:
	}
	if changed == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return kv.ErrClosed
	case <-changed:
		return nil
	}
}

// batch reads what the log has behind a revision, and whether there is more. Values are those of now.
func batch(tx *bbolt.Tx, prefix string, after kv.Revision, reset bool) (b kv.Batch, more bool) {
	b.Revision = current(tx)
	c := tx.Bucket(logs).Cursor()
	k, v := c.Seek(number(after + 1))
	forgotten := after < b.Revision && !bytes.Equal(k, number(after+1))
	if reset || forgotten || after > b.Revision {
		b.Reset, b.Records = true, all(tx, prefix)
		return b, false
	}
	keys := map[string]bool{}
	for ; k != nil; k, v = c.Next() {
		if len(keys) >= batchKeys {
			b.Revision = kv.Revision(binary.BigEndian.Uint64(k)) - 1
			more = true
			break
		}
		for len(v) > 0 {
			n := binary.BigEndian.Uint16(v)
			if key := string(v[2 : 2+n]); strings.HasPrefix(key, prefix) {
				keys[key] = true
			}
			v = v[2+n:]
		}
	}
	for key := range keys {
		if v := tx.Bucket(records).Get([]byte(key)); v != nil {
			b.Records = append(b.Records, record([]byte(key), v, false))
		} else {
			b.Records = append(b.Records, kv.Record{Key: key, Revision: b.Revision})
		}
	}
	order(b.Records)
	return b, more
}

func all(tx *bbolt.Tx, prefix string) (out []kv.Record) {
	c := tx.Bucket(records).Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, v = c.Next() {
		out = append(out, record(k, v, false))
	}
	order(out)
	return out
}

func order(records []kv.Record) {
	slices.SortFunc(records, func(a, b kv.Record) int {
		if a.Revision != b.Revision {
			return int(a.Revision - b.Revision)
		}
		return strings.Compare(a.Key, b.Key)
	})
}
