package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// maxPending is how many keys can have changed while the reader of a watch is busy. Beyond it they are dropped and the reader gets a Reset.
const maxPending = 50_000

// errBehind is that a watch has to begin again with a Reset.
var errBehind = errors.New("changes were lost")

// Watch is kv.Store's.
func (s *Store) Watch(ctx context.Context, prefix string, after kv.Revision) iter.Seq2[kv.Batch, error] {
	return func(yield func(kv.Batch, error) bool) {
		at, out, wait := after, false, minWait
		for {
			err := s.follow(ctx, prefix, &at, func(b kv.Batch) bool {
				out, wait = false, minWait
				return yield(b, nil)
			})
			switch {
			case err == nil:
				return // the reader has enough
			case errors.Is(err, errBehind), errors.Is(err, rpctypes.ErrCompacted):
				at = 0
				continue
			case !errors.Is(err, kv.ErrUnavailable):
				yield(kv.Batch{}, err)
				return
			case !out:
				out = true
				if !yield(kv.Batch{}, err) {
					return
				}
			}
			select {
			case <-ctx.Done():
				yield(kv.Batch{}, ctx.Err())
				return
			case <-s.life.Done():
				yield(kv.Batch{}, kv.ErrClosed)
				return
			case <-time.After(wait):
				wait = min(2*wait, maxWait)
			}
		}
	}
}

// Between attempts to watch again while the cluster does not answer.
const (
	minWait = 50 * time.Millisecond
	maxWait = 5 * time.Second
)

// follow watches until the reader has enough (nil) or something ends it, and keeps in at how far the reader has come.
func (s *Store) follow(ctx context.Context, prefix string, at *kv.Revision, yield func(kv.Batch) bool) error {
	_, current, err := s.list(ctx, kv.Range{Prefix: prefix, Limit: 1, KeysOnly: true}, 0)
	if err != nil {
		return err
	}
	if *at <= 0 || *at > current {
		b := kv.Batch{Reset: true}
		b.Revision, err = s.walk(ctx, prefix, func(r kv.Record) error { b.Records = append(b.Records, r); return nil })
		if err != nil {
			return err
		}
		order(b.Records)
		*at = b.Revision
		if !yield(b) {
			return nil
		}
	}
	watch, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	stop := context.AfterFunc(s.life, cancel)
	defer stop()
	p := pending{records: map[string]kv.Record{}, ready: make(chan struct{}, 1), at: *at}
	var pump sync.WaitGroup
	defer pump.Wait() // after cancel, which ends it
	defer cancel()
	answers := s.client.Watch(watch, s.prefix+prefix, clientv3.WithPrefix(), clientv3.WithRev(int64(*at)+1))
	pump.Go(func() { p.fill(s, ctx, answers) })
	for range p.ready {
		b, err := p.take()
		*at = b.Revision
		if len(b.Records) > 0 && !yield(b) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the watch ended", kv.ErrUnavailable)
}

// pending is what came while the reader was busy: the newest change of each key. The client's own buffer has no bound, so it is kept empty.
type pending struct {
	ready chan struct{} // has one element where there is something to take

	mu      sync.Mutex
	records map[string]kv.Record
	at      kv.Revision
	err     error // how the watch ended
}

func (p *pending) fill(s *Store, ctx context.Context, answers clientv3.WatchChan) {
	for a := range answers {
		p.add(s, a)
		p.wake()
	}
	p.mu.Lock()
	switch {
	case p.err != nil:
	case s.life.Err() != nil:
		p.err = kv.ErrClosed
	case ctx.Err() != nil:
		p.err = ctx.Err()
	default:
		p.err = fmt.Errorf("%w: the watch ended", kv.ErrUnavailable)
	}
	p.mu.Unlock()
	p.wake()
}

func (p *pending) wake() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

func (p *pending) add(s *Store, a clientv3.WatchResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	if a.CompactRevision > 0 || len(p.records) > maxPending {
		p.err = errBehind
		clear(p.records)
		return
	}
	if err := a.Err(); err != nil {
		p.err = fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		return
	}
	for _, e := range a.Events {
		r := kv.Record{Key: strings.TrimPrefix(string(e.Kv.GetKey()), s.prefix), Revision: kv.Revision(e.Kv.GetModRevision())}
		if e.Type == clientv3.EventTypePut {
			r = s.record(string(e.Kv.GetKey()), e.Kv.GetValue(), e.Kv.GetModRevision(), false)
		}
		p.records[r.Key] = r
		p.at = max(p.at, r.Revision)
	}
}

// take takes everything; with the end of the watch comes what was before it.
func (p *pending) take() (kv.Batch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := kv.Batch{Revision: p.at, Records: slices.Collect(maps.Values(p.records))}
	clear(p.records)
	order(b.Records)
	return b, p.err
}

func order(records []kv.Record) {
	slices.SortFunc(records, func(a, b kv.Record) int {
		if a.Revision != b.Revision {
			return int(a.Revision - b.Revision)
		}
		return strings.Compare(a.Key, b.Key)
	})
}
