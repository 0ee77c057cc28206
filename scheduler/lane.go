package scheduler

import (
	"context"
	"sync/atomic"
	"time"
)

// lane is a share of an endpoint's targets, and the one connection that serves them. Its loop makes the connection anew when it is lost; a
// handover puts another in its place while both live.
type lane struct {
	// Under targets.mu.
	slots        uint64
	subscription *subscription // that speaks for the targets; nil without a connection
	cause        string        // why there is none; "" with one
	gap          *interruption // the last one, open or not

	held    chan struct{}        // capacity 1: holds a token while somebody makes or replaces the connection
	conn    atomic.Pointer[conn] // nil between two; written by who holds the lane
	retired bool                 // its slots have moved away; the holder's
}

// hold keeps others from making or replacing the lane's connection, for as long as a dial or a handover takes.
func (l *lane) hold() { l.held <- struct{}{} }

func (l *lane) release() { <-l.held }

// keep keeps a lane's connection until ctx ends or the lane is retired.
func (h *hub) keep(ctx context.Context, l *lane) {
	var wait backoff
	for ctx.Err() == nil {
		c, retired := h.connected(ctx, l)
		switch {
		case retired:
			return
		case c == nil:
			wait.wait(ctx)
			continue
		}
		<-c.ended // serve ends with ctx
		l.hold()
		lost := l.conn.CompareAndSwap(c, nil)
		l.release()
		if !lost {
			continue // a handover has put another in its place
		}
		if time.Since(c.began) > h.config.heartbeat { // of use: one that the server ends at once must not be made anew without waiting
			wait.reset()
		}
		wait.wait(ctx)
	}
}

// connected is the lane's connection, made now if there is none; nil when that fails.
func (h *hub) connected(ctx context.Context, l *lane) (c *conn, retired bool) {
	l.hold()
	defer l.release()
	if c := l.conn.Load(); c != nil || l.retired {
		return c, l.retired
	}
	socket, err := h.dial(ctx)
	if err != nil {
		h.unreachable(ctx, l, err)
		return nil, false
	}
	c = h.start(ctx, socket, h.targets.begin(l))
	l.conn.Store(c)
	return c, false
}
