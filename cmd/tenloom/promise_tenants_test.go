package main

import (
	"context"
	"fmt"
	"log/slog"
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

const manyTenants = 10_000

// noop is an Invoker that does nothing.
type noop struct{}

func (n *noop) Open() scheduler.Session { return n }
func (*noop) Close()                    {}

func (*noop) Invoke(context.Context, *scheduler.Delivery) scheduler.Result { return scheduler.Result{} }

// crowd is a Scheduler on a redis-server with many tenants that have a trigger each.
type crowd struct {
	*scheduler.Scheduler
	setup       time.Duration // from the first tenant to the last acknowledgement
	heap        float64       // bytes for each trigger
	connections int           // subscribers on the server
}

func newCrowd(b *testing.B) *crowd {
	server := redistest.Start(b)
	options, err := endpoint.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := scheduler.New(scheduler.Config{Recorder: telemetry.New(history), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown(background)
	all := make([][]scheduler.Trigger, manyTenants)
	one := &noop{}
	for i := range all {
		id := tenants.ID(fmt.Sprintf("tenant-%d", i))
		all[i] = []scheduler.Trigger{{Trigger: tenants.Trigger{
			Tenant: id, App: "app", ID: "t", Version: "sha256:1", Component: "c", Endpoint: "e",
			Target: tenants.Target{Name: string(id) + ":orders"},
		}, Invoker: one}}
	}
	before := liveHeap()
	c := &crowd{Scheduler: s}
	began := time.Now()
	s.AddEndpoint(scheduler.Endpoint{ID: "e", Name: options.Name(), Dial: options.Subscriber})
	for _, triggers := range all {
		t := triggers[0]
		s.SetPolicy(t.Tenant, tenants.DefaultPolicy())
		if err := s.Apply(t.Tenant, t.App, triggers); err != nil {
			b.Fatal(err)
		}
	}
	applied := time.Since(began)
	for active := 0; active < manyTenants; {
		if time.Since(began) > time.Minute {
			b.Fatalf("%d of %d are active after a minute", active, manyTenants)
		}
		time.Sleep(2 * time.Millisecond)
		active = 0
		for _, t := range s.TargetStates("e") {
			if t.State == scheduler.Active {
				active++
			}
		}
	}
	c.setup = time.Since(began)
	c.heap = float64(liveHeap()-before) / manyTenants
	list, err := server.Client().ClientList(background).Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " sub=0 ") || !strings.Contains(line, " psub=0 ") {
			c.connections++
		}
	}
	runtime.KeepAlive(all)
	b.Logf("applied in %v, all acknowledged after %v, %.0f B each, %d connections", applied, c.setup, c.heap, c.connections)
	return c
}

// liveHeap is what the heap holds after garbage has been collected.
func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held goes with the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// tenantsSetup is how long 10,000 tenants with a trigger each take from nothing to subscribed.
func tenantsSetup(b *testing.B) float64 {
	return median(b, 3, func() float64 { return newCrowd(b).setup.Seconds() })
}

// tenantsHeap is what one of them takes of the heap.
func tenantsHeap(b *testing.B) float64 { return newCrowd(b).heap }

// tenantsConnections is how many subscriber connections carry them.
func tenantsConnections(b *testing.B) float64 { return float64(newCrowd(b).connections) }
