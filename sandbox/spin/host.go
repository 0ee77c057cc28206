package spin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tenloom/tenloom/sandbox/outbound"
)

// Host is what one component may reach. It is shared by all its invocations and not written after the first NewCall.
type Host struct {
	// Gate is the way out for Redis and HTTP; nil means that every destination is refused.
	Gate *outbound.Gate

	// Variables resolves one of the component's variables. Its errors wrap ErrUndefined, ErrInvalidName or ErrProvider; any other error
	// reaches the guest as "other". The error's text is shown to the guest. nil means that no variable is defined.
	Variables func(ctx context.Context, name string) (string, error)

	// VariableNames are the names that wasi:config/store get-all lists.
	VariableNames []string

	// Stores are the key-value stores that the manifest grants, by label. A label that is missing is access-denied, a label whose Store is
	// nil is no-such-store.
	Stores map[string]Store

	// Wrap gives a payload that a guest publishes the form in which it goes, and the span that it names in there, zero for none. It is called
	// with the Attributes of the message. nil: payloads go as they are.
	Wrap func(a Attributes, payload []byte) (wrapped []byte, span [8]byte)

	Limits
}

// Defaults of Limits.
const (
	DefaultHostCalls int64 = 100_000
	DefaultBytes     int64 = 256 << 20 // in each direction
)

// Limits bound what one host call may move and one invocation may hold. Zero means the default.
type Limits struct {
	ResultBytes  int64 // of one result, and of one list argument; default 128 MiB, which is Spin's cap; beyond: an error or a Trap
	KeyBytes     int   // of one key-value key; default 1 KiB (Spin has no bound); beyond: an error for the guest
	ValueBytes   int64 // of one key-value value; default 1 MiB (Spin has no bound); beyond: an error for the guest
	Connections  int   // open Redis connection handles of one invocation; default 1024; beyond: too-many-connections
	StoreHandles int   // open store and cas handles, of each kind, of one invocation; default 1024; beyond: store-table-full
	HostCalls    int64 // calls of these interfaces in one invocation; default 100,000; beyond: Exceeded
	BytesOut     int64 // that one invocation may hand to these interfaces; default 256 MiB; beyond: Exceeded
	BytesIn      int64 // that servers and stores may answer to one invocation; default 256 MiB; beyond: Exceeded
}

func (l Limits) withDefaults() Limits {
	if l.ResultBytes == 0 {
		l.ResultBytes = 128 << 20
	}
	if l.KeyBytes == 0 {
		l.KeyBytes = 1 << 10
	}
	if l.ValueBytes == 0 {
		l.ValueBytes = 1 << 20
	}
	if l.Connections == 0 {
		l.Connections = 1024
	}
	if l.StoreHandles == 0 {
		l.StoreHandles = 1024
	}
	l.HostCalls = cmp.Or(l.HostCalls, DefaultHostCalls)
	l.BytesOut = cmp.Or(l.BytesOut, DefaultBytes)
	l.BytesIn = cmp.Or(l.BytesIn, DefaultBytes)
	return l
}

// Errors that Host.Variables wraps.
var (
	ErrUndefined   = errors.New("variable is not defined")
	ErrInvalidName = errors.New("variable name is not valid")
	ErrProvider    = errors.New("variable provider failed")
)

// Attributes are what is known of the message that an invocation handles. Guests read them as variables.
type Attributes interface {
	// Attribute returns the value of tenloom_channel, tenloom_pattern, tenloom_message_id, tenloom_attempt or tenloom_traceparent, and
	// whether this message has it.
	Attribute(name string) (string, bool)
}

// Bound names what Exceeded is about.
type Bound uint8

const (
	HostCalls Bound = 1 + iota
	BytesOut
	BytesIn
)

// Exceeded ends an invocation whose guest goes beyond a bound on what it may do in all. Host functions panic with it, as with a Trap.
type Exceeded struct {
	Bound Bound
	Limit int64
	Func  string // the import that was one too many, module#name
}

func (e *Exceeded) Error() string {
	switch e.Bound {
	case HostCalls:
		return fmt.Sprintf("more than %d host calls", e.Limit)
	case BytesOut:
		return fmt.Sprintf("more than %d bytes sent", e.Limit)
	}
	return fmt.Sprintf("more than %d bytes received", e.Limit)
}

// Trap is a guest's mistake that ends its invocation: a pointer out of range, a handle it does not hold, an allocator that lies. Host
// functions panic with it; wazero wraps it, so that errors.As finds it in what the call of the guest returns.
type Trap struct {
	Func string // the import that was called, module#name, or the allocator's export name
	Why  string // which argument, and what is wrong with it
	Err  error  // what the guest's allocator ended with, or nil
}

func (t *Trap) Error() string {
	text := t.Func + ": " + t.Why
	if t.Err != nil {
		text += ": " + t.Err.Error()
	}
	return text
}

func (t *Trap) Unwrap() error { return t.Err }
