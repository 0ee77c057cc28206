package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is one authenticated socket, from its first SUBSCRIBE to its end. Two goroutines serve it: the reader alone reads, the writer alone
// writes, so that commands have one order and the reader waits for nothing but the socket and the sink.
type conn struct {
	socket    net.Conn
	targets   *targets
	heartbeat time.Duration
	sink      sink
	announce  func() // tells the news; called by the reader

	in     *frameReader
	frames []frame   // of the read being handled; reused
	alive  time.Time // when the last byte came; the reader's, and its caller's afterwards

	closing sync.Once
	cause   error // why it was closed; written once
}

var (
	errSilent = errors.New("the server is silent")
	errEnded  = errors.New("the server closed the connection")
)

// serve reads and writes until the connection or ctx ends, and returns why. Nothing of it is left running.
func (c *conn) serve(ctx context.Context) error {
	c.alive = time.Now()
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
		c.socket.Close() // its error would say that it is closed already
	})
}

// write sends what targets ask for until done is closed.
func (c *conn) write(done <-chan struct{}) error {
	var b []byte
	for {
		select {
		case <-done:
			return nil
		case <-c.targets.wake:
		}
		for {
			if b = c.targets.take(b[:0]); len(b) == 0 {
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

// read hands frames to the sink and answers to targets until the socket ends. A socket on which nothing came for a heartbeat is sent a
// PING, and closed when still not a byte has come two heartbeats later: that is how a half-open link and a paused server end.
func (c *conn) read() error {
	silent := 0 // heartbeats in a row
	asked := c.alive
	for {
		if err := c.socket.SetReadDeadline(time.Now().Add(c.heartbeat)); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		n, err := c.in.fill(c.socket)
		now := time.Now()
		if n > 0 {
			c.alive, silent = now, 0
			if err := c.handle(now); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return errEnded
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("read: %w", err)
		case n == 0:
			if silent++; silent == 1 {
				c.targets.ping()
			} else if silent >= 3 {
				return fmt.Errorf("%w: not a byte for %v, nor after a PING", errSilent, now.Sub(c.alive).Round(time.Millisecond))
			}
		}
		if now.Sub(asked) >= c.heartbeat {
			asked = now
			c.targets.again(now)
		}
		if c.targets.fresh.Load() {
			c.announce()
		}
	}
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
			n++
			continue
		case err == nil:
			err = c.answer(now, raw)
		}
		if err != nil {
			c.hand(now, n)
			return err
		}
	}
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

func (c *conn) answer(now time.Time, raw []byte) error {
	r, err := readReply(raw)
	if err != nil {
		return err
	}
	return c.targets.answer(r, now)
}
