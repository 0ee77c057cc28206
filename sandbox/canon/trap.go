package canon

import (
	"fmt"
	"runtime"
)

// Trap is a mistake of guest code that the canonical ABI answers by ending it. After one the whole Store is dead; see Store.Err.
type Trap struct {
	Func string // the lifted or lowered function under way; "" where it has no name
	Why  string // as components.md and the specification's suites name it, then the particulars
}

// Error gives the text with the words "wasm trap" that test suites look for.
func (t *Trap) Error() string {
	if t.Func == "" {
		return "wasm trap: " + t.Why
	}
	return t.Func + ": wasm trap: " + t.Why
}

// trap ends what guest code has asked for. Where guest code called the host the panic travels through the WebAssembly runtime, which gives it to
// the outer call as an error; Lift.Call and the like turn what arrives as a panic into an error too.
func trap(format string, args ...any) {
	panic(&Trap{Why: fmt.Sprintf(format, args...)})
}

// Trapf ends the calling guest from inside a host function, as a trap that says why.
func Trapf(format string, args ...any) { trap(format, args...) }

// Misuse is a mistake of the host's own code: values that differ from the type of a function. It ends the guest like a Trap.
type Misuse struct{ Why string }

func (m *Misuse) Error() string { return "canon: " + m.Why }

func misuse(format string, args ...any) { panic(&Misuse{fmt.Sprintf(format, args...)}) }

// caught gives the error that a panic carries: a Trap, a Misuse, or what ended guest code below. Whatever else was thrown is a bug and goes on.
func caught(v any) error {
	if _, bug := v.(runtime.Error); bug {
		panic(v)
	}
	err, ok := v.(error)
	if !ok {
		panic(v)
	}
	return err
}
