package deploy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/tenloom/tenloom/deploy"
)

// A file that says it is empty and gives megabytes when it is read, of which /proc has some: it is refused, and not read to its end.
func TestModuleGrowsWhileRead(t *testing.T) {
	const file = "/proc/kallsyms"
	r, m := newRunning(t), application(t, strings.Replace(plain, `"a.wasm"`, `"`+file+`"`, 1))
	sys := r.system(m)
	sys.MaxModule = 16
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := deploy.Load(t.Context(), tenant, m, sys)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), file+" has more than 16 bytes, at most 16 bytes are allowed") {
		t.Errorf("%v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d bytes were taken to find that out", took)
	}
}

// Another process puts other files into a module's and a mounted file's place all the time: a pipe that nobody writes to, a directory, a file
// that is far too large, and the right one. Every deployment ends, with a version or with a refusal.
func TestModuleIsSwapped(t *testing.T) {
	r, m := newRunning(t), application(t, plain)
	path := filepath.Join(m.Dir, "a.wasm")
	good := guest(t, "echo-a")
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends with cancel
		defer close(done)
		temporary := filepath.Join(m.Dir, "next")
		for i := 0; ctx.Err() == nil; i++ {
			var err error
			switch i % 4 {
			case 0:
				err = syscall.Mkfifo(temporary, 0o600)
			case 1:
				err = os.WriteFile(temporary, nil, 0o600)
				err = errors.Join(err, os.Truncate(temporary, 200<<20))
			case 2:
				err = os.Symlink("/dev/zero", temporary)
			case 3:
				err = os.WriteFile(temporary, good, 0o600)
			}
			if err = errors.Join(err, os.Rename(temporary, path)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	sys := r.system(m)
	sys.Load = func(_ context.Context, u *deploy.Unit) error {
		if len(u.Wasm) != len(good) {
			t.Errorf("a module of %d bytes", len(u.Wasm))
		}
		return nil
	}
	loaded, refused := 0, 0
	for i := 0; i < 5_000 || loaded == 0 || refused == 0; i++ { // on a busy machine one file may stand for long
		_, err := deploy.Load(t.Context(), tenant, m, sys)
		switch {
		case err == nil:
			loaded++
		case errors.As(err, new(*deploy.Refused)):
			refused++
		default:
			t.Fatal(err)
		}
	}
	cancel()
	<-done
}

// A mounted file that is longer than it said is no version: what was named would not be what runs.
func TestFileChangesWhileRead(t *testing.T) {
	r, m := newRunning(t), application(t, plain+"files = [\"log\"]\n")
	path := filepath.Join(m.Dir, "log")
	write(t, m.Dir, "log", []byte("1"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with cancel
		defer close(done)
		for ctx.Err() == nil {
			for _, size := range []int64{1, 100_000} {
				if err := os.Truncate(path, size); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	sys := r.system(m)
	sys.Load = func(context.Context, *deploy.Unit) error { return nil }
	met := false
	for range 200_000 {
		_, err := deploy.Load(t.Context(), tenant, m, sys)
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "component.a.files: /log: changed while it was read; deploy again when it is complete") {
			t.Fatal(err)
		}
		met = true
		break
	}
	cancel()
	<-done
	if !met {
		t.Error("no deployment met a file that changed")
	}
}
