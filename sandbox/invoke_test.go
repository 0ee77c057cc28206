package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/tenants"
)

func TestEcho(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	for _, row := range []struct {
		guest string
		shape sandbox.Shape
		rest  string
	}{{"echo-a", sandbox.ShapeA, ""}, {"echo-b", sandbox.ShapeB, "post\n"}} {
		p := compile(t, r, guest(t, row.guest))
		if p.Shape() != row.shape {
			t.Errorf("%s has shape %v", row.guest, p.Shape())
		}
		if got := strings.Join(p.Imports(), " "); got != "wasi_snapshot_preview1" {
			t.Errorf("%s imports %q", row.guest, got)
		}
		c := p.Bind(sandbox.Binding{})
		if err := c.Check(context.Background()); err != nil {
			t.Error(err)
		}
		for _, payload := range []string{"hello", "", strings.Repeat("x", 3000)} {
			got := invoke(c, payload)
			// 1 each time: an instance that had seen a message before would count on.
			if want := "1 " + payload + "\n" + row.rest; got.Outcome != tenants.Handled || got.Err != nil || string(got.Output) != want {
				t.Errorf("%s(%.10q) = %v, %v, %.40q", row.guest, payload, got.Outcome, got.Err, got.Output)
			}
			if got.Memory < 65536 || got.LegacySuccess || got.Truncated != 0 {
				t.Errorf("%s: memory %d, legacy %v, truncated %d", row.guest, got.Memory, got.LegacySuccess, got.Truncated)
			}
		}
	}
}

func TestLargePayload(t *testing.T) {
	c := bind(t, "echo-a", sandbox.Binding{Memory: 4 << 20})
	got := invoke(c, strings.Repeat("x", 3<<20))
	if got.Outcome != tenants.Handled || got.Memory < 3<<20 || got.Truncated != 2<<20+3 {
		t.Errorf("%v %v, memory %d, truncated %d", got.Outcome, got.Err, got.Memory, got.Truncated)
	}
	got = invoke(c, strings.Repeat("x", 5<<20))
	if f := failure(t, got); f.Kind != sandbox.OutOfMemory {
		t.Errorf("payload above the cap: %+v", f)
	}
}

func TestEvil(t *testing.T) {
	c := bind(t, "evil", sandbox.Binding{Memory: 16 << 20, Timeout: 20 * time.Second})
	for _, row := range []struct {
		payload, output string
		kind            sandbox.FailureKind // "" where it is handled
		text            []string
		code            uint32
	}{
		{payload: "nothing"},
		{payload: "grow", output: "256"},
		{payload: "starve", kind: sandbox.OutOfMemory, text: []string{"out of memory", "its cap is 16 MiB", "memory = ", "[component.<id>.tool.tenloom]", "unreachable"}},
		{payload: "hungry", kind: sandbox.HandlerError, text: []string{"handler returned an error", "its cap is 16 MiB"}},
		{payload: "trap", output: "half way", kind: sandbox.Trapped, text: []string{"wasm error: unreachable", "handle"}},
		{payload: "recurse", kind: sandbox.StackOverflow, text: []string{"wasm error: stack overflow", "nested too deep"}},
		{payload: "exit0", kind: sandbox.Exited, text: []string{"code 0"}},
		{payload: "exit3", kind: sandbox.Exited, text: []string{"code 3", "in the function handle"}, code: 3},
		{payload: "exittimeout", kind: sandbox.Exited, text: []string{"code 4026531839"}, code: 0xefffffff},
		{payload: "poll", output: "21"},
		{payload: "error", kind: sandbox.HandlerError, text: []string{"handler returned an error"}},
		{payload: "odd", kind: sandbox.HandlerError, text: []string{"handler returned an error", "07 00"}},
		{payload: "pointer", kind: sandbox.Trapped, text: []string{"0xffffffff"}},
		{payload: strings.Repeat(".", 4243), kind: sandbox.Trapped, text: []string{"realloc"}},
	} {
		t.Run(row.payload[:min(len(row.payload), 12)], func(t *testing.T) {
			got := invoke(c, row.payload)
			if string(got.Output) != row.output {
				t.Errorf("output %q, want %q", got.Output, row.output)
			}
			if row.kind == "" {
				if got.Outcome != tenants.Handled || got.Err != nil {
					t.Errorf("%v: %v", got.Outcome, got.Err)
				}
				return
			}
			f := failure(t, got)
			if got.Outcome != tenants.Failed || f.Kind != row.kind || f.Code != row.code {
				t.Errorf("outcome %v, %+v", got.Outcome, f)
			}
			for _, part := range row.text {
				if !strings.Contains(f.Text, part) {
					t.Errorf("%q does not say %q", f.Text, part)
				}
			}
			for _, part := range []string{"goroutine ", ".go:", "recovered by"} {
				if strings.Contains(f.Text, part) {
					t.Errorf("%q says %q", f.Text, part)
				}
			}
			if after := invoke(c, "nothing"); after.Err != nil {
				t.Errorf("the next message: %v", after.Err)
			}
		})
	}
}

func TestLegacySuccess(t *testing.T) {
	got := invoke(bind(t, "evil", sandbox.Binding{}), "success")
	if got.Outcome != tenants.Handled || got.Err != nil || !got.LegacySuccess {
		t.Errorf("%+v", got)
	}
}

func TestDeadline(t *testing.T) {
	for _, payload := range []string{"loop", "sleep", strings.Repeat(".", 4242)} {
		t.Run(payload[:4], func(t *testing.T) {
			c := bind(t, "evil", sandbox.Binding{Timeout: 100 * time.Millisecond})
			got := invoke(c, payload)
			f := failure(t, got)
			if got.Outcome != tenants.TimedOut || f.Kind != sandbox.OutOfTime || !strings.Contains(f.Text, "timed out after 100ms") {
				t.Errorf("outcome %v, %+v", got.Outcome, f)
			}
		})
	}
}

// A guest that never returns must let the world stop: a collection waits for every goroutine, and Go cannot preempt guest code.
func TestDeadlineBesideCollections(t *testing.T) {
	c := bind(t, "evil", sandbox.Binding{Timeout: 300 * time.Millisecond})
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	})
	var loops sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		loops.Go(func() {
			if got := invoke(c, "loop"); got.Outcome != tenants.TimedOut {
				t.Errorf("%v: %v", got.Outcome, got.Err)
			}
		})
	}
	loops.Wait()
	close(done)
	all.Wait()
}

func TestCancel(t *testing.T) {
	for _, payload := range []string{"loop", "sleep", "nothing"} {
		ctx, cancel := context.WithCancel(context.Background())
		c := bind(t, "evil", sandbox.Binding{})
		if payload == "nothing" {
			cancel()
		} else {
			stop := time.AfterFunc(20*time.Millisecond, cancel)
			defer stop.Stop()
		}
		got := c.Invoke(ctx, sandbox.Call{Payload: []byte(payload)})
		if f := failure(t, got); got.Outcome != tenants.Failed || f.Kind != sandbox.Cancelled {
			t.Errorf("%s: outcome %v, %+v", payload, got.Outcome, f)
		}
		cancel()
	}
}

func TestStart(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	for _, row := range []struct {
		guest string
		kind  sandbox.FailureKind
		text  string
	}{
		{"start-loop", sandbox.OutOfTime, "while it was instantiated"},
		{"start-trap", sandbox.NotStarted, "wasm error: unreachable"},
		{"init-trap", sandbox.NotStarted, "wasm error: unreachable"},
		{"init-loop", sandbox.OutOfTime, "in _initialize"},
		{"init-exit", sandbox.Exited, "code 2 in _initialize"},
		{"data-out", sandbox.NotStarted, "out of bounds memory access"},
		{"memory-4gib", sandbox.OutOfMemory, "needs 4 GiB of memory to start, its cap is 128 MiB"},
	} {
		t.Run(row.guest, func(t *testing.T) {
			c := compile(t, r, guest(t, row.guest)).Bind(sandbox.Binding{Timeout: 200 * time.Millisecond})
			var f *sandbox.Failure
			if err := c.Check(context.Background()); !errors.As(err, &f) || f.Kind != row.kind || !strings.Contains(f.Text, row.text) {
				t.Errorf("check: %+v", err)
			}
			if got := failure(t, invoke(c, "x")); got.Kind != row.kind {
				t.Errorf("invoke: %+v", got)
			}
		})
	}
}

func TestBadEnvironment(t *testing.T) {
	c := bind(t, "reader", sandbox.Binding{Env: map[string]string{"A": "x\x00y"}})
	var f *sandbox.Failure
	if err := c.Check(context.Background()); !errors.As(err, &f) || f.Kind != sandbox.NotStarted {
		t.Errorf("%v", err)
	}
}

func TestEnvironmentAndFiles(t *testing.T) {
	p := compile(t, newRuntime(t, sandbox.Config{}), guest(t, "reader"))
	files := fstest.MapFS{"greeting.txt": {Data: []byte("good day")}, "data/more.txt": {Data: []byte("more")}}
	with := p.Bind(sandbox.Binding{Env: map[string]string{"B": "2", "A": "1"}, Files: files})
	without := p.Bind(sandbox.Binding{Env: map[string]string{"A": "other"}})
	for _, row := range []struct {
		c               *sandbox.Component
		payload, output string
	}{
		{with, "env", "A=1\nB=2\n"},
		{without, "env", "A=other\n"},
		{with, "file greeting.txt", "good day"},
		{with, "file data/more.txt", "more"},
		{with, "file missing.txt", "errno 44"},
		{with, "file ../outside", "errno 63"},
		{with, "write new.txt", "errno 44"},
		{without, "file greeting.txt", "errno 08"},
	} {
		if got := invoke(row.c, row.payload); got.Err != nil || string(got.Output) != row.output {
			t.Errorf("%q printed %q, %v; want %q", row.payload, got.Output, got.Err, row.output)
		}
	}
}

func TestClocksAndRandomness(t *testing.T) {
	c := bind(t, "reader", sandbox.Binding{})
	seen := map[string]bool{}
	before := fmt.Sprintf("%016x", time.Now().UnixNano())
	for range 3 {
		random, times, _ := strings.Cut(string(invoke(c, "clock").Output), "\n")
		wall, mono, _ := strings.Cut(times, "\n")
		if seen[random] {
			t.Errorf("random number %s again", random)
		}
		seen[random] = true
		if after := fmt.Sprintf("%016x", time.Now().UnixNano()); wall < before || wall > after {
			t.Errorf("wall clock %s is not between %s and %s", wall, before, after)
		}
		if mono == strings.Repeat("0", 16)+"\n" {
			t.Error("the monotonic clock stands still")
		}
	}
}

func TestOutput(t *testing.T) {
	var lines collector
	count := 0
	c := bind(t, "evil", sandbox.Binding{Output: 1 << 20, LogRate: 1 << 20, Lines: func(l sandbox.Line) {
		count++
		if len(l.Text) > sandbox.MaxLine {
			t.Errorf("a line of %d bytes", len(l.Text))
		}
		if count < 5 {
			lines.add(l)
		}
	}})
	for _, row := range []struct {
		payload   string
		count     int
		truncated int64
	}{
		{"print", 16*655 + 1, 160*65536 - 1<<20}, // 655 line feeds in each write of 64 KiB, and what the bound cut off
		{"lines", 100_000, 0},
		{"long", 4, 0},
		{"trap", 1, 0},
	} {
		count, lines.lines = 0, nil
		got := invoke(c, row.payload)
		if got.Truncated != row.truncated {
			t.Errorf("%s: %d bytes truncated, want %d", row.payload, got.Truncated, row.truncated)
		}
		if count != row.count {
			t.Errorf("%s: %d lines, want %d", row.payload, count, row.count)
		}
		if row.payload == "long" {
			a := strings.Repeat("a", sandbox.MaxLine)
			if want := "stdout " + a + "~\nstdout " + a + "~\nstdout " + a[:20000-2*sandbox.MaxLine] + "\nstdout unfinished"; lines.text() != want {
				t.Errorf("long: %.60q", lines.text())
			}
		}
	}
}

// A panic in what the host gave us is not the tenant's to read, and not the process's end.
func TestHostPanic(t *testing.T) {
	for _, value := range []any{errors.New("secret"), "secret"} {
		c := bind(t, "echo-a", sandbox.Binding{Lines: func(sandbox.Line) { panic(value) }})
		if f := failure(t, invoke(c, "x")); f.Kind != sandbox.Internal || f.Text != "internal error" {
			t.Errorf("%+v", f)
		}
	}
}

func TestGoGuest(t *testing.T) {
	var lines collector
	c := compile(t, newRuntime(t, sandbox.Config{}), buildGo(t)).Bind(sandbox.Binding{
		Env: map[string]string{"GREETING": "hello"}, Memory: 32 << 20, Timeout: 30 * time.Second, Lines: lines.add,
	})
	if err := c.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := invoke(c, "Ada"); got.Err != nil || string(got.Output) != "hello Ada\n" || lines.text() != "stdout hello Ada" {
		t.Errorf("%v, %q, %q", got.Err, got.Output, lines.text())
	}
	for payload, kind := range map[string]sandbox.FailureKind{
		"panic": sandbox.Trapped, "exit": sandbox.Exited, "eat": sandbox.OutOfMemory, "fail": sandbox.HandlerError,
	} {
		if f := failure(t, invoke(c, payload)); f.Kind != kind {
			t.Errorf("%s: %+v", payload, f)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if got := c.Invoke(ctx, sandbox.Call{Payload: []byte("sleep")}); got.Outcome != tenants.TimedOut || got.Err.Error() != "the caller's deadline came before the handler answered" {
		t.Errorf("sleep: %v", got.Err)
	}
}
