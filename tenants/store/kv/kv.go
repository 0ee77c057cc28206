// Package kv is the contract between the control store and what keeps its records: a sorted map from keys to values with one revision for all
// of it, that grows by one or more with every Commit. Two bodies exist: a file (kv/bolt) and a cluster (kv/etcd); kv/kvtest holds both to it.
package kv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Revision counts commits. 0 is before the first.
type Revision int64

// Record is a value under its key, as of its last change.
type Record struct {
	Key      string
	Value    []byte   // nil in a Batch: the key was deleted
	Revision Revision // of the last change
}

// Condition holds where the key's last change has this Revision; 0: where there is no such key.
type Condition struct {
	Key      string
	Revision Revision
}

// Write sets a key, or deletes it where Value is nil. Deleting what is not there is no error.
type Write struct {
	Key   string
	Value []byte
}

// Range says which records to list, in the order of their keys.
type Range struct {
	Prefix   string
	After    string // begin behind this key; "" means at the beginning, or for Reverse at the end
	Limit    int    // 1 to MaxList; 0 means MaxList
	Reverse  bool
	KeysOnly bool // leave Value nil
}

// Batch is what changed in a watched prefix, at most one Record for each key, in the order of their revisions. Of several changes of a key the
// last is told for certain, those before it may not be; one may be told twice.
type Batch struct {
	Reset    bool     // Records are all that there is: forget what is not among them
	Revision Revision // where to watch from to see what comes next
	Records  []Record
}

// Store is a sorted map with revisions. It is safe for concurrent use. Values that come out belong to the caller.
type Store interface {
	// Get returns a record, or ErrNotFound.
	Get(ctx context.Context, key string) (Record, error)
	// List returns a stretch of records as of one moment.
	List(ctx context.Context, r Range) ([]Record, error)
	// Commit does all writes at once where all conditions hold, and is durable when it returns. Where one does not hold it does nothing and
	// returns a *Conflict. After an error that wraps ErrUnavailable the writes may have been done or not.
	Commit(ctx context.Context, conditions []Condition, writes []Write) (Revision, error)
	// Watch tells what changes under a prefix after a revision. It begins with a Reset where after is 0, ahead of the store, or so old that the
	// changes since are no longer known; a Reset can come later too, where the reader is too slow. An error that wraps ErrUnavailable is told
	// once at most for each outage, and the watch goes on by itself; every other error ends it, among them ctx's and ErrClosed.
	Watch(ctx context.Context, prefix string, after Revision) iter.Seq2[Batch, error]
	// Snapshot calls f for every record in the order of keys, as of one moment, and returns that moment's revision.
	Snapshot(ctx context.Context, f func(Record) error) (Revision, error)
	// Close ends watches and gives up what the store holds. It may be called twice.
	Close() error
}

// Errors that callers branch on.
var (
	ErrNotFound    = errors.New("not found")
	ErrTooLarge    = errors.New("too large for the store")
	ErrFull        = errors.New("the store has no space left")
	ErrLocked      = errors.New("another tenloom runs with this store")
	ErrDamaged     = errors.New("the store is damaged")
	ErrUnavailable = errors.New("the store does not answer")
	ErrClosed      = errors.New("the store is closed")
)

// Conflict is a Condition that did not hold.
type Conflict struct{ Key string }

func (c *Conflict) Error() string { return fmt.Sprintf("%s was changed by somebody else", c.Key) }

// Bounds of one call, which leave room below those of etcd (128 operations and 1.5 MiB by default).
const (
	MaxKey        = 1024      // bytes
	MaxValue      = 512 << 10 // bytes
	MaxOperations = 120       // conditions, and as many writes, in a Commit
	MaxCommit     = 1 << 20   // bytes of keys and values in a Commit
	MaxList       = 1000      // records
)

// Check holds a Commit against the bounds. An error wraps ErrTooLarge, or says what no store can do.
func Check(conditions []Condition, writes []Write) error {
	if len(conditions) > MaxOperations || len(writes) > MaxOperations {
		return fmt.Errorf("%w: %d conditions and %d writes at once, at most %d of each", ErrTooLarge, len(conditions), len(writes), MaxOperations)
	}
	size := 0
	for i, w := range writes {
		if w.Key == "" || len(w.Key) > MaxKey {
			return fmt.Errorf("%w: a key of %d bytes, 1 to %d are possible", ErrTooLarge, len(w.Key), MaxKey)
		}
		if len(w.Value) > MaxValue {
			return fmt.Errorf("%w: %s has %d bytes, at most %d are possible", ErrTooLarge, w.Key, len(w.Value), MaxValue)
		}
		if slices.ContainsFunc(writes[:i], func(o Write) bool { return o.Key == w.Key }) {
			return fmt.Errorf("%s is written twice in one commit", w.Key)
		}
		size += len(w.Key) + len(w.Value)
	}
	for _, c := range conditions {
		if c.Key == "" || len(c.Key) > MaxKey {
			return fmt.Errorf("%w: a key of %d bytes, 1 to %d are possible", ErrTooLarge, len(c.Key), MaxKey)
		}
	}
	if size > MaxCommit {
		return fmt.Errorf("%w: %d bytes in one commit, at most %d are possible", ErrTooLarge, size, MaxCommit)
	}
	return nil
}

// Count gives the number of records to list.
func (r Range) Count() int {
	if r.Limit <= 0 || r.Limit > MaxList {
		return MaxList
	}
	return r.Limit
}

// End gives the first key that is behind every key with this prefix; "" where there is none.
func End(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}
