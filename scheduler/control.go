package scheduler

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"
)

// A hub that can publish has a control channel of its own, which all its connections hold. Two kinds of message go over it: heartbeats, which
// prove the whole way from a PUBLISH to the reader, and fences (handover.go). Its name is not guessed, and a fence's text is used once; who
// may publish on it could end connections, never divert a message.

// controlName makes the name of a hub's control channel.
func controlName() string { return ControlPrefix + rand.Text() }

const beatMark = 'b'

func beat(n uint64) []byte { return strconv.AppendUint([]byte{beatMark}, n, 10) }

func readBeat(payload []byte) (n uint64, ok bool) {
	if len(payload) < 2 || len(payload) > 20 || payload[0] != beatMark {
		return 0, false
	}
	for _, c := range payload[1:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// pulse publishes a heartbeat and has the server checked, each heartbeat until ctx ends. A PUBLISH that fails counts for nothing: whether the
// connections live, their PINGs say.
func (h *hub) pulse(ctx context.Context) {
	tick := time.NewTicker(h.config.heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		within, cancel := context.WithTimeout(ctx, h.config.heartbeat)
		if h.endpoint.Publish != nil {
			n := h.beats.Load() + 1
			if h.endpoint.Publish(within, h.control, beat(n)) == nil {
				h.beats.Store(n)
			}
		}
		cancel()
	}
}
