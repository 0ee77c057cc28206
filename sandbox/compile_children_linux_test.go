package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
)

// children are this process's own, those that ended and were not waited for too.
func children(t *testing.T) (all []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		list, err := os.ReadFile(name)
		if os.IsNotExist(err) { // a thread that has ended
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, pid)
		}
	}
	return all
}

func descriptorsNow(t *testing.T) int { return descriptors(t) }

// awaitChild waits until a process apart runs.
func awaitChild(t *testing.T) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
		if all := children(t); len(all) > 0 {
			return all[0]
		}
	}
	t.Fatal("no process was started")
	return 0
}

func TestCompileApartKilled(t *testing.T) {
	r := newRuntime(t, apart(t))
	done := make(chan error)
	go func() {
		_, err := r.Compile(context.Background(), slow(2000))
		done <- err
	}()
	if err := syscall.Kill(awaitChild(t), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	refusedAs(t, <-done, sandbox.CompileFailed, "signal: killed")
	if all := children(t); len(all) != 0 {
		t.Errorf("processes are left: %v", all)
	}
	works(t, r)
}

// What a process has started ends with it.
func TestCompileApartKillsAll(t *testing.T) {
	c := apart(t)
	name := filepath.Join(t.TempDir(), "pid")
	c.CompileApart = []string{"sh", "-c", "sleep 1000 & echo $! >" + name + "; wait"}
	r := newRuntime(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Compile(ctx, slow(1))
	}()
	var pid string
	for deadline := time.Now().Add(time.Minute); !strings.HasSuffix(pid, "\n") && time.Now().Before(deadline); runtime.Gosched() {
		text, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		pid = string(text)
	}
	cancel()
	<-done
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
	if _, state, ok := strings.Cut(string(stat), ") "); pid == "" || err == nil && ok && state[0] != 'Z' {
		t.Errorf("process %q of a process apart is left: %s", pid, stat)
	}
}

// The limits that a process apart takes on are the kernel's to show.
func TestCompileApartLimits(t *testing.T) {
	c := apart(t)
	c.CompileTime = 30 * time.Second
	r := newRuntime(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Compile(ctx, slow(2000))
	}()
	proc := "/proc/" + strconv.Itoa(awaitChild(t))
	var limits string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); runtime.Gosched() {
		stat, err := os.ReadFile(proc + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(proc + "/limits")
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
		if limits = strings.Join(strings.Fields(string(text)), " "); fields[17] == "10" { // niceness, which is set last
			break
		}
	}
	for _, want := range []string{"Max cpu time 62 62 seconds", "Max core file size 0 0", "Max open files 64 64", "Max file size 1073741824 1073741824"} {
		if !strings.Contains(limits, want) {
			t.Errorf("%q is not among the limits: %s", want, limits)
		}
	}
	if strings.Contains(limits, "Max data size unlimited") {
		t.Errorf("no limit of memory: %s", limits)
	}
	if env, err := os.ReadFile(proc + "/environ"); err != nil || strings.Contains(string(env), "PATH=") {
		t.Errorf("its environment: %q, %v", env, err)
	}
	cancel()
	<-done
}
