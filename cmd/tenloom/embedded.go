package main

import (
	"fmt"
	"net"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embeddedAddress is where the Redis inside the process listens, if nobody else does.
const embeddedAddress = "127.0.0.1:6390"

// embedded is a Redis inside the process, for a machine that has none. It keeps everything in memory and forgets it at the end.
type embedded struct {
	*miniredis.Miniredis
	ended chan struct{}
}

// startEmbedded listens on the usual address, or on a free port of loopback where that is taken.
func startEmbedded(address string) (*embedded, error) {
	m := miniredis.NewMiniRedis()
	err := m.StartAddr(address)
	if err != nil && address == embeddedAddress {
		m = miniredis.NewMiniRedis()
		err = m.StartAddr("127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("start embedded Redis: %w", err)
	}
	e := &embedded{Miniredis: m, ended: make(chan struct{})}
	go e.age() // ends with Close
	return e, nil
}

// age lets keys expire: miniredis counts time to live down only when it is told that time has passed.
func (e *embedded) age() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-e.ended:
			return
		case now := <-tick.C:
			e.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (e *embedded) Close() {
	close(e.ended)
	e.Miniredis.Close()
}

func (e *embedded) URL() string { return "redis://" + e.Addr() }

// loopback tells whether a host name means this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
