package secrets

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Value is the text of a variable. Only Reveal gives the text; every way of printing, logging or encoding a Value gives [redacted]. The
// zero Value reveals "".
//
// The text stands behind a function because fmt prints an unexported field of a struct by reflection, past all methods, and some printers
// follow pointers too; of a function they print no more than its address. It also makes == on two Values a compile error.
type Value struct {
	reveal func() string
}

// NewValue keeps s.
func NewValue(s string) Value { return Value{func() string { return s }} }

// Reveal returns the text. What is revealed belongs to the guest or connection that asked for it, never in a message.
func (v Value) Reveal() string {
	if v.reveal == nil {
		return ""
	}
	return v.reveal()
}

// String returns [redacted].
func (v Value) String() string { return redacted }

// GoString returns [redacted].
func (v Value) GoString() string { return redacted }

// Format writes [redacted] for every verb and flag.
func (v Value) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns [redacted].
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns [redacted] as a JSON string.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns [redacted].
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }
