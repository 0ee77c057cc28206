package api

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// A request that is being carried out says so again and again, so that one whose process ended can be sent again soon.
const (
	answerLease = time.Minute
	renewEvery  = answerLease / 3
	keepWithin  = 10 * time.Second // bounds a write that no caller waits for
)

// kept are the answers in the control store: they outlive the process, and hold for all processes of a platform.
type kept struct {
	store *store.Store
	log   *slog.Logger
	owner string // this process
	slots places

	mu      sync.Mutex
	renewal map[store.AnswerName]context.CancelFunc // of requests that run here; at most maxRunningKeys
}

func newKept(s *store.Store, log *slog.Logger) *kept {
	return &kept{store: s, log: log, owner: string(tenants.NewID[tenants.RequestID](time.Now())), slots: make(places, maxRunningKeys),
		renewal: map[store.AnswerName]context.CancelFunc{}}
}

func (k *kept) begin(c *call, key string) (*replay, error) {
	if err := k.slots.take(); err != nil {
		return nil, err
	}
	name, t := store.AnswerName(sha256.Sum256([]byte(key))), c.tenant.Value.ID
	var have store.Answer
	known := false
	_, err := k.store.Update(c.ctx(), func(tx *store.Tx) (err error) {
		have, known, err = tx.BeginAnswer(c.ctx(), t, name, c.now, store.Answer{Owner: k.owner, Until: c.now.Add(answerLease)})
		return err
	})
	if err != nil {
		k.slots.leave()
		return nil, err
	}
	if known {
		k.slots.leave()
		r := &replay{done: have.Done, lost: have.Lost, status: have.Status, header: have.Header, body: have.Body}
		copy(r.sum[:], have.Sum)
		return r, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx()))
	k.mu.Lock()
	k.renewal[name] = cancel
	k.mu.Unlock()
	k.renew(ctx, t, name)
	return nil, nil
}

// renew says again that the request is being carried out, until ctx ends.
func (k *kept) renew(ctx context.Context, t tenants.ID, name store.AnswerName) {
	timer := time.AfterFunc(renewEvery, func() {
		k.put(ctx, t, name, &store.Answer{Owner: k.owner, Until: time.Now().Add(answerLease)})
		if ctx.Err() == nil {
			k.renew(ctx, t, name)
		}
	})
	context.AfterFunc(ctx, func() { timer.Stop() })
}

func (k *kept) end(c *call, key string, keep *replay) {
	defer k.slots.leave()
	name := store.AnswerName(sha256.Sum256([]byte(key)))
	k.mu.Lock()
	k.renewal[name]()
	delete(k.renewal, name)
	k.mu.Unlock()
	var a *store.Answer
	if keep != nil {
		a = &store.Answer{Owner: k.owner, Done: true, Lost: keep.lost, Sum: keep.sum[:], Status: keep.status, Header: keep.header, Body: keep.body}
	}
	k.put(context.WithoutCancel(c.ctx()), c.tenant.Value.ID, name, a)
}

// put writes an answer down. What cannot be written is logged: the request can be sent again when its lease is over, and is then done again.
func (k *kept) put(ctx context.Context, t tenants.ID, name store.AnswerName, a *store.Answer) {
	ctx, cancel := context.WithTimeout(ctx, keepWithin)
	defer cancel()
	_, err := k.store.Update(ctx, func(tx *store.Tx) error { return tx.PutAnswer(ctx, t, name, k.owner, a) })
	if err != nil && ctx.Err() != context.Canceled {
		k.log.Warn("what became of a request could not be written down", "tenant", t, "cause", err)
	}
}
