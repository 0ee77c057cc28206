package component

import "fmt"

// Kind says why a component was refused.
type Kind string

// Why Decode and Load refuse.
const (
	Malformed   Kind = "malformed"   // does not decode
	Invalid     Kind = "invalid"     // decodes, and breaks a rule of validation
	Unsupported Kind = "unsupported" // uses a part of the component model that is not offered
	Limit       Kind = "limit"       // is above one of the Limits
)

// Error is the refusal of a component. It is about the bytes alone: the same bytes are refused again.
type Error struct {
	Kind   Kind
	Detail string // what is wrong and what was expected
	Offset int    // in the component's bytes, where it was noticed; -1 where that is no one place
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Detail
	}
	return fmt.Sprintf("%s (byte %d)", e.Detail, e.Offset)
}
