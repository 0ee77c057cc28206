package sandbox

// CompileKind says why a module was refused.
type CompileKind string

// Why a module is refused by Compile.
const (
	NotWasm      CompileKind = "not_wasm"      // empty, truncated in its header, text, or something else altogether
	IsComponent  CompileKind = "component"     // a component of the component model, not a core module
	TooLarge     CompileKind = "too_large"     // more bytes than Config.MaxModule
	OverLimit    CompileKind = "over_limit"    // one of the limits of package rewrite
	Malformed    CompileKind = "malformed"     // does not decode or validate
	Unsupported  CompileKind = "unsupported"   // uses a WebAssembly proposal that is not offered
	NoHandler    CompileKind = "no_handler"    // exports no Redis interface
	ManyHandlers CompileKind = "many_handlers" // exports the Redis interfaces of two generations
	BadExport    CompileKind = "bad_export"    // handler, allocator, memory or _initialize missing or of another type
	BadImport    CompileKind = "bad_import"    // asks for something that nobody offers
)

// CompileError is what Compile answers for a module that it refuses. It is about the module alone: the same bytes are refused again.
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
