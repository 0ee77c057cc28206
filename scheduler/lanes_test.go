package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// connections lists the ids of the server's clients that are subscribed to something.
func connections(t testing.TB, c *redis.Client) (ids []string) {
	t.Helper()
	for _, line := range strings.Split(do(t, c, "CLIENT", "LIST", "TYPE", "pubsub").(string), "\n") {
		if id, _, found := strings.Cut(strings.TrimPrefix(line, "id="), " "); found {
			ids = append(ids, id)
		}
	}
	return ids
}

func (w *watched) lanes() int { return len(w.targets.list()) }

// TestConnectionsGrowAndShrink: with the targets, under traffic, and without losing a message. One that is killed concerns its targets alone.
func TestConnectionsGrowAndShrink(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	const beat = 50 * time.Millisecond
	w := watchLanes(t, Endpoint{Dial: dialler(t, s.URL), Publish: publisher(c)}, beat, 100)
	l := newLedger()
	w.note = l.note
	for p := range 4 {
		for i := range 8 {
			w.Add(channel("c%d.%d", p, i))
		}
	}
	w.Add(tenants.Target{Kind: tenants.Pattern, Name: "c1.*"})
	w.awaitAll(Active)
	if n := len(connections(t, c)); n != 1 {
		t.Errorf("%d connections for 33 targets", n)
	}
	crowd := publishingAt(t, s, "c", 4, 8, 5*time.Millisecond) // readers that are busy would keep their connections
	for i := range 400 {
		w.Add(channel("idle%d", i))
	}
	w.awaitAll(Active)
	w.await("four connections", func() bool { w.tick(beat); return w.lanes() == 4 && len(connections(t, c)) == 4 })
	for i := range 400 {
		w.Remove(channel("idle%d", i))
	}
	w.await("one connection", func() bool { w.tick(beat); return w.lanes() == 1 && len(connections(t, c)) == 1 })
	want := map[string]int{}
	for name, n := range crowd.stop() {
		want["m|"+name] = n
		if strings.HasPrefix(name, "c1.") {
			want["pc1.*|"+name] = n
		}
	}
	w.await("the last messages", func() bool { return l.reached(want) })
	if g := w.interruptions(); l.lost != 0 || l.twice != 0 || len(g) != 0 {
		t.Errorf("%d lost, %d twice or out of order of %d, gaps %+v", l.lost, l.twice, l.came, g)
	}
	subscribers(t, c, "c0.0", 1)
}

// tick wakes await after a moment, for what the hub does not tell.
func (w *watched) tick(d time.Duration) {
	time.AfterFunc(d, func() {
		select {
		case w.moved <- struct{}{}:
		default:
		}
	})
}

// TestOneConnectionOfFour is killed: its targets alone are interrupted, and come back.
func TestOneConnectionOfFour(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	w := watchLanes(t, Endpoint{Dial: dialler(t, s.URL), Publish: publisher(c)}, 200*time.Millisecond, 250)
	for i := range 1000 {
		w.Add(channel("c%d", i))
	}
	w.await("four connections", func() bool { w.tick(50 * time.Millisecond); return w.lanes() == 4 && len(connections(t, c)) == 4 })
	w.awaitAll(Active)
	ids := connections(t, c)
	do(t, c, "CLIENT", "KILL", "ID", ids[1])
	w.await("gap", func() bool { return len(w.interruptions()) == 1 })
	w.awaitAll(Active)
	if g := w.interruptions()[0]; g.Targets < 150 || g.Targets > 350 {
		t.Errorf("%d of 1000 targets were interrupted", g.Targets)
	}
	for i := range 1000 {
		subscribers(t, c, fmt.Sprint("c", i), 1)
	}
	now := connections(t, c)
	if len(now) != 4 || slices.Contains(now, ids[1]) || !slices.Contains(now, ids[0]) {
		t.Errorf("connections were %v, are %v", ids, now)
	}
	do(t, c, "CLIENT", "KILL", "TYPE", "pubsub")
	w.await("gaps of all", func() bool {
		n := 0
		for _, g := range w.interruptions()[1:] {
			n += g.Targets
		}
		return n == 1000
	})
	w.awaitAll(Active)
	if err := w.Renew(t.Context(), "test"); err != nil {
		t.Error(err)
	}
	for i := range 1000 {
		subscribers(t, c, fmt.Sprint("c", i), 1)
	}
}
