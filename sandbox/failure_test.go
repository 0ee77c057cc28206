package sandbox_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// TestFailuresNameTheFunction: every end of a guest says in which function it came, where the module has names.
func TestFailuresNameTheFunction(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	evil, spend := compile(t, r, guest(t, "evil")), compile(t, r, guest(t, "spend"))
	host := &spin.Host{Stores: map[string]spin.Store{"default": spin.NewMemoryStore(1 << 20)}, Limits: spin.Limits{HostCalls: 3}}
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, row := range []struct {
		name    string
		program *sandbox.Program
		b       sandbox.Binding
		message string
		kind    sandbox.FailureKind
		text    string
	}{
		{"time", evil, sandbox.Binding{Timeout: 50 * time.Millisecond}, "loop", sandbox.OutOfTime, "timed out after 50ms in the function handle;"},
		{"time while it sleeps", evil, sandbox.Binding{Timeout: 50 * time.Millisecond}, "sleep", sandbox.OutOfTime, "in the function handle;"},
		{"cancellation", evil, sandbox.Binding{}, "loop", sandbox.Cancelled, "in the function handle"},
		{"fuel", spend, sandbox.Binding{Fuel: 1000}, spending('l', 1e6), sandbox.OutOfFuel, "1000 units in the function turns;"},
		{"host calls", spend, sandbox.Binding{Host: host}, spending('h', 9), sandbox.TooManyCalls, "in the function handle;"},
		{"exit", spend, sandbox.Binding{}, spending('x', 9), sandbox.Exited, "in the function handle and"},
		{"unreachable", spend, sandbox.Binding{}, spending('t', 9), sandbox.Trapped, "wasm error: unreachable\nwasm stack trace:\n\t.broken(i32)"},
		{"allocator", evil, sandbox.Binding{Timeout: 50 * time.Millisecond}, strings.Repeat(".", 4242), sandbox.OutOfTime, "in the function guest_realloc;"},
	} {
		c := row.program.Bind(row.b)
		ctx := context.Background()
		if row.kind == sandbox.Cancelled {
			ctx = cancelled
			stop := time.AfterFunc(20*time.Millisecond, cancel)
			defer stop.Stop()
		}
		f := failure(t, c.Invoke(ctx, sandbox.Call{Payload: []byte(row.message)}))
		if f.Kind != row.kind || !strings.Contains(f.Text, row.text) {
			t.Errorf("%s: %+v, want %s and %q", row.name, f, row.kind, row.text)
		}
	}
}

// TestNamesAreEscaped: what a module calls its functions moves no cursor, and a name that is no UTF-8 is refused.
func TestNamesAreEscaped(t *testing.T) {
	wasm := bytes.Replace(guest(t, "evil"), []byte("\x06handle"), []byte("\x06h\x1b[2J\x7f"), 1)
	c := compile(t, newRuntime(t, sandbox.Config{}), wasm).Bind(sandbox.Binding{Timeout: 20 * time.Millisecond})
	for _, message := range []string{"trap", "loop"} {
		if f := failure(t, invoke(c, message)); !strings.Contains(f.Text, `h\x1b[2J\x7f`) || strings.ContainsAny(f.Text, "\x1b\x7f") {
			t.Errorf("%s: %q", message, f.Text)
		}
	}
	r := newRuntime(t, sandbox.Config{})
	if _, err := r.Compile(context.Background(), bytes.Replace(guest(t, "evil"), []byte("\x06handle"), []byte("\x06hand\xff\xfe"), 1)); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("a name in invalid UTF-8: %v", err)
	}
}
