package deploy_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// flood is a stream of numbered messages on one channel, and a ledger of who handled each.
type flood struct {
	channel string
	handled []atomic.Int32 // by number
	late    []atomic.Int64 // from publishing to the invocation, in ns
	sent    atomic.Int64
	stop    context.CancelFunc
	ended   chan error
}

// most is how many messages a flood can have.
const most = 1 << 20

// flood publishes so many messages a second, in steps of 10 ms, until it is ended.
func (h *hosted) flood(channel string, perSecond int) *flood {
	h.t.Helper()
	l := &flood{channel: channel, handled: make([]atomic.Int32, most), late: make([]atomic.Int64, most), ended: make(chan error, 1)}
	h.seen = l.see
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	client := h.redis.Client()
	go func() { // ends with ctx
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for begin := time.Now(); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				l.ended <- nil
				return
			}
			due := min(int64(time.Since(begin).Seconds()*float64(perSecond)), most)
			_, err := client.Pipelined(context.Background(), func(p redis.Pipeliner) error {
				for n := l.sent.Load(); n < due; n++ {
					b := binary.BigEndian.AppendUint64(nil, uint64(n))
					p.Publish(context.Background(), channel, binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano())))
				}
				return nil
			})
			if err != nil {
				l.ended <- err
				return
			}
			l.sent.Store(due)
		}
	}()
	return l
}

func (l *flood) see(d *scheduler.Delivery) {
	if d.Channel() != l.channel || len(d.Payload()) != 16 {
		return
	}
	n := binary.BigEndian.Uint64(d.Payload())
	l.handled[n].Add(1)
	l.late[n].Store(time.Now().UnixNano() - int64(binary.BigEndian.Uint64(d.Payload()[8:])))
}

// end stops the stream and wants each message to have been handled once.
func (h *hosted) end(l *flood) {
	h.t.Helper()
	l.stop()
	if err := <-l.ended; err != nil {
		h.t.Fatal(err)
	}
	sent := l.sent.Load()
	count := func() (once, more int64) {
		for i := range sent {
			switch n := l.handled[i].Load(); {
			case n == 1:
				once++
			case n > 1:
				more++
			}
		}
		return once, more
	}
	h.until("every message was handled", func() bool {
		load := h.scheduler.Load(tenant)
		once, more := count()
		return once+more == sent || load.Queued+load.InFlight == 0 && h.quiet()
	})
	if once, more := count(); once != sent {
		h.t.Errorf("of %d messages %d were handled once, %d more than once, %d never", sent, once, more, sent-once-more)
	}
}

// quiet asks for a message of its own behind all others, so that nothing is on its way any more.
func (h *hosted) quiet() bool {
	h.ask("acme:fence", "fence")
	return true
}

// percentile of latencies of messages from one number to another.
func (l *flood) percentile(p float64, from, to int64) time.Duration {
	var all []int64
	for i := from; i < to; i++ {
		all = append(all, l.late[i].Load())
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return time.Duration(all[int(float64(len(all)-1)*p)])
}

// wide is a policy whose queue is not what a slow machine fills.
func (h *hosted) wide() {
	h.t.Helper()
	p := tenants.DefaultPolicy()
	p.QueueCount, p.QueueBytes = 1<<20, 1<<30
	if err := h.SetPolicy(h.t.Context(), ada, tenant, p, ""); err != nil {
		h.t.Fatal(err)
	}
}

// TestSwitchLosesNothing deploys version after version, canaries among them, while messages come.
func TestSwitchLosesNothing(t *testing.T) {
	h := fresh(t)
	h.wide()
	h.version("mailer", h.source("echo-a", text("", "orders", "fence")))
	h.version("mailer", h.source("echo-b", text("[component.m.tool.tenloom]\npattern = \"bills:*\"\n", "orders", "fence", "bills")))
	h.deploy("mailer", 1)
	h.listens("acme:fence", "acme:orders")
	l := h.flood("acme:orders", 5000)
	var switches []int64 // the first message after each
	var took []time.Duration
	for i := range 8 {
		h.until("messages come", func() bool { return l.sent.Load() > int64(i+1)*2000 })
		began := time.Now()
		if i%3 == 2 {
			r := all(1)
			r.Shares = append(r.Shares, all(2).Shares...)
			r.Shares[0].Percent, r.Shares[1].Percent = 30, 70
			h.deployed(h.CreateDeployment(t.Context(), ada, tenant, "mailer", r))
		} else {
			h.deploy("mailer", 2-i%2)
		}
		took = append(took, time.Since(began))
		switches = append(switches, l.sent.Load())
	}
	h.end(l)
	sent := l.sent.Load()
	t.Logf("%d messages, p99 %v", sent, l.percentile(.99, 0, sent))
	for i, n := range switches {
		t.Logf("switch %d took %v; p99 of the 500 messages around it %v", i, took[i], l.percentile(.99, max(n-250, 0), min(n+250, sent)))
	}
}

// TestPause pauses an app, a trigger and a tenant, over restarts, and removes the app.
func TestPause(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders", "fence")))
	h.deploy("mailer", 1)
	h.listens("acme:fence", "acme:orders")
	if _, err := h.PauseApp(t.Context(), ada, tenant, "mailer", "maintenance"); err != nil {
		t.Fatal(err)
	}
	h.listens()
	for _, s := range h.scheduler.Triggers(tenant) {
		if s.State != scheduler.Paused || s.Reason != "paused: maintenance" {
			t.Errorf("trigger %s is %s: %s", s.ID, s.State, s.Reason)
		}
	}
	h.version("mailer", h.source("echo-b", text("", "orders", "fence")))
	h.deploy("mailer", 2) // of a paused app: nothing to subscribe to
	h.listens()
	h = h.again(func(*hosted) {})
	h.listens()
	if a, err := h.ResumeApp(t.Context(), ada, tenant, "mailer"); err != nil || a.Paused {
		t.Fatalf("%+v, %v", a, err)
	}
	h.listens("acme:fence", "acme:orders")

	id := h.Triggers(tenant, "mailer")[0].ID
	if _, err := h.PauseTrigger(t.Context(), ada, tenant, "mailer", id); err != nil {
		t.Fatal(err)
	}
	h.listens("acme:fence")
	if _, err := h.PauseTrigger(t.Context(), ada, tenant, "mailer", "nobody"); err == nil {
		t.Error("a trigger that is not there was paused")
	}
	if _, err := h.ResumeTrigger(t.Context(), ada, tenant, "mailer", id); err != nil {
		t.Fatal(err)
	}
	h.listens("acme:fence", "acme:orders")

	if _, err := h.SuspendTenant(t.Context(), ada, tenant, "unpaid"); err != nil {
		t.Fatal(err)
	}
	h.listens()
	_, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(1))
	problem(t, err, deploy.TenantSuspended)
	h = h.again(func(*hosted) {})
	h.listens()
	if _, err := h.ResumeTenant(t.Context(), ada, tenant); err != nil {
		t.Fatal(err)
	}
	h.listens("acme:fence", "acme:orders")

	if err := h.DeleteApp(t.Context(), ada, tenant, "mailer"); err != nil {
		t.Fatal(err)
	}
	h.listens()
	if page, err := h.store.Apps(t.Context(), tenant, store.Query{}); err != nil || len(page.Items) != 0 {
		t.Errorf("apps are left: %+v, %v", page.Items, err)
	}
	h.until("its versions are closed", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.closed == h.loads })
}

// TestReplacedVersionStaysUntilItsCallsEnd: a call that has begun ends in the version that it began in, which is closed after it, not before.
func TestReplacedVersionStaysUntilItsCallsEnd(t *testing.T) {
	h := fresh(t)
	v1 := h.version("mailer", h.source("echo-a", text("", "orders")))
	h.deploy("mailer", 1)
	h.listens("acme:orders")
	began, end := make(chan struct{}), make(chan struct{})
	h.seen = func(d *scheduler.Delivery) {
		if string(d.Payload()) == "slow" {
			close(began)
			<-end
		}
	}
	slow := make(chan []telemetry.Invocation, 1)
	go func() { slow <- h.ask("acme:orders", "slow") }() // ends with its answer
	<-began
	v2 := h.version("mailer", h.source("echo-b", text("", "orders")))
	h.deploy("mailer", 2)
	for range 50 {
		if got := h.ask("acme:orders", "fast"); len(got) != 1 || got[0].Version != v2.Digest {
			t.Fatalf("after the switch a message was handled by %+v", got)
		}
	}
	close(end)
	if got := <-slow; len(got) != 1 || got[0].Version != v1.Digest || got[0].Outcome != tenants.Handled {
		t.Errorf("the slow message was handled by %+v", got)
	}
	h.until("the first version is closed", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.closed == 1 })
}
