package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.CompileMain()
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")) // processes apart would wait a second before they end
	os.Exit(m.Run())
}

// slow is a module below the rewriter's limits that takes long to compile: n functions of 4,000 ifs in a row.
func slow(n int) []byte {
	body := bytes.Repeat([]byte{0x41, 0, 0x04, 0x40, 0x0b}, 4000)
	body = append(append([]byte{0}, body...), 0x0b)
	body = append(leb(uint64(len(body))), body...)
	count := leb(uint64(n))
	return module(section(1, 1, 0x60, 0, 0), section(3, append(count, make([]byte, n)...)...), section(10, append(count, bytes.Repeat(body, n)...)...))
}

// apart is the configuration of a runtime that compiles in this test binary, started again.
func apart(t testing.TB) sandbox.Config {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	command, err := sandbox.CompileCommand()
	if err != nil {
		t.Fatal(err)
	}
	return sandbox.Config{CompileApart: command}
}

func refusedAs(t *testing.T, err error, kind sandbox.CompileKind, parts ...string) {
	t.Helper()
	var refused *sandbox.CompileError
	if !errors.As(err, &refused) || refused.Kind != kind {
		t.Fatalf("%v: want a *CompileError of kind %s", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// works compiles and runs a guest.
func works(t *testing.T, r *sandbox.Runtime) {
	t.Helper()
	c := compile(t, r, guest(t, "echo-a")).Bind(sandbox.Binding{})
	if got := invoke(c, "x"); string(got.Output) != "1 x\n" {
		t.Errorf("%q, %v", got.Output, got.Err)
	}
}

// leftovers are the files in a cache that nobody should find there.
func leftovers(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && (strings.HasPrefix(d.Name(), "apart-") || strings.HasSuffix(d.Name(), ".tmp")) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestCompileApart(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		c := apart(t)
		c.CacheDir = dir
		r := newRuntime(t, c)
		works(t, r)
		reader := compile(t, r, guest(t, "reader"))
		if err := os.WriteFile(os.Getenv("TMPDIR")+"/f", []byte("y"), 0o600); err != nil {
			t.Fatal(err)
		}
		filed := reader.Bind(sandbox.Binding{Files: os.DirFS(os.Getenv("TMPDIR"))})
		if got := invoke(filed, "file f"); string(got.Output) != "y" {
			t.Errorf("%q, %v", got.Output, got.Err)
		}
		_, err := r.Compile(context.Background(), guest(t, "no-handler"))
		refusedAs(t, err, sandbox.NoHandler, "handle-http-request")
		_, err = r.Compile(context.Background(), function(0, nested(20_000, 0x03, 0x40)...))
		refusedAs(t, err, sandbox.OverLimit, "levels of nested blocks", "split the function")
		_, err = r.Compile(context.Background(), function(0, 0x6a, 0x1a))
		refusedAs(t, err, sandbox.Malformed)
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(os.Getenv("TMPDIR") + "/tenloom*"); len(left) != 0 {
			t.Error(left, err)
		}
		if dir != "" && len(leftovers(t, dir)) != 0 {
			t.Error(leftovers(t, dir))
		}
	}
}

// What a process apart compiles this process finds, and the other way round.
func TestCompileApartSharesCache(t *testing.T) {
	dir := t.TempDir()
	names := func() []string {
		all, err := filepath.Glob(dir + "/*/*")
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	works(t, newRuntime(t, sandbox.Config{CacheDir: dir}))
	before := names()
	c := apart(t)
	c.CacheDir, c.CompileApart = dir, []string{"/does/not/exist"}
	works(t, newRuntime(t, c))
	for _, name := range before[1:] { // the probe stays: it is the first that anybody compiles
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	c.CompileApart = apart(t).CompileApart
	works(t, newRuntime(t, c))
	if after := names(); !equalSets(before, after) {
		t.Errorf("compiled apart: %v, here: %v", after, before)
	}
}

func equalSets(a, b []string) bool {
	return strings.Join(a, " ") == strings.Join(b, " ") // Glob sorts
}

func TestCompileApartOnce(t *testing.T) {
	r := newRuntime(t, apart(t))
	programs := make([]*sandbox.Program, 6)
	var all sync.WaitGroup
	for i := range programs {
		all.Go(func() {
			var err error
			if programs[i], err = r.Compile(context.Background(), guest(t, "evil")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, p := range programs {
		if p != programs[0] {
			t.Fatal("the same bytes became two programs")
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCompileApartFails(t *testing.T) {
	shell := func(script string) func(*sandbox.Config) {
		return func(c *sandbox.Config) { c.CompileApart = []string{"sh", "-c", script} }
	}
	for _, row := range []struct {
		name   string
		change func(*sandbox.Config)
		wasm   []byte
		kind   sandbox.CompileKind
		text   []string
	}{
		{"time", func(c *sandbox.Config) { c.CompileTime = time.Second }, slow(100), sandbox.CompileTime, []string{"longer than the limit of 1s", "bytes", "raise the limit of compile time"}},
		{"memory", func(c *sandbox.Config) { c.CompileMemory = 8 << 20 }, slow(100), sandbox.CompileMemory, []string{"more memory than the limit of 8 MiB", "raise the limit of compile memory"}},
		{"no time at all", func(c *sandbox.Config) { c.CompileTime = 1 }, slow(1), sandbox.CompileTime, []string{"limit of 1ns"}},
		{"hangs", func(c *sandbox.Config) {
			shell("sleep 1000 | sleep 1000")(c)
			c.CompileTime = 100 * time.Millisecond
		}, slow(1), sandbox.CompileTime, []string{"100ms"}},
		{"killed", shell("kill -9 $$"), slow(1), sandbox.CompileFailed, []string{"ended before it was done (signal: killed)", "too little memory"}},
		{"crashes", shell("echo panic >&2; exit 2"), slow(1), sandbox.CompileFailed, []string{"exit status 2"}},
		{"panics for memory", shell("echo 'fatal error: runtime: out of memory' >&2; exit 2"), slow(1), sandbox.CompileMemory, []string{"2048 MiB"}},
		{"no answer", shell("cat >/dev/null"), slow(1), sandbox.CompileFailed, []string{"no answer that makes sense"}},
		{"garbage", shell("cat >/dev/null; echo '<html>'"), slow(1), sandbox.CompileFailed, []string{"no answer that makes sense"}},
		{"empty answer", shell("cat >/dev/null; echo '{}'"), slow(1), sandbox.CompileFailed, []string{"no answer that makes sense"}},
		{"endless answer", shell("yes"), slow(1), sandbox.CompileFailed, nil},
		{"endless complaint", shell("yes >&2 & sleep 0.1; kill $!; exit 1"), slow(1), sandbox.CompileFailed, []string{"exit status 1"}},
		{"lies", shell(`cat >/dev/null; echo '{"Done":true}'`), slow(1), sandbox.CompileFailed, []string{"no answer that makes sense"}},
		{"refuses", shell(`cat >/dev/null; echo '{"Refused":{"Kind":"over_limit","Detail":"d"}}'`), slow(1), sandbox.OverLimit, []string{"d"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := apart(t)
			c.CacheDir = t.TempDir()
			good := newRuntime(t, c)
			row.change(&c)
			r := newRuntime(t, c)
			files := descriptorsNow(t)
			_, err := r.Compile(context.Background(), row.wasm)
			refusedAs(t, err, row.kind, row.text...)
			if all := children(t); len(all) != 0 {
				t.Errorf("processes are left: %v", all)
			}
			if now := descriptorsNow(t); now > files {
				t.Errorf("%d descriptors, %d before", now, files)
			}
			if left := leftovers(t, c.CacheDir); len(left) != 0 {
				t.Error(left)
			}
			works(t, good)
			works(t, r) // from the cache that they share
		})
	}
}

// A process that cannot be started is nothing that a tenant could mend.
func TestCompileApartCannotStart(t *testing.T) {
	c := apart(t)
	c.CompileApart = []string{"/does/not/exist"}
	var refused *sandbox.CompileError
	if _, err := newRuntime(t, c).Compile(context.Background(), guest(t, "echo-a")); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "start a process to compile in") {
		t.Error(err)
	}
}

func TestCompileApartCancelled(t *testing.T) {
	r := newRuntime(t, apart(t))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := r.Compile(ctx, slow(100))
		done <- err
	}()
	awaitChild(t)
	cancel()
	var refused *sandbox.CompileError
	if err := <-done; !errors.Is(err, context.Canceled) || errors.As(err, &refused) {
		t.Error(err)
	}
	if all := children(t); len(all) != 0 {
		t.Errorf("processes are left: %v", all)
	}
	works(t, r)
}

func TestCompileTime(t *testing.T) {
	r := newRuntime(t, sandbox.Config{CompileTime: 100 * time.Millisecond, CacheDir: t.TempDir()})
	_, err := r.Compile(context.Background(), slow(100))
	refusedAs(t, err, sandbox.CompileTime, "longer than the limit of 100ms", "2000622 bytes", "raise the limit of compile time")
	if _, err := r.Compile(context.Background(), guest(t, "no-handler")); err == nil {
		t.Error("compiled")
	}
}

// Callers that wait for others' compilations can give up.
func TestCompileWaits(t *testing.T) {
	c := apart(t)
	c.CompileApart = []string{"sh", "-c", "sleep 1000"}
	r := newRuntime(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	for i := range 2 {
		busy.Go(func() { r.Compile(ctx, slow(i+1)) })
	}
	for len(children(t)) < 2 {
		awaitChild(t)
	}
	brief, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	if _, err := r.Compile(brief, slow(3)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait to compile") {
		t.Error(err)
	}
	if n := len(children(t)); n != 2 {
		t.Errorf("%d processes compile at once", n)
	}
	cancel()
	busy.Wait()
}
