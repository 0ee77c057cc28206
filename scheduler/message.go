package scheduler

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Message is what Redis gave us, copied once out of the reader's buffer and shared by all its deliveries.
type Message struct {
	ID       tenants.MessageID
	Received time.Time

	refs    atomic.Int32 // deliveries that still need it; at zero it goes back to the pool
	pattern string       // of the table's entry, "" for an exact target
	channel string       // of the table's entry, "" for a pattern
	buf     []byte       // the channel, then the payload
	at      int          // where the payload begins
	follow  *Follow
}

// keepBuffer is the largest buffer that the pool keeps; a larger one is left to the garbage collector.
const keepBuffer = 64 << 10

var messages = sync.Pool{New: func() any { return new(Message) }}

// newMessage copies a frame. channel is the routing table's own string where the frame's channel equals it, else "": it spares those who ask
// for the channel a copy.
func newMessage(f *frame, channel, pattern string, at time.Time, refs int) *Message {
	m := messages.Get().(*Message)
	m.Received, m.pattern, m.channel, m.follow = at, pattern, channel, nil
	m.buf = m.buf[:0]
	m.buf = append(m.buf, f.channel...)
	m.at = len(m.buf)
	m.buf = append(m.buf, f.payload...)
	m.refs.Store(int32(refs))
	return m
}

// release gives up one reference. Whoever releases must not touch the message again.
func (m *Message) release() {
	if m.refs.Add(-1) > 0 {
		return
	}
	if cap(m.buf) > keepBuffer {
		m.buf = nil
	}
	messages.Put(m)
}

// Payload is valid as long as the Delivery.
func (m *Message) Payload() []byte { return m.buf[m.at:] }

// Channel is where the message was published. The string outlives the Delivery.
func (m *Message) Channel() string {
	if m.channel != "" {
		return m.channel
	}
	return string(m.buf[:m.at])
}

// Pattern is the pattern that matched, or "".
func (m *Message) Pattern() string { return m.pattern }

// cost is what the message counts against byte bounds: its channel, its payload, and what keeping it takes.
func (m *Message) cost() int64 { return int64(len(m.buf)) + overhead }

const overhead = 256 // bytes for each waiting delivery, beside its message

// Delivery is one Message for one Trigger: what an Invoker is given.
type Delivery struct {
	*Message
	Trigger    *tenants.Trigger
	Invocation tenants.InvocationID
	Began      time.Time // the present
	KeepOutput int       // bytes of output that somebody waits for; the Invoker may keep less
}

// Attribute answers the names under which a guest may ask about the message it got: tenloom_channel, tenloom_pattern, tenloom_message_id,
// tenloom_attempt and tenloom_traceparent. Redis' pub/sub carries no trace context and no attempts, so the last is always "" and the one
// before it always "1".
func (d *Delivery) Attribute(name string) (string, bool) {
	switch name {
	case "tenloom_channel":
		return d.Channel(), true
	case "tenloom_pattern":
		return d.pattern, true
	case "tenloom_message_id":
		return d.ID.String(), true
	case "tenloom_attempt":
		return "1", true
	case "tenloom_traceparent":
		return "", true
	}
	return "", false
}
