package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// component reads a prebuilt component.
func component(t testing.TB, name string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("testdata", "components", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func bindComponent(t testing.TB, name string, b sandbox.Binding) *sandbox.Component {
	t.Helper()
	return compile(t, newRuntime(t, sandbox.Config{}), component(t, name)).Bind(b)
}

func TestComponentHandlesMessages(t *testing.T) {
	lines := &collector{}
	c := bindComponent(t, "evil", sandbox.Binding{Env: map[string]string{"B": "2", "A": "1"}, Lines: lines.add})
	if is, why := c.Isolation(); is != tenants.Reset || why != "" {
		t.Errorf("isolation %v (%s)", is, why)
	}
	for i, how := range []telemetry.Instance{telemetry.Cold, telemetry.Reset, telemetry.Reset} {
		payload := fmt.Sprintf("message %d", i)
		got := invoke(c, payload)
		// The counter in memory and the number of the next handle are as in the first message.
		if got.Outcome != tenants.Handled || string(got.Output) != "1 1 "+payload+"\n" {
			t.Fatalf("%v, %v, %q", got.Outcome, got.Err, got.Output)
		}
		if got.Instance != how {
			t.Errorf("message %d found %v, want %v", i, got.Instance, how)
		}
		if got.Fuel == 0 || got.Memory != 1<<16 {
			t.Errorf("message %d used %d units and %d bytes", i, got.Fuel, got.Memory)
		}
	}
	if got := invoke(c, "env"); string(got.Output) != "A=1\nB=2\n" {
		t.Errorf("environment %q", got.Output)
	}
	if got := invoke(c, "random"); got.Err != nil || len(got.Output) == 0 {
		t.Errorf("random: %v, %q", got.Err, got.Output)
	}
	if got := strings.Count(lines.text(), "\n") + 1; got < 5 {
		t.Errorf("%d lines were passed on:\n%s", got, lines.text())
	}
}

func TestComponentTellsItsShapeAndImports(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	p := compile(t, r, component(t, "evil"))
	want := "wasi:cli/environment@0.2.0 wasi:cli/exit@0.2.0 wasi:cli/stderr@0.2.0 wasi:cli/stdout@0.2.0 wasi:clocks/monotonic-clock@0.2.0 wasi:io/"
	if got := strings.Join(p.Imports(), " "); p.Shape() != sandbox.ShapeC || !strings.Contains(strings.ReplaceAll(got, "fermyon:spin/redis-types ", ""), want) {
		t.Errorf("shape %v, imports %s", p.Shape(), got)
	}
	if p := compile(t, r, component(t, "later")); p.Shape() != sandbox.ShapeD {
		t.Errorf("shape %v of the asynchronous handler", p.Shape())
	}
}

// What a component's guest can do wrong, with the outcome of each, and a message after it that finds nothing of it.
func TestComponentFailures(t *testing.T) {
	c := bindComponent(t, "evil", sandbox.Binding{Memory: 1 << 20, Timeout: time.Minute})
	for _, row := range []struct {
		payload string
		kind    sandbox.FailureKind
		says    string
	}{
		{"trap", sandbox.Trapped, "unreachable"},
		{"exit", sandbox.Exited, "exited with code 0"},
		{"exit1", sandbox.Exited, "exited with code 1"},
		{"hungry", sandbox.HandlerError, "out of memory"},
		{"error", sandbox.HandlerError, "handler returned an error: error"},
		{"recurse", sandbox.Trapped, "out of bounds memory access"},
		{"odd", sandbox.Trapped, "invalid variant discriminant"},
		{"pointer", sandbox.Trapped, "out of bounds"},
		{"handle", sandbox.Trapped, "unknown handle index 77"},
		{"wrong", sandbox.Trapped, "wrong type"},
		{"twice", sandbox.Trapped, "unknown handle index 1"},
		{"many", sandbox.Trapped, "handle table is full"},
	} {
		got := invoke(c, row.payload)
		f := failure(t, got)
		text := f.Text
		if row.payload == "hungry" { // the growth that was refused is named
			row.says = "its cap is 1 MiB"
		}
		if f.Kind != row.kind || !strings.Contains(text, row.says) {
			t.Errorf("%s: %s, %q; want %s, %q", row.payload, f.Kind, text, row.kind, row.says)
		}
		if got := invoke(c, "after"); string(got.Output) != "1 1 after\n" {
			t.Errorf("after %s: %v, %q", row.payload, got.Err, got.Output)
		}
	}
	if got := invoke(c, "success"); got.Err != nil || !got.LegacySuccess {
		t.Errorf("the Go SDK's success: %v, %v", got.Err, got.LegacySuccess)
	}
	got := invoke(c, "grow")
	if got.Err != nil || !strings.HasPrefix(string(got.Output), "16") || got.Memory != 1<<20 {
		t.Errorf("grow: %v, %q, %d bytes", got.Err, got.Output, got.Memory)
	}
	if got := invoke(c, "after"); string(got.Output) != "1 1 after\n" {
		t.Errorf("after grow: %v, %q", got.Err, got.Output)
	}
}

func TestComponentIsHeldToItsTimeAndFuel(t *testing.T) {
	p := compile(t, newRuntime(t, sandbox.Config{}), component(t, "evil"))
	for payload, b := range map[string]sandbox.Binding{"loop": {Timeout: 50 * time.Millisecond}, "sleep": {Timeout: 50 * time.Millisecond}} {
		if f := failure(t, invoke(p.Bind(b), payload)); f.Kind != sandbox.OutOfTime {
			t.Errorf("%s: %s, %s", payload, f.Kind, f.Text)
		}
	}
	c := p.Bind(sandbox.Binding{Fuel: 1_000_000, Timeout: time.Minute})
	for range 2 {
		got := invoke(c, "loop")
		if f := failure(t, got); f.Kind != sandbox.OutOfFuel || got.Fuel < 999_900 || got.Fuel > 1_000_100 {
			t.Errorf("loop: %s after %d units: %s", f.Kind, got.Fuel, f.Text)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := p.Bind(sandbox.Binding{}).Invoke(ctx, sandbox.Call{}); failure(t, got).Kind != sandbox.Cancelled {
		t.Errorf("cancelled: %v", got.Err)
	}
}

func TestComponentNeedsItsMemory(t *testing.T) {
	c := bindComponent(t, "evil", sandbox.Binding{Memory: 32 << 10})
	if err := c.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "needs 64 KiB of memory to start, its cap is 32 KiB") {
		t.Errorf("check: %v", err)
	}
}

// Files are the host's, so an instance with files is reset like any other.
func TestComponentWithFilesIsReset(t *testing.T) {
	c := bindComponent(t, "evil", sandbox.Binding{Files: fstest.MapFS{"a": {Data: []byte("x")}}})
	for range 3 {
		if got := invoke(c, "x"); string(got.Output) != "1 1 x\n" {
			t.Errorf("%v, %q", got.Err, got.Output)
		}
	}
	if got := invoke(c, "x"); got.Instance != telemetry.Reset {
		t.Errorf("found %v", got.Instance)
	}
}

func TestComponentReuseKeepsWhatTheGuestLeft(t *testing.T) {
	c := bindComponent(t, "evil", sandbox.Binding{Reuse: true})
	for i := range 3 { // the counter goes on by one in the handler and one in post-return, and so do the handles
		if got, want := invoke(c, "x"), fmt.Sprintf("%d %d x\n", 1+2*i, 1+i); string(got.Output) != want {
			t.Errorf("message %d: %v, %q, want %q", i, got.Err, got.Output, want)
		}
	}
}

func TestAsynchronousHandler(t *testing.T) {
	c := bindComponent(t, "later", sandbox.Binding{Timeout: time.Minute, Fuel: 1_000_000})
	for payload, says := range map[string]string{
		"": "", "yield": "",
		"error":    "handler returned an error: other: no such thing",
		"invalid":  "handler returned an error: invalid-address",
		"never":    "without a call of task.return",
		"deadlock": "deadlock detected",
		"odd":      "unsupported callback code: 9",
		"twice":    "a second time",
		"trap":     "unreachable",
		"loop":     "used up its fuel",
	} {
		for range 2 {
			got := invoke(c, payload)
			if says == "" && got.Err == nil {
				continue
			}
			if says == "" || !strings.Contains(failure(t, got).Text, says) {
				t.Errorf("%q: %v, want %q", payload, got.Err, says)
			}
		}
	}
	s := c.Open()
	defer s.Close()
	for range 3 {
		if got := s.Invoke(context.Background(), sandbox.Call{Payload: []byte("yield")}); got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	if got := s.Invoke(context.Background(), sandbox.Call{}); got.Instance != telemetry.Reset {
		t.Errorf("found %v", got.Instance)
	}
}

// Two tenants of one program, four goroutines each, half of whose messages end badly: no message finds anything of another.
func TestComponentsDoNotMix(t *testing.T) {
	p := compile(t, newRuntime(t, sandbox.Config{}), component(t, "evil"))
	var all sync.WaitGroup
	for _, tenant := range []string{"one", "two"} {
		c := p.Bind(sandbox.Binding{Env: map[string]string{"WHO": tenant}, Owner: tenant})
		for g := range 4 {
			all.Go(func() {
				for n := range 50 {
					payload := fmt.Sprintf("%s %d %d", tenant, g, n)
					switch n % 5 {
					case 1:
						invoke(c, "trap")
					case 2:
						invoke(c, "error")
					case 3:
						if got := invoke(c, "env"); string(got.Output) != "WHO="+tenant+"\n" {
							t.Errorf("%s has the environment %q", tenant, got.Output)
						}
					}
					if got := invoke(c, payload); string(got.Output) != "1 1 "+payload+"\n" {
						t.Errorf("%s: %v, %q", payload, got.Err, got.Output)
					}
				}
			})
		}
	}
	all.Wait()
}

func TestComponentComesFromTheCache(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		r := newRuntime(t, sandbox.Config{CacheDir: dir})
		c := compile(t, r, component(t, "evil")).Bind(sandbox.Binding{})
		if got := invoke(c, "x"); string(got.Output) != "1 1 x\n" {
			t.Errorf("%v, %q", got.Err, got.Output)
		}
	}
	files, err := os.ReadDir(filepath.Join(dir, "programs"))
	if err != nil || len(files) != 3 { // one for each core module: the guest, wit-component's shim and its fix-ups
		t.Errorf("%d core modules are kept, %v", len(files), err)
	}
}
