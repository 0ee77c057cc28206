package spin

import (
	"context"
	"slices"
	"sync"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// Interfaces are what the package offers to components: the same operations as to core modules, with the same limits and error texts. The ctx
// that a component is called with comes from With.
func Interfaces() []host.Interface {
	return slices.Concat(redisInterfaces(), variableInterfaces(), keyValueInterfaces(), wasiKeyValueInterfaces(), httpInterfaces())
}

// body is a function of a component interface. It reads its arguments, all of them, and gives the rest.
type body func(g *caller, in *canon.Reader) work

// work is what a function does outside. It may wait, and it has left the guest's memory behind.
type work func(g *caller) answer

// answer writes the result. nil: there is none.
type answer func(out *canon.Writer)

// waiting makes a host function of one that waits for a server.
func waiting(name string, b body) canon.HostFunc {
	return func(c *canon.Call, in *canon.Reader, out *canon.Writer) {
		g := enterComponent(c, name)
		g.wait(b(g, in)).write(out)
	}
}

// deferring is waiting for asynchronous functions: where the guest goes on meanwhile, so does the work.
func deferring(name string, b body) canon.HostFunc {
	return func(c *canon.Call, in *canon.Reader, out *canon.Writer) {
		g := enterComponent(c, name)
		op := b(g, in)
		if c.Async() {
			g.deferred(c.Defer(), op)
			return
		}
		g.wait(op).write(out)
	}
}

// prompt makes a host function of one that does not wait.
func prompt(name string, b body) canon.HostFunc {
	return func(c *canon.Call, in *canon.Reader, out *canon.Writer) {
		g := enterComponent(c, name)
		b(g, in)(g).write(out)
	}
}

func (a answer) write(out *canon.Writer) {
	if a != nil {
		a(out)
	}
}

// enterComponent is Call.enter for components, whose allocator and handles are canon's business.
func enterComponent(c *canon.Call, name string) *caller {
	ctx := c.Context()
	call := find(ctx)
	if call == nil {
		canon.Trapf("called outside an invocation")
	}
	g := &call.guest.caller
	g.ctx, g.name = ctx, name
	call.Calls(name)
	return g
}

// wait runs an operation on the guest's goroutine while others compute.
func (g *caller) wait(op work) answer {
	g.call.Waits(true)
	defer g.call.Waits(false) // also when the guest is unwound
	return op(g)
}

// deferred runs work beside the guest, with a Call of its own that begins with what the guest has used of its bounds. What it has used is added
// up, and what it panics with is thrown, when the guest takes the answer. Nobody waits for the goroutines: both end with the work, and the work
// with the ctx of the invocation or when the guest has cancelled the call.
func (g *caller) deferred(p *canon.Pending, op work) {
	call := g.call
	if call.loose == nil {
		call.loose = &loose{}
	}
	sent, received := call.sent, call.received
	beside := &Call{host: call.host, attributes: call.attributes, limits: call.limits, sent: sent, received: received, loose: call.loose}
	ctx, cancel := context.WithCancel(g.ctx)
	other := &beside.guest.caller
	other.call, other.ctx, other.name = beside, ctx, g.name
	go func() {
		defer cancel()
		var a answer
		thrown := try(func() { a = op(other) })
		p.Complete(func(out *canon.Writer) {
			if thrown != nil {
				panic(thrown)
			}
			call.join(other.name, beside, beside.sent-sent, beside.received-received)
			a.write(out)
		})
	}()
	go func() {
		select {
		case <-p.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
}

// loose are connections that deferred calls have made, whether or not a guest has come to hold them: what is left is released with the
// invocation, or when it is made after that.
type loose struct {
	mu    sync.Mutex
	ended bool
	open  map[*func()]struct{} // as many as Limits.Connections and deferred calls
}

// keep gives the release to use instead, which does something once.
func (l *loose) keep(release func()) func() {
	l.mu.Lock()
	ended := l.ended
	if !ended {
		if l.open == nil {
			l.open = map[*func()]struct{}{}
		}
		l.open[&release] = struct{}{}
	}
	l.mu.Unlock()
	if ended {
		release()
		return func() {}
	}
	return func() {
		l.mu.Lock()
		_, open := l.open[&release]
		delete(l.open, &release)
		l.mu.Unlock()
		if open {
			release()
		}
	}
}

func (l *loose) end() {
	l.mu.Lock()
	open := l.open
	l.ended, l.open = true, nil
	l.mu.Unlock()
	for release := range open {
		(*release)()
	}
}

// try gives what f panics with.
func try(f func()) (thrown any) {
	defer func() { thrown = recover() }()
	f()
	return nil
}

// join adds what another Call of the same invocation has used.
func (c *Call) join(name string, other *Call, sent, received int64) {
	c.out.add(&other.out)
	c.Sends(name, int(sent))
	c.Receives(name, int(received))
}

// held is the object of a component's handle: what a handle of a core module stands for.
type held struct {
	handle
	call *Call
}

// hold gives the object of a new handle; nil where the guest holds limit of its kind.
func (g *caller) holdObject(h handle, limit int) *held {
	count := &g.call.handles.count[h.kind]
	if *count >= limit {
		g.call.refused = Refused{kindNames[h.kind], limit}
		return nil
	}
	*count++
	return &held{h, g.call}
}

// dropHeld is what dropping any handle of the package does.
func dropHeld(_ *canon.Store, object any) {
	h, ok := object.(*held)
	if !ok {
		return
	}
	h.call.handles.count[h.kind]--
	if h.connection.release != nil {
		h.connection.release()
	}
}

// text reads a string.
func (g *caller) text(in *canon.Reader) string {
	s := in.String()
	g.sends(len(s))
	return s
}

// content copies a list<u8>: the copy may outlive the call.
func (g *caller) content(in *canon.Reader) []byte {
	b := in.Bytes()
	g.sends(len(b))
	return append(make([]byte, 0, len(b)), b...)
}

// length reads the length of a list of strings or what holds strings, and bounds what its elements take here.
func (g *caller) length(in *canon.Reader, what string) int {
	n := in.List()
	if limit := g.call.limits.ResultBytes; int64(n)*elementCost > limit {
		canon.Trapf("%s: list exceeds limit of %d bytes", what, limit)
	}
	return n
}

// words reads a list<string> behind head.
func (g *caller) words(in *canon.Reader, what string, head ...any) []any {
	n := g.length(in, what)
	out := append(make([]any, 0, len(head)+n), head...)
	for range n {
		out = append(out, g.text(in))
	}
	return out
}

// failText writes a case that holds a text from elsewhere.
func failText(out *canon.Writer, tag uint8, text string) {
	out.Err()
	out.Case(int(tag))
	out.String(clean(text))
}
