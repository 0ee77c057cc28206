package scheduler

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Tap hands the messages of some targets to somebody who watches: the subscribe command, the console. It is no Delivery: nothing is run, and
// a watcher who is slower than the messages loses some, which are counted.
type Tap struct {
	C <-chan Tapped // never closed: the reader may be about to send

	c        chan Tapped
	endpoint *endpoint
	targets  []tenants.Target
	lost     atomic.Int64
	close    func()

	mu    sync.Mutex // guards what follows; held for a moment by the readers of the targets' connections, one after the other
	sizes []int      // of the last messages sent, by their number modulo cap(c)
	sent  int        // messages
	taken int        // of those, how many the watcher is known to have taken
	bytes int        // of the others
}

// maxTapped bounds the bytes that wait for one watcher.
const maxTapped = 2 * maxFrame

// Tapped is one message seen by a Tap.
type Tapped struct {
	Channel, Pattern string
	Payload          []byte
	Received         time.Time
}

// Lost is how many messages the watcher was too slow for.
func (t *Tap) Lost() int64 { return t.lost.Load() }

// Close ends the tap and its subscriptions. A message that the reader has just found it for may still come.
func (t *Tap) Close() { t.close() }

// offer is called by readers and never blocks. Only who holds the lock sends, so the room that it sees stays there.
func (t *Tap) offer(f *frame, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := len(t.c)
	for ; t.taken < t.sent-waiting; t.taken++ {
		t.bytes -= t.sizes[t.taken%len(t.sizes)]
	}
	size := len(f.channel) + len(f.payload)
	if waiting == cap(t.c) || t.bytes+size > maxTapped {
		t.lost.Add(1)
		return
	}
	t.sizes[t.sent%len(t.sizes)] = size
	t.sent++
	t.bytes += size
	t.c <- Tapped{Channel: string(f.channel), Pattern: string(f.pattern), Payload: bytes.Clone(f.payload), Received: at}
}

func (t *Tap) String() string {
	names := make([]string, len(t.targets))
	for i, target := range t.targets {
		names[i] = target.Name
	}
	return "tap on " + strings.Join(names, ", ")
}

// Tap begins to watch targets of an endpoint. buffer is how many messages may wait for the watcher before some are lost.
func (s *Scheduler) Tap(id tenants.EndpointID, targets []tenants.Target, buffer int) (*Tap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ep := s.at(id)
	if ep == nil {
		return nil, fmt.Errorf("tap: %w endpoint %q", ErrUnknown, id)
	}
	c := make(chan Tapped, max(buffer, 1))
	t := &Tap{C: c, c: c, endpoint: ep, targets: slices.Clone(targets), sizes: make([]int, cap(c))}
	t.close = sync.OnceFunc(func() { s.untap(t) })
	s.retable(t, (*edit).tap)
	for _, target := range t.targets {
		ep.hub.Add(target)
	}
	return t, nil
}

// retable publishes a table in which a tap came or went.
func (s *Scheduler) retable(t *Tap, change func(*edit, tenants.Target, *Tap)) {
	edits := edits{}
	for _, target := range t.targets {
		change(edits.of(t.endpoint), target, t)
	}
	s.publish(edits)
}

func (s *Scheduler) untap(t *Tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retable(t, (*edit).untap)
	for _, target := range t.targets {
		t.endpoint.hub.Remove(target)
	}
}
