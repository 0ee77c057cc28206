package endpoint

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// controlPrefix begins the channels of tenloom's own, as the scheduler's hubs name them.
const controlPrefix = "__tenloom:"

// pings is how many round trips Probe takes the fastest of.
const pings = 3

// Probed is what Probe has found at a server. What the server did not say is "" or 0.
type Probed struct {
	Server  string        // host:port that was dialled
	User    string        // whom it takes us for
	Version string        // its own
	Mode    string        // standalone, sentinel or cluster
	Role    string        // master or replica
	RESP    int           // version that is spoken
	TLS     string        // "TLS 1.3"; "" is plain text
	Dialled time.Duration // connecting, TLS and logging in
	Latency time.Duration // the fastest of a few PINGs
	Missing []Permission  // what the user may not do, and is asked to
}

// Permission is a rule of ACL SETUSER that a user lacks.
type Permission struct {
	Rule     string // such as +subscribe or &__tenloom:*
	Why      string
	Required bool // no message comes without it; otherwise something else does not work, and Why says what
}

// OK tells whether messages can come.
func (p Probed) OK() bool {
	for _, m := range p.Missing {
		if m.Required {
			return false
		}
	}
	return true
}

// Probe connects as a subscriber does, looks at the server, tries what tenloom does there, and closes the connection. It publishes one message, on
// a channel that begins with "__tenloom:" and that nobody else knows, and stores nothing. It ends with ctx. The error is why it could not log
// in; a permission that is missing is none.
func (o *Options) Probe(ctx context.Context) (Probed, error) {
	began := time.Now()
	socket, err := o.Subscriber(ctx)
	if err != nil {
		return Probed{}, err
	}
	defer socket.Close()
	stop := context.AfterFunc(ctx, func() { socket.Close() }) // wakes what reads
	defer stop()
	s := socket.(*subscriber)
	p := Probed{Server: s.server, Dialled: time.Since(began)}
	if secure, ok := s.Conn.(*tls.Conn); ok {
		p.TLS = tls.VersionName(secure.ConnectionState().Version)
	}
	w := &wire{Conn: socket, from: bufio.NewReaderSize(socket, 4<<10)}
	if err := p.look(w); err != nil {
		return p, o.explain("look at "+s.server, login{}, because(ctx, err))
	}
	if err := p.try(w, o.config.Cluster); err != nil {
		return p, o.explain("try the permissions at "+s.server, login{}, because(ctx, err))
	}
	return p, nil
}

// look asks the server what it is.
func (p *Probed) look(w *wire) error {
	for range pings {
		began := time.Now()
		if _, err := w.ask("PING"); err != nil {
			return err
		}
		if took := time.Since(began); p.Latency == 0 || took < p.Latency {
			p.Latency = took
		}
	}
	p.RESP = 2
	hello, err := w.ask("HELLO")
	if err != nil && !refusal(err) {
		return err
	}
	for i := 0; i+1 < len(hello); i += 2 {
		switch hello[i] {
		case "version":
			p.Version = hello[i+1]
		case "mode":
			p.Mode = hello[i+1]
		case "role":
			p.Role = hello[i+1]
		case "proto":
			p.RESP, _ = strconv.Atoi(hello[i+1])
		}
	}
	who, err := w.ask("ACL", "WHOAMI")
	if err != nil && !refusal(err) {
		return err
	}
	if len(who) == 1 {
		p.User = who[0]
	}
	return nil
}

// try does what tenloom does, in an order that RESP 2 allows.
func (p *Probed) try(w *wire, cluster bool) error {
	channel := controlPrefix + "probe-" + rand.Text()
	tries := []struct {
		command []string
		name    string // as rules and refusals write it
		why     string
		needed  bool
	}{
		{[]string{"PUBLISH", channel, ""}, "publish", "without it a changed credential or another master costs the messages of a moment, and handlers cannot publish", false},
		{[]string{"SUBSCRIBE", channel}, "subscribe", "channels are subscribed to", true},
		{[]string{"PSUBSCRIBE", channel + "*"}, "psubscribe", "patterns are subscribed to, and many channels as one pattern", false},
		{[]string{"CLUSTER", "SLOTS"}, "cluster|slots", "it says which node serves a sharded channel", false},
	}
	for _, t := range tries {
		if t.name == "cluster|slots" && !cluster || p.RESP == 2 && t.name == "cluster|slots" {
			continue // on RESP 2 nothing but subscribing is allowed by now
		}
		_, err := w.ask(t.command...)
		switch {
		case err == nil:
		case !refusal(err):
			return err
		case forbidden(err, t.name):
			p.Missing = append(p.Missing, Permission{"+" + t.name, t.why, t.needed})
		default:
			p.miss("&" + controlPrefix + "*")
		}
	}
	return nil
}

// miss notes that tenloom's own channels are out of reach, once.
func (p *Probed) miss(rule string) {
	for _, m := range p.Missing {
		if m.Rule == rule {
			return
		}
	}
	p.Missing = append(p.Missing, Permission{rule, "without these channels a changed credential or another master costs the messages of a moment", false})
}

// refusal tells an error reply, after which the connection goes on.
func refusal(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// forbidden tells a command that the user may not use from a channel that it may not name.
func forbidden(err error, command string) bool {
	return strings.Contains(strings.ToLower(err.Error()), "'"+command+"'")
}

// wire is a connection on which one command follows another. A deadline is whoever closes it.
type wire struct {
	net.Conn
	from *bufio.Reader
}

// Bounds of one reply.
const (
	maxReplyText  = 64 << 10
	maxReplyItems = 64 << 10
	maxReplyDepth = 8
)

var errNoReply = errors.New("what answers there is no Redis")

// ask sends a command and returns the texts and numbers of its reply, in their order. An error reply is a redis.Error.
func (w *wire) ask(command ...string) (texts []string, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(w.Conn, b.String()); err != nil {
		return nil, err
	}
	items := 0
	err = w.read(&texts, &items, 0)
	return texts, err
}

// read reads one value of RESP 2 or 3.
func (w *wire) read(texts *[]string, items *int, depth int) error {
	line, err := w.from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return errNoReply
	}
	if err != nil {
		return err
	}
	if *items++; *items > maxReplyItems || depth > maxReplyDepth || len(line) < 3 {
		return errNoReply
	}
	kind, rest := line[0], string(line[1:len(line)-2])
	switch kind {
	case '+', ':', '_', '#', ',', '(':
		*texts = append(*texts, rest)
		return nil
	case '-':
		return replyError(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n > maxReplyText {
		return errNoReply
	}
	switch kind {
	case '$', '=':
		text := ""
		if n >= 0 {
			b := make([]byte, n+2)
			if _, err := io.ReadFull(w.from, b); err != nil {
				return err
			}
			text = string(b[:n])
		}
		*texts = append(*texts, text)
		return nil
	case '%':
		n *= 2
	case '*', '>', '~':
	default:
		return errNoReply
	}
	for range n {
		if err := w.read(texts, items, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// replyError is an error reply.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError implements redis.Error.
func (replyError) RedisError() {}
