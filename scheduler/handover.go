package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of a handover. At each of them it is given up, and the old connection goes on; only where it has stopped already and the new one
// cannot begin is there a gap, which is announced.
const (
	settleWithin = 30 * time.Second // until the new connection holds everything
	fenceWithin  = 2 * time.Second  // from PUBLISH until the new connection begins
	fenceWait    = time.Second      // that the new connection's reader waits for the old one; then it goes on, and a gap is announced
)

var (
	errMoved   = errors.New("its targets were moved to another connection")
	errOldGone = errors.New("the old connection ended first")
	errNewGone = errors.New("the new connection ended first")
	errCrowded = errors.New("too many of the connections that were replaced have not ended yet")
	errLate    = errors.New("the new connection was not ready in time")
)

// transfer is a handover of slots from one connection to another, each the present one of its lane or, for a renewal, its successor.
//
//	old  ─────── m1 ── m2 ── fence ── m3 ─ ─ ─      m1 m2 from the old connection,
//	new  ── ─ ─ ─ ─ ─ ─ ─ ─ ─ fence ── m3 ──────     m3 from the new one, once each and in order
//
// The new connection subscribes to everything and discards it. When all is acknowledged or refused, one fence message is published on the
// control channel that both hold. The server gives both connections all messages in the same order, so what stands before the fence on one
// stands before it on the other: the old one's is taken up to the fence, the new one's after it. The new reader stops at its fence until the
// old one has reached its own, so that the order of each target is kept.
//
// This holds where both connections see one order of messages: on one server, and on a master and its replicas. The nodes of a cluster do not
// agree on one: see Endpoint.Unordered.
type transfer struct {
	from, to *lane
	old, new *conn
	slots    uint64
}

// renewal asks for all connections of an endpoint to be replaced.
type renewal struct {
	why  string
	done chan error // capacity 1
}

// Renew replaces every connection by one that is dialled now, with the credential in force now, and loses nothing by it. It returns when that
// is done, or why it is not: then connections that were not replaced go on as they are.
func (h *hub) Renew(ctx context.Context, why string) error {
	r := renewal{why: why, done: make(chan error, 1)}
	select {
	case h.renewals <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-h.done:
		return errClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err() // it goes on
	case <-h.done:
		return errClosed
	}
}

var errClosed = errors.New("the endpoint is closed")

func (h *hub) renew(ctx context.Context, why string) error {
	var all error
	for _, l := range h.targets.list() {
		all = errors.Join(all, h.renewLane(ctx, l, why))
	}
	if h.shards != nil {
		all = errors.Join(all, h.shards.renew(ctx, why))
	}
	return all
}

// renewLane replaces one connection. A lane without one will make it anew in any case.
func (h *hub) renewLane(ctx context.Context, l *lane, why string) error {
	l.hold()
	defer l.release()
	old := l.conn.Load()
	if old == nil {
		return nil
	}
	next, err := h.spare(ctx)
	if err != nil {
		return err
	}
	if err := h.handover(ctx, transfer{from: l, to: l, old: old, new: next, slots: l.slots}); err != nil {
		next.close(errMoved)
		return fmt.Errorf("replace a connection of %s: %w", h.endpoint.Name, err)
	}
	l.conn.Store(next)
	old.close(errMoved)
	h.config.log.Info("redis connection replaced", "why", why)
	return nil
}

// spare makes a connection that holds the control channel alone.
func (h *hub) spare(ctx context.Context) (*conn, error) {
	socket, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	h.targets.mu.Lock()
	defer h.targets.mu.Unlock()
	if len(h.targets.subscriptions) >= maxSpares {
		return nil, errors.Join(errCrowded, socket.Close())
	}
	s := h.targets.open()
	return h.start(ctx, socket, s), nil
}

// handover moves the transfer's slots to the new connection. With an error everything is as before, and the old connection goes on if it
// lives. The caller holds both lanes, and closes the connection that is of no use afterwards.
func (h *hub) handover(ctx context.Context, m transfer) error {
	h.targets.invite(m)
	err := h.settle(ctx, m)
	switch {
	case err == nil:
		err = h.cross(ctx, m)
	case errors.Is(err, errOldGone) && m.from == m.to:
		err = h.inherit(ctx, m)
	}
	if err != nil {
		h.targets.withdraw(m)
		return err
	}
	h.targets.adopt(m, time.Now())
	return nil
}

// settle waits until the new connection holds all that it is to take over, or has been refused it, and freezes it on the old one.
func (h *hub) settle(ctx context.Context, m transfer) error {
	late := time.NewTimer(settleWithin)
	defer late.Stop()
	for {
		if h.targets.freeze(m) {
			return nil
		}
		select {
		case <-m.new.subscription.idle:
		case <-m.new.closed:
			return errNewGone
		case <-m.old.ended:
			return errOldGone
		case <-late.C:
			return errLate
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cross changes from the old to the new connection, at a fence where that can be.
func (h *hub) cross(ctx context.Context, m transfer) error {
	why := "there is no control channel that both connections hold"
	if h.strangers(m) {
		why = "they are on different nodes of a cluster"
	} else if h.control != "" && m.old.subscription.hears() && m.new.subscription.hears() {
		crossed, err := h.fenced(ctx, m)
		if crossed || err != nil {
			return err
		}
		why = "no fence came"
	}
	return h.bridge(ctx, m, why)
}

// strangers tells whether the two connections are on servers that do not agree on an order.
func (h *hub) strangers(m transfer) bool {
	return h.endpoint.Unordered && m.old.socket.RemoteAddr().String() != m.new.socket.RemoteAddr().String()
}

// fence is one message that marks the same place in the streams of two connections.
type fence struct {
	token string
	m     transfer

	mu      sync.Mutex
	gone    bool          // it means nothing any more
	passed  time.Time     // when the old connection has
	since   int64         // what it had discarded by then
	overrun time.Time     // when the new connection gave up waiting for the old one; zero if it did not
	old     chan struct{} // closed when the old connection has handed over everything before the fence
	new     chan struct{} // closed when the new one has begun to deliver
}

// pass is called by the reader that has come to the fence and has handed over what was before it.
func (f *fence) pass(c *conn) {
	if c == f.m.old {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.gone && f.passed.IsZero() {
			c.deliver.And(^f.m.slots)
			f.passed, f.since = time.Now(), c.discarded.Load()
			close(f.old)
		}
		return
	}
	late := time.NewTimer(fenceWait)
	defer late.Stop()
	overrun := false
	select {
	case <-f.old:
	case <-f.m.old.ended:
	case <-c.closed:
		return
	case <-late.C:
		overrun = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return
	}
	if overrun && f.passed.IsZero() {
		f.overrun = time.Now()
		f.m.old.deliver.And(^f.m.slots)
	}
	f.gone = true
	c.deliver.Or(f.m.slots)
	close(f.new)
}

// fenced publishes a fence and waits for both connections to pass it. Where neither has, crossed is false and the fence means nothing any more.
func (h *hub) fenced(ctx context.Context, m transfer) (crossed bool, err error) {
	f := &fence{token: "f" + rand.Text(), m: m, old: make(chan struct{}), new: make(chan struct{})}
	m.old.fence.Store(f)
	m.new.fence.Store(f)
	defer m.old.fence.Store(nil)
	defer m.new.fence.Store(nil)
	within, cancel := context.WithTimeout(ctx, fenceWithin)
	defer cancel()
	if h.endpoint.Publish(within, h.control, []byte(f.token)) == nil {
		select {
		case <-f.new:
		case <-m.new.ended:
		case <-within.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.new:
		if !f.overrun.IsZero() {
			h.targets.doubt(m.slots, time.Unix(0, m.old.alive.Load()), f.overrun, 0, // it may lag by more than the new one has seen
				fmt.Sprintf("the old connection lagged by more than %v when its targets were moved", fenceWait))
		}
		return true, nil
	default:
	}
	f.gone = true
	if !f.passed.IsZero() {
		h.resume(m, f.passed, m.old.discarded.Load()-f.since)
		return false, errors.Join(errNewGone, ctx.Err())
	}
	select {
	case <-m.new.closed:
		return false, errNewGone
	default:
		return false, ctx.Err()
	}
}

// resume has the old connection deliver again, because the new one cannot.
func (h *hub) resume(m transfer, since time.Time, lost int64) {
	m.old.deliver.Or(m.slots)
	if lost > 0 {
		h.targets.doubt(m.slots, since, time.Now(), lost, "moving targets to another connection failed after the old one had stopped")
	}
}

// bridge changes from the old to the new connection without a fence: the old one stops at the answer to a PING, and only then is the new
// one sent a PING, at whose answer it begins. So nothing comes twice, and what was published between the two is lost. It is at most what the
// new connection has discarded since before the first PING; where that is nothing, nothing was lost. Otherwise the gap is announced. An old
// connection that lags so far behind that it does not stop in time is cut off where it stands, which may be before all that the new one has seen,
// and two nodes of a cluster have no order in common: then nobody can know how much is lost.
func (h *hub) bridge(ctx context.Context, m transfer, why string) error {
	begin, before := time.Now(), m.new.discarded.Load()
	oldBefore := m.old.discarded.Load()
	stopped := make(chan struct{})
	m.old.subscription.ping(func() {
		m.old.deliver.And(^m.slots)
		close(stopped)
	})
	cut := false
	select {
	case <-stopped:
	case <-m.old.ended:
	case <-time.After(fenceWithin):
		m.old.deliver.And(^m.slots)
		cut = true
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := h.open(ctx, m); err != nil {
		h.resume(m, begin, m.old.discarded.Load()-oldBefore)
		return err
	}
	lost, why := m.new.discarded.Load()-before, "targets were moved to another connection without a fence: "+why
	switch {
	case cut:
		h.targets.doubt(m.slots, time.Unix(0, m.old.alive.Load()), time.Now(), 0, fmt.Sprintf("%s, and the old connection lagged by more than %v", why, fenceWithin))
	case h.strangers(m):
		h.targets.doubt(m.slots, begin, time.Now(), 0, why)
	case lost > 0:
		h.targets.doubt(m.slots, begin, time.Now(), lost, why)
	}
	return nil
}

// open has the new connection deliver what is published from now on.
func (h *hub) open(ctx context.Context, m transfer) error {
	opened := make(chan struct{})
	m.new.subscription.ping(func() {
		m.new.deliver.Or(m.slots)
		close(opened)
	})
	select {
	case <-opened:
		return nil
	case <-m.new.ended: // as a connection that does not answer does soon
		return errNewGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// inherit takes over from a connection that has ended. The gap is that of its end.
func (h *hub) inherit(ctx context.Context, m transfer) error { return h.open(ctx, m) }

// list is the lanes of now.
func (t *targets) list() []*lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*lane(nil), t.lanes...)
}

// invite asks the new connection for all that it is to take over.
func (t *targets) invite(m transfer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := m.new.subscription; !s.ended {
		s.serve(m.slots)
	}
}

// freeze tells whether all that the new connection was asked is answered. If so, the targets of the old one stay as they are until adopt or
// withdraw: what comes anew meanwhile is asked for on the new connection alone.
func (t *targets) freeze(m transfer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.new.subscription.ended || !m.new.subscription.quiet() {
		return false
	}
	m.old.subscription.frozen |= m.slots
	return true
}

// withdraw leaves everything to the old connection.
func (t *targets) withdraw(m transfer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.old.subscription.frozen &^= m.slots
	for x := range t.wired(m.slots) {
		m.old.subscription.mark(x)
	}
	m.new.subscription.release(m.slots)
	m.new.subscription.reasons = nil
}

// adopt has the new connection speak for the slots. What it was refused is rejected now.
func (t *targets) adopt(m transfer, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := m.new.subscription
	m.from.slots &^= m.slots
	m.to.slots |= m.slots
	m.to.subscription, m.to.cause = s, ""
	for i := range t.of {
		if m.slots>>i&1 == 1 {
			t.of[i] = m.to
		}
	}
	for x := range t.in(m.slots) {
		if x.refs == 0 || !x.offered {
			continue
		}
		switch {
		case s.serves(x):
			t.activate(x, now)
		case x.refused&s.bit != 0:
			t.rejected(x, s.reasons[x], now)
		case x.state == Active:
			x.set(Pending, "", now)
		}
	}
	s.reasons = nil
	if m.from != m.to {
		m.old.subscription.release(m.slots)
	}
	if s.ended {
		t.orphan(m.to, now, true)
	}
	t.tell()
}
