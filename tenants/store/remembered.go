package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// RememberedFor is how long uploads and answers are remembered. They are for requests that are sent again, and for uploads that wait for their
// version, so nothing is lost for good where one is forgotten.
const RememberedFor = 24 * time.Hour

// How many are kept of each tenant, and of the platform as a whole. Beyond it, the oldest are forgotten; because they are not counted at every
// write, there may be a few more for a while.
const (
	maxUploads = 20_000
	maxAnswers = 1_000
)

const (
	countOdds = 16 // one write in so many counts
	trimMost  = 24 // that one write forgets at most, so more than come in between two counts
)

// MaxAnswer is how many bytes an Answer's body may have.
const MaxAnswer = 32 << 10

// MaxClaims is how many uploads one Claim may note.
const MaxClaims = 16

// Answer is what became of a request with an Idempotency-Key, or that it is being carried out.
type Answer struct {
	Owner  string      `json:"owner"`           // process that carries it out
	Until  time.Time   `json:"until,omitzero"`  // where it is being carried out: when its owner counts as lost, unless it says more
	Done   bool        `json:"done,omitempty"`  // what follows is there
	Lost   bool        `json:"lost,omitempty"`  // the answer was too long to keep
	Sum    []byte      `json:"sum,omitempty"`   // of the request's body
	Status int         `json:"status,omitzero"` // of the answer, as what follows
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"` // at most MaxAnswer
}

// remembered are records of one noun, under the place that they belong to and in the order of their times, with an index by name.
type remembered struct {
	noun string
	most int
}

var (
	uploads = remembered{"upload", maxUploads}
	answers = remembered{"answer", maxAnswers}
)

func placeOf(t tenants.ID) tenants.ID {
	if t == "" {
		return tenants.Platform
	}
	return t
}

func (m remembered) prefix(t tenants.ID) string {
	return "l/" + m.noun + "/" + string(placeOf(t)) + "/"
}
func (m remembered) index(t tenants.ID, name string) string {
	return "x/" + m.noun + "/" + string(placeOf(t)) + "/" + name
}
func (m remembered) key(t tenants.ID, at time.Time, name string) string {
	return m.prefix(t) + fmt.Sprintf("%013x/", max(at.UnixMilli(), 0)) + name
}

// parse reads the time and the name of a key.
func (m remembered) parse(t tenants.ID, key string) (at time.Time, name string) {
	text, name, _ := strings.Cut(strings.TrimPrefix(key, m.prefix(t)), "/")
	ms, err := strconv.ParseInt(text, 16, 64)
	if err != nil {
		return time.Time{}, name // the oldest there is
	}
	return time.UnixMilli(ms), name
}

// find gives the time of a name's record, or ok false where there is none that counts.
func (m remembered) find(ctx context.Context, from source, t tenants.ID, name string, now time.Time) (at time.Time, ok bool, err error) {
	ms, err := read[int64](ctx, from, m.index(t, name), m.noun)
	if errors.Is(err, ErrNotFound) {
		return at, false, nil
	}
	at = time.UnixMilli(ms.Value)
	return at, err == nil && now.Sub(at) < RememberedFor, err
}

// put remembers something under a name, in place of what was remembered under it.
func (m remembered) put(ctx context.Context, tx *Tx, t tenants.ID, name string, now time.Time, v any) error {
	old, err := read[int64](ctx, tx, m.index(t, name), m.noun)
	switch {
	case err == nil:
		tx.delete(m.key(t, time.UnixMilli(old.Value), name))
	case !errors.Is(err, ErrNotFound):
		return err
	}
	if err := tx.put(m.index(t, name), max(now.UnixMilli(), 0)); err != nil {
		return err
	}
	return tx.put(m.key(t, now, name), v)
}

func (m remembered) forget(tx *Tx, t tenants.ID, at time.Time, name string) {
	tx.delete(m.key(t, at, name))
	tx.delete(m.index(t, name))
}

// trim forgets the oldest where there are too many. added says how many the transaction adds.
func (m remembered) trim(ctx context.Context, tx *Tx, t tenants.ID, added int) error {
	if rand.IntN(countOdds) >= added {
		return nil
	}
	n, err := count(ctx, tx, m.prefix(t), m.most+trimMost)
	if err != nil || n <= m.most {
		return err
	}
	oldest, err := tx.list(ctx, kv.Range{Prefix: m.prefix(t), Limit: n - m.most, KeysOnly: true})
	if err != nil {
		return fmt.Errorf("list %s: %w", m.prefix(t), err)
	}
	for _, r := range oldest {
		at, name := m.parse(t, r.Key)
		m.forget(tx, t, at, name)
	}
	return nil
}

// Claim notes that a tenant has uploaded artifacts, up to MaxClaims of them. Artifacts are kept by digest, whoever sent them; what is not claimed
// does not exist for a tenant.
func (tx *Tx) Claim(ctx context.Context, t tenants.ID, now time.Time, digests ...string) error {
	if len(digests) > MaxClaims {
		return fmt.Errorf("claim %d artifacts at once: %w: %d", len(digests), ErrQuota, MaxClaims)
	}
	if _, err := tx.open(ctx, t); err != nil {
		return err
	}
	for _, d := range digests {
		at, ok, err := uploads.find(ctx, tx, t, d, now)
		if err != nil {
			return err
		}
		if ok && now.Sub(at) < RememberedFor/2 {
			continue
		}
		if err := uploads.put(ctx, tx, t, d, now, struct{}{}); err != nil {
			return err
		}
	}
	return uploads.trim(ctx, tx, t, len(digests))
}

// Claimed tells whether a tenant has uploaded an artifact lately.
func (r reader) Claimed(ctx context.Context, t tenants.ID, digest string, now time.Time) (bool, error) {
	_, ok, err := uploads.find(ctx, r.from, t, digest, now)
	return ok, err
}

// AnswerName is what an Answer is found by: a hash of the caller, the request and the key.
type AnswerName [32]byte

func (n AnswerName) String() string { return hex.EncodeToString(n[:]) }

// BeginAnswer returns what is known of a request, or notes that its owner carries it out now, for a tenant or, with "", for the platform. One
// whose owner is lost begins anew.
func (tx *Tx) BeginAnswer(ctx context.Context, t tenants.ID, name AnswerName, now time.Time, begin Answer) (have Answer, known bool, err error) {
	if t != "" {
		if _, err := tx.open(ctx, t); err != nil {
			return have, false, err
		}
	}
	at, ok, err := answers.find(ctx, tx, t, name.String(), now)
	if err != nil {
		return have, false, err
	}
	if ok {
		r, err := read[Answer](ctx, tx, answers.key(t, at, name.String()), answers.noun)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return have, false, err
		}
		if err == nil && (r.Value.Done || now.Before(r.Value.Until)) {
			return r.Value, true, nil
		}
	}
	if err := answers.put(ctx, tx, t, name.String(), now, begin); err != nil {
		return have, false, err
	}
	return have, false, answers.trim(ctx, tx, t, 1)
}

// PutAnswer writes how far a request has come that its owner has begun, or its end; nil forgets it, so that it may be tried again. Where it is
// another's by now, or was forgotten, nothing is done.
func (tx *Tx) PutAnswer(ctx context.Context, t tenants.ID, name AnswerName, owner string, a *Answer) error {
	ms, err := read[int64](ctx, tx, answers.index(t, name.String()), answers.noun)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	at := time.UnixMilli(ms.Value)
	key := answers.key(t, at, name.String())
	have, err := read[Answer](ctx, tx, key, answers.noun)
	if errors.Is(err, ErrNotFound) || err == nil && (have.Value.Owner != owner || have.Value.Done) {
		return nil
	}
	if err != nil {
		return err
	}
	if a == nil {
		answers.forget(tx, t, at, name.String())
		return nil
	}
	if len(a.Body) > MaxAnswer {
		return fmt.Errorf("an answer of %d bytes %w: %d", len(a.Body), ErrQuota, MaxAnswer)
	}
	return tx.put(key, *a)
}

// Forget removes what is no longer to be remembered, of all tenants, and returns how much that was.
func (s *Store) Forget(ctx context.Context, now time.Time) (n int, err error) {
	for _, m := range []remembered{uploads, answers} {
		for after := ""; ; {
			records, err := s.kv.List(ctx, kv.Range{Prefix: "l/" + m.noun + "/", After: after, KeysOnly: true})
			if err != nil {
				return n, fmt.Errorf("list what is remembered: %w", err)
			}
			if len(records) == 0 {
				break
			}
			after = records[len(records)-1].Key
			done, err := s.forgetOld(ctx, m, records, now)
			if n += done; err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (s *Store) forgetOld(ctx context.Context, m remembered, records []kv.Record, now time.Time) (n int, err error) {
	for len(records) > 0 {
		some := records[:min(len(records), removeChunk)]
		records = records[len(some):]
		done := 0
		_, err := s.Update(ctx, func(tx *Tx) error {
			done = 0
			for _, r := range some {
				t, _, _ := strings.Cut(strings.TrimPrefix(r.Key, "l/"+m.noun+"/"), "/")
				at, name := m.parse(tenants.ID(t), r.Key)
				if now.Sub(at) < RememberedFor {
					continue
				}
				tx.delete(r.Key)
				done++
				// The name may be remembered anew by now.
				ms, err := read[int64](ctx, tx, m.index(tenants.ID(t), name), m.noun)
				if err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
				if err == nil && ms.Value == at.UnixMilli() {
					tx.delete(m.index(tenants.ID(t), name))
				}
			}
			return nil
		})
		if n += done; err != nil {
			return n, fmt.Errorf("forget: %w", err)
		}
	}
	return n, nil
}
