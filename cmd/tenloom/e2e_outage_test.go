package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

var gapSeconds = regexp.MustCompile(`subscriptions were interrupted.* endpoint=(\S+) seconds=([0-9.e-]+) targets=([0-9]+)`)

// A redis-server that is killed under traffic and comes back, three times: the program lives, says what was interrupted and for how long, and
// every trigger works again.
func TestUpOutlivesRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	logs := t.TempDir()
	r := stage{server, []string{"--redis", server.URL}}.up(t, writeApp(t, ordersV2), "-q", "--log-dir", logs)
	ctx, cancel := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	defer traffic.Wait()
	defer cancel()
	client := server.Client()
	var sent atomic.Int64
	traffic.Go(func() { // ends with ctx
		for ctx.Err() == nil {
			if client.Publish(ctx, "orders.paid", "x").Err() == nil {
				sent.Add(1)
			}
		}
	})
	for round := 1; round <= 3; round++ {
		before := sent.Load()
		eventually(t, "traffic", func() bool { return sent.Load() > before+20 && r.usage(t).Counts.Outcomes["handled"] > 0 })
		server.Kill()
		eventually(t, "the loss is noticed", func() bool { return !r.ready() })
		if _, text := r.readyz(); !strings.Contains(text, "[-]trigger demo/orders") {
			t.Errorf("/readyz names no trigger: %s", text)
		}
		server.Restart()
		eventually(t, "ready again", r.ready)
		for channel, want := range map[string]int{"orders": 3, "orders.paid": 2, "orders.late": 1} {
			answer := r.post(t, channel, fmt.Appendf(nil, "round %d", round))
			expect(t, "deliveries of "+channel, len(answer.Deliveries), want)
		}
	}
	cancel()
	traffic.Wait()
	if !r.alive() {
		t.Fatal("the program has ended")
	}
	gaps := gapSeconds.FindAllStringSubmatch(r.stderr.String(), -1)
	expect(t, "gaps logged", len(gaps), 3)
	for _, gap := range gaps {
		seconds, err := strconv.ParseFloat(gap[2], 64)
		if err != nil || seconds <= 0 || gap[1] != server.Addr || gap[3] != "3" {
			t.Errorf("logged %q: want the server, the gap's length and 3 targets", gap[0])
		}
	}
	expect(t, "gaps counted", r.usage(t).Counts.Gaps, 3)
	files, err := filepath.Glob(filepath.Join(logs, "*_stderr.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no logs of components: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "gaps in "+filepath.Base(file), strings.Count(string(text), "tenloom: no messages of "), 3)
	}
	expect(t, "exit code", r.stop(t), exitOK)
}

// A Redis that is not there at the start: the program names it, is not ready, and becomes so when Redis appears.
func TestUpAwaitsRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	r := startUp(t, writeApp(t, ordersV2), "--redis", server.URL)
	r.awaitLog(t, "waiting for Redis; trying again for as long as it takes")
	r.awaitLog(t, server.Addr)
	status, text := r.readyz()
	expect(t, "status of /readyz", status, http.StatusServiceUnavailable)
	if !strings.Contains(text, "[-]trigger demo/orders") || strings.Contains(text, "[-]application") {
		t.Errorf("/readyz answers %s", text)
	}
	_, done := r.publish(t, "orders", "x")
	expect(t, "exit code of a publish without Redis", done.code, exitFailed)
	if !strings.Contains(done.stderr, "/readyz") {
		t.Errorf("publish does not say where to look: %s", done.stderr)
	}
	for line := range strings.Lines(r.stderr.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of stderr is not the program's own: %s", line)
		}
	}
	server.Restart()
	r.await(t, "ready in")
	expect(t, "ready", r.ready(), true)
	answer, _ := r.publish(t, "orders", "x")
	expect(t, "deliveries", len(answer.Deliveries), 3)
	expect(t, "exit code", r.stop(t), exitOK)
}

// One that is interrupted while it waits for Redis ends like any other, and does not claim to have been ready.
func TestUpInterruptedBeforeReady(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	r := startUp(t, writeApp(t, ordersV2), "--redis", server.URL)
	expect(t, "exit code", r.stop(t), exitOK)
	if strings.Contains(r.stdout.String(), "ready in") {
		t.Errorf("it says that it was ready:\n%s", r.stdout)
	}
}

// holding is an HTTP server that answers a guest when the test says so: a handler that takes as long as the test wants.
type holding struct {
	*httptest.Server
	arrived chan struct{} // one for each guest that waits
	let     chan struct{} // one for each that may go on; closed: all
}

func newHolding(t *testing.T) *holding {
	h := &holding{arrived: make(chan struct{}, 1000), let: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.arrived <- struct{}{}
		select {
		case <-h.let:
		case <-q.Context().Done():
		}
	}))
	t.Cleanup(h.CloseClientConnections)
	return h
}

func (h *holding) await(t *testing.T) {
	t.Helper()
	select {
	case <-h.arrived:
	case <-t.Context().Done():
		t.Fatal("no guest came")
	}
}

func (h *holding) payload() []byte { return fields("http", "0", h.URL, "") }

func (h *holding) app(t *testing.T) string {
	return writeApp(t, fmt.Sprintf(`spin_manifest_version = 2
[application]
name = "held"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "slow"
component = "slow"
[[trigger.redis]]
channel = "quick"
component = "quick"
[[trigger.redis]]
channel = "broken"
component = "broken"
[component.broken]
source = "evil.wasm"
[component.slow]
source = "v1.wasm"
allowed_outbound_hosts = ["http://%s"]
[component.slow.tool.tenloom]
timeout = "5m"
concurrency = 4
[component.quick]
source = "echo-a.wasm"
`, h.Listener.Addr()))
}

// However many messages a slow component has running and waiting, another channel is served at once.
func TestUpServesBesideSlowComponents(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		h := newHolding(t)
		r := s.up(t, h.app(t))
		c := s.client(t, r)
		for range 20 {
			if err := c.Publish(t.Context(), "slow", h.payload()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			h.await(t)
		}
		eventually(t, "the others wait", func() bool { return r.usage(t).Load.Queued == 16 })
		for i := range 50 {
			expect(t, "quick", ran(r.post(t, "quick", fmt.Append(nil, i))), fmt.Sprintf(`quick handled "1 %d\n"`, i))
		}
		u := r.usage(t)
		expect(t, "still running and waiting", fmt.Sprint(u.Load.InFlight, u.Load.Queued), "4 16")
		close(h.let)
		eventually(t, "all are handled in the end", func() bool { return r.usage(t).Counts.Outcomes["handled"] == 70 })
		expect(t, "exit code", r.stop(t), exitOK)
	})
}

// A signal ends intake first, and the program when its running and waiting handlers are done.
func TestUpDrains(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(sig.String(), func(t *testing.T) {
				h := newHolding(t)
				r := s.up(t, h.app(t))
				c := s.client(t, r)
				for range 6 { // two more than may run at once
					if err := c.Publish(t.Context(), "slow", h.payload()).Err(); err != nil {
						t.Fatal(err)
					}
				}
				for range 4 {
					h.await(t)
				}
				eventually(t, "all are taken in", func() bool { return r.usage(t).Counts.Received == 6 })
				r.signal(t, sig)
				eventually(t, "not ready any more", func() bool {
					status, text := r.readyz()
					return status == http.StatusServiceUnavailable && strings.Contains(text, "[-]application is starting or stopping")
				})
				if !r.alive() {
					t.Error("the program ended before its handlers")
				}
				close(h.let)
				expect(t, "exit code", r.wait(t), exitOK)
				if out := r.stdout.String(); !strings.Contains(out, "Stopped. 6 deliveries, 6 handled\n") || strings.Contains(out, "cancelled") {
					t.Errorf("it says at the end:\n%s", out)
				}
			})
		}
	})
}

// A second signal cancels what runs and drops what waits; the program says how many, and its exit code that not all was done.
func TestUpEndsAtOnceWhenToldTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		h := newHolding(t)
		r := s.up(t, h.app(t))
		c := s.client(t, r)
		for range 6 {
			if err := c.Publish(t.Context(), "slow", h.payload()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			h.await(t)
		}
		eventually(t, "all are taken in", func() bool { return r.usage(t).Counts.Received == 6 })
		r.signal(t, syscall.SIGTERM)
		eventually(t, "not ready any more", func() bool { return !r.ready() })
		r.signal(t, syscall.SIGTERM)
		expect(t, "exit code", r.wait(t), exitInterrupted)
		if out := r.stdout.String(); !strings.Contains(out, "Stopped. 6 deliveries, 4 failed, 2 dropped\n4 handlers cancelled, 2 waiting messages dropped\n  slow -> ") {
			t.Errorf("it says at the end:\n%s", out)
		}
	})
}
