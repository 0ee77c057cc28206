package spin

import (
	"context"

	"github.com/tetratelabs/wazero/api"
)

// Call is one invocation's host-side state. One goroutine uses it: the one that calls the guest.
type Call struct {
	host       *Host
	attributes Attributes
	limits     Limits
	guest      guest
	handles    handles
	loose      *loose // nil until a component's call is deferred
	reply      []byte // reused by Redis commands; at most keepReply bytes are kept between them
	wait       func(begins bool)

	calls, sent, received int64 // in this invocation
	refused               Refused
	out                   outcalls
	given                 [8]byte // what Wrap gave on with the command that is next
}

// Refused is the last kind of handle that a guest was refused because it held as many as it may. The zero Refused means none was.
type Refused struct {
	What string
	Most int
}

// Refused tells what the present or last invocation was refused.
func (c *Call) Refused() Refused { return c.refused }

// NewCall prepares the state of one invocation of a guest that may reach h. a may be nil where there is no message.
func NewCall(h *Host, a Attributes) *Call {
	c := &Call{host: h, attributes: a, limits: h.Limits.withDefaults()}
	c.guest.call = c
	return c
}

// OnWait sets who is told when a host function is about to wait for a server, and when it has: meanwhile somebody else can compute.
func (c *Call) OnWait(wait func(begins bool)) { c.wait = wait }

// Begin makes the Call ready for another message of the same instance.
func (c *Call) Begin(a Attributes) {
	c.attributes = a
	c.guest.busy, c.guest.ctx = false, nil
	c.calls, c.sent, c.received, c.refused = 0, 0, 0, Refused{}
	c.out.n, c.out.totals = 0, Totals{}
}

// Used tells whether the guest has called the host since Begin.
func (c *Call) Used() bool { return c.calls > 0 }

// Close gives back what the guest left open. The instance must not run with this Call before the next Begin. Close is idempotent.
func (c *Call) Close() {
	if c.loose != nil {
		c.loose.end()
		c.loose = nil
	}
	if c.handles.last == 0 { // it was given none
		return
	}
	for _, h := range c.handles.open {
		if h.connection.release != nil {
			h.connection.release()
		}
	}
	c.handles = handles{}
}

type callKey struct{}

// callContext carries the Call, so that finding it costs one type assertion where nobody wrapped the ctx further.
type callContext struct {
	context.Context
	call *Call
}

func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return c.Context.Value(key)
}

// With returns the ctx to call the guest with: host functions find c there.
func With(ctx context.Context, c *Call) context.Context { return &callContext{ctx, c} }

func find(ctx context.Context) *Call {
	if c, ok := ctx.(*callContext); ok {
		return c.call
	}
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// kind says what a handle stands for.
type kind uint8

const (
	connectionKind kind = 1 + iota
	storeKind
	casKind
)

var kindNames = [...]string{connectionKind: "connection", storeKind: "store", casKind: "cas"}

// handle is one resource that the guest holds.
type handle struct {
	kind       kind
	connection connection
	store      Store
	cas        cas
}

// handles is the table of all resources of an invocation. All kinds share one sequence of numbers and no number comes twice, so that a
// dropped handle and a handle of another kind are always found out.
type handles struct {
	open  map[uint32]handle
	count [len(kindNames)]int
	last  uint32
}

// maxHandles bounds how many handles one invocation can be given in all; the component model has the same bound.
const maxHandles = 1<<28 - 1

// add returns 0 where limit handles of this kind are open.
func (t *handles) add(h handle, limit int) uint32 {
	if t.count[h.kind] >= limit || t.last >= maxHandles {
		return 0
	}
	if t.open == nil {
		t.open = make(map[uint32]handle)
	}
	t.last++
	t.count[h.kind]++
	t.open[t.last] = h
	return t.last
}

func (t *handles) get(n uint32, k kind) (handle, bool) {
	h, ok := t.open[n]
	return h, ok && h.kind == k
}

func (t *handles) remove(n uint32, k kind) bool {
	h, ok := t.get(n, k)
	if !ok {
		return false
	}
	delete(t.open, n)
	t.count[k]--
	if h.connection.release != nil {
		h.connection.release()
	}
	return true
}

// hold gives the guest a handle, or 0 where it holds limit of its kind.
func (g *guest) hold(h handle, limit int) uint32 {
	n := g.call.handles.add(h, limit)
	if n == 0 {
		g.call.refused = Refused{kindNames[h.kind], limit}
	}
	return n
}

// sends counts what the guest hands out, and receives what it is answered, which the platform's memory and network have carried by then.
func (g *caller) sends(n int) { g.call.Sends(g.name, n) }

func (g *caller) receives(n int) { g.call.Receives(g.name, n) }

// handle returns what the guest's handle stands for; a handle that it does not hold is a Trap.
func (g *guest) handle(n uint32, k kind) handle {
	h, ok := g.call.handles.get(n, k)
	if !ok {
		g.trap("handle %d is no open %s", n, kindNames[k])
	}
	return h
}

// drop gives up a handle; one that the guest does not hold is a Trap.
func (g *guest) drop(n uint32, k kind) {
	if !g.call.handles.remove(n, k) {
		g.trap("handle %d is no open %s", n, kindNames[k])
	}
}

// enter makes the guest current for one host function.
func (c *Call) enter(ctx context.Context, m api.Module, name string) *guest {
	g := &c.guest
	if g.busy {
		panic(&Trap{Func: name, Why: "called from within the guest's allocator"})
	}
	g.busy, g.ctx, g.name = true, ctx, name
	c.Calls(name)
	if err := g.bind(m); err != nil {
		panic(err)
	}
	return g
}

func (c *Call) leave() { c.guest.busy, c.guest.ctx = false, nil }
