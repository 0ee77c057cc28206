package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	redisendpoint "github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// shardTraffic publishes numbers on sharded channels, each from one side, until end.
type shardTraffic struct {
	t     testing.TB
	c     redis.UniversalClient
	names []string
	stop  chan struct{}
	halt  func() // ends all
	group sync.WaitGroup

	mu     sync.Mutex
	all    []shardSent // those that the server took
	failed error       // the first
}

type shardSent struct {
	name, payload string
	began, ended  time.Time
}

func sharding(t testing.TB, url string, names []string) *shardTraffic {
	s := &shardTraffic{t: t, c: spublisher(t, url), names: names, stop: make(chan struct{})}
	s.halt = sync.OnceFunc(func() { close(s.stop); s.group.Wait() })
	t.Cleanup(s.halt)
	for _, name := range names {
		s.group.Go(func() { // ends with stop
			pace := time.NewTicker(200 * time.Microsecond)
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-s.stop:
					return
				default:
				}
				s.publish(name, fmt.Sprint(i))
				<-pace.C
			}
		})
	}
	return s
}

// publish notes what the server took.
func (s *shardTraffic) publish(name, payload string) {
	one := shardSent{name: name, payload: payload, began: time.Now()}
	err := s.c.SPublish(context.Background(), name, payload).Err()
	one.ended = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.all = append(s.all, one)
	case s.failed == nil:
		s.failed = err
	}
}

// end ends it, and returns when a last message has come on each channel.
func (s *shardTraffic) end(w *watched) {
	s.t.Helper()
	s.halt()
	for _, name := range s.names {
		var last string
		attempt := 0
		w.await("publisher that knows who serves "+name, func() bool {
			w.poke()
			attempt++
			last = fmt.Sprint("last", attempt)
			return s.c.SPublish(context.Background(), name, last).Err() == nil
		})
		w.await("last message on "+name, func() bool { return w.saw('s', name, last) == 1 })
	}
}

// missing counts what did not come: it lies in an announced gap and on none of the channels that stayed. Nothing has come twice.
func (s *shardTraffic) missing(w *watched, staying []string) (lost int) {
	s.t.Helper()
	gaps := w.interruptions()
	for _, m := range s.all {
		switch n := w.saw('s', m.name, m.payload); {
		case n > 1:
			s.t.Errorf("%s %s came %d times", m.name, m.payload, n)
		case n == 1:
		case slices.Contains(staying, m.name):
			s.t.Errorf("%s %s did not come, though its slot stayed", m.name, m.payload)
		case !slices.ContainsFunc(gaps, func(g Gap) bool { return m.ended.After(g.Since) && m.began.Before(g.Until) }):
			s.t.Errorf("%s %s did not come, sent between %v and %v, and no gap says so: %v", m.name, m.payload, m.began, m.ended, gaps)
		default:
			lost++
		}
	}
	return lost
}

// TestShardFailover: when a master dies, or gives its place to its replica, the sharded channels that it served come back on the replica. What is
// lost lies in the one gap that is announced for them, and the others notice nothing.
func TestShardFailover(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*redistest.Cluster, *redistest.Server){
		"killed":  func(_ *redistest.Cluster, master *redistest.Server) { master.Kill() },
		"planned": func(k *redistest.Cluster, master *redistest.Server) { k.Failover(master) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := redistest.StartClusterWithReplicas(t, redistest.SentinelConfig{Password: "pw"})
			w := watchEndpoint(t, onCluster(t, k.URL), 0)
			master := k.Owner(redisendpoint.Slot("c0"))
			replica := k.Twin(master)
			var names, moving, staying []string
			for i := range 12 {
				name := fmt.Sprint("c", i)
				names = append(names, name)
				w.Add(sharded(name))
				if k.Owner(redisendpoint.Slot(name)) == master {
					moving = append(moving, name)
				} else {
					staying = append(staying, name)
				}
			}
			w.awaitAll(Active)
			before := map[string]TargetState{}
			for _, name := range names {
				before[name], _ = w.State(sharded(name))
			}
			traffic := sharding(t, k.URL, names)
			w.await("messages", func() bool { return w.saw('s', names[0], "10") > 0 })

			fail(k, master)
			k.Served(redisendpoint.Slot("c0"), replica)
			w.await("the channels on the replica", func() bool { w.poke(); return listening(t, replica) == 1 })
			w.await("the gap's end", func() bool { w.poke(); return len(w.interruptions()) > 0 })
			w.awaitAll(Active)
			traffic.end(w)

			lost := traffic.missing(w, staying)
			for _, name := range staying {
				if now, _ := w.State(sharded(name)); now != before[name] {
					t.Errorf("%+v, then %+v", before[name], now)
				}
			}
			gaps := w.interruptions()
			if len(gaps) != 1 || gaps[0].Targets != len(moving) {
				t.Errorf("%d channels moved, in gaps %+v", len(moving), gaps)
			}
			t.Logf("%d messages, %d in a gap of %v: %s; publishers were told: %v", len(traffic.all), lost, gaps[0].Until.Sub(gaps[0].Since), gaps[0].Cause, traffic.failed)
		})
	}
}
