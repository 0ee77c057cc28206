package spin

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// Outcall is one call that a guest made to a server. It holds no keys, no values and no credentials.
type Outcall struct {
	HTTP      bool   // else Redis
	Operation string // the command, or the method
	Server    string // host:port, or the host alone
	Began     time.Time
	Took      time.Duration
	Failed    bool
	Status    int     // of HTTP; 0 where no answer came
	Span      [8]byte // what Host.Wrap gave on
}

// Totals count all calls of an invocation, those that are not kept among them.
type Totals struct {
	Redis, HTTP, Failed int32
	Sent, Received      int64 // bytes, those of key-value stores and variables among them
}

// maxOutcalls is how many calls of an invocation are kept, the first of them.
const maxOutcalls = 16

// maxOperation bounds a command's name, which a guest may choose; longer ones are cut.
const maxOperation = 32

type outcalls struct {
	kept   []Outcall // made with the first call, and used again
	n      int
	totals Totals
	server string // of the address that was last asked for, which a guest uses again and again
	of     string
}

// Outcalls tells what servers the present or last invocation called. The slice is valid until the next Begin.
func (c *Call) Outcalls() ([]Outcall, Totals) {
	t := c.out.totals
	t.Sent, t.Received = c.sent, c.received
	return c.out.kept[:c.out.n], t
}

// called notes a call that has ended.
func (g *caller) called(o Outcall) {
	out := &g.call.out
	if o.HTTP {
		out.totals.HTTP++
	} else {
		out.totals.Redis++
	}
	if o.Failed {
		out.totals.Failed++
	}
	if out.n == maxOutcalls {
		return
	}
	if out.kept == nil {
		out.kept = make([]Outcall, maxOutcalls)
	}
	o.Took = time.Since(o.Began)
	out.kept[out.n] = o
	out.n++
}

// add takes over what calls beside the guest have come to.
func (out *outcalls) add(o *outcalls) {
	out.totals.Redis += o.totals.Redis
	out.totals.HTTP += o.totals.HTTP
	out.totals.Failed += o.totals.Failed
	for _, one := range o.kept[:o.n] {
		if out.n == maxOutcalls {
			return
		}
		if out.kept == nil {
			out.kept = make([]Outcall, maxOutcalls)
		}
		out.kept[out.n] = one
		out.n++
	}
}

// server is the host and port of a Redis address.
func (g *caller) server(address string) string {
	out := &g.call.out
	if out.of != address {
		out.of, out.server = address, hostOf(address)
	}
	return out.server
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if u.Port() == "" && u.Hostname() != "" && strings.HasPrefix(u.Scheme, "redis") {
		return net.JoinHostPort(u.Hostname(), "6379")
	}
	return u.Host
}

// operation is a command's name, in capitals.
func operation(name any) string {
	text, _ := name.(string)
	return strings.ToUpper(strings.ToValidUTF8(text[:min(len(text), maxOperation)], ""))
}
