package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// A process apart compiles one module that nobody vouches for, under limits that this process could not set for itself. It gets an order and
// the module on its standard input, leaves the code in a directory of its own inside of the cache's, and answers on its standard output.

// order is the first line of a process's input, as JSON. The module follows to the end.
type order struct {
	Dir    string        // where it keeps what it makes
	Code   string        // wazero's directory in it, as here
	CPU    byte          // the processor's features, as here
	Key    string        // of the entry
	Size   int           // bytes of the module
	Time   time.Duration // for compiling
	Memory int64         // bytes that it may use beside what it starts with
}

// answer is all of a process's output, as JSON. One of the fields is set.
type answer struct {
	Done    bool
	Refused *CompileError // for whoever deploys the module
	Failed  string        // for the operator
}

const (
	maxAnswer = 64 << 10        // bytes of an answer; a process that says more has failed
	maxStderr = 4 << 10         // bytes of its standard error that are kept: Go says first why a program dies, then where it was
	afterEnd  = 5 * time.Second // how long its pipes may stay open when it has ended
)

// compileApart compiles in a process of its own and takes the code from the cache then. Whatever becomes of the process is an error about
// the module, and this process goes on.
func (r *Runtime) compileApart(ctx context.Context, key string, wasm []byte) (*code, error) {
	dir, err := os.MkdirTemp(r.cache.dir, apartPrefix+"*")
	if err != nil {
		return nil, r.cache.explain(&cacheError{err})
	}
	defer os.RemoveAll(dir)
	its := codeCache{dir: dir, code: r.cache.code, cpu: r.cache.cpu}
	o := order{Dir: dir, Code: its.code, CPU: its.cpu, Key: key, Size: len(wasm), Time: r.compileTime, Memory: r.compileMemory}
	if err := r.send(ctx, o, wasm); err != nil {
		return nil, err
	}
	if err := r.cache.adopt(&its, key); err != nil {
		var broken *cacheError
		if errors.As(err, &broken) {
			return nil, r.cache.explain(err)
		}
		r.log.Warn("a process that compiles said that it was done and was not", "error", err)
		return nil, senseless(len(wasm))
	}
	c, err := r.load(key)
	if c == nil && err == nil {
		return nil, fmt.Errorf("compile: the module was compiled apart and its code is not in the cache %s, or is not this program's; try again, or empty the cache", r.cache.dir)
	}
	return c, err
}

// send starts a process, hands over an order, and waits until the process has ended, has answered or not.
func (r *Runtime) send(ctx context.Context, o order, wasm []byte) error {
	head, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("order a compilation: %w", err)
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.Time, errTooLong)
	defer cancel()
	said, stderr := &prefix{most: maxAnswer}, &prefix{most: maxStderr, more: true}
	cmd := exec.CommandContext(limited, r.apart[0], r.apart[1:]...)
	cmd.Stdin = io.MultiReader(bytes.NewReader(append(head, '\n')), bytes.NewReader(wasm))
	cmd.Stdout, cmd.Stderr = said, stderr
	cmd.Dir, cmd.Env = o.Dir, environment()
	cmd.WaitDelay = afterEnd
	separate(cmd)
	runtime.LockOSThread() // the process dies with the thread that started it
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	started := err == nil
	if started {
		err = cmd.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("compile: %w", ctx.Err())
	case errors.Is(context.Cause(limited), errTooLong):
		return tookTooLong(o.Time, o.Size)
	case !started:
		return fmt.Errorf("start a process to compile in: %w", err)
	}
	var a answer
	if err == nil && json.Unmarshal(said.bytes, &a) == nil {
		switch {
		case a.Refused != nil:
			return &CompileError{a.Refused.Kind, bounded(a.Refused.Detail), bounded(a.Refused.Next)}
		case a.Failed != "":
			return fmt.Errorf("compile in a process apart: %s", bounded(a.Failed))
		case a.Done:
			return nil
		}
	}
	r.log.Warn("a process that compiles has failed", "ended", cmd.ProcessState.String(), "error", err, "stderr", string(stderr.bytes))
	return o.verdict(cmd.ProcessState, string(stderr.bytes))
}

// environment is what a process apart learns of this one's: settings of Go's that change which code is made, and those of the race detector.
// Everything else may hold secrets.
func environment() []string {
	env := []string{}
	for _, name := range []string{"GODEBUG", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// verdict says why a process ended that gave no answer.
func (o order) verdict(state *os.ProcessState, stderr string) error {
	says := func(text string) bool { return strings.Contains(stderr, text) }
	switch {
	// Go does not say in all places that it got no memory: a process that ended by itself after it had used most of what it may ended of that.
	case says("out of memory"), says("cannot allocate"), says("newosproc"), state.ExitCode() > 0 && peak(state) >= o.Memory/4*3:
		return &CompileError{CompileMemory, fmt.Sprintf("compiling the module of %d bytes takes more memory than the limit of %d MiB", o.Size, o.Memory>>20),
			makeSmaller + "compile memory"}
	case state.UserTime()+state.SystemTime() >= o.processorTime():
		return &CompileError{CompileTime, fmt.Sprintf("compiling the module of %d bytes took more processor time than the limit of %v", o.Size, o.processorTime()),
			makeSmaller + "compile time"}
	case state.Success():
		return senseless(o.Size)
	}
	return &CompileError{CompileFailed, fmt.Sprintf("the process that compiled the module of %d bytes ended before it was done (%v)", o.Size, state),
		"try again; where it was killed, the machine may have too little memory for this module"}
}

// processorTime is what a compilation may use on all processors together, in whole seconds: it ends a process whose parent is gone or stuck.
func (o order) processorTime() time.Duration {
	return (compileWorkers*o.Time + 2*time.Second).Truncate(time.Second)
}

func senseless(size int) error {
	return &CompileError{CompileFailed, fmt.Sprintf("the process that compiled the module of %d bytes gave no answer that makes sense", size),
		"try again; the operator's log has more"}
}

// prefix keeps the first bytes written to it. It passes over more, or refuses it, which ends the writer.
type prefix struct {
	bytes []byte
	most  int
	more  bool // may come
}

func (p *prefix) Write(b []byte) (int, error) {
	room := p.most - len(p.bytes)
	if len(b) > room && !p.more {
		return 0, errors.New("the answer is too long")
	}
	p.bytes = append(p.bytes, b[:min(room, len(b))]...)
	return len(b), nil
}
