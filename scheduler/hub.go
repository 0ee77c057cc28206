package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Endpoint is a Redis server that a hub subscribes to.
type Endpoint struct {
	ID   tenants.EndpointID
	Name string // host:port, for people

	// Dial returns an authenticated socket on which nothing is subscribed to and nothing is waiting to be read. It uses the credential that
	// is in force now, and ends with ctx.
	Dial func(ctx context.Context) (net.Conn, error)

	// Publish publishes on the server, with a credential that may do so on channels that begin with "__tenloom:". With it connections are
	// replaced without loss, and one that hears nothing any more is found out even while its server answers. May be nil.
	Publish func(ctx context.Context, channel string, payload []byte) error

	// Slot is the hash slot of a sharded channel, and DialShard is Dial for the master that serves one; owner says which master serves any slot, as
	// host:port, in that master's eyes. Both are nil where no cluster is: then sharded channels are subscribed to as others are.
	Slot      func(channel string) int
	DialShard func(ctx context.Context, slot int) (socket net.Conn, owner func(slot int) string, err error)

	// Unordered says that the endpoint's servers do not agree on one order of messages, as a cluster's nodes do not. What is moved from one of
	// them to another is announced as a Gap.
	Unordered bool

	// Connections is how many there may be at once, besides those that are being replaced; default 4, at most 8. One is opened, and another for
	// each 25,000 targets and where a reader is busy more than 60 % of its time, as long as there are CPUs for it.
	Connections int

	// OncePerPatterns says that the server sends a message once for all patterns of a connection that match it, as miniredis does. Redis
	// sends it once for each.
	OncePerPatterns bool
}

// hubConfig says whom a hub tells. The hub calls changed and gap from one goroutine of its own, and holds no lock then.
type hubConfig struct {
	sink      func() sink                 // makes one for each connection
	gap       func(Gap, []tenants.Target) // an interruption has ended that concerned these; may be nil
	changed   func()                      // some State has changed since the last call; may be nil
	log       *slog.Logger
	heartbeat time.Duration            // default 800 ms: a silent connection is given up after three
	shardOf   func(channel string) int // of a shard's hub: the hash slot of a channel
	astray    func(channels []string)  // of a shard's hub: these are not served by it any more
	perLane   int                      // targets of one connection, while there may be more connections; default 25,000
}

// sink gets the frames of one read, at most maxBatch at once. Their slices die when it returns. It must not block: while it runs nothing is
// read, and a server cuts off who reads too slowly. Each connection has one of its own, called by its reader alone.
type sink func(at time.Time, frames []frame)

const (
	heartbeat  = 800 * time.Millisecond // three of them and a new connection are less than 3 s
	dialWithin = 5 * time.Second        // one attempt to connect
	logEvery   = 10 * time.Second
)

// hub keeps the subscriptions of one Endpoint, over a few connections that all its users share.
//
//	Add, Remove, States ──► targets ──► subscription ──► writer ──► socket ──► reader ──► sink
//	                                       ▲                                │
//	                                       └────────── acks, errors ────────┘
//
// It promises that a target is Active only after its own ack, that one target which the server refuses costs no other its subscription, and
// that a gap is announced, never hidden. It never gives up: a lost connection is made anew, with all that is wanted by then.
type hub struct {
	endpoint Endpoint
	config   hubConfig
	targets  *targets
	control  string        // name of the control channel; "" where the endpoint cannot publish
	beats    atomic.Uint64 // heartbeat messages published
	renewals chan renewal
	done     chan struct{} // closed when Run ends
	parts    sync.WaitGroup

	shards *shards // the sharded channels of a cluster; nil where there is none

	load load   // the director's
	deaf string // what the server last said against the control channel; the herald's

	mu     sync.Mutex
	logged time.Time // when a failure to connect was last logged
}

func newHub(e Endpoint, c hubConfig) *hub {
	if c.heartbeat == 0 {
		c.heartbeat = heartbeat
	}
	if c.perLane == 0 {
		c.perLane = perConnection
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	log := c.log.With("endpoint", e.Name)
	var others *shards
	if e.DialShard != nil {
		c, others = newShards(e, c)
	}
	c.log = log
	h := &hub{endpoint: e, config: c, shards: others, renewals: make(chan renewal), done: make(chan struct{})}
	if e.Publish != nil {
		h.control = controlName()
	}
	h.targets = newTargets(h.control)
	h.targets.shardOf = c.shardOf
	h.targets.covering.off = e.OncePerPatterns // the message would come for one of those that match, which may not be a cover
	return h
}

// Add takes a reference to a target. The first one subscribes to it; one to a Rejected target asks for it anew. It does not wait.
func (h *hub) Add(t tenants.Target) {
	if h.sharded(t) {
		h.shards.add(t)
		return
	}
	h.targets.add(t, time.Now())
}

// Remove gives a reference up. The last one unsubscribes. It does not wait: messages on their way may still come.
func (h *hub) Remove(t tenants.Target) {
	if h.sharded(t) {
		h.shards.remove(t)
		return
	}
	h.targets.remove(t, time.Now())
}

// sharded tells whether a target is one of a cluster's shards.
func (h *hub) sharded(t tenants.Target) bool { return t.Kind == tenants.Sharded && h.shards != nil }

// States lists the targets that are referenced, in no order.
func (h *hub) States() []TargetState {
	all := h.targets.states()
	if h.shards != nil {
		all = append(all, h.shards.states()...)
	}
	return all
}

// State tells how a target stands that is referenced.
func (h *hub) State(t tenants.Target) (TargetState, bool) {
	if h.sharded(t) {
		return h.shards.state(t)
	}
	return h.targets.state(t)
}

// Run keeps the connections until ctx ends, then closes them and returns nil. It is called once.
func (h *hub) Run(ctx context.Context) error {
	defer close(h.done)
	h.targets.mu.Lock()
	lanes := h.targets.lanes
	h.targets.mu.Unlock()
	for _, l := range lanes {
		h.parts.Go(func() { h.keep(ctx, l) })
	}
	h.parts.Go(func() { h.herald(ctx) })
	if h.endpoint.Publish != nil {
		h.parts.Go(func() { h.pulse(ctx) })
	}
	if h.shards != nil {
		h.parts.Go(func() { h.shards.run(ctx) })
	}
	h.direct(ctx)
	h.parts.Wait()
	h.targets.close(time.Now())
	h.announce()
	return nil
}

// direct does what concerns whole connections, one after the other, until ctx ends.
func (h *hub) direct(ctx context.Context) {
	tick := time.NewTicker(h.config.heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-h.renewals:
			r.done <- h.renew(ctx, r.why)
		case <-tick.C:
			h.balance(ctx)
		}
	}
}

func (h *hub) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	return h.endpoint.Dial(ctx)
}

// start serves a subscription on a new socket until its end or that of ctx.
func (h *hub) start(ctx context.Context, socket net.Conn, s *subscription) *conn {
	h.config.log.Info("connected to redis")
	c := newConn(socket, s, h.config.heartbeat)
	c.sink, c.control, c.beats = h.config.sink(), h.control, &h.beats
	c.deliver.Store(s.slots)
	h.parts.Go(func() {
		defer close(c.ended)
		err := c.serve(ctx)
		wanted := ctx.Err() != nil || errors.Is(err, errMoved)
		h.targets.end(s, time.Unix(0, c.alive.Load()), time.Now(), err.Error(), wanted)
		if !wanted {
			h.config.log.Warn("redis connection lost", "cause", err)
		}
	})
	return c
}

// unreachable notes a failed attempt to connect, and logs it unless one was logged a moment ago.
func (h *hub) unreachable(ctx context.Context, l *lane, err error) {
	if ctx.Err() != nil {
		return
	}
	h.targets.unreachable(l, err.Error())
	h.complain(err)
}

// complain logs a failure to connect unless one was logged a moment ago.
func (h *hub) complain(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.logged) >= logEvery {
		h.logged = now
		h.config.log.Warn("redis is not reachable; trying on", "cause", err)
	}
}

// herald announces news until ctx ends, so that no reader waits for those who are told.
func (h *hub) herald(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.targets.fresh:
			h.announce()
		}
	}
}

// announce tells what has happened since the last call.
func (h *hub) announce() {
	n := h.targets.read()
	if len(n.astray) > 0 {
		h.config.astray(n.astray)
	}
	if n.refused > 0 {
		h.config.log.Warn("redis refused subscriptions; grant the channels to the user of this endpoint", "targets", n.refused,
			"example", n.example, "reason", n.reason)
	}
	if n.unheeded != "" {
		h.config.log.Warn("redis refused an unsubscription: its messages still come and are discarded", "reason", n.unheeded)
	}
	if n.control != "" && n.control != h.deaf {
		h.deaf = n.control
		h.config.log.Warn("redis refused the control channel, without which connections are not replaced without loss; grant &"+ControlPrefix+
			"* to the user of this endpoint", "reason", n.control)
	}
	if n.changed && h.config.changed != nil {
		h.config.changed()
	}
	for _, g := range n.gaps {
		if h.config.gap == nil {
			continue
		}
		g.Endpoint = h.endpoint.ID
		concerned := make([]tenants.Target, len(g.members))
		for i, x := range g.members {
			concerned[i] = x.Target
		}
		h.config.gap(g.Gap, concerned)
	}
}
