// Package bolt keeps the control store in one file (go.etcd.io/bbolt), for one process at a time. A commit is on the disk when it returns.
package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// The file's buckets:
//
//	records  key -> 8 bytes of revision, value
//	log      8 bytes of revision -> the keys that this commit wrote, each after 2 bytes of length; the newest logKept only
//	meta     "revision" -> 8 bytes
var (
	records  = []byte("records")
	logs     = []byte("log")
	meta     = []byte("meta")
	revision = []byte("revision")
)

// logKept is how many commits a watch can be behind and still be told the changes; one that is further behind gets a Reset.
const logKept = 20_000

// lockWait is how long Open waits for another process to let go of the file, so that a restart does not race with the process it replaces.
const lockWait = 2 * time.Second

// Store is a kv.Store in a file.
type Store struct {
	db   *bbolt.DB
	path string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each commit
	closed  chan struct{} // closed by Close
}

// Open opens the file at path, or makes it with mode 0600, and its folder with 0700. While it is open no other process can open it; that is
// kv.ErrLocked. A file that is no store, or a damaged one, is kv.ErrDamaged.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the store's folder: %w", explain(err, path))
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("open store: %w", explain(err, path))
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{records, logs, meta} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", explain(err, path)), db.Close())
	}
	return &Store{db: db, path: path, changed: make(chan struct{}), closed: make(chan struct{})}, nil
}

// explain adds to what bbolt and the system say which of the contract's errors it is, and what to do.
func explain(err error, path string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: %s is in use; stop the other process, or give this one a data directory of its own", kv.ErrLocked, path)
	case full(err):
		return fmt.Errorf("%w: make room on the disk of %s: %w", kv.ErrFull, path, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %s: %w; put it aside and restore a backup", kv.ErrDamaged, path, err)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return kv.ErrClosed
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; the file belongs to the user that tenloom runs as", err)
	}
	return err
}

// full tells whether there was no room. bbolt wraps some of the system's errors as text only.
func full(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) || strings.Contains(err.Error(), ": "+no.Error()) {
			return true
		}
	}
	return false
}

// Get is kv.Store's.
func (s *Store) Get(_ context.Context, key string) (r kv.Record, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(records).Get([]byte(key))
		if v == nil {
			return kv.ErrNotFound
		}
		r = record([]byte(key), v, false)
		return nil
	})
	return r, explain(err, s.path)
}

// record copies out of the file's pages, which are good for as long as the transaction only.
func record(k, v []byte, keysOnly bool) kv.Record {
	r := kv.Record{Key: string(k), Revision: kv.Revision(binary.BigEndian.Uint64(v))}
	if !keysOnly {
		r.Value = append([]byte{}, v[8:]...)
	}
	return r
}

// List is kv.Store's.
func (s *Store) List(_ context.Context, r kv.Range) (out []kv.Record, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		out = list(tx, r)
		return nil
	})
	return out, explain(err, s.path)
}

func list(tx *bbolt.Tx, r kv.Range) (out []kv.Record) {
	c := tx.Bucket(records).Cursor()
	prefix := []byte(r.Prefix)
	k, v, next := first(c, r)
	for ; k != nil && bytes.HasPrefix(k, prefix) && len(out) < r.Count(); k, v = next() {
		out = append(out, record(k, v, r.KeysOnly))
	}
	return out
}

// first puts a cursor on the first record of a range, and says how to go on.
func first(c *bbolt.Cursor, r kv.Range) (k, v []byte, next func() (k, v []byte)) {
	if !r.Reverse {
		k, v = c.Seek([]byte(max(r.Prefix, r.After)))
		if r.After != "" && string(k) == r.After {
			k, v = c.Next()
		}
		return k, v, c.Next
	}
	end := kv.End(r.Prefix)
	if r.After != "" && (end == "" || r.After < end) {
		end = r.After
	}
	if end == "" {
		k, v = c.Last()
		return k, v, c.Prev
	}
	if k, _ = c.Seek([]byte(end)); k == nil {
		k, v = c.Last()
		return k, v, c.Prev
	}
	k, v = c.Prev()
	return k, v, c.Prev
}

// Commit is kv.Store's.
func (s *Store) Commit(ctx context.Context, conditions []kv.Condition, writes []kv.Write) (rev kv.Revision, err error) {
	if err := kv.Check(conditions, writes); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	do := s.db.Update
	if len(writes) == 0 {
		do = s.db.View
	}
	err = do(func(tx *bbolt.Tx) error {
		if err := check(tx.Bucket(records), conditions); err != nil {
			return err
		}
		rev = current(tx)
		if len(writes) == 0 {
			return nil
		}
		rev++
		return write(tx, rev, writes)
	})
	if err != nil {
		return 0, explain(err, s.path)
	}
	if len(writes) > 0 {
		s.mu.Lock()
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
	return rev, nil
}

func check(b *bbolt.Bucket, conditions []kv.Condition) error {
	for _, c := range conditions {
		have := kv.Revision(0)
		if v := b.Get([]byte(c.Key)); v != nil {
			have = kv.Revision(binary.BigEndian.Uint64(v))
		}
		if have != c.Revision {
			return &kv.Conflict{Key: c.Key}
		}
	}
	return nil
}

func write(tx *bbolt.Tx, rev kv.Revision, writes []kv.Write) error {
	b, stamp := tx.Bucket(records), number(rev)
	var keys []byte
	for _, w := range writes {
		keys = binary.BigEndian.AppendUint16(keys, uint16(len(w.Key)))
		keys = append(keys, w.Key...)
		err := error(nil)
		if w.Value == nil {
			err = b.Delete([]byte(w.Key))
		} else {
			err = b.Put([]byte(w.Key), append(slices.Clone(stamp), w.Value...))
		}
		if err != nil {
			return err
		}
	}
	l := tx.Bucket(logs)
	if err := l.Put(stamp, keys); err != nil {
		return err
	}
	if rev > logKept {
		if err := l.Delete(number(rev - logKept)); err != nil {
			return err
		}
	}
	return tx.Bucket(meta).Put(revision, stamp)
}

func number(r kv.Revision) []byte { return binary.BigEndian.AppendUint64(nil, uint64(r)) }

func current(tx *bbolt.Tx) kv.Revision {
	if v := tx.Bucket(meta).Get(revision); v != nil {
		return kv.Revision(binary.BigEndian.Uint64(v))
	}
	return 0
}

// Snapshot is kv.Store's. The file grows by what is written meanwhile.
func (s *Store) Snapshot(ctx context.Context, f func(kv.Record) error) (rev kv.Revision, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		rev = current(tx)
		return tx.Bucket(records).ForEach(func(k, v []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(record(k, v, false))
		})
	})
	return rev, explain(err, s.path)
}

// Close is kv.Store's. It waits for calls that are under way.
func (s *Store) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
