package telemetry

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// TraceID and SpanID are those of W3C Trace Context; zero is none.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

func (t TraceID) String() string { return hex.EncodeToString(t[:]) }
func (s SpanID) String() string  { return hex.EncodeToString(s[:]) }

// Trace is where a Delivery stands in a trace: the span of its processing, and what that is a child of. The zero Trace is none: tracing is off.
type Trace struct {
	ID      TraceID
	Span    SpanID // of the delivery's processing
	Parent  SpanID // zero where the trace begins here
	Sampled bool   // decided when the delivery began; those who come later follow it

	// Link is what the delivery came from where that cannot be its parent: it has a trace of its own.
	LinkTrace TraceID
	LinkSpan  SpanID
}

// On tells whether there is a trace.
func (t *Trace) On() bool { return t.ID != TraceID{} }

// Parent is a trace context that came from elsewhere.
type Parent struct {
	ID      TraceID
	Span    SpanID
	Sampled bool
}

// traceparentLength is that of version 00: 00-<32>-<16>-<2>.
const traceparentLength = 55

// ParseTraceparent reads the header of W3C Trace Context, level 1 section 3.2.2. Of a version that it does not know it takes what version 00 has.
func ParseTraceparent(text []byte) (p Parent, ok bool) {
	if len(text) < traceparentLength || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return p, false
	}
	var version, flags [1]byte
	if !lowerHex(version[:], text[:2]) || version[0] == 0xff || version[0] == 0 && len(text) != traceparentLength ||
		len(text) > traceparentLength && text[traceparentLength] != '-' {
		return p, false
	}
	if !lowerHex(p.ID[:], text[3:35]) || !lowerHex(p.Span[:], text[36:52]) || !lowerHex(flags[:], text[53:55]) {
		return p, false
	}
	p.Sampled = flags[0]&1 == 1
	return p, p.ID != TraceID{} && p.Span != SpanID{}
}

// lowerHex reads hexadecimal digits, of which the specification allows lower case only.
func lowerHex(into, digits []byte) bool {
	for i := range into {
		high, low := nibble(digits[2*i]), nibble(digits[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		into[i] = high<<4 | low
	}
	return true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// Traceparent is the header for those who come behind a span of the trace; "" where there is none.
func (t *Trace) Traceparent(span SpanID) string {
	if !t.On() {
		return ""
	}
	text := make([]byte, 0, traceparentLength)
	text = append(text, "00-"...)
	text = hex.AppendEncode(text, t.ID[:])
	text = append(text, '-')
	text = hex.AppendEncode(text, span[:])
	if t.Sampled {
		return string(append(text, "-01"...))
	}
	return string(append(text, "-00"...))
}

// NewSpanID draws one.
func NewSpanID() (s SpanID) {
	for s == (SpanID{}) {
		binary.LittleEndian.PutUint64(s[:], rand.Uint64())
	}
	return s
}

// NewTrace begins a trace that is sampled.
func NewTrace() Trace { return Trace{ID: newTraceID(), Span: NewSpanID(), Sampled: true} }

func newTraceID() (t TraceID) {
	for t == (TraceID{}) {
		binary.LittleEndian.PutUint64(t[:8], rand.Uint64())
		binary.LittleEndian.PutUint64(t[8:], rand.Uint64())
	}
	return t
}

var traceparentAt, _ = tenants.ParsePointer("/traceparent")

// FindTraceparent looks for the trace context of a CloudEvents envelope in JSON: the attribute traceparent of the extension Distributed Tracing.
// It allocates nothing, and looks at the first 16 KiB of payloads that begin with an opening brace.
func FindTraceparent(payload []byte) (text []byte, ok bool) {
	if len(payload) == 0 || payload[0] != '{' || !bytes.Contains(payload[:min(len(payload), tenants.MaxSearch)], []byte(`"traceparent"`)) {
		return nil, false
	}
	text, ok = traceparentAt.Find(payload)
	if !ok || len(text) < 2 || text[0] != '"' {
		return nil, false
	}
	return text[1 : len(text)-1], true
}

// TraceOf reads the trace context that a payload carries.
func TraceOf(payload []byte) (Parent, bool) {
	text, ok := FindTraceparent(payload)
	if !ok {
		return Parent{}, false
	}
	return ParseTraceparent(text)
}

// Text is bytes as a string that is UTF-8; what is not is replaced.
func Text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
