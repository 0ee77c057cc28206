package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// patience is how long a test on real time waits for what must come.
const patience = 30 * time.Second

// house is a Scheduler under test. Tenant "a" has the default policy, endpoint "e" is its first server.
type house struct {
	*scheduler.Scheduler
	t        testing.TB
	recorder *telemetry.Recorder
	patience time.Duration // of stop
}

func newHouse(t testing.TB, c scheduler.Config) *house {
	t.Helper()
	c.Recorder = telemetry.New(100)
	s, err := scheduler.New(c)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Scheduler: s, t: t, recorder: c.Recorder, patience: patience}
	h.SetPolicy("a", tenants.DefaultPolicy())
	return h
}

// stop shuts down and wants nothing to be left.
func (h *house) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), h.patience)
	defer cancel()
	if left, err := h.Shutdown(ctx); err != nil || !left.Nothing() {
		h.t.Errorf("Shutdown left %+v, %v", left, err)
	}
}

// abandon ends what a failed test has left; after stop it does nothing.
func (h *house) abandon() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h.Shutdown(ctx)
}

func (h *house) apply(tenant tenants.ID, app tenants.AppName, triggers ...scheduler.Trigger) {
	h.t.Helper()
	for i := range triggers {
		triggers[i].Tenant, triggers[i].App = tenant, app
	}
	if err := h.Apply(tenant, app, triggers); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) counts(tenant tenants.ID) telemetry.Counts {
	return h.recorder.Account(tenant).Counts()
}

// ended wants a tenant's outcomes and reasons to be these and no others, and the account to balance.
func (h *house) ended(tenant tenants.ID, want map[string]int64) {
	h.t.Helper()
	c, load := h.counts(tenant), h.Load(tenant)
	got, want := maps.Clone(c.Reasons), maps.Clone(want)
	maps.Copy(got, c.Outcomes)
	for _, counts := range []map[string]int64{got, want} {
		maps.DeleteFunc(counts, func(_ string, n int64) bool { return n == 0 })
	}
	if !maps.Equal(got, want) {
		h.t.Errorf("deliveries of %s ended %v, want %v", tenant, got, want)
	}
	if c.Received != c.Ended()+int64(load.Queued+load.InFlight) {
		h.t.Errorf("%s received %d, but %d ended and %+v", tenant, c.Received, c.Ended(), load)
	}
}

// on makes a trigger of endpoint "e".
func on(target tenants.Target, i scheduler.Invoker) scheduler.Trigger {
	return scheduler.Trigger{
		Trigger: tenants.Trigger{ID: "on-" + target.Name, Version: "sha256:1", Component: "c", Endpoint: "e", Target: target}, Invoker: i,
	}
}

func channel(name string) tenants.Target { return tenants.Target{Name: name} }
func pattern(name string) tenants.Target { return tenants.Target{Kind: tenants.Pattern, Name: name} }

// limited is a trigger with limits.
func limited(t scheduler.Trigger, l tenants.Limits) scheduler.Trigger {
	t.Limits = l
	return t
}

// handler is an Invoker that is a function.
type handler struct {
	invoke func(context.Context, *scheduler.Delivery) scheduler.Result
}

func (h *handler) Open() scheduler.Session { return h }

func (h *handler) Close() {}

func (h *handler) Invoke(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
	return h.invoke(ctx, d)
}

func does(invoke func(context.Context, *scheduler.Delivery) scheduler.Result) *handler {
	return &handler{invoke}
}

var handled = does(func(context.Context, *scheduler.Delivery) scheduler.Result { return scheduler.Result{} })

// gate is an Invoker whose handlers wait for the test.
type gate struct {
	let chan struct{} // one for each that may go on; closed when all may

	mu      sync.Mutex
	running int
	most    int
	seen    []string // payloads, in the order in which their handlers began
}

func newGate() *gate { return &gate{let: make(chan struct{})} }

func (g *gate) Open() scheduler.Session { return g }

func (g *gate) Close() {}

func (g *gate) Invoke(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
	g.mu.Lock()
	g.running++
	g.most = max(g.most, g.running)
	g.seen = append(g.seen, string(d.Payload()))
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.running--
		g.mu.Unlock()
	}()
	select {
	case <-g.let:
		return scheduler.Result{}
	case <-ctx.Done():
		return scheduler.Result{Outcome: tenants.Failed, Err: ctx.Err().Error()}
	}
}

// holds wants so many handlers to run now.
func (g *gate) holds(t testing.TB, n int) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running != n {
		t.Fatalf("%d handlers run, want %d", g.running, n)
	}
}

func (g *gate) began() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

// bubble is a house in synthetic time, on a wire.
type bubble struct {
	*house
	wire wire
}

// inBubble runs a test in synthetic time. No goroutine may outlive it.
func inBubble(t *testing.T, c scheduler.Config, test func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{house: newHouse(t, c)}
		b.patience = aDay
		defer b.abandon()
		b.AddEndpoint(scheduler.Endpoint{ID: "e", Name: "wire", Dial: b.wire.dial})
		test(b)
	})
}

// apply returns when everything is subscribed.
func (b *bubble) apply(tenant tenants.ID, app tenants.AppName, triggers ...scheduler.Trigger) {
	b.t.Helper()
	b.house.apply(tenant, app, triggers...)
	synctest.Wait()
	for _, t := range b.Triggers("") {
		if t.State != scheduler.Active {
			b.t.Fatalf("%v is %v", t.Trigger, t.State)
		}
	}
}

// publish returns when nothing moves any more.
func (b *bubble) publish(channel string, payloads ...string) {
	b.wire.publish(channel, payloads...)
	synctest.Wait()
}

// aDay is longer than anything lasts in synthetic time, and costs nothing.
const aDay = 24 * time.Hour

// release lets so many handlers go on, one after the other.
func (b *bubble) release(g *gate, n int) {
	b.t.Helper()
	for range n {
		select {
		case g.let <- struct{}{}:
		case <-time.After(aDay):
			b.t.Fatal("no handler waits")
		}
		synctest.Wait()
	}
}

// next takes what comes, which must come.
func next[T any](b *bubble, c <-chan T) (v T) {
	b.t.Helper()
	select {
	case v = <-c:
	case <-time.After(aDay):
		b.t.Fatal("nothing comes")
	}
	return v
}

// numbered is a payload for each number below n.
func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// after waits for d, or for the end of ctx.
func after(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// servers are those that a test of the plain paths runs on.
func servers(t *testing.T, test func(t *testing.T, url string, c *redis.Client)) {
	t.Run("redis-server", func(t *testing.T) {
		s := redistest.Start(t)
		test(t, s.URL, s.Client())
	})
	t.Run("embedded", func(t *testing.T) {
		addr := redistest.Embedded(t)
		c := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { c.Close() })
		test(t, "redis://"+addr, c)
	})
}

// connect adds a server.
func (h *house) connect(id tenants.EndpointID, url string) {
	h.t.Helper()
	o, err := endpoint.Parse(url)
	if err != nil {
		h.t.Fatal(err)
	}
	h.AddEndpoint(scheduler.Endpoint{ID: id, Name: o.Name(), Dial: o.Subscriber})
}

// await looks again and again until cond holds.
func (h *house) await(what string, cond func() bool) {
	h.t.Helper()
	late, tick := time.After(patience), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			h.t.Fatalf("no %s within %v; triggers %+v, counts of a %+v", what, patience, h.Triggers(""), h.counts("a"))
		}
	}
}

func (h *house) awaitActive() {
	h.t.Helper()
	h.await("subscription", func() bool {
		return !slices.ContainsFunc(h.Triggers(""), func(t scheduler.TriggerState) bool { return t.State != scheduler.Active })
	})
}

func publish(t testing.TB, c *redis.Client, channel, payload string) {
	t.Helper()
	if err := c.Publish(context.Background(), channel, payload).Err(); err != nil {
		t.Fatal(err)
	}
}
