// Package store is the control store: the durable resources of package tenants, as JSON records with a schema version in a kv.Store. Reads are
// methods of Store and of Tx alike; changes are made in a Tx, all or nothing, and see no change of somebody else's half done. It decides
// nothing about access, and opens no sealed value.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// Revision counts the changes of the whole store; a record's is that of its last change.
type Revision = kv.Revision

// Record is a resource as it stands in the store.
type Record[T any] struct {
	Value    T
	Revision Revision
}

// Errors that callers branch on, beside those of package kv. What they are wrapped in names the resource.
var (
	ErrNotFound  = errors.New("not found")
	ErrExists    = errors.New("exists already")
	ErrMismatch  = errors.New("was changed since it was read")                     // an If-Match that does not hold
	ErrContended = errors.New("is being changed by too many at once")              // try again
	ErrQuota     = errors.New("is over what the policy allows")                    // how much may be kept
	ErrState     = errors.New("is in a state that does not allow this")            // being removed, in use, ended
	ErrCursor    = errors.New("is no cursor of this list")                         // a client's fault
	ErrNewer     = errors.New("the store was written by a newer tenloom")          // downgrade refused
	ErrRestoring = errors.New("a restore into this store did not come to its end") // empty it and restore again
)

// Store is the control store. It is safe for concurrent use.
type Store struct {
	reader
	kv     kv.Store
	schema kv.Record // a condition of every commit, so that an old process cannot write into a store that a newer one has migrated
	turns  turns
	name   string // of this store's contents since it was made or restored; part of every ETag
}

// Close closes what the records are kept in.
func (s *Store) Close() error { return s.kv.Close() }

// ETag names a revision of a record for HTTP (RFC 9110 section 8.8.3), with its quotes. After a restore no old one matches.
func (s *Store) ETag(r Revision) string {
	return `"` + s.name + "-" + strconv.FormatInt(int64(r), 36) + `"`
}

// Match holds a record's revision against an If-Match value: "" and "*" match everything; otherwise one of its ETags must be the record's. A
// mismatch is ErrMismatch.
func (s *Store) Match(ifMatch string, r Revision) error {
	if ifMatch == "" || ifMatch == "*" {
		return nil
	}
	for tag := range strings.SplitSeq(ifMatch, ",") {
		if strings.TrimSpace(tag) == s.ETag(r) {
			return nil
		}
	}
	return ErrMismatch
}

// Check tells whether the store answers.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.kv.Get(ctx, keySchema)
	if err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	return nil
}

// source is what can be read from: the store, or a transaction over it.
type source interface {
	get(ctx context.Context, key string) (kv.Record, error)
	list(ctx context.Context, r kv.Range) ([]kv.Record, error)
}

// reader has the reading methods of Store and Tx.
type reader struct{ from source }

type direct struct{ kv kv.Store }

func (d direct) get(ctx context.Context, key string) (kv.Record, error) { return d.kv.Get(ctx, key) }
func (d direct) list(ctx context.Context, r kv.Range) ([]kv.Record, error) {
	return d.kv.List(ctx, r)
}

// envelope is every record's outer form.
type envelope struct {
	Schema int             `json:"schema"`
	Data   json.RawMessage `json:"data"`
}

func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope{schema, data})
}

func decode[T any](r kv.Record) (Record[T], error) {
	var e envelope
	out := Record[T]{Revision: r.Revision}
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return out, fmt.Errorf("%w: %s: %w", kv.ErrDamaged, r.Key, err)
	}
	if e.Schema > schema {
		return out, fmt.Errorf("%s: %w", r.Key, ErrNewer)
	}
	if err := json.Unmarshal(e.Data, &out.Value); err != nil {
		return out, fmt.Errorf("%w: %s: %w", kv.ErrDamaged, r.Key, err)
	}
	return out, nil
}

// read gets one record; what names it to people where it is not there.
func read[T any](ctx context.Context, from source, key, what string) (Record[T], error) {
	r, err := from.get(ctx, key)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return Record[T]{}, fmt.Errorf("%s: %w", what, ErrNotFound)
	case err != nil:
		return Record[T]{}, fmt.Errorf("read %s: %w", what, err)
	}
	return decode[T](r)
}

// Query asks for one page of a list.
type Query struct {
	Limit  int    // 1 to MaxPage; 0 means DefaultPage
	Cursor string // Next of the page before; "" means the first page
}

// Sizes of pages.
const (
	DefaultPage = 50
	MaxPage     = 500
)

// Page is a stretch of a list. It stays right while others add and remove: nothing that was there all the time is left out or told twice.
type Page[T any] struct {
	Items []Record[T]
	Next  string // cursor of the page behind; "" where this is the last
}

func page[T any](ctx context.Context, from source, prefix string, q Query, newestFirst bool) (Page[T], error) {
	r := kv.Range{Prefix: prefix, Limit: min(q.Limit, MaxPage), Reverse: newestFirst}
	if r.Limit <= 0 {
		r.Limit = DefaultPage
	}
	var p Page[T]
	if q.Cursor != "" {
		after, err := parseCursor(prefix, q.Cursor)
		if err != nil {
			return p, err
		}
		r.After = after
	}
	limit := r.Limit
	r.Limit++ // one more tells whether there is a next page
	records, err := from.list(ctx, r)
	if err != nil {
		return p, fmt.Errorf("list %s: %w", prefix, err)
	}
	if len(records) > limit {
		records = records[:limit]
		p.Next = cursor(prefix, records[limit-1].Key)
	}
	for _, r := range records {
		item, err := decode[T](r)
		if err != nil {
			return p, err
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

// cursor is the place behind a key, in a form that says nothing to clients and is good for its own list only.
func cursor(prefix, key string) string {
	rest := strings.TrimPrefix(key, prefix)
	return base64.RawURLEncoding.EncodeToString([]byte(listSum(prefix) + rest))
}

func parseCursor(prefix, c string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(c)
	rest, ok := strings.CutPrefix(string(b), listSum(prefix))
	if err != nil || !ok || rest == "" || len(prefix)+len(rest) > kv.MaxKey {
		return "", fmt.Errorf("%.40q %w", c, ErrCursor)
	}
	return prefix + rest, nil
}

func listSum(prefix string) string {
	sum := sha256.Sum256([]byte(prefix))
	return string(sum[:4])
}

// count tells how many records a prefix has, up to most.
func count(ctx context.Context, from source, prefix string, most int) (int, error) {
	n := 0
	for after := ""; n < most; {
		records, err := from.list(ctx, kv.Range{Prefix: prefix, After: after, Limit: min(most-n, kv.MaxList), KeysOnly: true})
		if err != nil {
			return n, fmt.Errorf("count %s: %w", prefix, err)
		}
		if len(records) == 0 {
			break
		}
		n += len(records)
		after = records[len(records)-1].Key
	}
	return n, nil
}
