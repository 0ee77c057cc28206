package scheduler

import (
	"context"
	"sync"
	"time"
)

// lane is a share of an endpoint's targets, and the one connection that serves them. Its loop makes the connection anew when it is lost; a
// handover puts another in its place while both live.
type lane struct {
	// Under targets.mu.
	slots   uint64
	session *session      // that speaks for the targets; nil without a connection
	cause   string        // why there is none; "" with one
	gap     *interruption // the last one, open or not

	hold    sync.Mutex // held by whoever makes or replaces the connection: for as long as a dial or a handover
	conn    *conn      // nil between two; under hold
	retired bool       // its slots have moved away; under hold
}

// keep keeps a lane's connection until ctx ends or the lane is retired.
func (h *hub) keep(ctx context.Context, l *lane) {
	var wait backoff
	for ctx.Err() == nil {
		c, retired := h.present(ctx, l)
		switch {
		case retired:
			return
		case c == nil:
			wait.wait(ctx)
			continue
		}
		<-c.ended // serve ends with ctx
		l.hold.Lock()
		lost := l.conn == c
		if lost {
			l.conn = nil
		}
		l.hold.Unlock()
		if !lost {
			continue // a handover has put another in its place
		}
		if time.Since(c.began) > h.config.heartbeat { // of use: one that the server ends at once must not be made anew without waiting
			wait.reset()
		}
		wait.wait(ctx)
	}
}

// present is the lane's connection, made now if there is none; nil when that fails.
func (h *hub) present(ctx context.Context, l *lane) (c *conn, retired bool) {
	l.hold.Lock()
	defer l.hold.Unlock()
	if l.conn != nil || l.retired {
		return l.conn, l.retired
	}
	socket, err := h.dial(ctx)
	if err != nil {
		h.unreachable(ctx, l, err)
		return nil, false
	}
	l.conn = h.start(ctx, socket, h.targets.begin(l))
	return l.conn, false
}
