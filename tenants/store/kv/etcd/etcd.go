// Package etcd keeps the control store in an etcd cluster (3.5 or newer), for many processes at a time. The cluster must compact its history
// itself (--auto-compaction-retention), as is usual.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// DefaultPrefix stands before every key, so that a cluster can be shared.
const DefaultPrefix = "/tenloom/"

// Options say how to reach a cluster.
type Options struct {
	Endpoints []string      // such as "https://etcd-0:2379"; at least one
	Prefix    string        // before every key; default DefaultPrefix
	User      string        // "" logs in as nobody
	Password  string        //
	TLS       *tls.Config   // for https endpoints; default the system's authorities
	Timeout   time.Duration // of one call, and of the first; default 5 s
}

// Store is a kv.Store in a cluster.
type Store struct {
	client  *clientv3.Client
	prefix  string
	timeout time.Duration

	close  sync.Once
	life   context.Context // ends with Close
	end    context.CancelFunc
	closed error
}

// Open connects and makes sure that the cluster answers: kv.ErrUnavailable where it does not.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, Username: o.User, Password: o.Password, TLS: o.TLS, DialTimeout: o.Timeout,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("open store: etcd at %s: %w", strings.Join(o.Endpoints, ", "), err)
	}
	s := &Store{client: client, prefix: o.Prefix, timeout: o.Timeout}
	s.life, s.end = context.WithCancel(context.Background())
	if _, err := s.List(ctx, kv.Range{Limit: 1, KeysOnly: true}); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: etcd at %s: %w", strings.Join(o.Endpoints, ", "), err), s.Close())
	}
	return s, nil
}

// call bounds one call: it ends with ctx, with the store, and after the time-out.
func (s *Store) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// explain says which of the contract's errors an error of a call is. The caller's own context comes first.
func (s *Store) explain(ctx context.Context, err error) error {
	code := codes.Unknown
	if st, ok := status.FromError(err); ok {
		code = st.Code()
	}
	switch {
	case err == nil:
		return nil
	case s.life.Err() != nil:
		return kv.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: compact and defragment etcd, raise its quota and disarm the alarm: %w", kv.ErrFull, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: raise --max-request-bytes and --max-txn-ops of etcd to their defaults at least: %w", kv.ErrTooLarge, err)
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("etcd refuses the user: %w", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Canceled:
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return err
}

// Get is kv.Store's.
func (s *Store) Get(ctx context.Context, key string) (kv.Record, error) {
	c, cancel := s.call(ctx)
	defer cancel()
	got, err := s.client.Get(c, s.prefix+key)
	if err != nil {
		return kv.Record{}, s.explain(ctx, err)
	}
	if len(got.Kvs) == 0 {
		return kv.Record{}, kv.ErrNotFound
	}
	return s.record(string(got.Kvs[0].Key), got.Kvs[0].Value, got.Kvs[0].ModRevision, false), nil
}

func (s *Store) record(key string, value []byte, rev int64, keysOnly bool) kv.Record {
	if value == nil && !keysOnly {
		value = []byte{} // nil would mean that it was deleted
	}
	return kv.Record{Key: strings.TrimPrefix(key, s.prefix), Value: value, Revision: kv.Revision(rev)}
}

// List is kv.Store's.
func (s *Store) List(ctx context.Context, r kv.Range) ([]kv.Record, error) {
	out, _, err := s.list(ctx, r, 0)
	return out, err
}

// list lists as of a revision, or as of now for 0, and says which one that was.
func (s *Store) list(ctx context.Context, r kv.Range, at kv.Revision) ([]kv.Record, kv.Revision, error) {
	from, to := s.prefix+r.Prefix, kv.End(s.prefix+r.Prefix)
	opts := []clientv3.OpOption{clientv3.WithLimit(int64(r.Count())), clientv3.WithRev(int64(at))}
	if r.Reverse {
		opts = append(opts, clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		if r.After != "" {
			to = min(to, s.prefix+r.After)
		}
	} else if r.After != "" {
		from = max(from, s.prefix+r.After+"\x00")
	}
	if r.KeysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	if from >= to {
		return nil, at, nil
	}
	c, cancel := s.call(ctx)
	defer cancel()
	got, err := s.client.Get(c, from, append(opts, clientv3.WithRange(to))...)
	if err != nil {
		return nil, 0, s.explain(ctx, err)
	}
	out := make([]kv.Record, len(got.Kvs))
	for i, k := range got.Kvs {
		out[i] = s.record(string(k.Key), k.Value, k.ModRevision, r.KeysOnly)
		if r.KeysOnly {
			out[i].Value = nil
		}
	}
	return out, kv.Revision(got.Header.Revision), nil
}

// Commit is kv.Store's.
func (s *Store) Commit(ctx context.Context, conditions []kv.Condition, writes []kv.Write) (kv.Revision, error) {
	if err := kv.Check(conditions, writes); err != nil {
		return 0, err
	}
	compares := make([]clientv3.Cmp, len(conditions))
	looks := make([]clientv3.Op, len(conditions))
	for i, c := range conditions {
		compares[i] = clientv3.Compare(clientv3.ModRevision(s.prefix+c.Key), "=", int64(c.Revision))
		looks[i] = clientv3.OpGet(s.prefix+c.Key, clientv3.WithKeysOnly())
	}
	ops := make([]clientv3.Op, len(writes))
	for i, w := range writes {
		if w.Value == nil {
			ops[i] = clientv3.OpDelete(s.prefix + w.Key)
		} else {
			ops[i] = clientv3.OpPut(s.prefix+w.Key, string(w.Value))
		}
	}
	c, cancel := s.call(ctx)
	defer cancel()
	got, err := s.client.Txn(c).If(compares...).Then(ops...).Else(looks...).Commit()
	if err != nil {
		return 0, s.explain(ctx, err)
	}
	if got.Succeeded {
		return kv.Revision(got.Header.Revision), nil
	}
	for i, look := range got.Responses {
		have := int64(0)
		if kvs := look.GetResponseRange().GetKvs(); len(kvs) > 0 {
			have = kvs[0].GetModRevision()
		}
		if have != int64(conditions[i].Revision) {
			return 0, &kv.Conflict{Key: conditions[i].Key}
		}
	}
	return 0, errors.New("etcd refused a commit and says that its conditions hold")
}

// Snapshot is kv.Store's. It fails where the cluster compacts away what it is reading; begin again then.
func (s *Store) Snapshot(ctx context.Context, f func(kv.Record) error) (kv.Revision, error) {
	return s.walk(ctx, "", f)
}

// walk goes through a prefix in pages, all as of the revision of the first.
func (s *Store) walk(ctx context.Context, prefix string, f func(kv.Record) error) (kv.Revision, error) {
	var at kv.Revision
	for after := ""; ; {
		records, rev, err := s.list(ctx, kv.Range{Prefix: prefix, After: after, Limit: pageRecords}, at)
		if err != nil {
			return at, err
		}
		if at == 0 {
			at = rev
		}
		for _, r := range records {
			if err := f(r); err != nil {
				return at, err
			}
			after = r.Key
		}
		if len(records) < pageRecords {
			return at, nil
		}
	}
}

// pageRecords keeps an answer well below what gRPC takes, unless most of the records are as large as they may be.
const pageRecords = 200

// Close is kv.Store's.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.end()
		if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			s.closed = fmt.Errorf("close store: %w", err)
		}
	})
	return s.closed
}
