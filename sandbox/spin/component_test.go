package spin_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

const (
	redis2 = "fermyon:spin/redis@2.0.0"
	kv2    = "fermyon:spin/key-value@2.0.0"
)

func TestComponentHandlesAreLimitedAndReleased(t *testing.T) {
	server := redistest.Start(t)
	h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*"), Stores: map[string]spin.Store{"s": spin.NewMemoryStore(1 << 20)}, Limits: spin.Limits{Connections: 2, StoreHandles: 1}}
	s := newSpeaker(t, h, nil)
	address := "redis://" + server.Addr
	first := s.call(redis2, "[static]connection.open", address)
	s.call(redis2, "[static]connection.open", address)
	if got := spoken(s.call(redis2, "[static]connection.open", address)); got != "err 1" {
		t.Errorf("a third connection of two: %s", got)
	}
	if got := s.Call.Refused(); got.What != "connection" || got.Most != 2 {
		t.Errorf("refused %v", got)
	}
	c, _ := hosttest.OK(first)
	if err := s.Drop(t.Context(), redis2, "connection", c.(hosttest.H)); err != nil {
		t.Fatal(err)
	}
	if got := spoken(s.call(redis2, "[static]connection.open", address)); !strings.HasPrefix(got, "ok ") {
		t.Errorf("after a drop: %s", got)
	}
	s.call(kv2, "[static]store.open", "s")
	if got := spoken(s.call(kv2, "[static]store.open", "s")); got != "err 0" {
		t.Errorf("a second store of one: %s", got)
	}
	s.Store.Reset() // the invocation ends: pooled clients are free for two other addresses
	for i := range 2 {
		if got := spoken(s.call(redis2, "[static]connection.open", fmt.Sprintf("%s/%d", address, i+1))); !strings.HasPrefix(got, "ok ") {
			t.Errorf("after the end: %s", got)
		}
	}
}

func TestComponentBounds(t *testing.T) {
	h := &spin.Host{Stores: map[string]spin.Store{"s": spin.NewMemoryStore(1 << 20)}, Limits: spin.Limits{HostCalls: 3, BytesOut: 100}}
	s := newSpeaker(t, h, nil)
	ctx := spin.With(t.Context(), s.Call)
	opened := s.call(kv2, "[static]store.open", "s")
	store, _ := hosttest.OK(opened)
	exceeded := func(want spin.Bound, name string, args ...canon.Value) {
		t.Helper()
		_, err := s.Guest.Call(ctx, kv2, name, args...)
		if e := (*spin.Exceeded)(nil); !errors.As(err, &e) || e.Bound != want || e.Func != kv2+"#"+name {
			t.Errorf("%s: %v, want bound %d exceeded", name, err, want)
		}
	}
	exceeded(spin.BytesOut, "[method]store.set", store, "k", make([]byte, 101))
	s.Call.Begin(nil)
	for range 3 {
		s.call(kv2, "[method]store.get", store, "k")
	}
	exceeded(spin.HostCalls, "[method]store.get", store, "k")
}

func TestComponentAtomicsAndBatches(t *testing.T) {
	const store, atomics, batch = "wasi:keyvalue/store@0.2.0-draft2", "wasi:keyvalue/atomics@0.2.0-draft2", "wasi:keyvalue/batch@0.2.0-draft2"
	for label, kept := range stores(t) {
		s := newSpeaker(t, &spin.Host{Stores: map[string]spin.Store{label: kept}}, nil)
		b, _ := hosttest.OK(s.call(store, "open", label))
		says := func(want, iface, name string, args ...canon.Value) canon.Value {
			t.Helper()
			v := s.call(iface, name, args...)
			if got := fmt.Sprint(v); got != want {
				t.Errorf("%s %s: got %s, want %s", label, name, got, want)
			}
			p, _ := hosttest.OK(v)
			return p
		}
		pair := func(k, v string) canon.Value { return []canon.Value{k, []byte(v)} }
		says("{0 5}", atomics, "increment", b, "n", int64(5))
		says("{0 <nil>}", batch, "set-many", b, []canon.Value{pair("a", "1"), pair("b", "2")})
		says("{0 [[a {1 [49]}] [x {0 <nil>}]]}", batch, "get-many", b, []canon.Value{"a", "x"})
		cas, _ := hosttest.OK(s.call(atomics, "[static]cas.new", b, "a"))
		says("{0 {1 [49]}}", atomics, "[method]cas.current", cas)
		says("{0 <nil>}", store, "[method]bucket.set", b, "a", []byte("9"))
		lost := s.call(atomics, "swap", cas, []byte("3")).(canon.Variant)
		now := lost.Payload.(canon.Variant)
		if lost.Case != 1 || now.Case != 1 {
			t.Fatalf("swap of a changed value: %v", lost)
		}
		says("{0 {1 [57]}}", atomics, "[method]cas.current", now.Payload)
		says("{0 <nil>}", atomics, "swap", now.Payload, []byte("3"))
		says("{0 {1 [51]}}", store, "[method]bucket.get", b, "a")
		says("{1 {2 list_keys: cursor not supported}}", store, "[method]bucket.list-keys", b, hosttest.Some("x"))
		says("{0 <nil>}", batch, "delete-many", b, []canon.Value{"b", "n"})
		says("{0 [[a] {0 <nil>}]}", store, "[method]bucket.list-keys", b, hosttest.None())
		if _, err := s.Guest.Call(spin.With(t.Context(), s.Call), atomics, "swap", cas, []byte("3")); err == nil || !strings.Contains(err.Error(), "unknown handle") {
			t.Errorf("a cas that was taken over: %v", err)
		}
	}
}

// An asynchronous guest starts several commands before it waits for one.
func TestComponentCommandsAtOnce(t *testing.T) {
	const redis3 = "spin:redis/redis@3.0.0"
	server := redistest.Start(t)
	s := newSpeaker(t, &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*")}, nil)
	ctx := spin.With(t.Context(), s.Call)
	err := s.Task(ctx, func() {
		opening, opened := s.Start(ctx, redis3, "[static]connection.open", "redis://"+server.Addr)
		s.Wait(ctx, opening)
		c, ok := hosttest.OK(opened())
		if !ok {
			t.Fatalf("open: %v", opened())
		}
		var tasks []uint32
		start := func(name string, args ...canon.Value) func() canon.Value {
			task, result := s.Start(ctx, redis3, "[method]connection."+name, append([]canon.Value{c}, args...)...)
			if task == 0 {
				t.Fatalf("%s was not deferred", name)
			}
			tasks = append(tasks, task)
			return result
		}
		get, incr, again := start("get", "k"), start("incr", "n"), start("incr", "n")
		s.Wait(ctx, tasks...)
		sum := spoken(incr()) + " " + spoken(again())
		if spoken(get()) != "none" || sum != "ok 1 ok 2" && sum != "ok 2 ok 1" {
			t.Errorf("got %v, %s", get(), sum)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, totals := s.Call.Outcalls(); totals.Redis != 4 || totals.Received == 0 { // with the PING of open
		t.Errorf("recorded %+v", totals)
	}
}

// What deferred calls have come to hold is given back with the invocation, whether or not the guest ever asked for it.
func TestComponentDeferredOpenIsReleased(t *testing.T) {
	const redis3 = "spin:redis/redis@3.0.0"
	server := redistest.Start(t)
	gate := newGate(t, "redis://127.0.0.1:*")
	for round := range 3 { // the pool has room for two addresses at once
		s := newSpeaker(t, &spin.Host{Gate: gate}, nil)
		ctx := spin.With(t.Context(), s.Call)
		err := s.Task(ctx, func() {
			var tasks []uint32
			for i := range 2 {
				task, _ := s.Start(ctx, redis3, "[static]connection.open", fmt.Sprintf("redis://%s/%d", server.Addr, 2*round+i))
				tasks = append(tasks, task)
			}
			s.Wait(ctx, tasks[0])
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Store.Reset()
		s.Call.Close()
	}
	s := newSpeaker(t, &spin.Host{Gate: gate}, nil)
	waitFor(t, func() bool { // the last open may still be under way
		return strings.HasPrefix(spoken(s.call(redis2, "[static]connection.open", "redis://"+server.Addr+"/9")), "ok ")
	})
}

func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for !ready() {
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		runtime.Gosched()
	}
}

func TestComponentHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Back", r.Method+" "+r.Header.Get("X-There"))
		w.WriteHeader(201)
	}))
	defer server.Close()
	request := func(uri string) canon.Value {
		return []canon.Value{canon.Enum(1), uri, []canon.Value{[]canon.Value{"x-there", "1"}}, []canon.Value{}, hosttest.Some([]byte("body"))}
	}
	s := newSpeaker(t, &spin.Host{Gate: newGate(t, "http://127.0.0.1:*")}, nil)
	r, ok := hosttest.OK(s.call("fermyon:spin/http", "send-request", request(server.URL)))
	if text := fmt.Sprint(r); !ok || !strings.HasPrefix(text, "[201 ") || !strings.Contains(text, "[x-back POST 1]") {
		t.Errorf("response %v", r)
	}
	if got := spoken(s.call("fermyon:spin/http", "send-request", request("http://elsewhere.example"))); got != "err 1" {
		t.Errorf("a host that is not allowed: %s", got)
	}
	calls, totals := s.Call.Outcalls()
	if totals.HTTP != 2 || calls[0].Status != 201 {
		t.Errorf("recorded %v, %v", calls, totals)
	}
}

func TestStubsAnswerErrors(t *testing.T) {
	s := newSpeaker(t, &spin.Host{}, nil)
	for _, c := range []struct {
		iface, name, want string
		args              []canon.Value
	}{
		{"fermyon:spin/sqlite@2.0.0", "[static]connection.open", "err 1", []canon.Value{"default"}},
		{"fermyon:spin/sqlite", "open", "err 1", []canon.Value{"default"}},
		{"fermyon:spin/postgres@2.0.0", "[static]connection.open", "err 0 postgres is not offered here", []canon.Value{"x"}},
		{"fermyon:spin/mysql", "execute", "err 1 mysql is not offered here", []canon.Value{"x", "select 1", []canon.Value{canon.Variant{Case: 13}}}},
		{"fermyon:spin/mqtt@2.0.0", "[static]connection.open", "err 3 mqtt is not offered here", []canon.Value{"a", "u", "p", uint64(1)}},
		{"fermyon:spin/llm@2.0.0", "generate-embeddings", "err 1 llm is not offered here", []canon.Value{"m", []canon.Value{"t"}}},
	} {
		if got := spoken(s.call(c.iface, c.name, c.args...)); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.iface, c.name, got, c.want)
		}
	}
}

func TestInterfacesAreOfferedOnce(t *testing.T) {
	var names []string
	for _, i := range append(spin.Interfaces(), spin.Stubs()...) {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) {
		t.Errorf("offered twice: %q", names)
	}
}

// FuzzComponentImports calls functions with core values that no compiler would make. They may trap; a Misuse or any other panic is a mistake of
// the host.
func FuzzComponentImports(f *testing.F) {
	all := append(spin.Interfaces(), spin.Stubs()...)
	hosttest.Seed(f, all...)
	f.Fuzz(func(t *testing.T, program []byte) {
		h := &spin.Host{Gate: newGate(t), Variables: variables, VariableNames: []string{"greeting"}, Stores: map[string]spin.Store{"": spin.NewMemoryStore(1 << 20)}}
		c := spin.NewCall(h, nil)
		defer c.Close()
		g := hosttest.New(t, all...)
		hosttest.Run(spin.With(t.Context(), c), t, g, program)
		g.Store.Reset()
	})
}
