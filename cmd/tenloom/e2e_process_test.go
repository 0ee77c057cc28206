package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what has to come. It says when to give up, not how fast anything is.
const patience = time.Minute

// programDir holds what program built; TestMain removes it.
var programDir string

// program is tenloom as a person starts it: built once for all tests that want it, with the race detector where the tests have it.
var program = sync.OnceValues(func() (path string, err error) {
	if programDir, err = os.MkdirTemp("", "tenloom-program-"); err != nil {
		return "", err
	}
	path = filepath.Join(programDir, "tenloom")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build tenloom: %w\n%s", err, out)
	}
	return path, nil
})

// programEnv spares programs that were built with the race detector the second that it waits before they end, and gives them time to compile.
// A race makes 66 their exit code.
func programEnv(env []string) []string {
	return append(append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TENLOOM_COMPILE_TIME=1h"), env...)
}

// transcript is what a process has printed on one stream so far.
type transcript struct {
	mu   sync.Mutex
	more sync.Cond // of text, or the end
	text []byte    // bounded by what the tested program prints
	over bool      // nothing will follow
}

func newTranscript() *transcript {
	t := &transcript{}
	t.more.L = &t.mu
	return t
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.more.Broadcast()
	return len(b), nil
}

func (t *transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.more.Broadcast()
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// has waits until the transcript contains text. It answers false when the process ended without it, or the time did.
func (t *transcript) has(text string, within time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	late := false
	timer := time.AfterFunc(within, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		late = true
		t.more.Broadcast()
	})
	defer timer.Stop()
	for {
		if bytes.Contains(t.text, []byte(text)) {
			return true
		}
		if t.over || late {
			return false
		}
		t.more.Wait()
	}
}

// running is a program in a process of its own: most often a "tenloom up".
type running struct {
	cmd            *exec.Cmd
	api, redis     string // URLs; that of a Redis with its password left out
	stdout, stderr *transcript
	ended          chan struct{} // closed when the process has ended and all its output is read
}

// startUp runs "up" with the arguments in dir and returns when it has said where its API is.
func startUp(tb testing.TB, dir string, args ...string) *running {
	tb.Helper()
	return startUpWith(tb, dir, nil, args...)
}

// startUpWith is startUp with variables in the program's environment.
func startUpWith(tb testing.TB, dir string, env []string, args ...string) *running {
	tb.Helper()
	path, err := program()
	if err != nil {
		tb.Fatal(err)
	}
	return startCommand(tb, dir, env, append([]string{path, "up", "--listen", "127.0.0.1:0"}, args...)...)
}

// startCommand runs a command that becomes a "tenloom up".
func startCommand(tb testing.TB, dir string, env []string, args ...string) *running {
	tb.Helper()
	r := startProcess(tb, dir, env, args...)
	r.await(tb, "  Logs   ") // the last line of where things are
	for line := range strings.Lines(r.stdout.String()) {
		switch words := strings.Fields(line); {
		case len(words) == 2 && words[0] == "API":
			r.api = strings.TrimSuffix(words[1], "/v1")
		case len(words) > 2 && words[0] == "Redis":
			r.redis = words[1]
		}
	}
	return r
}

// startProcess runs a command until the test ends, or it does.
func startProcess(tb testing.TB, dir string, env []string, args ...string) *running {
	tb.Helper()
	r := &running{cmd: exec.Command(args[0], args[1:]...), stdout: newTranscript(), stderr: newTranscript(), ended: make(chan struct{})}
	r.cmd.Dir, r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = dir, programEnv(env), r.stdout, r.stderr
	started := make(chan error)
	go r.live(started) // ends with the process, which stop ends at the latest
	if err := <-started; err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		r.stop(tb)
		if tb.Failed() {
			tb.Logf("%s\n--- stdout\n%s--- stderr\n%s", strings.Join(args, " "), tail(r.stdout.String()), tail(r.stderr.String()))
		}
	})
	return r
}

// tail keeps the report of a failed test readable.
func tail(text string) string {
	const most = 16 << 10
	if len(text) <= most {
		return text
	}
	return "...\n" + text[len(text)-most:]
}

func (r *running) live(started chan<- error) {
	defer close(r.ended)
	defer r.stderr.end()
	defer r.stdout.end()
	unlock := tie(r.cmd)
	defer unlock()
	err := r.cmd.Start()
	started <- err
	if err == nil {
		r.cmd.Wait() // the exit code says what there is to say
	}
}

// await returns when the output holds text.
func (r *running) await(tb testing.TB, text string) {
	tb.Helper()
	if !r.stdout.has(text, patience) {
		tb.Fatalf("the program did not print %q", text)
	}
}

// awaitLog is await for what the program prints on stderr.
func (r *running) awaitLog(tb testing.TB, text string) {
	tb.Helper()
	if !r.stderr.has(text, patience) {
		tb.Fatalf("the program did not log %q", text)
	}
}

// signal sends a signal to the program.
func (r *running) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := send(r.cmd, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Errorf("signal the program: %v", err)
	}
}

// wait returns the exit code when the program has ended. One that does not end is made to show its goroutines.
func (r *running) wait(tb testing.TB) int {
	tb.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		tb.Error("the program did not end")
		r.signal(tb, syscall.SIGQUIT)
		select {
		case <-r.ended:
		case <-time.After(patience):
			r.signal(tb, syscall.SIGKILL)
			<-r.ended
		}
	}
	return r.cmd.ProcessState.ExitCode()
}

// stop interrupts the program, if it still runs, and returns its exit code.
func (r *running) stop(tb testing.TB) int {
	tb.Helper()
	if r.alive() {
		r.signal(tb, syscall.SIGTERM)
	}
	return r.wait(tb)
}

func (r *running) alive() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// ready asks /readyz.
func (r *running) ready() bool {
	status, _ := r.readyz()
	return status == http.StatusOK
}

// readyz asks /readyz; the status is 0 where nobody answers.
func (r *running) readyz() (status int, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, body, err := get(ctx, r.api+"/readyz")
	if err != nil {
		return 0, err.Error()
	}
	return status, string(body)
}

// finished is a program that ran to its end.
type finished struct {
	code           int
	stdout, stderr string
}

// finish runs a command to its end.
func finish(tb testing.TB, dir string, env []string, args ...string) finished {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, programEnv(env), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		tb.Fatalf("%s: %v %v\n%s%s", strings.Join(args, " "), err, ctx.Err(), &stdout, &stderr)
	}
	return finished{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// tenloom runs the program to its end.
func tenloom(tb testing.TB, dir string, args ...string) finished {
	tb.Helper()
	path, err := program()
	if err != nil {
		tb.Fatal(err)
	}
	return finish(tb, dir, nil, append([]string{path}, args...)...)
}
