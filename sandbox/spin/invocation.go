package spin

import (
	"context"

	"github.com/tenloom/tenloom/sandbox/outbound"
)

// What follows is for other packages whose functions belong to the same invocation, as WASI's sockets do. It is used on the guest's goroutine.

// From gives the Call of an invocation; nil where there is none.
func From(ctx context.Context) *Call { return find(ctx) }

// Gate is the way out of the invocation; nil means that every destination is refused.
func (c *Call) Gate() *outbound.Gate { return c.host.Gate }

// Limit gives the limits of the invocation, none of them 0.
func (c *Call) Limit() Limits { return c.limits }

// Calls counts a call of the host, by its module#name. One too many panics with *Exceeded, as more bytes than allowed do below.
func (c *Call) Calls(name string) {
	if c.calls++; c.calls > c.limits.HostCalls {
		panic(&Exceeded{HostCalls, c.limits.HostCalls, name})
	}
}

// Sends counts bytes that the guest hands out.
func (c *Call) Sends(name string, n int) {
	if c.sent += int64(n); c.sent > c.limits.BytesOut {
		panic(&Exceeded{BytesOut, c.limits.BytesOut, name})
	}
}

// Receives counts bytes that the guest is answered.
func (c *Call) Receives(name string, n int) {
	if c.received += int64(n); c.received > c.limits.BytesIn {
		panic(&Exceeded{BytesIn, c.limits.BytesIn, name})
	}
}

// Waits tells that the guest begins to wait for somebody, or has ended to: see OnWait.
func (c *Call) Waits(begins bool) {
	if c.wait != nil {
		c.wait(begins)
	}
}

// Called notes a call of a server that has ended.
func (c *Call) Called(o Outcall) { c.guest.called(o) }
