package sandbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
	"github.com/tenloom/tenloom/tenants"
)

// FailureKind says how an invocation went wrong.
type FailureKind string

// How an invocation can go wrong.
const (
	Trapped         FailureKind = "trap"           // the guest trapped, or handed the host something that cannot be
	Exited          FailureKind = "exit"           // the guest called proc_exit, whatever the code: it gave no answer
	OutOfMemory     FailureKind = "memory"         // the guest needs more memory than its cap, or ended after it was refused more
	OutOfTime       FailureKind = "timeout"        // the deadline came first
	OutOfFuel       FailureKind = "fuel"           // it used more fuel than an invocation may
	TooManyCalls    FailureKind = "host_calls"     // more host calls than an invocation may make
	TooMuchSent     FailureKind = "bytes_out"      // more bytes sent through them than an invocation may send
	TooMuchReceived FailureKind = "bytes_in"       // more bytes received
	StackOverflow   FailureKind = "stack_overflow" // calls nested deeper than the call stack is long
	HandlerError    FailureKind = "handler_error"  // the handler answered an error
	Cancelled       FailureKind = "cancelled"      // the caller's context ended
	NotStarted      FailureKind = "start"          // the start function or _initialize failed, or the module could not be linked
	Internal        FailureKind = "internal"       // our mistake; the operator's log has the rest
)

// Failure is why an invocation was not handled, in words for the tenant.
type Failure struct {
	Kind FailureKind
	Text string // at most 4 KiB and a mark; for traps with the guest's function names where the module has them
	Code uint32 // of proc_exit, where Kind is Exited
}

func (f *Failure) Error() string { return f.Text }

// outcome tells how a delivery ends that failed like this.
func (f *Failure) outcome() tenants.Outcome {
	if f.Kind == OutOfTime {
		return tenants.TimedOut
	}
	return tenants.Failed
}

// exit is the panic by which proc_exit leaves the guest.
type exit struct{ code uint32 }

func (e *exit) Error() string { return fmt.Sprintf("the guest exited with code %d", e.code) }

// errInterrupted is the panic by which a host function leaves the guest when the context ended meanwhile.
var errInterrupted = errors.New("interrupted")

// hostPanic is a Go panic that came out of the guest's call: a mistake of ours.
type hostPanic struct {
	value any
	stack []byte
}

func (p *hostPanic) Error() string { return fmt.Sprintf("%v\n%s", p.value, p.stack) }

// recovered turns what recover gave into an error. A *spin.Trap outside of a guest's frame is still the guest's mistake.
func recovered(p any) error {
	if err, ok := p.(error); ok {
		var trap *spin.Trap
		var broken *canon.Trap
		var left *wasi.Exit
		var exceeded *spin.Exceeded
		if errors.As(err, &trap) || errors.As(err, &left) || errors.As(err, &broken) || errors.As(err, &exceeded) {
			return err
		}
	}
	return &hostPanic{p, debug.Stack()}
}

// failure finds the words for an error that ended a guest. The first that applies counts: whatever a guest does after its context ended is
// a consequence of that.
func (c *Component) failure(ctx context.Context, i *instance, err error) *Failure {
	if f, ok := err.(*Failure); ok {
		return f
	}
	var (
		left     *exit
		gone     *wasi.Exit
		trap     *spin.Trap
		broken   *canon.Trap
		exceeded *spin.Exceeded
		panicked *hostPanic
		goError  runtime.Error
	)
	at := i.while() + inFunction(err)
	switch text := strings.Replace(err.Error(), " (recovered by wazero)", "", 1); {
	case ctx.Err() == nil && i.late:
		return &Failure{Kind: OutOfTime, Text: fmt.Sprintf("timed out after %v%s%s; a longer timeout goes into [component.<id>.tool.tenloom]", c.binding.Timeout, at, i.waited())}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Failure{Kind: OutOfTime, Text: "the caller's deadline came before the handler answered" + at}
	case errors.Is(err, errFuel):
		return &Failure{Kind: OutOfFuel, Text: fmt.Sprintf("used up its fuel of %d units%s; more goes into fuel = ... in [component.<id>.tool.tenloom]", c.binding.Fuel, at)}
	case ctx.Err() != nil:
		return &Failure{Kind: Cancelled, Text: "cancelled before the handler answered" + at}
	case errors.As(err, &gone):
		return i.hungry(&Failure{Kind: Exited, Text: gone.Error() + at + " and gave no answer", Code: gone.Code})
	case errors.As(err, &left):
		return i.hungry(&Failure{Kind: Exited, Text: left.Error() + at + " and gave no answer", Code: left.code})
	case errors.As(err, &exceeded):
		return i.exceeded(exceeded, at)
	case errors.As(err, &panicked), errors.As(err, &goError):
		return c.internal(err)
	case errors.As(err, &broken):
		return i.hungry(&Failure{Kind: i.kind(), Text: bounded(broken.Error() + at)})
	case errors.As(err, &trap):
		return i.hungry(&Failure{Kind: Trapped, Text: bounded(text)})
	case text == "stack overflow":
		return i.hungry(&Failure{Kind: StackOverflow, Text: "wasm error: stack overflow" + i.while() + ": calls are nested too deep, as in a recursion without an end"})
	case strings.Contains(text, "wasm error: "):
		return i.hungry(&Failure{Kind: i.kind(), Text: bounded(text)})
	case i.stage == linking:
		return &Failure{Kind: NotStarted, Text: bounded(text)}
	}
	return c.internal(err)
}

// internal keeps what happened for the operator and tells the tenant that it was not the guest.
func (c *Component) internal(err error) *Failure {
	c.program.runtime.log.Error("host failed while a guest ran", "digest", c.program.Digest(), "error", err.Error())
	return &Failure{Kind: Internal, Text: "internal error"}
}
