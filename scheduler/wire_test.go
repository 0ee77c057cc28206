package scheduler_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// wire is a network in the place of a Redis server's, for tests in synthetic time: it acknowledges subscriptions and carries what the test
// publishes, in RESP 3.
type wire struct {
	mu   sync.Mutex // guards what follows, and writes to conn
	conn net.Conn
	held map[tenants.Target]bool
}

func (w *wire) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.held = theirs, map[tenants.Target]bool{}
	go w.serve(theirs) // ends when either side is closed
	return ours, nil
}

func (w *wire) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		words, err := command(in)
		if err != nil {
			return
		}
		w.mu.Lock()
		io.WriteString(c, w.execute(words)) // fails when the hub has closed, which the next read says
		w.mu.Unlock()
	}
}

func command(in *bufio.Reader) ([]string, error) {
	n, err := number(in)
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		size, err := number(in)
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		words[i] = string(b[:size])
	}
	return words, nil
}

// number reads a line of a mark and a number.
func number(in *bufio.Reader) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func (w *wire) execute(words []string) string {
	verb, kind := strings.ToLower(words[0]), tenants.Exact
	if verb == "ping" {
		return "+PONG\r\n"
	}
	if verb[0] == 'p' {
		kind = tenants.Pattern
	}
	var answer strings.Builder
	for _, name := range words[1:] {
		if delete(w.held, tenants.Target{Kind: kind, Name: name}); !strings.Contains(verb, "un") {
			w.held[tenants.Target{Kind: kind, Name: name}] = true
		}
		answer.WriteString(push(verb, name) + fmt.Sprintf(":%d\r\n", len(w.held)))
	}
	return answer.String()
}

// push is the beginning of a push of so many strings and, for an acknowledgement, a number.
func push(words ...string) string {
	n := len(words)
	if strings.HasSuffix(words[0], "subscribe") {
		n++
	}
	var b strings.Builder
	fmt.Fprintf(&b, ">%d\r\n", n)
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	return b.String()
}

// publish sends messages of one channel in one write, and returns to how many subscriptions each went.
func (w *wire) publish(channel string, payloads ...string) (receivers int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all strings.Builder
	for _, payload := range payloads {
		receivers = 0
		if w.held[tenants.Target{Name: channel}] {
			all.WriteString(push("message", channel, payload))
			receivers++
		}
		for target := range w.held {
			if target.Kind == tenants.Pattern && scheduler.Match(target.Name, channel) {
				all.WriteString(push("pmessage", target.Name, channel, payload))
				receivers++
			}
		}
	}
	if receivers > 0 {
		io.WriteString(w.conn, all.String()) // fails where the connection has ended, and then the messages are lost as Redis' are
	}
	return receivers
}
