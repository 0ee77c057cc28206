package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// Everything at once: publishers, watchers that come and go, readers of every list, and an application that is deployed again and again. Every
// answer is a good one, every message that a publisher was told of is handled and counted, and nothing is left at the end.
func TestHammer(t *testing.T) {
	servers(t, func(t *testing.T, url string) {
		const publishers, messages, rounds = 8, 50, 100
		st := open(t, url, on(tenants.Exact, "c", "first", echo), on(tenants.Exact, "c", "second", echo), on(tenants.Pattern, "c*", "third", echo))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var publishing, watching, others sync.WaitGroup
		var handled atomic.Int64
		for p := range publishers {
			publishing.Go(func() {
				for i := range messages {
					want := fmt.Sprintf("%d %d", p, i)
					r, err := st.send(ctx, "POST", "messages", text("c", want))
					var a answer
					if err != nil || json.Unmarshal([]byte(r.body), &a) != nil || r.status != http.StatusOK {
						t.Errorf("publish %s: %d %s %v", want, r.status, r.body, err)
						return
					}
					if outcomes := fmt.Sprintf("first handled %s; second handled %s; third handled %s", want, want, want); a.outcomes() != outcomes {
						t.Errorf("publish %s: %+v", want, a)
					}
					handled.Add(int64(len(a.Deliveries)))
				}
			})
		}
		for _, path := range []string{"triggers", "invocations?limit=1000", "usage", "/readyz?verbose", "/version", "invocations/inv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "/nowhere"} {
			others.Go(func() {
				for range rounds {
					r, err := st.send(ctx, "GET", path, "")
					if err != nil || r.status != http.StatusOK && r.status != http.StatusNotFound {
						t.Errorf("%s: %d %v", path, r.status, err)
					}
				}
			})
		}
		for range 4 {
			watching.Go(func() {
				for ctx.Err() == nil { // as long as there is something to see
					if err := st.look(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			})
		}
		others.Go(func() {
			for i := range rounds {
				trigger := on(tenants.Exact, fmt.Sprint("other", i%3), "other", echo)
				trigger.App = "other"
				if err := st.scheduler.Apply(demo, "other", []scheduler.Trigger{trigger}); err != nil {
					t.Error(err)
				}
			}
		})
		publishing.Wait()
		others.Wait()
		cancel()
		watching.Wait()
		if n := handled.Load(); n != 3*publishers*messages {
			t.Errorf("%d deliveries were told of, want %d", n, 3*publishers*messages)
		}
		counts := st.recorder.Account(demo).Counts()
		if counts.Outcomes["handled"] != handled.Load() || counts.Received != handled.Load() {
			t.Errorf("%+v, want %d handled", counts, handled.Load())
		}
		st.apply("other")
		eventually(t, "no watcher is left", func() bool { return st.subscribers("watched") == 0 && len(st.scheduler.TargetStates("main")) == 2 })
	})
}

// look subscribes, reads until a message that some publisher sent, and leaves.
func (st *stage) look(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := st.request(ctx, "GET", "messages:subscribe?channel=c&channel=watched&pattern=c*", "")
	if err != nil {
		return err
	}
	resp, err := st.Client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w := newWatching(st.t, resp.Body, cancel)
	e, err := w.read()
	if err == nil && e.name != "ready" {
		return fmt.Errorf("%+v before ready", e)
	}
	for left := 3; left > 0; {
		if e, err = w.read(); err != nil {
			return err
		}
		switch e.name {
		case "message", "gap":
			left--
		case "": // a sign of life, where the machine is slow
		default:
			return fmt.Errorf("%+v", e)
		}
	}
	return nil
}

// What the API starts ends: with its requests, and with its server.
func TestNothingIsLeft(t *testing.T) {
	server := redistest.Start(t)
	round := func(t *testing.T) {
		st := open(t, server.URL, on(tenants.Exact, "c", "a", echo))
		for range 3 {
			w := st.watch(query("c", "d", "p.*"))
			w.expect("ready")
			st.publish(text("c", "x"))
			w.expect("message")
			if _, err := st.send(t.Context(), "POST", "messages", strings.Repeat("x", 100)); err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := st.send(ctx, "POST", "messages", text("c", "x")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		st.Client().CloseIdleConnections()
	}
	t.Run("warm", round)
	before := runtime.NumGoroutine()
	for range 5 {
		t.Run("again", round)
	}
	settled(t, before)
	client := server.Client()
	if n, err := client.PubSubNumPat(t.Context()).Result(); n != 0 || err != nil {
		t.Errorf("%d patterns are left, %v", n, err)
	}
	if names, err := client.PubSubChannels(t.Context(), "*").Result(); len(names) != 0 || err != nil {
		t.Errorf("%q are left, %v", names, err)
	}
}
