package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// TestDrain: Shutdown takes no more messages and returns when the last that was admitted is handled.
func TestDrain(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", on(channel("c"), g))
		b.publish("c", numbered(100)...)
		stopped := make(chan struct{})
		go func() {
			b.stop()
			close(stopped)
		}()
		synctest.Wait()
		b.publish("c", "late")
		for range 99 {
			b.release(g, 1)
		}
		select {
		case <-stopped:
			b.t.Error("did not wait for the last handler")
		default:
		}
		b.release(g, 1)
		next(b, stopped)
		b.ended("a", map[string]int64{"handled": 100})
		if slices.Contains(g.began(), "late") {
			b.t.Error("a message was taken after the end of intake")
		}
		b.AddEndpoint(scheduler.Endpoint{ID: "more"}) // does nothing
		if b.TargetStates("more") != nil {
			b.t.Error("an endpoint was added after the end")
		}
	})
}

// TestDrainDeadline: what has not begun by the deadline is dropped, runs that are on their way included; what runs is cancelled.
func TestDrainDeadline(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
		quick, slow := newGate(), newGate()
		b.apply("a", "app", limited(on(channel("quick"), quick), tenants.Limits{Concurrency: 1}), limited(on(channel("slow"), slow), tenants.Limits{Concurrency: 2}))
		b.publish("quick", "0")
		b.release(quick, 1)
		b.publish("quick", numbered(100)...) // a run of 64, and 36 wait
		b.release(quick, 3)
		b.publish("slow", numbered(10)...) // two run
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		left, err := b.Shutdown(ctx)
		var names []string
		for _, u := range left.Triggers {
			names = append(names, fmt.Sprintf("%v: %d dropped, %d cancelled", u.Trigger, u.Dropped, u.Cancelled))
		}
		want := []string{"a/app quick -> c: 96 dropped, 1 cancelled", "a/app slow -> c: 8 dropped, 2 cancelled"}
		if left.Dropped != 104 || left.Cancelled != 3 || !slices.Equal(names, want) || err != nil || time.Since(began) != time.Minute {
			b.t.Errorf("after %v: %+v, %v; want %v", time.Since(began), left, err, want)
		}
		b.ended("a", map[string]int64{"handled": 4, "failed": 3, "dropped": 104, "stopping": 104})
		if again, err := b.Shutdown(context.Background()); again.Dropped != left.Dropped || again.Cancelled != left.Cancelled || err != nil {
			b.t.Errorf("a second call answers %+v, %v", again, err)
		}
		if l := b.Load("a"); l != (scheduler.Load{}) {
			b.t.Errorf("%+v", l)
		}
	})
}

// TestShutdownTwiceAtOnce: all callers wait for the same end, and a deadline of one of them holds.
func TestShutdownTwiceAtOnce(t *testing.T) {
	for name, deadline := range map[string]time.Duration{"patient": 0, "one is not": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
				g := newGate()
				b.apply("a", "app", on(channel("c"), g))
				b.publish("c", numbered(20)...)
				var all [3]scheduler.Stopped
				var wg sync.WaitGroup
				for i := range all {
					ctx := context.Background()
					if i == 1 && deadline > 0 {
						var cancel func()
						ctx, cancel = context.WithTimeout(ctx, deadline)
						defer cancel()
					}
					wg.Go(func() { all[i], _ = b.Shutdown(ctx) })
				}
				dropped, cancelled := 16, 4
				if deadline == 0 {
					dropped, cancelled = 0, 0
					close(g.let)
				}
				wg.Wait()
				for _, left := range all {
					if left.Dropped != dropped || left.Cancelled != cancelled {
						b.t.Errorf("%+v, want %d and %d", left, dropped, cancelled)
					}
				}
			})
		})
	}
}

// TestStopWithoutWork: nothing is left of a Scheduler that was not used, could not connect, or was stopped at once.
func TestStopWithoutWork(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) { b.stop() })
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		b.apply("a", "app", on(channel("c"), handled))
		b.stop()
		b.apply("a", "app") // changes nothing any more, and breaks nothing
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, scheduler.Config{})
		h.AddEndpoint(scheduler.Endpoint{ID: "e", Dial: new(wire).dial})
		h.stop()
		h.AddEndpoint(scheduler.Endpoint{ID: "f"})
		if err := h.Apply("a", "app", []scheduler.Trigger{{Trigger: tenants.Trigger{Endpoint: "f"}}}); err == nil {
			t.Error("an endpoint was added after the end")
		}
	})
}
