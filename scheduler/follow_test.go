package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// waiting waits for an answer as long as the test lasts.
type waiting struct {
	*scheduler.Follow
	done chan struct{}
	all  []telemetry.Invocation
}

func (b *bubble) follow(channel, payload string) *waiting {
	w := &waiting{Follow: b.Follow("e", channel, []byte(payload)), done: make(chan struct{})}
	go func() { // ends with the answer
		w.all = w.Wait(b.t.Context())
		close(w.done)
	}()
	return w
}

// answered wants the answer to be there, or not to be there yet, and returns what it says.
func (w *waiting) answered(t testing.TB, want bool) (outcomes []string) {
	t.Helper()
	synctest.Wait()
	select {
	case <-w.done:
	default:
		if want {
			t.Fatal("there is no answer")
		}
		return nil
	}
	if !want {
		t.Fatalf("there is an answer: %+v", w.all)
	}
	for _, in := range w.all {
		if in.Message != w.ID.String() || in.Channel != "orders:new" {
			t.Errorf("the answer has %s on %s, asked for %s", in.Message, in.Channel, w.ID)
		}
		outcomes = append(outcomes, fmt.Sprintf("%s %v %v", in.Target, in.Outcome, in.Reason))
	}
	slices.Sort(outcomes)
	return outcomes
}

// TestFollow on real servers: the answer has every delivery, with what each printed, and nothing of messages that are nearly the same.
func TestFollow(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		h := newHouse(t, scheduler.Config{})
		h.connect("e", url)
		h.SetPolicy("b", tenants.DefaultPolicy())
		echo := does(func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
			return scheduler.Result{Output: []byte(fmt.Sprint(d.KeepOutput, " ", string(d.Payload())))}
		})
		fails := does(func(context.Context, *scheduler.Delivery) scheduler.Result {
			return scheduler.Result{Outcome: tenants.Failed, Err: "no"}
		})
		h.apply("a", "app", on(channel("orders:new"), echo), on(pattern("orders:*"), fails), on(channel("orders:old"), echo))
		h.apply("b", "app", on(pattern("orders:*"), echo))
		h.awaitActive()
		for i := range 50 {
			payload := fmt.Sprint("n", i)
			f := h.Follow("e", "orders:new", []byte(payload))
			if f.Matched != 3 {
				t.Fatalf("%d match, want 3", f.Matched)
			}
			publish(t, c, "orders:old", payload)
			publish(t, c, "orders:new", payload+"x")
			publish(t, c, "orders:new", payload[:1])
			publish(t, c, "orders:new", payload)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			all := f.Wait(ctx)
			cancel()
			var got []string
			for _, in := range all {
				if in.Message != f.ID.String() {
					t.Errorf("%+v is of another message", in)
				}
				got = append(got, fmt.Sprintf("%s %s %v %s%s", in.Tenant, in.Target, in.Outcome, in.Output, in.Error))
			}
			slices.Sort(got)
			want := []string{"a orders:* failed no", "a orders:new handled 4096 " + payload, "b orders:* handled 4096 " + payload}
			if !slices.Equal(got, want) {
				t.Fatalf("got  %q\nwant %q", got, want)
			}
		}
		for _, nobody := range []*scheduler.Follow{h.Follow("nowhere", "orders:new", nil), h.Follow("f", "orders:new", nil)} {
			if all := nobody.Wait(context.Background()); nobody.Matched != 0 || all != nil {
				t.Errorf("matched %d, answers %v", nobody.Matched, all)
			}
		}
		h.stop()
	})
}

// TestFollowRefused: what never reached a handler is in the answer as well.
func TestFollowRefused(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		b.SetPolicy("a", tenants.Policy{QueueCount: 2, QueueBytes: 1 << 20})
		g := newGate()
		one := tenants.Limits{Concurrency: 1, MaxWait: time.Minute, Overflow: tenants.DropOldest}
		b.apply("a", "app", limited(on(channel("orders:new"), g), one))
		b.publish("orders:new", "runs")
		var all []*waiting
		for _, payload := range []string{"gives way", "expires", "is removed"} {
			w := b.follow("orders:new", payload)
			b.publish("orders:new", payload)
			all = append(all, w)
			after(context.Background(), 31*time.Second)
		}
		if got := all[0].answered(b.t, true); !slices.Equal(got, []string{"orders:new dropped oldest"}) {
			b.t.Error(got)
		}
		b.release(g, 1)
		if got := all[1].answered(b.t, true); !slices.Equal(got, []string{"orders:new expired "}) {
			b.t.Error(got)
		}
		all[2].answered(b.t, false)
		close(g.let)
		if got := all[2].answered(b.t, true); !slices.Equal(got, []string{"orders:new handled "}) {
			b.t.Error(got)
		}
		b.stop()
	})
}

// TestFollowWhileTriggersChange: the answer is complete whatever comes and goes between the question and the message.
func TestFollowWhileTriggersChange(t *testing.T) {
	exact, wide := on(channel("orders:new"), handled), on(pattern("orders:*"), handled)
	for _, row := range []struct {
		name     string
		asked    []scheduler.Trigger
		then     []scheduler.Trigger
		outcomes []string // nil: the answer is there before the message
	}{
		{"a target goes", []scheduler.Trigger{exact, wide}, []scheduler.Trigger{wide}, []string{"orders:* handled "}},
		{"one of two triggers of a target goes", []scheduler.Trigger{exact, exact, wide}, []scheduler.Trigger{exact, wide}, []string{"orders:* handled ", "orders:new handled "}},
		{"a second trigger of a target comes", []scheduler.Trigger{exact}, []scheduler.Trigger{exact, exact}, []string{"orders:new handled ", "orders:new handled "}},
		{"a target comes", []scheduler.Trigger{exact}, []scheduler.Trigger{exact, wide}, []string{"orders:new handled "}},
		{"all go", []scheduler.Trigger{exact, wide}, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, scheduler.Config{}, func(b *bubble) {
				b.apply("a", "app", row.asked...)
				w := b.follow("orders:new", "x")
				w.answered(b.t, false)
				b.apply("a", "app", row.then...)
				if row.outcomes != nil {
					w.answered(b.t, false)
					b.publish("orders:new", "x")
				}
				if got := w.answered(b.t, true); !slices.Equal(got, row.outcomes) || w.Matched != len(got) {
					b.t.Errorf("answered %q, matched %d; want %q", got, w.Matched, row.outcomes)
				}
				b.stop()
			})
		})
	}
}

// TestFollowDeadline answers with what is known by then, and the rest ends without it.
func TestFollowDeadline(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", on(channel("orders:new"), g), on(pattern("orders:*"), handled))
		f := b.Follow("e", "orders:new", []byte("x"))
		b.publish("orders:new", "x")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if all := f.Wait(ctx); len(all) != 1 || all[0].Target != "orders:*" || f.Matched != 2 {
			b.t.Errorf("matched %d, answered %+v", f.Matched, all)
		}
		close(g.let)
		never := b.Follow("e", "orders:new", []byte("y")) // its message does not come
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if all := never.Wait(ctx); len(all) != 0 || never.Matched != 2 {
			b.t.Errorf("matched %d, answered %+v", never.Matched, all)
		}
		b.publish("orders:new", "y") // nobody waits any more
		b.stop()
		b.ended("a", map[string]int64{"handled": 4})
	})
}

// TestFollowHammer: many follow equal and different messages at once while triggers come and go; every answer comes, and has what it says.
func TestFollowHammer(t *testing.T) {
	const publishers, each = 4, 300
	var w wire
	h := newHouse(t, scheduler.Config{})
	h.AddEndpoint(scheduler.Endpoint{ID: "e", Name: "wire", Dial: w.dial})
	steady := on(channel("orders:new"), handled)
	h.apply("a", "app", steady)
	h.awaitActive()
	stop, changed := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(changed)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			triggers := []scheduler.Trigger{on(pattern("orders:*"), handled), on(channel("orders:new"), handled), on(pattern("*new"), handled)}
			h.apply("a", "other", triggers[:i%4]...)
		}
	}()
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				payload := fmt.Sprint(p/2, " ", i) // two of them send the same
				f := h.Follow("e", "orders:new", []byte(payload))
				w.publish("orders:new", payload)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if i%5 == 0 {
					cancel() // does not wait
				}
				all := f.Wait(ctx)
				cancel()
				if i%5 > 0 && (len(all) == 0 || len(all) != f.Matched) || len(all) > f.Matched {
					t.Errorf("%d answers for %q, %d matched", len(all), payload, f.Matched)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	<-changed
	h.stop()
	if c := h.counts("a"); c.Received != c.Ended() || c.Received < publishers*each {
		t.Errorf("%+v", c)
	}
}

// TestFollowSharded: SPUBLISH reaches the triggers of sharded channels alone, and PUBLISH the others'.
func TestFollowSharded(t *testing.T) {
	h := newHouse(t, scheduler.Config{})
	defer h.abandon()
	s := redistest.Start(t)
	h.connect("e", s.URL)
	sharded := tenants.Target{Kind: tenants.Sharded, Name: "orders"}
	h.apply("a", "app", on(sharded, handled), on(sharded, handled), on(channel("orders"), handled))
	h.awaitActive()
	c := s.Client()
	for _, row := range []struct {
		to      tenants.Target
		publish func(context.Context, string, any) *redis.IntCmd
		want    int
	}{{sharded, c.SPublish, 2}, {channel("orders"), c.Publish, 1}} {
		f := h.FollowTo("e", row.to, []byte("x"))
		if err := row.publish(t.Context(), "orders", "x").Err(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if got := f.Wait(ctx); len(got) != row.want || f.Matched != row.want {
			t.Errorf("%v: %d of %d deliveries ended, want %d", row.to, len(got), f.Matched, row.want)
		}
		cancel()
	}
	h.stop()
	h.ended("a", map[string]int64{"handled": 3})
}
