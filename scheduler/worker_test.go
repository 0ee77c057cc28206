package scheduler_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// TestConcurrencyIsHeld: never more handlers of a trigger at once than it may have, and as many as that while there is work. What is in
// flight is exact in the middle of a run, too.
func TestConcurrencyIsHeld(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 8}, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", limited(on(channel("c"), g), tenants.Limits{Concurrency: 3}))
		b.publish("c", numbered(500)...)
		for n := range 200 {
			g.holds(b.t, 3)
			b.ended("a", map[string]int64{"handled": int64(n)})
			b.release(g, 1)
		}
		close(g.let)
		synctest.Wait()
		if g.most != 3 {
			b.t.Errorf("%d ran at once", g.most)
		}
		b.ended("a", map[string]int64{"handled": 500})
		b.stop()
	})
}

// TestOneAtATimeKeepsOrder: with concurrency 1 handlers begin in the order of publishing, whether they are fast, slow, or both.
func TestOneAtATimeKeepsOrder(t *testing.T) {
	for name, slow := range map[string]func(i int) time.Duration{
		"fast":        func(int) time.Duration { return 0 },
		"slow":        func(int) time.Duration { return time.Second },
		"now and now": func(i int) time.Duration { return time.Duration(i%70/69) * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
				var seen []string
				h := does(func(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
					seen = append(seen, string(d.Payload())) // the race detector sees if two run at once
					if wait := slow(len(seen)); wait > 0 {
						after(ctx, wait)
					}
					return scheduler.Result{}
				})
				b.apply("a", "app", limited(on(channel("c"), h), tenants.Limits{Concurrency: 1}))
				want := numbered(400)
				for part := range slices.Chunk(want, 90) {
					b.publish("c", part...)
				}
				b.stop()
				if !slices.Equal(seen, want) {
					b.t.Errorf("handled in the order %v", seen)
				}
				b.ended("a", map[string]int64{"handled": 400})
			})
		})
	}
}

// TestSlowHandlerSharesItsRun: a handler that was fast gets runs of 64. When it turns slow, the rest of the run does not wait for it in a
// row: it goes back to where all slots find it.
func TestSlowHandlerSharesItsRun(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 16}, func(b *bubble) {
		slow := false
		h := does(func(ctx context.Context, _ *scheduler.Delivery) scheduler.Result {
			if slow {
				after(ctx, time.Minute)
			}
			return scheduler.Result{}
		})
		b.apply("a", "app", on(channel("c"), h))
		b.publish("c", numbered(10)...)
		slow = true
		began := time.Now()
		b.publish("c", numbered(65)...)
		b.stop()
		if took := time.Since(began); took != 5*time.Minute { // one alone, then four times sixteen
			b.t.Errorf("65 minutes of work took 16 slots %v", took)
		}
		b.ended("a", map[string]int64{"handled": 75})
	})
}

// TestTenantsShareSlots: a tenant alone has them all; beside another one it has half of them, and no more than its policy says.
func TestTenantsShareSlots(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 8}, func(b *bubble) {
		first, second := newGate(), newGate()
		b.apply("a", "app", on(channel("a"), first))
		b.publish("a", numbered(20)...)
		first.holds(b.t, 8)

		policy := tenants.DefaultPolicy()
		b.SetPolicy("b", policy)
		b.apply("b", "app", on(channel("b"), second))
		b.publish("b", numbered(20)...)
		after(context.Background(), time.Second) // so slow that a run is one delivery
		for n := range 4 {                       // what has begun is not taken back, but what ends is not replaced
			first.holds(b.t, 8-n)
			second.holds(b.t, n)
			b.release(first, 1)
		}
		first.holds(b.t, 4)
		second.holds(b.t, 4)
		b.release(first, 3)
		first.holds(b.t, 4)

		policy.Concurrency = 2
		b.SetPolicy("b", policy)
		after(context.Background(), time.Second)
		b.release(second, 3)
		second.holds(b.t, 2)
		policy.Concurrency = 3
		b.SetPolicy("b", policy) // wakes a slot, without a message or an end that would
		synctest.Wait()
		second.holds(b.t, 3)
		close(first.let)
		close(second.let)
		b.stop()
		b.ended("a", map[string]int64{"handled": 20})
		b.ended("b", map[string]int64{"handled": 20})
	})
}

// TestEachMessageWakes: single messages, each after everything has gone to sleep; the pool's goroutines have ended in between now and then.
func TestEachMessageWakes(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
		b.apply("a", "app", on(channel("c"), handled))
		for i := range 1000 {
			b.publish("c", "x")
			b.ended("a", map[string]int64{"handled": int64(i + 1)})
			if i%50 == 0 {
				after(context.Background(), time.Duration(i)*time.Millisecond)
			}
		}
		b.stop()
	})
}

// TestWakeHammer has several servers' readers bring single messages for two triggers at the moment in which workers go to sleep: each waits
// for its own message to be handled before the next. Often a worker that is on its way finds that another has taken what it was woken for.
// A delivery for which nobody is woken stays for ever.
func TestWakeHammer(t *testing.T) {
	for _, slots := range []int{1, 3} {
		t.Run(fmt.Sprint("slots=", slots), func(t *testing.T) {
			const readers, each = 4, 3000
			h := newHouse(t, scheduler.Config{Slots: slots})
			var wires [readers]wire
			var done [readers]chan struct{}
			for i := range readers {
				id := tenants.EndpointID(fmt.Sprint(i))
				h.AddEndpoint(scheduler.Endpoint{ID: id, Name: "wire", Dial: wires[i].dial})
				done[i] = make(chan struct{}, 2)
				one := limited(on(channel("c"), does(func(context.Context, *scheduler.Delivery) scheduler.Result {
					done[i] <- struct{}{}
					return scheduler.Result{}
				})), tenants.Limits{Concurrency: 1})
				one.Endpoint = id
				h.apply("a", tenants.AppName(id), one, one)
			}
			h.awaitActive()
			var wg sync.WaitGroup
			for i := range readers {
				wg.Go(func() {
					late := time.After(patience)
					for range each {
						wires[i].publish("c", "x")
						for range 2 {
							select {
							case <-done[i]:
							case <-late:
								t.Error("a delivery was not handled")
								return
							}
						}
					}
				})
			}
			wg.Wait()
			h.stop()
			h.ended("a", map[string]int64{"handled": 2 * readers * each})
		})
	}
}

// TestDelivery: what a handler is given and may ask about its message.
func TestDelivery(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 1}, func(b *bubble) {
		var lines []string
		ids := map[string]bool{}
		h := does(func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
			text := fmt.Sprintf("%s %s|%s|%s|%s", d.Trigger.Component, d.Channel(), d.Pattern(), d.Payload(), d.Received.UTC().Format(time.DateTime))
			for _, name := range []string{"tenloom_channel", "tenloom_pattern", "tenloom_attempt", "tenloom_traceparent", "tenloom_other"} {
				value, ok := d.Attribute(name)
				text += fmt.Sprintf("|%s %v", value, ok)
			}
			id, ok := d.Attribute("tenloom_message_id")
			if ids[id] = true; !ok || id != d.ID.String() || !strings.HasPrefix(id, "msg_") {
				t.Errorf("message id %q %v", id, ok)
			}
			if ids[d.Invocation.String()] {
				t.Errorf("invocation %v twice", d.Invocation)
			}
			ids[d.Invocation.String()] = true
			lines = append(lines, text)
			return scheduler.Result{Output: []byte("out"), Truncated: 1, Memory: 2, Fuel: 5, Outcome: tenants.Failed, Err: "no"}
		})
		limits := tenants.Limits{Concurrency: 1}
		b.apply("a", "app", limited(on(channel("orders:new"), h), limits), limited(on(pattern("orders:*"), h), limits))
		after(context.Background(), time.Minute)
		b.publish("orders:new", "one")
		slices.Sort(lines)
		want := []string{
			"c orders:new|orders:*|one|2000-01-01 00:01:00|orders:new true|orders:* true|1 true| true| false",
			"c orders:new||one|2000-01-01 00:01:00|orders:new true| true|1 true| true| false",
		}
		if !slices.Equal(lines, want) {
			t.Errorf("got  %q\nwant %q", lines, want)
		}
		if len(ids) != 4 { // two frames, two invocations
			t.Errorf("ids %v", ids)
		}
		for _, in := range b.recorder.History.Last("a", 10) {
			if in.Channel != "orders:new" || in.Output != "out" || in.Error != "no" || in.Memory != 2 || in.Fuel != 5 || in.Truncated != 1 || in.Bytes != 3 {
				t.Errorf("history has %+v", in)
			}
		}
		b.stop()
	})
}

// TestPanicEndsTheProcess: an Invoker that panics is a fault of ours. A slot and a delivery that silently never come back would be worse.
func TestPanicEndsTheProcess(t *testing.T) {
	const variable = "TENLOOM_TEST_PANIC"
	if os.Getenv(variable) != "" {
		h := newHouse(t, scheduler.Config{})
		var w wire
		h.AddEndpoint(scheduler.Endpoint{ID: "e", Name: "wire", Dial: w.dial})
		h.apply("a", "app", on(channel("c"), does(func(context.Context, *scheduler.Delivery) scheduler.Result { panic("boom") })))
		h.awaitActive()
		w.publish("c", "x")
		h.stop()
		os.Exit(0)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPanicEndsTheProcess$")
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic: boom") || !strings.Contains(string(out), "worker_test.go") {
		t.Errorf("ended with %v:\n%s", err, out)
	}
}
