package sandbox_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
)

// newRuntime makes a runtime that ends with the test and logs to it.
func newRuntime(t testing.TB, c sandbox.Config) *sandbox.Runtime {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if c.CompileTime == 0 {
		c.CompileTime = time.Hour // the race detector makes the compiler twenty times slower
	}
	r, err := sandbox.New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// guest reads a prebuilt guest.
func guest(t testing.TB, name string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("testdata", "guests", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func compile(t testing.TB, r *sandbox.Runtime, wasm []byte) *sandbox.Program {
	t.Helper()
	p, err := r.Compile(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// bind compiles a prebuilt guest on a runtime of its own and binds it.
func bind(t testing.TB, name string, b sandbox.Binding) *sandbox.Component {
	t.Helper()
	return compile(t, newRuntime(t, sandbox.Config{}), guest(t, name)).Bind(b)
}

func invoke(c *sandbox.Component, payload string) sandbox.Result {
	return c.Invoke(context.Background(), sandbox.Call{Payload: []byte(payload), KeepOutput: 4096})
}

// failure takes the *Failure out of a result.
func failure(t *testing.T, r sandbox.Result) *sandbox.Failure {
	t.Helper()
	var f *sandbox.Failure
	if !errors.As(r.Err, &f) {
		t.Fatalf("outcome %v, error %v, output %q: want a *Failure", r.Outcome, r.Err, r.Output)
	}
	return f
}

// goGuest builds the guest in plain Go, once for all tests.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", file, "./testdata/guests/go")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.New(string(out))
	}
	return os.ReadFile(file)
})

func buildGo(t testing.TB) []byte {
	t.Helper()
	wasm, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// collector gathers lines.
type collector struct {
	mu    sync.Mutex
	lines []string
}

func (c *collector) add(l sandbox.Line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := l.Stream.String() + " " + string(l.Text)
	if l.Cut {
		text += "~"
	}
	c.lines = append(c.lines, text)
}

func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}
