package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestChurn does everything at once to a hub under publishers: targets come and go by hundreds, so that connections come and go with them,
// connections are replaced, killed and cut, and the server is paused. Nothing comes twice or out of order, what was lost was announced as a
// gap, and at the end the server holds what is wanted, once.
func TestChurn(t *testing.T) {
	s := redistest.Start(t)
	link := redistest.Proxy(t, s.Addr)
	c := s.Client()
	w := watchLanes(t, Endpoint{Dial: dialler(t, "redis://"+link.Addr), Publish: publisher(c)}, 200*time.Millisecond, 50)
	l := newLedger()
	w.note = l.note
	for p := range 4 {
		for i := range 4 {
			w.Add(channel("c%d.%d", p, i))
		}
	}
	w.Add(tenants.Target{Kind: tenants.Pattern, Name: "c2.*"})
	w.awaitAll(Active)
	crowd := publishingAt(t, s, "c", 4, 4, time.Millisecond)

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	var parts sync.WaitGroup
	each := func(every time.Duration, do func(r *rand.Rand)) {
		parts.Go(func() { // ends with ctx
			r, tick := rand.New(rand.NewPCG(uint64(every), 1)), time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					do(r)
				}
			}
		})
	}
	var held sync.Map // side targets that are referenced
	each(time.Millisecond, func(r *rand.Rand) {
		x := channel("side%d", r.IntN(300))
		if _, there := held.LoadAndDelete(x); there {
			w.Remove(x)
		} else {
			held.Store(x, true)
			w.Add(x)
		}
	})
	renewed := 0
	each(50*time.Millisecond, func(*rand.Rand) {
		if w.Renew(ctx, "churn") == nil {
			renewed++
		}
	})
	each(700*time.Millisecond, func(r *rand.Rand) {
		if ids := connections(t, c); len(ids) > 0 {
			c.Do(ctx, "CLIENT", "KILL", "ID", ids[r.IntN(len(ids))]) // may have ended by itself
		}
	})
	each(1900*time.Millisecond, func(*rand.Rand) {
		link.Cut()
		link.Restore()
	})
	each(1100*time.Millisecond, func(*rand.Rand) { c.Do(ctx, "CLIENT", "PAUSE", 50, "WRITE") })
	parts.Wait()

	w.awaitAll(Active)
	// What comes from now on shows each channel's last hole.
	before := l.count()
	w.await("traffic", func() bool { return l.count() > before+1000 })
	want := map[string]int{}
	for name, n := range crowd.stop() {
		if want["m|"+name] = n; name[:3] == "c2." {
			want["pc2.*|"+name] = n
		}
	}
	w.await("the last messages", func() bool { return l.reached(want) })
	if l.twice != 0 {
		t.Errorf("%d twice or out of order", l.twice)
	}
	gaps := w.interruptions()
	for _, hole := range l.holes {
		told := false
		for _, g := range gaps {
			told = told || !g.Since.After(hole[1]) && !g.Until.Before(hole[0])
		}
		if !told {
			t.Errorf("lost between %v and %v, and no gap tells", hole[0], hole[1])
		}
	}
	subscribers(t, c, "c0.0", 1)
	for i := range 300 {
		n := int64(0)
		if _, there := held.Load(channel("side%d", i)); there {
			n = 1
		}
		subscribers(t, c, fmt.Sprint("side", i), n)
	}
	t.Logf("%d messages, %d lost in %d holes, %d gaps, %d renewals", l.came, l.lost, len(l.holes), len(gaps), renewed)
}
