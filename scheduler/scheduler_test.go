package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// book notes who was given what, how often.
type book struct {
	mu    sync.Mutex
	times map[string]int
}

func newBook() *book { return &book{times: map[string]int{}} }

// of is an Invoker that notes its deliveries under a name.
func (b *book) of(name string) *handler {
	return does(func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.times[name+" "+string(d.Payload())]++
		return scheduler.Result{}
	})
}

func (b *book) notes() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.times)
}

// TestDeliver: each message goes once to each trigger of its channel and to each whose pattern matches, of every application and tenant, and
// to no other.
func TestDeliver(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		const messages = 300
		h, book := newHouse(t, scheduler.Config{}), newBook()
		h.SetPolicy("b", tenants.DefaultPolicy())
		h.connect("e", url)
		h.apply("a", "app", on(channel("orders:new"), book.of("first")), on(channel("orders:new"), book.of("second")), on(channel("orders:old"), book.of("old")))
		h.apply("a", "other", on(pattern("orders:[a-n]*"), book.of("pattern")), on(channel("orders:ne"), book.of("near")), on(pattern("orders:?"), book.of("near")))
		h.apply("b", "app", on(channel("orders:new"), book.of("neighbour")), on(pattern("orders:[a-n]*"), book.of("neighbour's pattern")))
		h.awaitActive()
		want := map[string]int{}
		for i := range messages {
			publish(t, c, "orders:new", fmt.Sprint(i))
			for _, name := range []string{"first", "second", "pattern", "neighbour", "neighbour's pattern"} {
				want[fmt.Sprint(name, " ", i)] = 1
			}
		}
		publish(t, c, "orders:old", "x")
		want["old x"] = 1
		h.await("end of all", func() bool { return h.counts("a").Ended()+h.counts("b").Ended() >= int64(len(want)) })
		h.stop()
		if got := book.notes(); !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		h.ended("a", map[string]int64{"handled": 3*messages + 1})
		h.ended("b", map[string]int64{"handled": 2 * messages})
	})
}

// TestOverlappingPatterns: a message that several patterns match is a delivery of each. The embedded server sends one of them alone to a
// connection, so this is of redis-server.
func TestOverlappingPatterns(t *testing.T) {
	s := redistest.Start(t)
	h, book := newHouse(t, scheduler.Config{}), newBook()
	h.connect("e", s.URL)
	h.apply("a", "app", on(pattern("orders:*"), book.of("wide")), on(pattern("*:new"), book.of("new")), on(channel("orders:new"), book.of("exact")))
	h.awaitActive()
	publish(t, s.Client(), "orders:new", "x")
	publish(t, s.Client(), "orders:old", "y")
	h.await("end of all", func() bool { return h.counts("a").Ended() >= 4 })
	h.stop()
	if got, want := book.notes(), map[string]int{"wide x": 1, "new x": 1, "exact x": 1, "wide y": 1}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestTwoServers: a channel of one server is not the channel of that name on another.
func TestTwoServers(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	h, book := newHouse(t, scheduler.Config{}), newBook()
	h.connect("e", one.URL)
	h.connect("e", two.URL) // has no effect: e is known
	h.connect("two", two.URL)
	first, second := on(channel("c"), book.of("one")), on(channel("c"), book.of("two"))
	second.Endpoint = "two"
	h.apply("a", "app", first, second)
	h.awaitActive()
	publish(t, one.Client(), "c", "x")
	publish(t, two.Client(), "c", "y")
	h.await("end of both", func() bool { return h.counts("a").Ended() == 2 })
	f := h.Follow("two", "c", []byte("z")) // is not taken for the same message of the other server
	publish(t, one.Client(), "c", "z")
	h.await("the other server's message", func() bool { return h.counts("a").Ended() == 3 })
	publish(t, two.Client(), "c", "z")
	if all := f.Wait(context.Background()); len(all) != 1 || len(h.recorder.History.Last("a", 10)) != 4 {
		t.Errorf("the answer is %+v", all)
	}
	h.stop()
	if got, want := book.notes(), map[string]int{"one x": 1, "two y": 1, "one z": 1, "two z": 1}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestPublishOrder: with concurrency 1 the order of publishing is the order of handling, through the socket and under load.
func TestPublishOrder(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		const messages = 5000
		h := newHouse(t, scheduler.Config{})
		h.connect("e", url)
		var seen []string
		one := tenants.Limits{Concurrency: 1}
		h.apply("a", "app", limited(on(channel("c"), does(func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
			seen = append(seen, string(d.Payload()))
			return scheduler.Result{}
		})), one), on(channel("c"), handled), on(pattern("c*"), handled))
		h.awaitActive()
		for part := range slices.Chunk(numbered(messages), 500) {
			if _, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
				for _, payload := range part {
					p.Publish(t.Context(), "c", payload)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			h.await("room", func() bool { return h.Load("a").Queued == 0 })
		}
		h.await("end of all", func() bool { return h.counts("a").Ended() == 3*messages })
		h.stop()
		if !slices.Equal(seen, numbered(messages)) {
			t.Errorf("handled in the order %.2000v", seen)
		}
	})
}

// TestSingleMessages: a thousand messages, each when everything before it has ended and the worker sleeps again.
func TestSingleMessages(t *testing.T) {
	servers(t, func(t *testing.T, url string, c *redis.Client) {
		h := newHouse(t, scheduler.Config{Slots: 2})
		h.connect("e", url)
		done := make(chan struct{})
		h.apply("a", "app", on(channel("c"), does(func(context.Context, *scheduler.Delivery) scheduler.Result {
			done <- struct{}{}
			return scheduler.Result{}
		})))
		h.awaitActive()
		late := time.After(patience)
		for i := range 1000 {
			publish(t, c, "c", "x")
			select {
			case <-done:
			case <-late:
				t.Fatalf("message %d was not handled: %+v", i, h.Load("a"))
			}
			for i%2 == 0 && h.counts("a").Ended() != int64(i+1) {
				runtime.Gosched() // the next comes while the worker may still be on its way to sleep, or when it has ended this one
			}
		}
		h.stop()
		h.ended("a", map[string]int64{"handled": 1000})
	})
}

// TestGap: an interruption is counted for every tenant that it concerned, and for no other.
func TestGap(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	link := redistest.Proxy(t, one.Addr)
	gaps := make(chan scheduler.Gap, 10)
	h := newHouse(t, scheduler.Config{OnGap: func(g scheduler.Gap) { gaps <- g }})
	h.SetPolicy("b", tenants.DefaultPolicy())
	h.connect("e", "redis://"+link.Addr)
	h.connect("two", two.URL)
	elsewhere := on(channel("c"), handled)
	elsewhere.Endpoint = "two"
	h.apply("a", "app", on(channel("c"), handled), on(channel("d"), handled), elsewhere)
	h.apply("b", "app", elsewhere)
	h.awaitActive()
	link.Cut()
	h.await("loss", func() bool {
		return slices.ContainsFunc(h.Triggers("a"), func(t scheduler.TriggerState) bool { return t.State == scheduler.Reconnecting })
	})
	link.Restore()
	select {
	case g := <-gaps:
		if g.Endpoint != "e" || g.Targets != 2 {
			t.Errorf("%+v", g)
		}
	case <-time.After(patience):
		t.Fatal("the gap was not announced")
	}
	h.awaitActive()
	publish(t, one.Client(), "c", "x")
	h.await("a message", func() bool { return h.counts("a").Ended() == 1 })
	if a, b := h.counts("a").Gaps, h.counts("b").Gaps; a != 1 || b != 0 {
		t.Errorf("a has %d gaps, b has %d", a, b)
	}
	h.stop()
	if c := h.counts("a"); c.Gaps != 1 || len(gaps) != 0 {
		t.Errorf("the end counts as a gap: %d", c.Gaps)
	}
}

// TestStopLeavesNothing starts and stops on real sockets, with work on its way, and looks for goroutines.
func TestStopLeavesNothing(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	var h *house
	for range 20 {
		h = newHouse(t, scheduler.Config{Slots: 8})
		h.connect("e", s.URL)
		g := newGate()
		h.apply("a", "app", on(channel("c"), g))
		h.awaitActive()
		for range 20 {
			publish(t, c, "c", "x")
		}
		h.await("messages", func() bool { return h.counts("a").Received == 20 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if left, err := h.Shutdown(ctx); err != nil || left.Dropped+left.Cancelled != 20 {
			t.Errorf("left %+v, %v", left, err)
		}
		if n := h.counts("a").Ended(); n != 20 {
			t.Errorf("%d of 20 ended", n)
		}
	}
	h.await("end of all goroutines", func() bool { return len(running("scheduler.(*", "scheduler_test.(*gate)", "ants/v2.(*goWorker)")) == 0 })
}

// running returns the stacks of other goroutines that name one of these.
func running(names ...string) (found []string) {
	buf := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
		if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(stack, name) }) {
			found = append(found, stack)
		}
	}
	return found
}
