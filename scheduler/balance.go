package scheduler

import (
	"context"
	"fmt"
	"math/bits"
	"runtime"
	"time"
)

// An endpoint has as many connections as its load asks for.
const (
	maxConnections = 4      // unless the Endpoint says otherwise
	mostConnection = 8      // whatever it says
	perConnection  = 25_000 // targets: a quarter of what is subscribed to again within a second
	hotShare       = 0.6    // of its time that a reader is busy, beyond which it gets help
	coldShare      = 0.3    // that readers would be busy with one connection less, below which there may be one less
	hotFor         = 2      // heartbeats in a row
	coldFor        = 60     // heartbeats in a row
	restFor        = 30 * time.Second
)

// load is what a hub's connections have to do, as far as balance looks at it. It is the director's alone.
type load struct {
	at    time.Time
	busy  map[*conn]int64 // at that time
	hot   int             // heartbeats in a row in which some reader was busy
	cold  int             // heartbeats in a row in which one connection less would do
	until time.Time       // nothing is tried before, because it has failed
}

// laneLoad is one lane's part.
type laneLoad struct {
	*lane
	targets int
	share   float64 // of its time that the reader is busy
}

// look takes stock. A lane without a connection is not busy.
func (h *hub) look(now time.Time) (all []laneLoad, total int) {
	busy := map[*conn]int64{}
	for _, l := range h.targets.list() {
		one := laneLoad{lane: l, targets: h.targets.count(l)}
		total += one.targets
		if c := l.conn.Load(); c != nil {
			busy[c] = c.busy.Load()
			if before, ok := h.load.busy[c]; ok && now.After(h.load.at) {
				one.share = float64(busy[c]-before) / float64(now.Sub(h.load.at))
			}
		}
		all = append(all, one)
	}
	h.load.at, h.load.busy = now, busy
	return all, total
}

// balance opens connections where there is too much to do for those there are, and closes one where fewer would do. What it moves, it moves
// by handovers, so nothing is lost by it.
func (h *hub) balance(ctx context.Context) {
	now := time.Now()
	lanes, total := h.look(now)
	if now.Before(h.load.until) {
		return
	}
	n := len(lanes)
	most, hottest := 0.0, 0.0
	for _, l := range lanes {
		most += l.share
		hottest = max(hottest, l.share)
	}
	h.load.hot = streak(h.load.hot, hottest > hotShare && n < runtime.GOMAXPROCS(0))
	want := min((total+h.config.perLane-1)/h.config.perLane, h.connections())
	if h.load.hot >= hotFor {
		want = max(want, min(n+1, h.connections()))
		h.load.hot = 0
	}
	h.load.cold = streak(h.load.cold, n > 1 && total <= (n-1)*h.config.perLane*3/4 && most/float64(n-1) < coldShare)
	var err error
	switch {
	case want > n && total > 1:
		err = h.grow(ctx, lanes, total, want)
	case h.load.cold >= coldFor:
		h.load.cold = 0
		err = h.shrink(ctx, lanes)
	case n > 1:
		err = h.level(ctx, lanes)
	}
	if err != nil && ctx.Err() == nil {
		h.load.until = now.Add(restFor)
		h.config.log.Warn("the connections to redis stay as many as they are", "connections", len(h.targets.list()), "cause", err)
	}
}

func streak(n int, more bool) int {
	if more {
		return n + 1
	}
	return 0
}

// connections is how many there may be.
func (h *hub) connections() int {
	n := h.endpoint.Connections
	if n <= 0 {
		n = maxConnections
	}
	return min(n, mostConnection)
}

// grow opens connections until there are want, each with its share of the targets.
func (h *hub) grow(ctx context.Context, lanes []laneLoad, total, want int) error {
	share := (total + want - 1) / want
	for n := len(lanes); n < want; n++ {
		next, err := h.spare(ctx)
		if err != nil {
			return err
		}
		l := h.targets.extend()
		l.hold()
		moved, err := h.fill(ctx, l, next, lanes, share)
		if moved == 0 {
			l.retired = true
			h.targets.drop(l)
			next.close(errMoved)
		} else {
			l.conn.Store(next)
		}
		l.release()
		h.parts.Go(func() { h.keep(ctx, l) })
		if err != nil || moved == 0 {
			return err
		}
		h.config.log.Info("redis connection added", "connections", n+1, "targets", moved)
	}
	return nil
}

// fill moves a share of the targets to a new lane from those that have more than that. The caller holds the new lane.
func (h *hub) fill(ctx context.Context, to *lane, next *conn, lanes []laneLoad, share int) (moved int, err error) {
	for i := range lanes {
		from := &lanes[i]
		slots, n := h.targets.choose(from.lane, min(from.targets-share, share-moved))
		if n == 0 {
			continue
		}
		if err := h.shift(ctx, from.lane, to, next, slots); err != nil {
			return moved, fmt.Errorf("move targets: %w", err)
		}
		from.targets -= n
		moved += n
	}
	return moved, nil
}

// shift moves slots from a lane's connection to another lane's. The caller holds the other lane.
func (h *hub) shift(ctx context.Context, from, to *lane, next *conn, slots uint64) error {
	from.hold()
	defer from.release()
	old := from.conn.Load()
	if old == nil {
		return errOldGone
	}
	return h.handover(ctx, transfer{from: from, to: to, old: old, new: next, slots: slots})
}

// level moves targets from the lane that has the most to the one that has the fewest, where they differ by a quarter of what one ought to have.
func (h *hub) level(ctx context.Context, lanes []laneLoad) error {
	most, least := lanes[0], lanes[0]
	for _, l := range lanes {
		if l.targets > most.targets {
			most = l
		}
		if l.targets < least.targets {
			least = l
		}
	}
	if most.targets-least.targets < h.config.perLane/4 {
		return nil
	}
	slots, n := h.targets.choose(most.lane, (most.targets-least.targets)/2)
	if n == 0 {
		return nil
	}
	least.hold()
	defer least.release()
	next := least.conn.Load()
	if next == nil {
		return nil
	}
	return h.shift(ctx, most.lane, least.lane, next, slots)
}

// shrink moves the last lane's targets to the one that has the fewest, and closes its connection.
func (h *hub) shrink(ctx context.Context, lanes []laneLoad) error {
	last, to := lanes[len(lanes)-1].lane, lanes[0]
	for _, l := range lanes[:len(lanes)-1] {
		if l.targets < to.targets {
			to = l
		}
	}
	to.hold()
	defer to.release()
	next := to.conn.Load()
	if next == nil {
		return nil // it is not quiet at all
	}
	if err := h.shift(ctx, last, to.lane, next, last.slots); err != nil {
		return fmt.Errorf("move targets: %w", err)
	}
	last.hold()
	defer last.release()
	last.retired = true
	if c := last.conn.Load(); c != nil {
		c.close(errMoved)
	}
	h.targets.drop(last)
	h.config.log.Info("redis connection closed", "connections", len(lanes)-1)
	return nil
}

// extend makes a lane that has no slots yet.
func (t *targets) extend() *lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.join()
}

// drop forgets a lane that has no slots any more.
func (t *targets) drop(l *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, o := range t.lanes {
		if o == l {
			t.lanes = append(t.lanes[:i:i], t.lanes[i+1:]...)
			return
		}
	}
}

// count is how many targets a lane has.
func (t *targets) count(l *lane) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for slots := l.slots; slots != 0; slots &= slots - 1 {
		n += t.sizes[bits.TrailingZeros64(slots)]
	}
	return n
}

// choose takes slots of a lane that have about n targets in all, and tells how many they have. One slot always stays.
func (t *targets) choose(l *lane, n int) (slots uint64, targets int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for left := l.slots; left&(left-1) != 0 && targets < n; left &= left - 1 {
		i := bits.TrailingZeros64(left)
		if size := t.sizes[i]; size > 0 && targets+size <= n+size/2 {
			slots |= 1 << i
			targets += size
		}
	}
	return slots, targets
}
