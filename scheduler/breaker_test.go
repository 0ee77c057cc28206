package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// TestBreaker: five time-outs in a row open it; what comes then is refused, what waits goes on waiting, and one probe after a backoff that
// doubles decides. Another component of the same tenant has nothing of it, and a new version begins afresh.
func TestBreaker(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
		var hanging atomic.Bool
		var calls atomic.Int64
		hanging.Store(true)
		h := does(func(ctx context.Context, _ *scheduler.Delivery) scheduler.Result {
			calls.Add(1)
			if hanging.Load() {
				after(ctx, 10*time.Second)
				return scheduler.Result{Outcome: tenants.TimedOut}
			}
			return scheduler.Result{}
		})
		one := limited(on(channel("c"), h), tenants.Limits{Concurrency: 1})
		other := on(channel("d"), handled)
		other.Component = "other"
		b.apply("a", "app", one, other)
		state := func(want scheduler.BreakerState, timeouts int) {
			b.t.Helper()
			for _, t := range b.Triggers("a") {
				if t.Component == "other" && t.Breaker.State != scheduler.BreakerClosed {
					b.t.Errorf("the other component's breaker is %v", t.Breaker.State)
				}
				if t.Component == "c" && (t.Breaker.State != want || t.Breaker.TimeOuts != timeouts || (t.Breaker.Probe.IsZero() == (want == scheduler.BreakerOpen))) {
					b.t.Errorf("the breaker is %+v, want %v after %d", t.Breaker, want, timeouts)
				}
			}
		}
		b.publish("c", numbered(7)...)
		after(context.Background(), 45*time.Second)
		state(scheduler.BreakerClosed, 4)
		after(context.Background(), 5500*time.Millisecond)
		state(scheduler.BreakerOpen, 5)
		b.publish("c", "refused")
		b.publish("d", "other")
		b.ended("a", map[string]int64{"timed_out": 5, "handled": 1, "dropped": 1, "breaker_open": 1})

		after(context.Background(), time.Second) // the probe is on its way
		state(scheduler.BreakerHalfOpen, 5)
		if calls.Load() != 6 {
			b.t.Errorf("%d calls", calls.Load())
		}
		b.publish("c", "refused")
		after(context.Background(), 10*time.Second)
		state(scheduler.BreakerOpen, 5)
		after(context.Background(), 1900*time.Millisecond) // twice the backoff: two seconds after the probe, which ended half a second earlier
		if calls.Load() != 7 {
			b.t.Errorf("%d calls after the second backoff", calls.Load())
		}
		after(context.Background(), 10*time.Second)
		after(context.Background(), 5*time.Second) // nothing waits any more: the next message is the probe
		state(scheduler.BreakerHalfOpen, 5)
		hanging.Store(false)
		b.publish("c", "probe", "refused")
		state(scheduler.BreakerClosed, 0)
		b.publish("c", numbered(10)...)
		b.ended("a", map[string]int64{"timed_out": 7, "handled": 12, "dropped": 3, "breaker_open": 3})

		hanging.Store(true)
		b.publish("c", numbered(5)...)
		after(context.Background(), 50*time.Second+time.Millisecond)
		state(scheduler.BreakerOpen, 5)
		hanging.Store(false)
		one.Version = "sha256:2"
		b.apply("a", "app", one, other)
		b.publish("c", "fresh")
		state(scheduler.BreakerClosed, 0)
		b.stop()
		b.ended("a", map[string]int64{"timed_out": 12, "handled": 13, "dropped": 3, "breaker_open": 3})
	})
}

// TestBreakerIsForTimeOutsInARow: another end in between begins the count anew, and a policy may ask for more of them, or for no breaker.
func TestBreakerIsForTimeOutsInARow(t *testing.T) {
	for name, row := range map[string]struct {
		after   int
		pattern string // of ends: t is a time-out
		opens   bool
	}{
		"a row of five":       {0, "ttttt", true},
		"four":                {0, "tttt", false},
		"a failure between":   {0, "ttttfttttfttttf", false},
		"two are enough":      {2, "tftft", false},
		"two in a row":        {2, "tftt", true},
		"there is no breaker": {-1, "tttttttttt", false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
				policy := tenants.DefaultPolicy()
				policy.BreakAfter = row.after
				b.SetPolicy("a", policy)
				b.apply("a", "app", limited(on(channel("c"), does(func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
					if string(d.Payload()) == "t" {
						return scheduler.Result{Outcome: tenants.TimedOut}
					}
					return scheduler.Result{Outcome: tenants.Failed}
				})), tenants.Limits{Concurrency: 1}))
				for _, end := range row.pattern {
					b.publish("c", string(end))
				}
				if opened := b.Triggers("a")[0].Breaker.State == scheduler.BreakerOpen; opened != row.opens {
					b.t.Errorf("open: %v, want %v", opened, row.opens)
				}
				b.stop()
			})
		})
	}
}

// TestHangingCallLeavesItsRun: a fast handler's run is long; when one call of it hangs and nobody looks for work, the watchdog hands the rest to
// others within a few milliseconds. With one at a time it waits, in order.
func TestHangingCallLeavesItsRun(t *testing.T) {
	for _, concurrency := range []int{2, 1} {
		inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
			hang := make(chan struct{})
			var seen []string
			h := does(func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
				seen = append(seen, string(d.Payload())) // one at a time here: the other call hangs
				if string(d.Payload()) == "5" {
					<-hang
				}
				return scheduler.Result{}
			})
			b.apply("a", "app", limited(on(channel("c"), h), tenants.Limits{Concurrency: concurrency}))
			b.publish("c", "quick")
			b.publish("c", numbered(60)...)
			b.ended("a", map[string]int64{"handled": 6})
			if l := b.Load("a"); l.InFlight != 55 {
				b.t.Fatalf("no run of 60: %+v", l)
			}
			after(context.Background(), 3*time.Millisecond)
			synctest.Wait()
			want := int64(60)
			if concurrency == 1 {
				want = 6
				if l := b.Load("a"); l.Queued != 54 || l.InFlight != 1 {
					b.t.Errorf("%+v", l)
				}
			}
			b.ended("a", map[string]int64{"handled": want})
			close(hang)
			b.stop()
			b.ended("a", map[string]int64{"handled": 61})
			if concurrency == 1 {
				for i, payload := range seen[1:] {
					if payload != numbered(60)[i] {
						b.t.Fatalf("the order is %v", seen)
					}
				}
			}
		})
	}
}

// TestIdleSlotsAreLent: a tenant has what nobody asks for, but for a quarter; when another's work comes it takes no more until it is back at
// half. A hard cap holds however idle the slots are.
func TestIdleSlotsAreLent(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 8}, func(b *bubble) {
		first, second := newGate(), newGate()
		policy := tenants.DefaultPolicy()
		b.SetPolicy("b", policy)
		b.apply("a", "app", on(channel("a"), first))
		b.apply("b", "app", on(channel("b"), second))
		b.publish("a", numbered(100)...)
		first.holds(b.t, 6)
		b.publish("b", numbered(2)...)
		second.holds(b.t, 2)
		b.publish("b", numbered(20)...)
		for n := range 2 {
			after(context.Background(), time.Second)
			b.release(first, 1)
			first.holds(b.t, 5-n)
			second.holds(b.t, 3+n)
		}
		after(context.Background(), time.Second)
		b.release(first, 1)
		first.holds(b.t, 4)
		policy.Concurrency = 2
		b.SetPolicy("a", policy)
		b.release(first, 3)
		first.holds(b.t, 2)
		close(first.let)
		close(second.let)
		b.stop()
		if first.most != 6 {
			b.t.Errorf("%d at once", first.most)
		}
	})
}
