package rewrite

import "fmt"

// Kind says why a module was refused.
type Kind string

// Why Module refuses.
const (
	Limit       Kind = "limit"       // above one of the Limits
	Malformed   Kind = "malformed"   // does not decode, or names something that it does not have
	Unsupported Kind = "unsupported" // uses a proposal that is not offered
	Reserved    Kind = "reserved"    // uses a name that the rewriter adds
)

// Error is what Module answers for a module that it refuses. It is about the bytes alone: the same bytes are refused again.
type Error struct {
	Kind     Kind
	Detail   string // what is wrong, with names and numbers
	Offset   int    // in the module's bytes, where it was noticed
	Section  byte   // id of the section, 0 where it is a custom one or none
	Function int    // index of the function, imports included; -1 outside of the code section
}

func (e *Error) Error() string {
	if e.Function >= 0 {
		return fmt.Sprintf("%s (function %d, byte %d)", e.Detail, e.Function, e.Offset)
	}
	return fmt.Sprintf("%s (byte %d)", e.Detail, e.Offset)
}
