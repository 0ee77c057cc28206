package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// stage is the API over a real scheduler on a real Redis, with handlers that are Go functions.
type stage struct {
	*httptest.Server
	t         testing.TB
	scheduler *scheduler.Scheduler
	recorder  *telemetry.Recorder
	redis     redis.UniversalClient
	checks    []api.Check
	published func(channel string, payload []byte) // in place of redis
}

// handler is a trigger's Invoker.
type handler struct {
	do func(ctx context.Context, d *scheduler.Delivery) scheduler.Result
}

func (h *handler) Open() scheduler.Session { return h }

func (h *handler) Close() {}

func (h *handler) Invoke(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
	return h.do(ctx, d)
}

// echo prints the payload.
var echo = &handler{func(_ context.Context, d *scheduler.Delivery) scheduler.Result {
	return scheduler.Result{Output: []byte(fmt.Sprintf("%s\n", d.Payload()))}
}}

// failing answers an error.
var failing = &handler{func(context.Context, *scheduler.Delivery) scheduler.Result {
	return scheduler.Result{Outcome: tenants.Failed, Err: "handler returned an error"}
}}

const demo = tenants.Demo

// on makes a trigger of the demo tenant on the main server.
func on(kind tenants.Kind, name string, component tenants.ComponentID, h *handler) scheduler.Trigger {
	return scheduler.Trigger{Invoker: h, Trigger: tenants.Trigger{
		Tenant: demo, App: "app", Version: "sha256:0", ID: string(component) + " " + name, Component: component, Endpoint: "main",
		Target: tenants.Target{Kind: kind, Name: name},
	}}
}

// servers plays a test against a real redis-server and against miniredis.
func servers(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		test(t, redistest.Start(t).URL)
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, "redis://"+redistest.Embedded(t))
	})
}

// open sets a stage up on a server and waits until its triggers are active.
func open(t testing.TB, url string, triggers ...scheduler.Trigger) *stage {
	t.Helper()
	st := raise(t, url)
	st.Server = httptest.NewServer(st.handler())
	t.Cleanup(func() {
		st.Server.CloseClientConnections()
		st.Server.Close()
	})
	st.apply("app", triggers...)
	return st
}

// raise is open without an HTTP server.
func raise(t testing.TB, url string) *stage {
	t.Helper()
	options, err := endpoint.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{t: t, recorder: telemetry.New(1000), redis: options.Client(nil), checks: []api.Check{{Name: "application", OK: true, Detail: "deployed"}}}
	log := slog.New(slog.DiscardHandler)
	if st.scheduler, err = scheduler.New(scheduler.Config{Recorder: st.recorder, Log: log}); err != nil {
		t.Fatal(err)
	}
	st.scheduler.SetPolicy(demo, tenants.DefaultPolicy())
	st.scheduler.AddEndpoint(scheduler.Endpoint{ID: "main", Name: options.Name(), Dial: options.Subscriber})
	t.Cleanup(func() {
		if _, err := st.scheduler.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := st.redis.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// handler is the API. It knows the servers main and gone; the channels that begin with "gone." belong to the latter.
func (st *stage) handler() http.Handler {
	main := api.Server{ID: "main", Sharded: errors.New("the server has no sharded channels"), Publish: func(ctx context.Context, to tenants.Target, payload []byte) (int64, error) {
		if st.published != nil {
			st.published(to.Name, payload)
			return 1, nil
		}
		return st.redis.Publish(ctx, to.Name, payload).Result()
	}}
	gone := api.Server{ID: "gone", Publish: func(context.Context, tenants.Target, []byte) (int64, error) {
		return 0, errors.New("dial tcp 192.0.2.1:6379: connection refused")
	}}
	return api.Handler(api.Config{
		Scheduler: st.scheduler, Recorder: st.recorder, Log: slog.New(slog.DiscardHandler), Build: api.Build{Version: "1.2.3", Go: "go1"},
		Local: &tenants.Principal{Subject: "local", Operator: true},
		Known: func(id tenants.ID) bool { return id == demo || id == "quiet" },
		Server: func(_ tenants.ID, address string, to tenants.Target) (api.Server, error) {
			switch {
			case address == "" && strings.HasPrefix(to.Name, "gone."), address == "gone":
				return gone, nil
			case address == "" || address == "main":
				return main, nil
			}
			return api.Server{}, fmt.Errorf("no trigger uses a server at %s", address)
		},
		Checks: func() []api.Check { return st.checks },
	})
}

// apply makes triggers an application's and waits until Redis has acknowledged them.
func (st *stage) apply(app tenants.AppName, triggers ...scheduler.Trigger) {
	st.t.Helper()
	for i := range triggers {
		triggers[i].App = app
	}
	if err := st.scheduler.Apply(demo, app, triggers); err != nil {
		st.t.Fatal(err)
	}
	eventually(st.t, "all triggers are active", func() bool {
		for _, t := range st.scheduler.Triggers(demo) {
			if t.State != scheduler.Active {
				return false
			}
		}
		return true
	})
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for begin := time.Now(); !is(); runtime.Gosched() {
		if time.Since(begin) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request. A path that begins with a letter is one of the demo tenant's.
func (st *stage) do(method, path, body string, header ...string) reply {
	st.t.Helper()
	r, err := st.send(st.t.Context(), method, path, body, header...)
	if err != nil {
		st.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (st *stage) send(ctx context.Context, method, path, body string, header ...string) (reply, error) {
	req, err := st.request(ctx, method, path, body, header...)
	if err != nil {
		return reply{}, err
	}
	resp, err := st.Client().Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}, err
}

func (st *stage) request(ctx context.Context, method, path, body string, header ...string) (*http.Request, error) {
	if !strings.HasPrefix(path, "/") {
		path = "/v1/tenants/demo/" + path
	}
	req, err := http.NewRequestWithContext(ctx, method, st.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	return req, nil
}

// decode reads an answer's JSON, which has no member that to does not know.
func (r reply) decode(t testing.TB, to any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatalf("%v in %d %.500s", err, r.status, r.body)
	}
}

type problem struct {
	Type      string
	Title     string
	Status    int
	Detail    string
	Instance  string
	Code      string
	RequestID string `json:"request_id"`
	TraceID   string `json:"trace_id"`
	Limit     int64
	Retry     int `json:"retry_after"`
	Next      string
	Names     []string
	Errors    []struct{ Pointer, Code, Detail string }
}

// refused reads a problem and checks what every problem has.
func (r reply) refused(t testing.TB, status int, code string) problem {
	t.Helper()
	var p problem
	if kind := r.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Fatalf("%d %s: %.500s, want problem+json %s", r.status, kind, r.body, code)
	}
	r.decode(t, &p)
	if r.status != status || p.Status != status || p.Code != code || p.Type != "about:blank" || p.Title == "" || p.Detail == "" {
		t.Errorf("answer %d with %+v, want %d %s", r.status, p, status, code)
	}
	if id := r.header.Get("X-Request-Id"); p.RequestID != id || !strings.HasPrefix(id, "req_") {
		t.Errorf("request_id is %q, X-Request-Id %q", p.RequestID, id)
	}
	return p
}

type answer struct {
	ID             string
	Channel        string
	Bytes          int
	RedisReceivers int64 `json:"redis_receivers"`
	Matched        int
	Pending        int
	Deliveries     []struct {
		App, Component, Version, Outcome, Reason, Error, Output, Invocation string
		QueuedMS                                                            float64 `json:"queued_ms"`
		DurationMS                                                          float64 `json:"duration_ms"`
		Truncated                                                           int64
		Memory                                                              uint64 `json:"memory_bytes"`
		Fuel                                                                uint64
	}
	Near []struct {
		Channel  string
		Handlers int
	}
}

// publish publishes by the API.
func (st *stage) publish(body string) (a answer) {
	st.t.Helper()
	r := st.do("POST", "messages", body)
	if r.status != http.StatusOK {
		st.t.Fatalf("publish %.200s: %d %s", body, r.status, r.body)
	}
	r.decode(st.t, &a)
	return a
}

func text(channel, payload string) string {
	b, err := json.Marshal(map[string]string{"channel": channel, "payload": payload})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// outcomes is how an answer's deliveries ended.
func (a answer) outcomes() string {
	var all []string
	for _, d := range a.Deliveries {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s%s", d.Component, d.Outcome, d.Error, strings.TrimSpace(d.Output))))
	}
	return strings.Join(all, "; ")
}

// subscribers is the number of clients that listen to a channel.
func (st *stage) subscribers(channel string) int64 {
	st.t.Helper()
	n, err := st.redis.PubSubNumSub(st.t.Context(), channel).Result()
	if err != nil {
		st.t.Fatal(err)
	}
	return n[channel]
}

// event is one server-sent event; a comment is an event without a name.
type event struct{ name, data string }

// watching is a subscription being read.
type watching struct {
	t     testing.TB
	lines *bufio.Reader
	stop  context.CancelFunc
}

// watch subscribes and reads the answer's header.
func (st *stage) watch(query string) *watching {
	st.t.Helper()
	ctx, cancel := context.WithCancel(st.t.Context())
	st.t.Cleanup(cancel)
	req, err := st.request(ctx, "GET", "messages:subscribe?"+query, "")
	if err != nil {
		st.t.Fatal(err)
	}
	resp, err := st.Client().Do(req)
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		b, err := io.ReadAll(resp.Body)
		st.t.Fatalf("%d %s %s %v", resp.StatusCode, kind, b, err)
	}
	return newWatching(st.t, resp.Body, cancel)
}

func newWatching(t testing.TB, body io.Reader, stop context.CancelFunc) *watching {
	return &watching{t, bufio.NewReader(body), stop}
}

// read reads an event; io.EOF and other ends of the stream are errors.
func (w *watching) read() (e event, err error) {
	for {
		line, err := w.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return e, nil
		}
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			e.name = value
		case "data":
			e.data = value
		}
	}
}

func (w *watching) next() event {
	w.t.Helper()
	e, err := w.read()
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *watching) expect(name string) event {
	w.t.Helper()
	e := w.next()
	if e.name != name {
		w.t.Fatalf("event %+.300v, want %s", e, name)
	}
	return e
}

type messageEvent struct {
	Channel, Pattern string
	ChannelBase64    []byte `json:"channel_base64"`
	PatternBase64    []byte `json:"pattern_base64"`
	Payload          *string
	PayloadBase64    []byte `json:"payload_base64"`
	Bytes            int
	ReceivedAt       time.Time `json:"received_at"`
}

func (e event) message(t testing.TB) (m messageEvent) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(e.data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v in %.300s", err, e.data)
	}
	return m
}

// exact gives channel, pattern and payload with all their bytes.
func (m messageEvent) exact() (channel, pattern, payload string) {
	channel, pattern, payload = m.Channel, m.Pattern, string(m.PayloadBase64)
	if m.ChannelBase64 != nil {
		channel = string(m.ChannelBase64)
	}
	if m.PatternBase64 != nil {
		pattern = string(m.PatternBase64)
	}
	if m.Payload != nil {
		payload = *m.Payload
	}
	return channel, pattern, payload
}

// settled waits until no more than n run.
func settled(t testing.TB, n int) {
	t.Helper()
	for begin := time.Now(); runtime.NumGoroutine() > n; runtime.Gosched() {
		if time.Since(begin) > patience {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), n, bytes.TrimSpace(stacks[:runtime.Stack(stacks, true)]))
		}
	}
}
