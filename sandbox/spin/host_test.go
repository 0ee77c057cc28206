package spin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func TestOffered(t *testing.T) {
	want := []string{
		"fermyon:spin/config", "fermyon:spin/http", "fermyon:spin/key-value", "fermyon:spin/key-value@2.0.0", "fermyon:spin/redis",
		"fermyon:spin/redis@2.0.0", "fermyon:spin/variables@2.0.0", "key-value", "outbound-redis", "spin-config",
		"wasi-outbound-http", "wasi:config/store@0.2.0-draft-2024-09-27", "wasi:keyvalue/atomics@0.2.0-draft2",
		"wasi:keyvalue/batch@0.2.0-draft2", "wasi:keyvalue/store@0.2.0-draft2",
	}
	if got := spin.Offered(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func variables(_ context.Context, name string) (string, error) {
	switch name {
	case "greeting":
		return "h\u00e9llo", nil
	case "tenloom_pattern", "tenloom_other":
		return "from the manifest", nil
	case "Bad":
		return "", fmt.Errorf("%w: %q", spin.ErrInvalidName, name)
	case "vault":
		return "", fmt.Errorf("read vault: %w", spin.ErrProvider)
	case "odd":
		return "", errors.New("template: unmatched '{{'")
	}
	return "", fmt.Errorf("%w: %q", spin.ErrUndefined, name)
}

func TestVariables(t *testing.T) {
	h := &spin.Host{Variables: variables, VariableNames: []string{"greeting", "tenloom_other"}}
	a := message{"tenloom_channel": "orders", "tenloom_attempt": "2", "tenloom_other": "not ours", "greeting": "not ours"}
	tests := []struct{ name, v1, v2, wasi string }{
		{"greeting", `ok h\xc3\xa9llo`, `ok h\xc3\xa9llo`, `ok h\xc3\xa9llo`},
		{"tenloom_channel", "ok orders", "ok orders", "ok orders"},
		{"tenloom_attempt", "ok 2", "ok 2", "ok 2"},
		{"tenloom_pattern", "ok from the manifest", "ok from the manifest", "ok from the manifest"},
		{"tenloom_other", "ok from the manifest", "ok from the manifest", "ok from the manifest"},
		{"tenloom_traceparent", `err 0 variable is not defined: "tenloom_traceparent"`, `err 1 variable is not defined: "tenloom_traceparent"`, "none"},
		{"nothing", `err 0 variable is not defined: "nothing"`, `err 1 variable is not defined: "nothing"`, "none"},
		{"Bad", `err 1 variable name is not valid: "Bad"`, `err 0 variable name is not valid: "Bad"`, "none"},
		{"vault", "err 3 read vault: variable provider failed", "err 2 read vault: variable provider failed", "err 0 read vault: variable provider failed"},
		{"odd", "err 3 template: unmatched '{{'", "err 3 template: unmatched '{{'", "err 1 template: unmatched '{{'"},
	}
	for _, g := range generations {
		r := newRig(t, g)
		ask := func(operation, name, want string) {
			t.Helper()
			if got, err := r.run(t.Context(), h, a, "0", operation, name); err != nil || got != want {
				t.Errorf("%s %s %s: got %s, %v; want %s", g.name, operation, name, got, err, want)
			}
		}
		for _, tt := range tests {
			if !g.v2 {
				ask("config", tt.name, tt.v1)
				continue
			}
			ask("config", tt.name, tt.v2)
			ask("w-config", tt.name, tt.wasi)
		}
	}
	for _, f := range forms {
		for _, tt := range tests {
			want := tt.v1
			if f.v2 {
				want = tt.v2
			}
			if got := f.says(t, h, a, "config", tt.name); got != want {
				t.Errorf("%s config %s: got %s; want %s", f.name, tt.name, got, want)
			}
			if got := f.says(t, h, a, "w-config", tt.name); got != tt.wasi {
				t.Errorf("%s w-config %s: got %s; want %s", f.name, tt.name, got, tt.wasi)
			}
		}
	}
	r := newRig(t, version)
	if got, want := r.says(h, "w-config-all"), `ok greeting,h\xc3\xa9llo,tenloom_other,from the manifest`; got != want {
		t.Errorf("get-all: got %s, want %s", got, want)
	}
	h.VariableNames = []string{"greeting", "vault"}
	if got, want := r.says(h, "w-config-all"), "err 0 read vault: variable provider failed"; got != want {
		t.Errorf("get-all: got %s, want %s", got, want)
	}
	if got, want := r.says(&spin.Host{}, "config", "x"), "err 1 variable is not defined"; got != want {
		t.Errorf("without variables: got %s, want %s", got, want)
	}
}

// stores opens one Store of each kind for a test.
func stores(t *testing.T) map[string]spin.Store {
	server := redistest.Start(t)
	return map[string]spin.Store{"memory": spin.NewMemoryStore(1 << 20), "redis": spin.NewRedisStore(server.Client(), "kv:app:default")}
}

func TestKeyValue(t *testing.T) {
	big := strings.Repeat("v", 101)
	steps := []step{
		{[]string{"kv-get", "missing"}, "err 4", "none"},
		both("ok 0", "kv-exists", "key"),
		both("ok", "kv-set", "key", "a\x00\xff"),
		both(`ok a\x00\xff`, "kv-get", "key"),
		both("ok 1", "kv-exists", "key"),
		both("ok", "kv-set", "key", ""),
		both("ok ", "kv-get", "key"),
		both("ok key", "kv-keys"),
		both("ok", "kv-delete", "key"),
		both("ok", "kv-delete", "key"),
		both("ok ", "kv-keys"),
		{[]string{"kv-set", "key", big}, "err 5 value of 101 bytes exceeds limit of 100 bytes", "err 3 value of 101 bytes exceeds limit of 100 bytes"},
		{[]string{"kv-get", big}, "err 5 key of 101 bytes exceeds limit of 100 bytes", "err 3 key of 101 bytes exceeds limit of 100 bytes"},
		{[]string{"kv-set", big, ""}, "err 5 key of 101 bytes exceeds limit of 100 bytes", "err 3 key of 101 bytes exceeds limit of 100 bytes"},
	}
	for _, f := range forms[:2] {
		all := stores(t)
		h := &spin.Host{Stores: all, Limits: spin.Limits{KeyBytes: 100, ValueBytes: 100}}
		for label := range all {
			for _, s := range steps {
				want := s.v1
				if f.v2 {
					want = s.v2
				}
				if got := f.says(t, h, nil, append([]string{s.fields[0], label}, s.fields[1:]...)...); got != want {
					t.Errorf("%s %s %q: got %s, want %s", f.name, label, s.fields, got, want)
				}
			}
		}
		h.Stores["unknown"] = nil
		if got := f.says(t, h, nil, "kv-get", "secret", "k") + " " + f.says(t, h, nil, "kv-get", "unknown", "k"); got != "err 2 err 1" {
			t.Errorf("%s: not granted and not there: %s", f.name, got)
		}
	}
	for _, g := range generations {
		r := newRig(t, g)
		all := stores(t)
		h := &spin.Host{Stores: all, Limits: spin.Limits{KeyBytes: 100, ValueBytes: 100}}
		for label := range all {
			for _, s := range steps {
				want := s.v1
				if g.v2 {
					want = s.v2
				}
				if got := r.says(h, append([]string{s.fields[0], label}, s.fields[1:]...)...); got != want {
					t.Errorf("%s %s %q: got %s, want %s", g.name, label, s.fields, got, want)
				}
			}
		}
		h.Stores["unknown"] = nil
		if got := r.says(h, "kv-get", "secret", "k"); got != "err 2" { // access-denied
			t.Errorf("%s: not granted: %s", g.name, got)
		}
		if got := r.says(h, "kv-get", "unknown", "k"); got != "err 1" { // no-such-store
			t.Errorf("%s: granted, but not there: %s", g.name, got)
		}
		if !g.v2 {
			if got := r.says(h, "kv-closed", "memory", "k"); got != "err 3" { // invalid-store
				t.Errorf("%s: closed: %s", g.name, got)
			}
		}
		h.Limits.StoreHandles = -1
		if got := r.says(h, "kv-get", "memory", "k"); got != "err 0" { // store-table-full
			t.Errorf("%s: table full: %s", g.name, got)
		}
	}
}

func TestWASIKeyValue(t *testing.T) {
	r := newRig(t, version)
	for label, store := range stores(t) {
		t.Run(label, func(t *testing.T) {
			h := &spin.Host{Stores: map[string]spin.Store{"s": store, "unknown": nil}, Limits: spin.Limits{KeyBytes: 100, ValueBytes: 100}}
			for _, s := range []step{
				both("none", "w-get", "s", "k"),
				both("ok", "w-set", "s", "k", "v"),
				both("ok v", "w-get", "s", "k"),
				both("ok 1", "w-exists", "s", "k"),
				both("ok k end", "w-keys", "s"),
				both("err 2 list_keys: cursor not supported", "w-keys", "s", "0"),
				both("ok v -> ok", "w-swap", "s", "k", "w"),
				both("ok w", "w-get", "s", "k"),
				both("ok w -> failed, now ok else", "w-swap", "s", "k", "x", "else"),
				both("ok else", "w-get", "s", "k"),
				both("none -> ok", "w-swap", "s", "new", "1"),
				both("none -> failed, now ok ", "w-swap", "s", "new2", "1", ""),
				both("ok else -> store err 2 value of 101 bytes exceeds limit of 100 bytes", "w-swap", "s", "k", strings.Repeat("v", 101)),
				both("ok", "w-delete-many", "s", "k", "new", "new2", "never"),
				both("ok  end", "w-keys", "s"),
				both("ok 10", "w-increment", "s", "n", le64(10)),
				both("ok 5", "w-increment", "s", "n", le64(-5)),
				both("ok", "w-set-many", "s", "a", "1", "b", ""),
				both("ok a=ok 1 c=none b=ok  n=ok 5", "w-get-many", "s", "a", "c", "b", "n"),
				both("ok", "w-get-many", "s"),
				both("ok", "w-delete", "s", "a"),
				both("err 1", "w-get", "secret", "k"),
				both("err 0", "w-get", "unknown", "k"),
			} {
				if got := r.says(h, s.fields...); got != s.v2 {
					t.Errorf("%q: got %s, want %s", s.fields, got, s.v2)
				}
			}
			if got := r.says(h, "w-increment", "s", "b", le64(1)); !strings.HasPrefix(got, "err 2 ") {
				t.Errorf("increment of text: %s", got)
			}
			h.Limits.StoreHandles = -1
			if got, want := r.says(h, "w-get", "s", "k"), "err 2 store table full"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestMemoryStoreIsBounded(t *testing.T) {
	ctx := t.Context()
	s := spin.NewMemoryStore(200)
	if err := s.Set(ctx, "a", make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	err := s.Set(ctx, "b", make([]byte, 100))
	if want := "store is full: 165 of 200 bytes are used and this entry needs 165 more; delete keys first"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := s.Set(ctx, "a", make([]byte, 135)); err != nil {
		t.Errorf("up to the bound: %v", err)
	}
	if err := s.Set(ctx, "a", make([]byte, 136)); err == nil {
		t.Error("beyond the bound")
	}
	s.Delete(ctx, "a")
	if err := s.Set(ctx, "b", make([]byte, 135)); err != nil {
		t.Errorf("after deleting: %v", err)
	}
}

func TestStoresAreAtomic(t *testing.T) {
	const workers, rounds = 8, 50
	for label, store := range stores(t) {
		ctx, atomic := t.Context(), store.(spin.Atomic)
		var g sync.WaitGroup
		for w := range workers {
			g.Go(func() {
				for range rounds {
					if _, err := atomic.Increment(ctx, "n", 1); err != nil {
						t.Error(err)
					}
					for swapped := false; !swapped; {
						var old *[]byte
						value, found, err := store.Get(ctx, "s")
						if err != nil {
							t.Error(err)
							return
						}
						if found {
							old = &value
						}
						if swapped, err = atomic.Swap(ctx, "s", old, append(slices.Clone(value), 'x')); err != nil {
							t.Error(err)
							return
						}
					}
					key := fmt.Sprint("own", w)
					store.Set(ctx, key, []byte(key))
					store.Exists(ctx, key)
					store.Keys(ctx)
					store.Delete(ctx, key)
				}
			})
		}
		g.Wait()
		if n, _, _ := store.Get(ctx, "n"); string(n) != fmt.Sprint(workers*rounds) {
			t.Errorf("%s: %s increments", label, n)
		}
		if s, _, _ := store.Get(ctx, "s"); len(s) != workers*rounds {
			t.Errorf("%s: %d swaps", label, len(s))
		}
		if keys, _ := store.Keys(ctx); len(keys) != 2 {
			t.Errorf("%s: keys %q", label, keys)
		}
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Method", r.Method)
		w.Header().Add("X-Seen", strings.Join(r.Header["X-In"], "+"))
		w.Header().Add("X-Seen", "twice")
		w.Header().Set("X-Latin", "caf\xe9")
		w.WriteHeader(418)
		fmt.Fprintf(w, "%s %s", r.URL, body)
		if r.URL.Path == "/big" {
			w.Write(make([]byte, 5000))
		}
	}))
	defer server.Close()
	const headers = " x-method=%s x-seen=%s x-seen=twice body "
	tests := []struct {
		name   string
		fields []string // method, url, "b" and body, headers
		want   string
	}{
		{"get", []string{"0", "/a?b=c", ""}, "ok 418" + fmt.Sprintf(headers, "GET", "") + "/a?b=c "},
		{"post", []string{"1", "/", "bbody", "X-In", "1", "x-in", "2"}, "ok 418" + fmt.Sprintf(headers, "POST", "1+2") + "/ body"},
		{"put", []string{"2", "/", "b\x00"}, "ok 418" + fmt.Sprintf(headers, "PUT", "") + `/ \x00`},
		{"delete", []string{"3", "/", "b"}, "ok 418" + fmt.Sprintf(headers, "DELETE", "") + "/ "},
		{"patch", []string{"4", "/", "bp"}, "ok 418" + fmt.Sprintf(headers, "PATCH", "") + "/ p"},
		{"head", []string{"5", "/", ""}, "ok 418" + fmt.Sprintf(headers, "HEAD", "")},
		{"options", []string{"6", "/", ""}, "ok 418" + fmt.Sprintf(headers, "OPTIONS", "") + "/ "},
		{"not listed", []string{"0", "http://example.com/", ""}, "err 1"},
		{"invalid URL", []string{"0", "http://%zz/", ""}, "err 2"},
		{"self", []string{"0", "/relative", "", "self"}, "err 2"},
		{"header with a line", []string{"0", "/", "", "X-In", "a\r\nHost: evil"}, "err 3"},
		{"header name", []string{"0", "/", "", "X In", "a"}, "err 3"},
		{"another host", []string{"0", "/", "", "host", "evil"}, "err 3"},
		{"too big", []string{"0", "/big", ""}, "err 4"},
	}
	h := &spin.Host{Gate: newGate(t, server.URL), Limits: spin.Limits{ResultBytes: 4096}}
	for _, g := range generations[:2] {
		r := newRig(t, g)
		for _, tt := range tests {
			fields := slices.Clone(tt.fields)
			if len(fields) == 4 {
				fields = fields[:3] // the relative URL as it is
			} else if strings.HasPrefix(fields[1], "/") {
				fields[1] = server.URL + fields[1]
			}
			if got := r.says(h, append([]string{"http"}, fields...)...); got != tt.want {
				t.Errorf("%s %s: got %s, want %s", g.name, tt.name, got, tt.want)
			}
		}
		if got := r.says(&spin.Host{}, "http", "0", server.URL, ""); got != "err 1" {
			t.Errorf("without a gate: %s", got)
		}
	}
	server.Close()
	if got := newRig(t, shapeA).says(h, "http", "0", server.URL, ""); got != "err 4" {
		t.Errorf("dead server: %s", got)
	}
}

func TestHTTPObeysCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel(errShutdown)
		<-r.Context().Done()
	}))
	defer server.Close()
	_, err := newRig(t, shapeA).run(ctx, &spin.Host{Gate: newGate(t, server.URL)}, nil, "0", "http", "0", server.URL, "")
	if !errors.Is(err, errShutdown) {
		t.Errorf("got %v", err)
	}
}

// Many invocations at once share a Host; their Calls have nothing in common.
func TestInvocationsInParallel(t *testing.T) {
	server := redistest.Start(t)
	h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*"), Stores: map[string]spin.Store{"s": spin.NewMemoryStore(1 << 20)}, Variables: variables}
	const workers, rounds = 8, 25
	for _, g := range generations {
		r := newRig(t, g)
		var wait sync.WaitGroup
		for w := range workers {
			wait.Go(func() {
				channel := fmt.Sprint("channel", w)
				for range rounds {
					got, err := r.run(t.Context(), h, message{"tenloom_channel": channel}, "0", "config", "tenloom_channel")
					if err != nil || got != "ok "+channel {
						t.Errorf("got %s, %v", got, err)
					}
					if _, err := r.run(t.Context(), h, nil, "0", "incr", "redis://"+server.Addr, g.name); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if n := server.Client().Get(t.Context(), g.name).Val(); n != fmt.Sprint(workers*rounds) {
			t.Errorf("%s: %s increments", g.name, n)
		}
	}
}

func BenchmarkVariable(b *testing.B) {
	r := newRig(b, shapeA)
	h := &spin.Host{}
	for b.Loop() {
		if out, err := r.run(b.Context(), h, message{"tenloom_channel": "orders"}, "0", "config", "tenloom_channel"); err != nil || out != "ok orders" {
			b.Fatal(out, err)
		}
	}
}
