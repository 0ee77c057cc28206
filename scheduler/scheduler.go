package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/ants/v2"
	"golang.org/x/sync/errgroup"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Config says what a Scheduler has at hand.
type Config struct {
	Slots    int // invocations at once, over all tenants; default 32 for each CPU
	Recorder *telemetry.Recorder
	Log      *slog.Logger // default: nowhere
	Spill    string       // directory of what triggers with overflow "spill" have beyond their queues; default: they spill nothing
	OnGap    func(Gap)    // told of each interruption of subscriptions, by a goroutine that does nothing else for the endpoint; may be nil
}

// Trigger is a tenants.Trigger with what runs it.
type Trigger struct {
	tenants.Trigger
	Invoker Invoker
}

// Scheduler is the message path of one process. It has two lifetimes: intake, which Shutdown ends first, and work, which ends when nothing
// waits any more.
type Scheduler struct {
	config  Config
	ids     tenants.ULIDs
	follows follows

	queue  queue
	waking bool          // a worker is between wake and its first look; under queue.mu
	idle   []*worker     // made before and free now; under queue.mu, as many as slots at most
	rest   chan struct{} // capacity 1: the last slot became free, or an await that saw so passes it on
	pool   *ants.Pool

	watchdog *time.Timer // under queue.mu
	watching bool        // it is set; under queue.mu

	intake     context.Context // ends when no more messages are wanted
	stopIntake context.CancelFunc
	work       context.Context // ends when running handlers must give up
	stopWork   context.CancelFunc
	hubs       errgroup.Group

	mu        sync.Mutex  // what follows changes by deploys and taps, never by messages
	endpoints []*endpoint // nil where one was removed
	index     map[tenants.EndpointID]int
	tenants   map[tenants.ID]*tenantQueue
	closed    bool
}

// endpoint is a hub and where its messages go.
type endpoint struct {
	Endpoint
	index int
	hub   *hub
	stop  context.CancelFunc // ends the hub
	table atomic.Pointer[table]
}

// reader is what one of a hub's connections uses from read to read. Only its reading goroutine touches it.
type reader struct {
	*endpoint
	arrivals []arrival
	record   telemetry.Record
	ids      tenants.Sequence // the reader's alone
	stock    stock
}

// New makes a Scheduler. It does nothing until it is given endpoints and triggers; Shutdown ends it.
func New(c Config) (*Scheduler, error) {
	if c.Slots == 0 {
		c.Slots = 32 * runtime.GOMAXPROCS(0)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	// The slots are the pool's bound: a bound of its own would make a submit wait for goroutines that have freed their slot and are not
	// back yet. A panic is a fault of ours, since guests' panics end in the sandbox: it must not pass as a slot that never comes back.
	pool, err := ants.NewPool(-1, ants.WithPanicHandler(func(p any) { panic(p) }))
	if err != nil {
		return nil, fmt.Errorf("make worker pool: %w", err)
	}
	s := &Scheduler{
		config: c, pool: pool, rest: make(chan struct{}, 1),
		index: map[tenants.EndpointID]int{}, tenants: map[tenants.ID]*tenantQueue{},
	}
	s.queue.slots, s.queue.later, s.queue.spiller = c.Slots, s.later, newSpiller(s, c.Spill)
	s.intake, s.stopIntake = context.WithCancel(context.Background())
	s.work, s.stopWork = context.WithCancel(context.Background())
	return s, nil
}

// AddEndpoint begins to keep a connection to a Redis server. Adding an endpoint again does nothing.
func (s *Scheduler) AddEndpoint(e Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.index[e.ID]; ok || s.closed {
		return
	}
	ep := &endpoint{Endpoint: e, index: slices.Index(s.endpoints, nil)}
	if ep.index < 0 {
		ep.index = len(s.endpoints)
		s.endpoints = append(s.endpoints, nil)
	}
	ep.table.Store(&table{})
	ep.hub = newHub(e, hubConfig{
		sink: func() sink {
			r := &reader{endpoint: ep}
			return func(at time.Time, frames []frame) { s.receive(r, at, frames) }
		},
		gap: func(g Gap, targets []tenants.Target) { s.gap(ep, g, targets) },
		log: s.config.Log,
	})
	s.endpoints[ep.index] = ep
	s.index[e.ID] = ep.index
	var life context.Context
	life, ep.stop = context.WithCancel(s.intake)
	s.hubs.Go(func() error { return ep.hub.Run(life) })
}

// ErrInUse is returned for an endpoint that triggers use.
var ErrInUse = errors.New("in use")

// RemoveEndpoint closes the connections to a server that no trigger uses, and returns when they are. Who watches it gets nothing more. One that is
// not there is no error.
func (s *Scheduler) RemoveEndpoint(id tenants.EndpointID) error {
	ep, err := s.detach(id)
	if ep == nil || err != nil {
		return err
	}
	ep.stop()
	<-ep.hub.done
	return nil
}

// detach takes an endpoint out of the index, so that nothing finds it any more. Paused triggers use theirs, too.
func (s *Scheduler) detach(id tenants.EndpointID) (*endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ep := s.at(id)
	if ep == nil {
		return nil, nil
	}
	for _, t := range s.tenants {
		for _, app := range t.apps {
			for _, q := range app.triggers {
				if q.version.Load().public.Endpoint == id {
					return nil, fmt.Errorf("remove endpoint %q: %w by %s/%s", id, ErrInUse, t.id, app.name)
				}
			}
		}
	}
	delete(s.index, id)
	s.endpoints[ep.index] = nil
	return ep, nil
}

// at finds an endpoint, or nil. The caller holds mu.
func (s *Scheduler) at(id tenants.EndpointID) *endpoint {
	if i, ok := s.index[id]; ok {
		return s.endpoints[i]
	}
	return nil
}

// Reshard tells who serves the hash slots of a cluster now, as host:port, so that sharded channels follow a slot that has moved while nobody was
// connected. It may be wrong: the masters are asked before anything is moved.
func (s *Scheduler) Reshard(id tenants.EndpointID, owner func(slot int) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ep := s.at(id); ep != nil && ep.hub.shards != nil {
		ep.hub.shards.doubt(owner)
	}
}

// Renew replaces the connections to an endpoint by new ones, with the credential that is in force now, and returns when that is done. No
// message is lost or comes twice by it where the endpoint can publish; otherwise a Gap tells what may be lost. With an error, connections that
// were not replaced go on as they are.
func (s *Scheduler) Renew(ctx context.Context, id tenants.EndpointID, why string) error {
	s.mu.Lock()
	ep := s.at(id)
	s.mu.Unlock()
	if ep == nil {
		return fmt.Errorf("renew connections: %w endpoint %q", ErrUnknown, id)
	}
	return ep.hub.Renew(ctx, why)
}
