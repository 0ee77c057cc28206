package redis_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/sdk/hosttest"
	"github.com/tenloom/tenloom/sdk/redis"
)

// handler is what the process' one handler runs: each test sets its own.
var handler redis.Handler

func init() {
	redis.Handle(func(ctx context.Context, m redis.Message) error { return handler(ctx, m) })
}

func TestMessage(t *testing.T) {
	hosttest.Reset()
	full := hosttest.Message{Channel: "a.b", Pattern: "a.*", ID: "msg_1", Attempt: 3, TraceParent: "00-1-2-01", Payload: []byte("payload")}
	for _, want := range []hosttest.Message{full, {}, {Payload: []byte("as on Spin")}} {
		var got hosttest.Message
		handler = func(_ context.Context, m redis.Message) error {
			got = hosttest.Message{Channel: m.Channel(), Pattern: m.Pattern(), ID: m.ID(), Attempt: m.Attempt(), TraceParent: m.TraceParent(), Payload: m.Payload}
			return nil
		}
		if err := hosttest.Deliver(want); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Payload, want.Payload) || got.Channel != want.Channel || got.Pattern != want.Pattern || got.ID != want.ID ||
			got.Attempt != want.Attempt || got.TraceParent != want.TraceParent {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if c := (redis.Message{}).Channel(); c != "" {
		t.Errorf("between messages the channel is %q", c)
	}
}

type stringer struct{}

func (stringer) String() string { return "spoken" }

func TestFailures(t *testing.T) {
	sentinel := errors.New("wrong")
	var none []int
	for _, c := range []struct {
		name    string
		handler redis.Handler
		want    []string
	}{
		{"error", func(context.Context, redis.Message) error { return sentinel }, []string{"wrong"}},
		{"panic with text", func(context.Context, redis.Message) error { panic("text") }, []string{"panic at redis_test.go:", ": text"}},
		{"panic with an error", func(context.Context, redis.Message) error { panic(sentinel) }, []string{"panic at redis_test.go:", ": wrong"}},
		{"panic with a Stringer", func(context.Context, redis.Message) error { panic(stringer{}) }, []string{": spoken"}},
		{"panic with a number", func(context.Context, redis.Message) error { panic(7) }, []string{": 7"}},
		{"panic with something", func(context.Context, redis.Message) error { panic(struct{}{}) }, []string{"neither an error nor a string"}},
		{"index", func(_ context.Context, m redis.Message) error { none[len(m.Payload)]++; return nil }, []string{"panic at redis_test.go:", "index out of range [1]"}},
	} {
		handler = c.handler
		err := hosttest.Deliver(hosttest.Message{Payload: []byte("x")})
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", c.name, err, want)
			}
		}
	}
}

func TestHandleTwicePanics(t *testing.T) {
	for name, h := range map[string]redis.Handler{"second": func(context.Context, redis.Message) error { return nil }, "nil": nil} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s handler was taken", name)
				}
			}()
			redis.Handle(h)
		}()
	}
}

// must gives f's result, or ends the test.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCommands(t *testing.T) {
	hosttest.Reset()
	ctx, c := context.Background(), redis.Dial("redis://cache")
	number, text, list := must[int64](t), must[[]byte](t), must[[]string](t)
	if err := c.Set(ctx, "text", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := text(c.Get(ctx, "text")); string(got) != "hello" {
		t.Errorf("get: %q", got)
	}
	if got := text(c.Get(ctx, "missing")); got != nil {
		t.Errorf("get of a missing key: %q", got)
	}
	if got := text(redis.Dial("redis://other").Get(ctx, "text")); got != nil {
		t.Errorf("get on another server: %q", got)
	}
	for want := int64(1); want < 3; want++ {
		if got := number(c.Incr(ctx, "count")); got != want {
			t.Errorf("incr: %d, want %d", got, want)
		}
	}
	if got := number(c.SAdd(ctx, "set", "b", "a", "b")); got != 2 {
		t.Errorf("sadd: %d", got)
	}
	if got := number(c.SRem(ctx, "set", "b", "x")); got != 1 {
		t.Errorf("srem: %d", got)
	}
	if got := list(c.SMembers(ctx, "set")); !slices.Equal(got, []string{"a"}) {
		t.Errorf("smembers: %v", got)
	}
	if got := number(c.Del(ctx, "set", "text", "missing")); got != 2 {
		t.Errorf("del: %d", got)
	}
	if err := c.Publish(ctx, "out", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	if got := hosttest.Published(); len(got) != 1 || got[0].Address != "redis://cache" || got[0].Channel != "out" || string(got[0].Payload) != "payload" {
		t.Errorf("published %v", got)
	}
}

func TestExecute(t *testing.T) {
	hosttest.Reset()
	hosttest.HandleExecute(func(address, command string, args []any) ([]redis.Result, error) {
		if command != "ECHO" || len(args) != 1 {
			return nil, errors.New("unknown command")
		}
		return []redis.Result{{Kind: redis.Binary, Bytes: []byte(args[0].(string))}}, nil
	})
	ctx, c := context.Background(), redis.Dial("redis://cache")
	for _, row := range []struct {
		command string
		args    []any
		want    string // "error" for any
	}{
		{"PING", nil, "PONG"},
		{"SET", []any{"int", -7}, "OK"},
		{"get", []any{[]byte("int")}, "-7"},
		{"INCRBY", []any{"int", uint64(9)}, "2"},
		{"INCR", []any{"int"}, "3"},
		{"APPEND", []any{"int", "0"}, "2"},
		{"EXISTS", []any{"int", "missing"}, "1"},
		{"GET", []any{"missing"}, "(nil)"},
		{"SADD", []any{"set", "b", "a"}, "2"},
		{"SMEMBERS", []any{"set"}, "a b"},
		{"SREM", []any{"set", "a"}, "1"},
		{"DEL", []any{"int", "set"}, "2"},
		{"PUBLISH", []any{"out", "x"}, "0"},
		{"ECHO", []any{"own"}, "own"},
		{"ECHO", nil, "error"},
		{"GET", nil, "error"},
		{"SADD", []any{"set"}, "error"},
		{"SET", []any{"key", 1.5}, "error"},
		{"SET", []any{"key", uint64(math.MaxInt64) + 1}, "error"},
	} {
		results, err := c.Execute(ctx, row.command, row.args...)
		var texts []string
		for _, r := range results {
			texts = append(texts, r.String())
		}
		got := strings.Join(texts, " ")
		if err != nil {
			got = "error"
		}
		if got != row.want {
			t.Errorf("%s %v: %q, %v; want %q", row.command, row.args, got, err, row.want)
		}
	}
}

func TestErrors(t *testing.T) {
	hosttest.Reset()
	hosttest.Refuse("redis://user:secret@refused")
	ctx, c := context.Background(), redis.Dial("redis://user:secret@refused")
	cache := redis.Dial("redis://cache")
	if _, err := cache.SAdd(ctx, "set", "a"); err != nil {
		t.Fatal(err)
	}
	_, get := c.Get(ctx, "key")
	_, wrongType := cache.Incr(ctx, "set")
	_, noKeys := cache.Del(ctx)
	for _, err := range []error{c.Publish(ctx, "out", nil), c.Set(ctx, "key", nil), get, wrongType, noKeys} {
		if !errors.Is(err, redis.ErrFailed) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v", err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := cache.Publish(cancelled, "out", nil); !errors.Is(err, context.Canceled) || len(hosttest.Published()) != 0 {
		t.Errorf("published with a context that was over: %v", err)
	}
}

// TestHammer is for the race detector: handlers may start goroutines, and a test may look on.
func TestHammer(t *testing.T) {
	hosttest.Reset()
	handler = func(ctx context.Context, m redis.Message) error {
		c := redis.Dial("redis://cache")
		var group sync.WaitGroup
		for range 8 {
			group.Add(1)
			go func() { // ends with its 100 rounds; the handler waits
				defer group.Done()
				for range 100 {
					_, _ = c.Incr(ctx, "count")
					_ = c.Publish(ctx, m.Channel(), m.Payload)
					_ = hosttest.Published()
				}
			}()
		}
		group.Wait()
		return nil
	}
	if err := hosttest.Deliver(hosttest.Message{Channel: "busy", Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	n, err := redis.Dial("redis://cache").Get(context.Background(), "count")
	if err != nil || string(n) != "800" || len(hosttest.Published()) != 800 {
		t.Errorf("counted %s, published %d, %v", n, len(hosttest.Published()), err)
	}
}
