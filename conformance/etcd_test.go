package conformance

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/tenloom/tenloom/tenants/store/kv"
	"github.com/tenloom/tenloom/tenants/store/kv/etcd"
	"github.com/tenloom/tenloom/tenants/store/kv/kvtest"
	"github.com/tenloom/tenloom/tenants/store/storetest"
)

// server is a real etcd of one member in this process. It can be stopped and started again on the same files and ports.
type server struct {
	dir          string
	client, peer url.URL
	etcd         *embed.Etcd
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), client: freeURL(t), peer: freeURL(t)}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func freeURL(t *testing.T) url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}

func (s *server) start(t *testing.T) {
	t.Helper()
	c := embed.NewConfig()
	c.Dir, c.Name = s.dir, "one"
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{s.client}, []url.URL{s.client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{s.peer}, []url.URL{s.peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 10, 100, true
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	<-e.Server.ReadyNotify()
	s.etcd = e
}

func (s *server) stop() {
	if s.etcd != nil {
		s.etcd.Server.HardStop() // a polite end waits seconds for clients
		s.etcd.Close()
		s.etcd = nil
	}
}

func (s *server) open(t *testing.T, prefix string) kv.Store {
	t.Helper()
	k, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{s.client.String()}, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// compact makes the server forget all revisions but the newest.
func (s *server) compact(t *testing.T) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.client.String()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(t.Context(), got.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func TestEtcd(t *testing.T) {
	s := newServer(t)
	var n atomic.Int64
	prefixes := map[kv.Store]string{} // the suite's tests run one after the other
	open := func(t *testing.T, prefix string) kv.Store {
		k := s.open(t, prefix)
		prefixes[k] = prefix
		return k
	}
	fresh := func(t *testing.T) kv.Store { return open(t, fmt.Sprintf("/test-%d/", n.Add(1))) }
	t.Run("kv", func(t *testing.T) {
		kvtest.Run(t, kvtest.Backend{
			Open: fresh,
			Reopen: func(t *testing.T, k kv.Store) kv.Store {
				if err := k.Close(); err != nil {
					t.Fatal(err)
				}
				s.stop()
				s.start(t)
				return open(t, prefixes[k])
			},
			Compact: func(t *testing.T, k kv.Store) kv.Store { s.compact(t); return k },
		})
	})
	t.Run("store", func(t *testing.T) { storetest.Run(t, fresh) })
}

// A watch goes on over a restart of the server and over a compaction meanwhile: it tells of the outage once at most, and of every key's last value.
func TestEtcdWatchSurvivesOutage(t *testing.T) {
	s := newServer(t)
	k := s.open(t, "")
	put := func(key string) {
		t.Helper()
		if _, err := k.Commit(t.Context(), nil, []kv.Write{{Key: key, Value: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	seen := map[string]bool{}
	outages, step := 0, 0
	for b, err := range k.Watch(t.Context(), "", 0) {
		if err != nil {
			if !errors.Is(err, kv.ErrUnavailable) {
				t.Fatal(err)
			}
			outages++
			continue
		}
		for _, r := range b.Records {
			seen[r.Key] = true
		}
		if step++; step == 1 {
			s.stop()
			s.start(t)
			other := s.open(t, "")
			if _, err := other.Commit(t.Context(), nil, []kv.Write{{Key: "b", Value: []byte("1")}}); err != nil {
				t.Fatal(err)
			}
			s.compact(t)
		}
		if seen["b"] {
			break
		}
	}
	if !seen["a"] || outages > 1 {
		t.Errorf("seen %v, %d outages", seen, outages)
	}
}

func TestEtcdIsNotThere(t *testing.T) {
	u := freeURL(t)
	_, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{u.String()}, Timeout: 300 * time.Millisecond})
	if !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), u.Host) {
		t.Errorf("%v", err)
	}
}
