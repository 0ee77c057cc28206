package sandbox

import (
	"errors"
	"fmt"
	"time"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// CompileKind says why a module was refused.
type CompileKind string

// Why a module is refused by Compile.
const (
	NotWasm      CompileKind = "not_wasm"      // empty, truncated in its header, text, or something else altogether
	TooLarge     CompileKind = "too_large"     // more bytes than Config.MaxModule
	OverLimit    CompileKind = "over_limit"    // one of the limits of package rewrite
	Malformed    CompileKind = "malformed"     // does not decode or validate
	Unsupported  CompileKind = "unsupported"   // uses a WebAssembly proposal that is not offered
	NoHandler    CompileKind = "no_handler"    // exports no Redis interface
	ManyHandlers CompileKind = "many_handlers" // exports the Redis interfaces of two generations
	BadExport    CompileKind = "bad_export"    // handler, allocator, memory or _initialize missing or of another type
	BadImport    CompileKind = "bad_import"    // asks for something that nobody offers

	CompileTime   CompileKind = "compile_time"   // took longer than Config.CompileTime
	CompileMemory CompileKind = "compile_memory" // took more memory than Config.CompileMemory
	CompileFailed CompileKind = "compile_failed" // the process that compiled it ended without an answer, or with none that makes sense
)

// CompileError is what Compile answers for a module that it refuses. It is about the module: the same bytes are refused again, those of the
// last three kinds perhaps not where the machine is less busy or the limits are higher.
type CompileError struct {
	Kind   CompileKind
	Detail string // what is wrong, with names and numbers
	Next   string // what to do about it; may be empty
}

func (e *CompileError) Error() string {
	if e.Next == "" {
		return e.Detail
	}
	return e.Detail + "; " + e.Next
}

// makeSmaller is the next step for a module that takes too much to compile.
const makeSmaller = "make the module smaller (build it optimised, strip it, leave out dependencies), split its largest functions, or raise the limit of "

func tookTooLong(limit time.Duration, size int) error {
	return &CompileError{CompileTime, fmt.Sprintf("compiling the module of %d bytes took longer than the limit of %v", size, limit), makeSmaller + "compile time"}
}

// cacheError is a compilation that failed at the cache: its place is known to the cache alone.
type cacheError struct{ error }

func (e *cacheError) Unwrap() error { return e.error }

// rewriteRefusal is the rewriter's refusal in this package's words.
func rewriteRefusal(err error) error {
	var e *rewrite.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("rewrite: %w", err)
	}
	switch e.Kind {
	case rewrite.Limit:
		return &CompileError{OverLimit, e.Error(), "split the function or module, or build it with less inlining"}
	case rewrite.Unsupported:
		return &CompileError{Unsupported, e.Error(), "build for WebAssembly 2.0 without further proposals"}
	case rewrite.Reserved:
		return &CompileError{BadImport, e.Error(), "rename it: the platform uses this name"}
	}
	return &CompileError{Malformed, e.Error(), "build the component again; if it runs elsewhere, report it"}
}
