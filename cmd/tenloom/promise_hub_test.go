package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// subscribers is a scheduler on a real redis-server, with triggers whose handlers do nothing.
type subscribers struct {
	*scheduler.Scheduler
	b      *testing.B
	server *redistest.Server
	gaps   chan scheduler.Gap
}

func newSubscribers(b *testing.B) *subscribers {
	s := &subscribers{b: b, server: redistest.Start(b), gaps: make(chan scheduler.Gap, 100)}
	options, err := endpoint.Parse(s.server.URL)
	if err != nil {
		b.Fatal(err)
	}
	s.Scheduler, err = scheduler.New(scheduler.Config{Recorder: telemetry.New(1), OnGap: func(g scheduler.Gap) { s.gaps <- g }})
	if err != nil {
		b.Fatal(err)
	}
	c := s.server.Client()
	s.AddEndpoint(scheduler.Endpoint{ID: "e", Name: options.Name(), Dial: options.Subscriber, Publish: func(ctx context.Context, channel string, payload []byte) error {
		return c.Publish(ctx, channel, payload).Err()
	}})
	return s
}

type idle struct{}

func (idle) Open() scheduler.Session { return idle{} }

func (idle) Close() {}

func (idle) Invoke(context.Context, *scheduler.Delivery) scheduler.Result { return scheduler.Result{} }

func (s *subscribers) trigger(tenant tenants.ID, name string) scheduler.Trigger {
	return scheduler.Trigger{Trigger: tenants.Trigger{
		Tenant: tenant, App: "app", ID: "t", Component: "c", Endpoint: "e", Target: tenants.Target{Name: name},
	}, Invoker: idle{}}
}

// acknowledged waits until the server counts n channels, and everything is active.
func (s *subscribers) acknowledged(n int) {
	for tick := time.Tick(2 * time.Millisecond); ; <-tick {
		active := 0
		for _, t := range s.TargetStates("e") {
			if t.State == scheduler.Active {
				active++
			}
		}
		if active == n {
			return
		}
	}
}

func (s *subscribers) stop() {
	if _, err := s.Shutdown(background); err != nil {
		s.b.Fatal(err)
	}
	s.server.Kill()
}

// hubKill is how long 100,000 channels are interrupted when every connection that is subscribed is killed, in seconds.
func hubKill(b *testing.B) float64 {
	const channels = 100_000
	s := newSubscribers(b)
	defer s.stop()
	s.SetPolicy("t", tenants.DefaultPolicy())
	all := make([]scheduler.Trigger, channels)
	for i := range all {
		all[i] = s.trigger("t", fmt.Sprintf("tenant:channel:%d", i))
		all[i].ID = fmt.Sprint(i)
	}
	if err := s.Apply("t", "app", all); err != nil {
		b.Fatal(err)
	}
	s.acknowledged(channels)
	c := s.server.Client()
	killed := func() int64 {
		n, err := c.ClientKillByFilter(background, "TYPE", "pubsub").Result()
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	for tick := time.Tick(100 * time.Millisecond); ; <-tick { // until there are as many connections as there will be
		list, err := c.Do(background, "CLIENT", "LIST", "TYPE", "pubsub").Text()
		if err != nil {
			b.Fatal(err)
		}
		if strings.Count(list, "\n") == 4 {
			break
		}
	}
	return median(b, 3, func() float64 {
		began := time.Now()
		connections := killed()
		var last time.Time
		for interrupted := 0; interrupted < channels; {
			g := <-s.gaps
			interrupted += g.Targets
			if g.Until.After(last) {
				last = g.Until
			}
		}
		took := last.Sub(began).Seconds()
		b.Logf("%d connections killed, whole again after %.3f s", connections, took)
		return took
	})
}

// hubSetup is how long it takes until 10,000 tenants with one trigger each are subscribed, in seconds.
func hubSetup(b *testing.B) float64 {
	return median(b, 3, func() float64 {
		took, _ := hubTenants(b)
		return took
	})
}

// hubBytes is what a trigger takes of the heap with one tenant each, in bytes.
func hubBytes(b *testing.B) float64 {
	_, bytes := hubTenants(b)
	return bytes
}

// hubTenants sets 10,000 tenants up.
func hubTenants(b *testing.B) (seconds, bytes float64) {
	const n = 10_000
	s := newSubscribers(b)
	defer s.stop()
	triggers := make([]scheduler.Trigger, n)
	for i := range triggers {
		tenant := tenants.ID(fmt.Sprintf("tenant-%d", i))
		triggers[i] = s.trigger(tenant, fmt.Sprintf("%s:orders:new", tenant))
	}
	before := heap()
	began := time.Now()
	for _, t := range triggers {
		s.SetPolicy(t.Tenant, tenants.DefaultPolicy())
		if err := s.Apply(t.Tenant, t.App, []scheduler.Trigger{t}); err != nil {
			b.Fatal(err)
		}
	}
	s.acknowledged(n)
	seconds = time.Since(began).Seconds()
	bytes = float64(heap()-before) / n
	b.Logf("%d tenants in %.3f s, %.0f bytes each", n, seconds, bytes)
	runtime.KeepAlive(triggers)
	return seconds, bytes
}
