package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// moody is an Invoker that is quick, slow, fails or runs out of time, and counts how it ended.
type moody struct {
	outcomes [tenants.Outcomes]atomic.Int64
}

func (m *moody) Open() scheduler.Session { return m }

func (m *moody) Close() {}

func (m *moody) Invoke(ctx context.Context, d *scheduler.Delivery) (r scheduler.Result) {
	if len(d.Payload()) == 0 || d.Channel() == "" {
		r.Err = "a delivery without its message"
	}
	switch n := rand.IntN(100); {
	case n < 3:
		after(ctx, time.Duration(n)*time.Millisecond)
	case n < 6:
		r.Outcome = tenants.TimedOut
	case n < 20:
		r.Outcome = tenants.Failed
	}
	r.Output = d.Payload()
	m.outcomes[r.Outcome].Add(1)
	return r
}

// TestHammer publishes from four sides while applications with all kinds of limits come and go, policies change, and answers are asked for.
// At the end each tenant's account balances to the message: what was received is what ended, what ran is what the handlers say, and the
// triggers that stayed were given everything exactly once.
func TestHammer(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		const publishers, each = 4, 1500
		h := newHouse(t, scheduler.Config{Slots: 6, Spill: t.TempDir()})
		h.connect("e", url)
		ids := []tenants.ID{"a", "b", "c"}
		moods := map[tenants.ID]*moody{}
		for _, id := range ids {
			moods[id] = &moody{}
			h.SetPolicy(id, tenants.Policy{QueueCount: 200, QueueBytes: 1 << 20})
		}
		h.SetPolicy("steady", tenants.Policy{Weight: 4, QueueCount: 1 << 20, QueueBytes: 1 << 30})
		stays := newBook()
		h.apply("steady", "app", on(channel("work:1"), stays.of("exact")), on(pattern("work:*"), stays.of("pattern")))
		h.awaitActive()

		stop := make(chan struct{})
		var changes sync.WaitGroup
		for i, id := range ids {
			changes.Go(func() { // ends with stop
				h.change(id, moods[id], rand.New(rand.NewPCG(uint64(i), 7)), stop)
			})
		}
		changes.Go(func() { // ends with stop
			h.watch(append(ids, "steady"), stop)
		})
		var published sync.WaitGroup
		for p := range publishers {
			published.Go(func() {
				for i := range each {
					payload := fmt.Sprint(p, "-", i)
					if i%100 > 0 {
						publish(t, c, fmt.Sprint("work:", i%3), payload)
						continue
					}
					f := h.Follow("e", "work:1", []byte(payload))
					publish(t, c, "work:1", payload)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					all := f.Wait(ctx)
					cancel()
					if len(all) != f.Matched || len(all) < 2 {
						t.Errorf("%d answers, %d matched", len(all), f.Matched)
						return
					}
				}
			})
		}
		published.Wait()
		close(stop)
		changes.Wait()
		want := map[string]int{}
		for p := range publishers {
			for i := range each {
				payload := fmt.Sprint(p, "-", i)
				want["pattern "+payload] = 1
				if i%3 == 1 || i%100 == 0 {
					want["exact "+payload] = 1
				}
			}
		}
		h.await("steady triggers' deliveries", func() bool { return h.counts("steady").Ended() >= int64(len(want)) })
		h.stop()
		got := stays.notes()
		for note := range want {
			if got[note] != 1 {
				t.Errorf("%q was delivered %d times", note, got[note])
			}
		}
		h.ended("steady", map[string]int64{"handled": int64(len(want))})
		for _, id := range ids {
			h.balances(id, moods[id])
		}
	})
}

// change applies and removes triggers of a tenant, and changes its policy, until stop.
func (h *house) change(id tenants.ID, m *moody, r *rand.Rand, stop <-chan struct{}) {
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		var triggers []scheduler.Trigger
		for range r.IntN(4) {
			target := channel(fmt.Sprint("work:", r.IntN(4)))
			if r.IntN(4) == 0 {
				target = pattern("work:*")
			}
			triggers = append(triggers, limited(on(target, m), tenants.Limits{
				Concurrency: r.IntN(3), Overflow: tenants.Overflow(r.IntN(4)), MaxWait: time.Duration(r.IntN(3)) * 5 * time.Millisecond,
			}))
		}
		h.apply(id, tenants.AppName(fmt.Sprint("app", r.IntN(2))), triggers...)
		if r.IntN(4) == 0 {
			h.SetPolicy(id, tenants.Policy{
				Weight: r.IntN(3), Concurrency: r.IntN(4), QueueCount: 1 + r.IntN(200), QueueBytes: 1 << (10 + r.IntN(10)), Rate: float64(r.IntN(2) * 2000),
			})
		}
	}
}

// watch reads everything that can be read until stop, and holds what can be said under traffic: nothing ends that was not received.
func (h *house) watch(ids []tenants.ID, stop <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for _, id := range ids {
			load := h.Load(id)
			c := h.counts(id) // it reads outcomes before what was received
			if load.Queued < 0 || load.InFlight < 0 || load.Bytes < 0 || c.Ended() > c.Received {
				h.t.Errorf("%s: %+v %+v", id, load, c)
			}
			h.recorder.History.Last(id, 10)
		}
		h.Triggers("")
		h.TargetStates("e")
	}
}

// balances holds a tenant's account against what its handlers say.
func (h *house) balances(id tenants.ID, m *moody) {
	h.t.Helper()
	c := h.counts(id)
	if c.Received == 0 || c.Received != c.Ended() || h.Load(id) != (scheduler.Load{}) {
		h.t.Errorf("%s: received %d, ended %d, %+v", id, c.Received, c.Ended(), h.Load(id))
	}
	for _, o := range []tenants.Outcome{tenants.Handled, tenants.Failed, tenants.TimedOut} {
		if n := m.outcomes[o].Load(); n != c.Outcomes[o.String()] {
			h.t.Errorf("%s: %d ended %v, the account has %d", id, n, o, c.Outcomes[o.String()])
		}
	}
	var reasons int64
	for _, n := range c.Reasons {
		reasons += n
	}
	if reasons != c.Outcomes["dropped"] || c.Reasons["stopping"] != 0 {
		h.t.Errorf("%s: %d dropped for %v", id, c.Outcomes["dropped"], c.Reasons)
	}
	h.t.Logf("%s: %v %v", id, c.Outcomes, c.Reasons)
}
