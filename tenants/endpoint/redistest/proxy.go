package redistest

import (
	"net"
	"sync"
	"testing"
)

// Link is a TCP proxy in front of a server, whose failures a test chooses.
type Link struct {
	Addr string // where clients connect

	target   string
	listener net.Listener
	pumps    sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	state   linkState
	conns   map[net.Conn]struct{} // both ends of each connection
}

type linkState int

const (
	flowing linkState = iota
	held              // half-open: sockets stay, no byte passes
	cut               // no connection lives
	closed            // the test is over
)

// Proxy listens on a free loopback port and passes bytes to and from target (host:port) until the test ends.
func Proxy(t testing.TB, target string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for a proxy: %v", err)
	}
	l := &Link{Addr: listener.Addr().String(), target: target, listener: listener, conns: map[net.Conn]struct{}{}}
	l.changed = sync.NewCond(&l.mu)
	l.pumps.Go(l.accept) // ends when the listener is closed
	t.Cleanup(func() {
		listener.Close()
		l.set(closed)
		l.pumps.Wait()
	})
	return l
}

// Cut closes every connection, and each new one at once, until Restore.
func (l *Link) Cut() { l.set(cut) }

// Blackhole keeps every connection open, accepts new ones, and passes no byte either way, until Restore or Cut. Neither side is told.
func (l *Link) Blackhole() { l.set(held) }

// Restore lets bytes pass again, those that a black hole kept first.
func (l *Link) Restore() { l.set(flowing) }

func (l *Link) set(s linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	if s >= cut {
		for c := range l.conns {
			c.Close()
		}
	}
	l.changed.Broadcast()
}

func (l *Link) accept() {
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		if l.keep(c) {
			l.pumps.Go(func() { l.join(c) }) // ends with either socket, or when the link is cut or closed
		}
	}
}

// keep registers a connection, unless the link is cut: then it closes it.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state >= cut {
		c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) drop(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	c.Close()
}

func (l *Link) join(client net.Conn) {
	defer l.drop(client)
	if !l.pass() {
		return
	}
	server, err := net.Dial("tcp", l.target)
	if err != nil || !l.keep(server) {
		return
	}
	defer l.drop(server)
	var back sync.WaitGroup
	back.Go(func() { l.pump(client, server) })
	l.pump(server, client)
	back.Wait()
}

// pump copies until one side ends, then ends the other.
func (l *Link) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !l.pass() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the link is held, and reports whether bytes may flow.
func (l *Link) pass() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.state == held {
		l.changed.Wait()
	}
	return l.state == flowing
}
