package scheduler

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// relay is pub/sub in the place of a Redis server's, for tests in synthetic time: any number of connections, which get what is published in one
// order, and between a PUBLISH and each socket a buffer, as Redis has.
type relay struct {
	mu     sync.Mutex
	conns  map[*relayed]bool
	fences int // messages on control channels that are no heartbeats
}

// relayed is one connection, under the relay's lock.
type relayed struct {
	redisModel
	out  []byte
	more chan struct{} // capacity 1: there is something in out
}

func (r *relay) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	c := &relayed{redisModel: redisModel{held: map[tenants.Target]bool{}, refused: func(string) bool { return false }}, more: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		r.conns = map[*relayed]bool{}
	}
	r.conns[c] = true
	ended := make(chan struct{})
	go func() { // ends when either side is closed
		r.hear(c, theirs)
		theirs.Close()
		close(ended)
	}()
	go r.tell(c, theirs, ended)
	return ours, nil
}

// hear executes what a connection is asked.
func (r *relay) hear(c *relayed, from net.Conn) {
	in := bufio.NewReader(from)
	number := func() (n int, err error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	for {
		n, err := number()
		words := make([]string, n)
		for i := range words {
			size, _ := number()
			b := make([]byte, size+2)
			if _, err = io.ReadFull(in, b); err == nil {
				words[i] = string(b[:size])
			}
		}
		r.mu.Lock()
		if err != nil {
			delete(r.conns, c)
			r.mu.Unlock()
			return
		}
		c.answered.Reset()
		c.execute(words)
		c.send(c.answered.String())
		r.mu.Unlock()
	}
}

// tell writes what is published to a connection, at the pace at which it reads, until ended.
func (r *relay) tell(c *relayed, to net.Conn, ended <-chan struct{}) {
	for {
		select {
		case <-c.more:
		case <-ended:
			return
		}
		r.mu.Lock()
		out := c.out
		c.out = nil
		r.mu.Unlock()
		to.Write(out) // fails when the hub has closed, which hear says
	}
}

func (c *relayed) send(text string) {
	c.out = append(c.out, text...)
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (r *relay) publish(_ context.Context, channel string, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, beat := readBeat(payload); strings.HasPrefix(channel, ControlPrefix) && !beat {
		r.fences++
	}
	text := fmt.Sprintf(">3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(payload), payload)
	for c := range r.conns {
		if c.held[tenants.Target{Name: channel}] {
			c.send(text)
		}
	}
	return nil
}

// TestConnectionsGrowWithLoad: a reader that is busy gets help, as long as that helps, and gives it up when there is little to do. What moves
// crosses at fences: nothing is lost, comes twice or out of order, and there is no gap.
func TestConnectionsGrowWithLoad(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8)) // more readers than processors are not asked for
	synctest.Test(t, func(t *testing.T) {
		const channels, each, beats = 64, 400 * time.Microsecond, heartbeat
		r, l := &relay{}, newLedger()
		w := watchBusy(t, Endpoint{Dial: r.dial, Publish: r.publish}, beats, 0, each)
		w.note = l.note
		for i := range channels {
			w.Add(channel("c%d", i))
		}
		w.awaitAll(Active)

		var perTick atomic.Int64 // messages of each channel in a tick
		const tick = 256 * time.Millisecond
		stop, ended, sent := make(chan struct{}), make(chan struct{}), map[string]int{}
		go func() { // ends with stop
			defer close(ended)
			pace := time.NewTicker(tick)
			defer pace.Stop()
			for {
				select {
				case <-pace.C:
				case <-stop:
					return
				}
				for range perTick.Load() {
					for i := range channels {
						name := fmt.Sprint("c", i)
						sent["m|"+name]++
						r.publish(t.Context(), name, strconv.AppendInt(nil, int64(sent["m|"+name]), 10))
					}
				}
			}
		}()
		during := func(what string, busy float64, n int, low, high int) {
			t.Helper()
			perTick.Store(int64(busy * float64(tick/(channels*each))))
			most := 0
			for range n {
				time.Sleep(beats)
				most = max(most, w.lanes())
			}
			synctest.Wait()
			if now := w.lanes(); now < low || now > high || most > high {
				t.Errorf("%s: %d connections, and %d at most, want %d to %d", what, now, most, low, high)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.conns) != w.lanes() {
				t.Errorf("%s: the server has %d connections", what, len(r.conns))
			}
		}
		during("half of one reader", 0.5, 20, 1, 1)
		during("nine tenths of one", 0.9, 20, 2, 2)
		during("nine tenths of two", 1.8, 30, 3, 4)
		during("a fifth of one, for a while", 0.2, coldFor/2, 3, 4)
		during("and on", 0.2, 4*coldFor, 1, 4)
		during("nearly nothing", 0.1, 2*coldFor, 1, 1)
		close(stop)
		<-ended
		w.await("the last messages", func() bool { w.tick(beats); return l.reached(sent) })
		if g := w.interruptions(); l.lost != 0 || l.twice != 0 || len(g) != 0 {
			t.Errorf("%d lost, %d twice or out of order of %d, gaps %+v", l.lost, l.twice, l.came, g)
		}
		if r.fences < 4 {
			t.Errorf("%d fences for two connections that came and went", r.fences)
		}
		t.Logf("%d messages, %d fences", l.came, r.fences)
	})
}
