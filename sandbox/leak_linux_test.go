package sandbox_test

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
)

// resident is the process's memory that is in use by pages of its own, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(b)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// descriptors counts what is open, but for the fault records, of which each thread that runs guests keeps one: Go starts threads as it likes.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == "anon_inode:[perf_event]" {
			records++
		}
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	if records > len(threads) {
		t.Errorf("fault records of %d threads, there are %d", records, len(threads))
	}
	return len(entries) - records
}

// settled waits until n goroutines run: wazero's watchers of contexts end a moment after the calls that they watched.
func settled(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > n; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), n, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestInvocationsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t, sandbox.Config{})
	evil := compile(t, r, guest(t, "evil")).Bind(sandbox.Binding{Memory: 4 << 20, Timeout: time.Minute})
	brief := compile(t, r, guest(t, "evil")).Bind(sandbox.Binding{Timeout: time.Millisecond})
	reader := compile(t, r, guest(t, "reader")).Bind(sandbox.Binding{Files: os.DirFS(dir)})
	trapping := compile(t, r, guest(t, "start-trap")).Bind(sandbox.Binding{})
	round := func(n int) {
		for i := range n {
			switch i % 100 {
			case 0:
				invoke(brief, "loop")
			case 1:
				invoke(brief, "sleep")
			case 2:
				invoke(evil, "grow")
			case 3:
				invoke(evil, "exit3")
			case 4:
				invoke(trapping, "")
			case 5:
				invoke(evil, "trap")
			default:
				if got := invoke(reader, "file f"); string(got.Output) != "x" {
					t.Fatalf("%q, %v", got.Output, got.Err)
				}
			}
		}
		runtime.GC()
		runtime.GC()
	}
	round(1000)
	goroutines, fds, rss := runtime.NumGoroutine(), descriptors(t), resident(t)
	round(10_000)
	settled(t, goroutines)
	if now := descriptors(t); now > fds {
		t.Errorf("%d descriptors, %d before", now, fds)
	}
	if now := resident(t); now > rss+64<<20 {
		t.Errorf("%d MiB resident, %d before", now>>20, rss>>20)
	}
}
