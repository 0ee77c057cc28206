package scheduler

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Endpoint is a Redis server that a hub subscribes to.
type Endpoint struct {
	ID   tenants.EndpointID
	Name string // host:port, for people

	// Dial returns an authenticated socket on which nothing is subscribed to and nothing is waiting to be read. It ends with ctx.
	Dial func(ctx context.Context) (net.Conn, error)

	// OncePerPatterns says that the server sends a message once for all patterns of a connection that match it, as miniredis does. Redis
	// sends it once for each.
	OncePerPatterns bool
}

// State says how the subscription to a Target stands.
type State uint8

const (
	Pending      State = iota // asked for, not acknowledged yet
	Active                    // acknowledged by the server on the present connection
	Rejected                  // refused, by the server or by the hub; asked for again every 30 s and at each Add
	Reconnecting              // was active on a connection that is lost
)

var stateNames = [...]string{"pending", "active", "rejected", "reconnecting"}

func (s State) String() string { return stateNames[s] }

// MarshalText gives the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// TargetState is a Target and how its subscription stands.
type TargetState struct {
	tenants.Target
	State  State
	Reason string // why it is not active, in the server's words where it has spoken; may be "" while Pending
	Since  time.Time
}

// Gap is a time in which messages for some targets of an Endpoint were lost.
type Gap struct {
	Endpoint tenants.EndpointID
	Since    time.Time // last sign of life of the lost connection
	Until    time.Time // all targets are acknowledged again, refused or given up; or the hub ended
	Targets  int       // that were active when their connection was lost
	Cause    string
}

// hubConfig says whom a hub tells. The hub calls all of it from the goroutine in Run, and holds no lock then.
type hubConfig struct {
	sink      func() sink // makes one for each connection
	gap       func(Gap)   // an interruption has ended; may be nil
	changed   func()      // some State has changed since the last call; may be nil
	log       *slog.Logger
	heartbeat time.Duration // default 1 s: a silent connection is given up after three
}

// sink gets the frames of one read, at most maxBatch at once. Their slices die when it returns. It must not block: while it runs nothing is
// read, and a server cuts off who reads too slowly. Each connection has one of its own, called by its reader alone.
type sink func(at time.Time, frames []frame)

const (
	dialWithin = 5 * time.Second // one attempt to connect
	logEvery   = 10 * time.Second
)

// hub keeps the subscriptions of one Endpoint, over one connection that all its users share.
//
//	Add, Remove, States ──► targets ──► writer ──► socket ──► reader ──► sink
//	                           ▲                                │
//	                           └────────── acks, errors ────────┘
//
// It promises that a target is Active only after its own ack, that one target which the server refuses costs no other its subscription, and
// that a gap is announced, never hidden. It never gives up: a lost connection is made anew, with all that is wanted by then.
type hub struct {
	endpoint Endpoint
	config   hubConfig
	targets  *targets

	logged time.Time // when a failure to connect was last logged; Run's alone
}

func newHub(e Endpoint, c hubConfig) *hub {
	if c.heartbeat == 0 {
		c.heartbeat = time.Second
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.log = c.log.With("endpoint", e.Name)
	return &hub{endpoint: e, config: c, targets: newTargets()}
}

// Add takes a reference to a target. The first one subscribes to it; one to a Rejected target asks for it anew. It does not wait.
func (h *hub) Add(t tenants.Target) { h.targets.add(t, time.Now()) }

// Remove gives a reference up. The last one unsubscribes. It does not wait: messages on their way may still come.
func (h *hub) Remove(t tenants.Target) { h.targets.remove(t, time.Now()) }

// States lists the targets that are referenced, in no order.
func (h *hub) States() []TargetState { return h.targets.states() }

// State tells how a target stands that is referenced.
func (h *hub) State(t tenants.Target) (TargetState, bool) { return h.targets.state(t) }

// Run keeps the connection until ctx ends, then closes it and returns nil. It is called once.
func (h *hub) Run(ctx context.Context) error {
	var wait backoff
	for ctx.Err() == nil {
		if h.connect(ctx) {
			wait.reset()
		}
		h.announce()
		wait.wait(ctx)
	}
	h.targets.close(time.Now())
	h.announce()
	return nil
}

// connect makes one connection and serves it to its end. It returns true when the connection was of use, that is, it outlived a heartbeat: one
// that the server ends at once must not be made anew without waiting.
func (h *hub) connect(ctx context.Context) bool {
	dialling, cancel := context.WithTimeout(ctx, dialWithin)
	socket, err := h.endpoint.Dial(dialling)
	cancel()
	if err != nil {
		h.unreachable(ctx, err)
		return false
	}
	h.config.log.Info("connected to redis")
	c := &conn{
		socket: socket, targets: h.targets, heartbeat: h.config.heartbeat, sink: h.config.sink(), announce: h.announce,
		in: newFrameReader(readBuffer, maxFrame),
	}
	h.targets.begin()
	begin := time.Now()
	err = c.serve(ctx)
	now := time.Now()
	h.targets.end(c.alive, now, err.Error())
	if ctx.Err() == nil {
		h.config.log.Warn("redis connection lost", "cause", err)
	}
	return now.Sub(begin) > h.config.heartbeat
}

// unreachable notes a failed attempt, and logs it unless one was logged a moment ago.
func (h *hub) unreachable(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	h.targets.unreachable(err.Error())
	if now := time.Now(); now.Sub(h.logged) >= logEvery {
		h.logged = now
		h.config.log.Warn("redis is not reachable; trying on", "cause", err)
	}
}

// announce tells what has happened since the last call.
func (h *hub) announce() {
	n := h.targets.read()
	if n.refused > 0 {
		h.config.log.Warn("redis refused subscriptions; grant the channels to the user of this endpoint", "targets", n.refused,
			"example", n.example, "reason", n.reason)
	}
	if n.unheeded != "" {
		h.config.log.Warn("redis refused an unsubscription: its messages still come and are discarded", "reason", n.unheeded)
	}
	if n.changed && h.config.changed != nil {
		h.config.changed()
	}
	for _, g := range n.gaps {
		g.Endpoint = h.endpoint.ID
		if h.config.gap != nil {
			h.config.gap(g)
		}
	}
}
