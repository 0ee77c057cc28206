package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// network is a wire on which a redisModel answers, in synthetic time.
type network struct {
	t      *testing.T
	begins time.Time
	down   atomic.Bool // refuses to connect
	mute   atomic.Bool // reads and says nothing

	mu    sync.Mutex // guards what follows
	redis *redisModel
	events
}

// events are what the hub did, as times since the start.
type events struct {
	dials, pings, ends []time.Duration
	peer               net.Conn // the server's side of the last connection
}

func newNetwork(t *testing.T) *network {
	return &network{t: t, begins: time.Now(), redis: &redisModel{held: map[tenants.Target]bool{}, refused: func(string) bool { return false }}}
}

// seen waits until nothing moves and returns what has happened.
func (n *network) seen() events {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.events
	e.dials, e.pings, e.ends = slices.Clone(e.dials), slices.Clone(e.pings), slices.Clone(e.ends)
	return e
}

func (n *network) dial(context.Context) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, time.Since(n.begins))
	if n.down.Load() {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	n.peer = theirs
	n.redis.held = map[tenants.Target]bool{}
	go n.serve(theirs) // ends when either side is closed
	return ours, nil
}

func (n *network) serve(c net.Conn) {
	b := make([]byte, 1<<20)
	for {
		size, err := c.Read(b)
		if err != nil {
			if !errors.Is(err, io.ErrClosedPipe) {
				n.mu.Lock()
				n.ends = append(n.ends, time.Since(n.begins))
				n.mu.Unlock()
			}
			return
		}
		if answer := n.answer(b[:size]); !n.mute.Load() {
			io.WriteString(c, answer) // fails when the hub has closed, which the next Read says
		}
	}
}

func (n *network) answer(written []byte) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, words := range commands(n.t, written) {
		if words[0] == "PING" {
			n.pings = append(n.pings, time.Since(n.begins))
		}
		n.redis.execute(words)
	}
	answer := n.redis.answered.String()
	n.redis.answered.Reset()
	return answer
}

// run starts a hub on the network and returns what ends it.
func (n *network) run(c hubConfig) (h *hub, stop func()) {
	if c.sink == nil {
		c.sink = always(func(time.Time, []frame) {})
	}
	h = newHub(Endpoint{ID: "e", Name: "redis:6379", Dial: n.dial}, c)
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }() // ends with stop
	return h, func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("Run: %v", err)
		}
		synctest.Wait()
	}
}

func state(t *testing.T, h *hub) TargetState {
	t.Helper()
	s := h.States()
	if len(s) != 1 {
		t.Fatalf("%d states, want one", len(s))
	}
	return s[0]
}

var orders = tenants.Target{Name: "orders"}

// TestSilenceEndsAConnection: a PING after one heartbeat, the end after two more.
func TestSilenceEndsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.mute.Store(true)
		h, stop := n.run(hubConfig{})
		h.Add(orders)
		time.Sleep(3*heartbeat - 1)
		if e := n.seen(); len(e.ends) != 0 || !slices.Equal(e.pings, []time.Duration{heartbeat}) {
			t.Errorf("before the third heartbeat: ended at %v, pinged at %v", e.ends, e.pings)
		}
		n.mute.Store(false)
		time.Sleep(maxBackoff)
		if e := n.seen(); !slices.Equal(e.ends, []time.Duration{3 * heartbeat}) || len(e.dials) != 2 {
			t.Errorf("ended at %v, dialled at %v", e.ends, e.dials)
		}
		if s := state(t, h); s.State != Active {
			t.Errorf("%+v", s)
		}
		stop()
	})
}

// TestPongKeepsAConnection lets a connection be idle for an hour.
func TestPongKeepsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		h, stop := n.run(hubConfig{})
		h.Add(orders)
		time.Sleep(time.Hour + time.Millisecond)
		if e := n.seen(); len(e.dials) != 1 || len(e.pings) != int(time.Hour/heartbeat) {
			t.Errorf("%d connections, %d pings in an hour", len(e.dials), len(e.pings))
		}
		if s := state(t, h); s.State != Active || !s.Since.Equal(n.begins) {
			t.Errorf("%+v", s)
		}
		stop()
	})
}

// TestTrafficIsASignOfLife sends something every half heartbeat and finds no PING.
func TestTrafficIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		got := 0
		h, stop := n.run(hubConfig{sink: always(func(_ time.Time, f []frame) { got += len(f) })})
		h.Add(orders)
		peer := n.seen().peer
		for range 100 {
			time.Sleep(500 * time.Millisecond)
			if _, err := io.WriteString(peer, bigFrame(1)); err != nil {
				t.Fatal(err)
			}
		}
		if e := n.seen(); len(e.pings) != 0 || len(e.dials) != 1 || got != 100 {
			t.Errorf("%d pings, %d connections, %d messages", len(e.pings), len(e.dials), got)
		}
		stop()
	})
}

// TestReadyAgain: after an hour without a server it takes at most one wait until everything is acknowledged, and the gap tells the whole time.
func TestReadyAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var gaps []Gap
		h, stop := n.run(hubConfig{gap: func(g Gap, _ []tenants.Target) { gaps = append(gaps, g) }})
		h.Add(orders)
		peer := n.seen().peer
		time.Sleep(500 * time.Millisecond)
		n.down.Store(true)
		peer.Close()
		lost := time.Now()
		time.Sleep(time.Hour)
		dials := len(n.seen().dials)
		if s := state(t, h); s.State != Reconnecting || s.Reason != "connection refused" || !s.Since.Equal(lost) {
			t.Errorf("while it is down: %+v", s)
		}
		if perSecond := dials / 3600; perSecond < 6 || perSecond > 10 {
			t.Errorf("%d attempts in an hour", dials)
		}
		n.down.Store(false)
		time.Sleep(maxBackoff)
		synctest.Wait()
		if s := state(t, h); s.State != Active {
			t.Errorf("%v after it is back: %+v", maxBackoff, s)
		}
		if len(gaps) != 1 {
			t.Fatalf("%d gaps", len(gaps))
		}
		g := gaps[0]
		if !g.Since.Equal(n.begins) || g.Until.Sub(lost) < time.Hour || g.Targets != 1 || g.Endpoint != "e" || g.Cause != errEnded.Error() {
			t.Errorf("gap: %+v", g)
		}
		stop()
	})
}

// TestShortLivedConnections backs off from a server that accepts and closes.
func TestShortLivedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		dials := 0
		h := newHub(Endpoint{Dial: func(context.Context) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			return ours, theirs.Close()
		}}, hubConfig{sink: always(nil)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
		if dials < 300 || dials > 800 {
			t.Errorf("%d connections in %v", dials, time.Since(n.begins))
		}
	})
}

// TestRejectedIsAskedAgain every 30 s, and stays rejected until the server agrees.
func TestRejectedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var allowed atomic.Bool
		var asked atomic.Int32
		n.redis.refused = func(string) bool { asked.Add(1); return !allowed.Load() }
		h, stop := n.run(hubConfig{})
		h.Add(orders)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := state(t, h); s.State != Rejected || s.Reason != "NOPERM no permissions to access a channel" || !s.Since.Equal(n.begins) {
			t.Errorf("%+v", s)
		}
		if times := asked.Load(); times < 2 || times > 3 {
			t.Errorf("asked %d times in a minute", times)
		}
		allowed.Store(true)
		time.Sleep(askAgain + 2*time.Second)
		synctest.Wait()
		if s := state(t, h); s.State != Active || s.Reason != "" {
			t.Errorf("once allowed: %+v", s)
		}
		stop()
	})
}

// TestRunEnds while connected, while waiting, and while the gap is open, which it announces.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var gaps []Gap
		h, stop := n.run(hubConfig{gap: func(g Gap, _ []tenants.Target) { gaps = append(gaps, g) }})
		h.Add(orders)
		peer := n.seen().peer
		n.down.Store(true)
		peer.Close()
		time.Sleep(time.Minute)
		stop()
		if len(gaps) != 1 || gaps[0].Until.Sub(gaps[0].Since) != time.Minute {
			t.Errorf("%+v", gaps)
		}
		n.down.Store(false)
		_, stop = n.run(hubConfig{})
		synctest.Wait()
		stop()
		if e := n.seen(); len(e.ends) != 1 {
			t.Errorf("%d sockets were closed", len(e.ends))
		}
	})
}

// TestMalformed: what came before is handed over, the connection ends and is made anew.
func TestMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var got []string
		h, stop := n.run(hubConfig{sink: always(func(_ time.Time, frames []frame) {
			for _, f := range frames {
				got = append(got, string(f.payload))
			}
		})})
		h.Add(orders)
		if _, err := io.WriteString(n.seen().peer, bigFrame(1)+"nonsense\r\n"+bigFrame(2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := state(t, h); s.State == Active || !strings.Contains(s.Reason, "malformed") {
			t.Errorf("%+v", s)
		}
		time.Sleep(maxBackoff)
		synctest.Wait()
		if s := state(t, h); s.State != Active || !slices.Equal(got, []string{"x"}) {
			t.Errorf("%+v, messages %q", s, got)
		}
		stop()
	})
}

// BenchmarkReader reads pre-built frames from a loopback socket, as the hub does.
func BenchmarkReader(b *testing.B) {
	for _, size := range []int{64, 1024} {
		for _, kind := range []string{"message", "pmessage"} {
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) { benchmarkReader(b, kind, size) })
		}
	}
}

func benchmarkReader(b *testing.B, kind string, size int) {
	frame1 := bigFrame(size)
	if kind == "pmessage" {
		frame1 = strings.Replace(frame1, ">3\r\n$7\r\nmessage\r\n", ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n", 1)
	}
	per := max(1, (256<<10)/len(frame1))
	block := []byte(strings.Repeat(frame1, per))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() { // ends when the reader closes its side
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for err == nil {
			_, err = c.Write(block)
		}
	}()
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	seen, bytes := 0, 0
	enough := errors.New("enough")
	all := newTargets("")
	c := newConn(socket, all.begin(all.lanes[0]), time.Second)
	c.deliver.Store(allSlots)
	c.sink = func(_ time.Time, frames []frame) {
		if seen == 0 {
			b.ResetTimer() // the batch slice has grown
		}
		for i := range frames {
			bytes += len(frames[i].payload)
		}
		if seen += len(frames); seen >= b.N {
			c.close(enough)
		}
	}
	b.ReportAllocs()
	if err := c.read(); c.cause != enough {
		b.Fatal(err)
	}
	b.StopTimer()
	if bytes != seen*size {
		b.Fatalf("%d bytes in %d messages", bytes, seen)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seen), "ns/msg")
}
