package scheduler

import (
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Message is what Redis gave us, copied once out of the reader's buffer and shared by all its deliveries.
//
// The reader writes it on one processor and a worker reads it on another, each time from memory that the other one has in its cache. So it is
// few cache lines side by side, which come together, and most messages have their bytes in it: 256 bytes in all.
type Message struct {
	buf      []byte // the channel, then the payload; in small or in large
	ID       tenants.MessageID
	follow   *Follow
	at       int32 // where the payload begins
	refs     int32 // deliveries that still need it; at zero it goes back
	pattern  bool  // target is a pattern, else the channel
	Received time.Time

	target string  // the routing table's own string, so that nobody who asks for it makes a copy
	large  *buffer // nil where small is enough
	small  [144]byte
}

// newMessage makes a copy of a frame, which came for a target of that name.
func (s *stock) newMessage(f *frame, target string, at time.Time, refs int) *Message {
	m := s.take()
	m.at, m.refs, m.pattern = int32(len(f.channel)), int32(refs), f.kind == 'p'
	m.Received, m.target, m.follow = at, target, nil
	if n := len(f.channel) + len(f.payload); n <= len(m.small) {
		m.buf = m.small[:n]
		copy(m.buf[copy(m.buf, f.channel):], f.payload)
		return m
	}
	m.large = buffers.Get().(*buffer)
	m.large.bytes = append(append(m.large.bytes[:0], f.channel...), f.payload...)
	m.buf = m.large.bytes
	return m
}

// release gives up one reference, and the message to a stock with the last. Whoever releases must not touch the message again.
func (m *Message) release(to *stock) {
	if atomic.LoadInt32(&m.refs) > 1 && atomic.AddInt32(&m.refs, -1) > 0 { // the last one is alone with it
		return
	}
	if m.large != nil {
		m.large.release()
		m.large = nil
	}
	to.give(m)
}

// Payload is valid as long as the Delivery.
func (m *Message) Payload() []byte { return m.buf[m.at:] }

// Channel is where the message was published. The string outlives the Delivery.
func (m *Message) Channel() string {
	if m.pattern {
		return string(m.buf[:m.at])
	}
	return m.target
}

// named is the channel, valid as long as the Delivery.
func (m *Message) named() []byte { return m.buf[:m.at] }

// Pattern is the pattern that matched, or "".
func (m *Message) Pattern() string {
	if m.pattern {
		return m.target
	}
	return ""
}

// cost is what the message counts against byte bounds: its channel, its payload, and what keeping it takes.
func (m *Message) cost() int64 { return int64(len(m.buf)) + overhead }

const overhead = 256 // bytes for each waiting delivery, beside its message

// Delivery is one Message for one Trigger: what an Invoker is given.
type Delivery struct {
	*Message
	Trigger    *tenants.Trigger
	Invocation tenants.InvocationID
	Began      time.Time // the present
	Trace      telemetry.Trace
	KeepOutput int // bytes of output that somebody waits for; the Invoker may keep less
}

// Attribute answers the names under which a guest may ask about the message it got: tenloom_channel, tenloom_pattern, tenloom_message_id,
// tenloom_attempt and tenloom_traceparent. Redis' pub/sub knows no attempts, so that one is always "1". The last is the span of this delivery
// where deliveries are traced, else what the payload carries as a CloudEvents envelope, else "".
func (d *Delivery) Attribute(name string) (string, bool) {
	switch name {
	case "tenloom_channel":
		return d.Channel(), true
	case "tenloom_pattern":
		return d.Pattern(), true
	case "tenloom_message_id":
		return d.ID.String(), true
	case "tenloom_attempt":
		return "1", true
	case "tenloom_traceparent":
		return d.traceparent(), true
	}
	return "", false
}

func (d *Delivery) traceparent() string {
	if d.Trace.On() {
		return d.Trace.Traceparent(d.Trace.Span)
	}
	text, ok := telemetry.FindTraceparent(d.Payload())
	if !ok {
		return ""
	}
	if _, ok := telemetry.ParseTraceparent(text); !ok {
		return ""
	}
	return string(text)
}
