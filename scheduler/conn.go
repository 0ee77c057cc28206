package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one authenticated socket, from its first SUBSCRIBE to its end. Two goroutines serve it: the reader alone reads, the writer alone
// writes, so that commands have one order and the reader waits for nothing but the socket, the sink and, in a handover, the other
// connection's fence.
type conn struct {
	socket       net.Conn
	subscription *subscription
	heartbeat    time.Duration
	sink         sink
	control      string         // the hub's own channel, or ""
	beats        *atomic.Uint64 // heartbeat messages that the hub has published

	deliver atomic.Uint64         // slots whose messages are handed over; written by the reader and by handovers
	fence   atomic.Pointer[fence] // of the handover that it takes part in; written by the handover

	in        *frameReader
	frames    []frame  // of the read being handled; reused
	patterns  [][]byte // that a cover's message serves; reused
	heard     uint64   // the last heartbeat message that came; the reader's
	reached   *fence   // that sort has come to; the reader's
	published uint64   // heartbeat messages by the last tend; the reader's

	alive     atomic.Int64 // Unix time in ns when the last byte came
	busy      atomic.Int64 // ns in which the reader had something to do
	discarded atomic.Int64 // messages of slots that are not delivered; written by the reader

	began   time.Time
	closing sync.Once
	cause   error         // why it was closed; written once, before closed
	closed  chan struct{} // it is of no use any more
	ended   chan struct{} // closed when nothing of it runs any more, and targets know
}

var (
	errSilent = errors.New("the server is silent")
	errEnded  = errors.New("the server closed the connection")
	errDeaf   = errors.New("messages that the server accepts do not come back")
)

func newConn(socket net.Conn, s *subscription, heartbeat time.Duration) *conn {
	return &conn{
		socket: socket, subscription: s, heartbeat: heartbeat, in: newFrameReader(readBuffer, maxFrame), beats: new(atomic.Uint64),
		began: time.Now(), closed: make(chan struct{}), ended: make(chan struct{}),
	}
}

// serve reads and writes until the connection or ctx ends, and returns why. Nothing of it is left running.
func (c *conn) serve(ctx context.Context) error {
	c.alive.Store(time.Now().UnixNano())
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { c.close(c.write(done)) }) // ends when the reader has, or with a failed write, which ends the reader
	c.close(c.read())
	close(done)
	writer.Wait()
	return c.cause
}

// close ends the socket, and with it the reader and the writer. The first cause is the one that counts; nil is no cause.
func (c *conn) close(cause error) {
	if cause == nil {
		return
	}
	c.closing.Do(func() {
		c.cause = cause
		close(c.closed)
		c.socket.Close() // its error would say that it is closed already
	})
}

// write sends what the subscription asks for until done is closed.
func (c *conn) write(done <-chan struct{}) error {
	var b []byte
	for {
		select {
		case <-done:
			return nil
		case <-c.subscription.wake:
		}
		for {
			if b = c.subscription.take(b[:0]); len(b) == 0 {
				break
			}
			if err := c.socket.SetWriteDeadline(time.Now().Add(3 * c.heartbeat)); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			if _, err := c.socket.Write(b); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		if cap(b) > maxWrite/4 {
			b = nil // subscribing to everything happens once for each connection
		}
	}
}

// read hands frames to the sink and answers to the subscription until the socket ends. A socket on which nothing came for a heartbeat is sent a
// PING, and closed when still not a byte has come two heartbeats later: that is how a half-open link and a paused server end.
func (c *conn) read() error {
	silent := 0 // heartbeats in a row
	looked := c.began
	for {
		if err := c.socket.SetReadDeadline(time.Now().Add(c.heartbeat)); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		n, err := c.in.fill(c.socket)
		now := time.Now()
		if n > 0 {
			c.alive.Store(now.UnixNano())
			silent = 0
			if err := c.handle(now); err != nil {
				return err
			}
			c.busy.Add(int64(time.Since(now)))
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return errEnded
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("read: %w", err)
		case n == 0:
			if silent++; silent == 1 {
				c.subscription.ping(nil)
			} else if silent >= 3 {
				return fmt.Errorf("%w: not a byte for %v, nor after a PING", errSilent, now.Sub(time.Unix(0, c.alive.Load())).Round(time.Millisecond))
			}
		}
		if now.Sub(looked) >= c.heartbeat {
			looked = now
			c.tend(now)
		}
	}
}

// tend does what is to be done once in a heartbeat.
func (c *conn) tend(now time.Time) {
	c.subscription.t.again(now)
	beats := c.beats.Load()
	if !c.subscription.hears() {
		c.heard = beats // those before its control channel is acknowledged are not for it
	} else if last := c.published; last > c.heard {
		// What was published a heartbeat ago comes before the answer to a PING that is sent now, however much there is to read before it.
		c.subscription.ping(func() {
			if last > c.heard {
				c.close(errDeaf)
			}
		})
	}
	c.published = beats
}

// hears tells whether the control channel is subscribed to.
func (s *subscription) hears() bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.control != nil && s.has(s.t.control)
}

// handle parses what one read brought. Frames before a malformed one are handed over; nothing behind it can be trusted.
func (c *conn) handle(now time.Time) error {
	n := 0
	for {
		if n == len(c.frames) {
			n = c.room(now, n)
		}
		f := &c.frames[n]
		raw, err := c.in.next(f)
		switch {
		case err == nil && raw == nil:
			c.hand(now, n)
			return nil
		case err == nil && f.kind != 0:
			switch c.sort(f) {
			case keep:
				n++
			case spread:
				n = c.spread(now, n)
			case fencing:
				c.hand(now, n)
				n = 0
				c.reached.pass(c)
			}
			continue
		case err == nil:
			var then func()
			if then, err = c.answer(now, raw); then != nil {
				c.hand(now, n)
				n = 0
				then()
			}
		}
		if err != nil {
			c.hand(now, n)
			return err
		}
	}
}

// verdict is what is done with a message.
type verdict uint8

const (
	drop    verdict = iota
	keep            // hand it over
	spread          // it came for a cover: hand it over once for each pattern that it serves
	fencing         // it is the fence of the handover under way
)

// sort looks whether a message is the hub's own, and whether its slot is delivered on this connection.
func (c *conn) sort(f *frame) verdict {
	if len(f.channel) >= len(ControlPrefix) && f.channel[0] == ControlPrefix[0] && string(f.channel[:len(ControlPrefix)]) == ControlPrefix {
		return c.heed(f)
	}
	if d := c.deliver.Load(); d != allSlots && d>>f.slot()&1 == 0 {
		c.discarded.Add(1)
		return drop
	}
	if f.kind == 'p' && c.subscription.t.spreads.Load() {
		var covered bool
		if c.patterns, covered = c.subscription.expand(f, c.patterns[:0]); covered {
			return spread
		}
	}
	return keep
}

// spread puts a frame for each of c.patterns in the place of the one at n.
func (c *conn) spread(now time.Time, n int) int {
	f := c.frames[n]
	for _, f.pattern = range c.patterns {
		if n == len(c.frames) {
			n = c.room(now, n)
		}
		c.frames[n] = f
		n++
	}
	return n
}

// heed takes a message on a reserved channel: of this hub, another hub, or somebody who plays tricks.
func (c *conn) heed(f *frame) verdict {
	if f.kind != 'm' || string(f.channel) != c.control {
		return drop
	}
	if n, ok := readBeat(f.payload); ok {
		c.heard = max(c.heard, n)
	} else if at := c.fence.Load(); at != nil && string(f.payload) == at.token {
		c.reached = at
		return fencing
	}
	return drop
}

// room makes place for more frames, at the bound by handing over those that are there.
func (c *conn) room(now time.Time, n int) int {
	if n == maxBatch {
		c.hand(now, n)
		return 0
	}
	c.frames = append(c.frames, make([]frame, min(max(n, 64), maxBatch-n))...)
	return n
}

func (c *conn) hand(now time.Time, n int) {
	if n == 0 {
		return
	}
	c.sink(now, c.frames[:n])
	if len(c.in.buf) > len(c.in.standing) {
		clear(c.frames[:n]) // they would keep the larger buffer alive
	}
}

// answer takes a reply, and returns what is to be done at this place of the stream.
func (c *conn) answer(now time.Time, raw []byte) (then func(), err error) {
	r, err := readReply(raw)
	if err != nil {
		return nil, err
	}
	return c.subscription.answer(r, now)
}
