// Package redis is a handler's side of Redis: the message that woke it, and commands to any Redis server that the
// manifest allows.
//
//	func init() { redis.Handle(greet) }
//
//	func greet(ctx context.Context, m redis.Message) error {
//		return redis.Dial(variables.Must("redis_address")).Publish(ctx, "replies", m.Payload)
//	}
//
//	func main() {} // the host calls the init functions, never main
//
// Build with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared. The module runs on tenloom and on Spin. In "go test"
// the same code talks to a host in memory; see package hosttest.
package redis

import (
	"context"
	"strconv"

	"github.com/tenloom/tenloom/sdk/internal/abi"
)

// Handler handles one message. nil is success. An error, or a panic, is one line on stderr and a failed delivery; the
// instance is told apart from a crashed one and stays usable.
//
// The context is never cancelled: the host ends the whole instance when the handler's time is up. It is there so that
// code shared with other programs reads the same; a deadline set by the handler itself is honoured between calls.
//
// Goroutines run only while a handler waits, and one that outlives its handler wakes up inside a later message. Wait for
// those you start.
type Handler func(ctx context.Context, m Message) error

// Handle registers the module's only handler. Call it from an init function; a nil handler or a second call panics,
// which the host reports when the application is deployed.
func Handle(h Handler) {
	if h == nil {
		abi.SetHandler(nil)
	}
	abi.SetHandler(func(payload []byte) error {
		return h(context.Background(), Message{Payload: payload})
	})
}

// Message is one message. Its methods ask the host, at the price of one call each, and speak of the message that is
// being handled now. All but Payload are tenloom's: on Spin the strings are "" and Attempt is 0.
type Message struct {
	Payload []byte // owned by the handler; nil when the message is empty
}

// Channel is the channel the message was published to, also when a pattern matched it.
func (Message) Channel() string { return attribute("tenloom_channel") }

// Pattern is the pattern that matched, or "" for an exact subscription.
func (Message) Pattern() string { return attribute("tenloom_pattern") }

// ID names the message: the same in every attempt, and for every handler that the message wakes.
func (Message) ID() string { return attribute("tenloom_message_id") }

// Attempt counts from 1. Only messages of a stream are tried more than once.
func (Message) Attempt() int {
	n, err := strconv.Atoi(attribute("tenloom_attempt"))
	if err != nil {
		return 0
	}
	return n
}

// TraceParent is the W3C Trace Context of this delivery, to be passed on as header "traceparent".
func (Message) TraceParent() string { return attribute("tenloom_traceparent") }

// attribute is "" where the host does not define the name.
func attribute(name string) string {
	v, failure := abi.Config(name)
	if failure != nil {
		return ""
	}
	return v
}
