package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// servers are the Redis servers that an application speaks of, and what stands behind each address.
//
// In "up" the application is run as it is, against the Redis that up was given or brought along: that one, main, takes the place of the
// application's own default address and of port 6379 of this machine, wherever the manifest or a guest names them. Every other address is
// taken at its word.
type servers struct {
	main     *endpoint.Options
	embedded string // host:port of the embedded Redis, "" where there is none
	attach   func(scheduler.Endpoint)
	renew    func(ctx context.Context, id tenants.EndpointID, why string) error
	reshard  func(id tenants.EndpointID, owner func(slot int) string)
	log      *slog.Logger

	watching context.Context // until close
	stop     context.CancelFunc
	watches  sync.WaitGroup // one for each server that can change

	mu       sync.Mutex
	replaced map[string]bool // names that main stands for
	known    map[tenants.EndpointID]*server
}

type server struct {
	id      tenants.EndpointID
	options *endpoint.Options
	client  redis.UniversalClient // for publishing and the key-value stores
	watched sync.Once
}

func newServers(main *endpoint.Options, embedded string, on *scheduler.Scheduler, log *slog.Logger) *servers {
	s := &servers{main: main, embedded: embedded, attach: on.AddEndpoint, renew: on.Renew, reshard: on.Reshard, log: log, replaced: map[string]bool{}, known: map[tenants.EndpointID]*server{}}
	s.watching, s.stop = context.WithCancel(context.Background())
	return s
}

// stand makes main stand for the server at an address.
func (s *servers) stand(address string) error {
	options, err := endpoint.Parse(address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced[strings.ToLower(options.Name())] = true
	return nil
}

// resolve is how to reach an address, and whether main stands for it. The database number stays the address's own.
func (s *servers) resolve(address string) (options *endpoint.Options, stands bool, err error) {
	if options, err = endpoint.Parse(address); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	stands = s.replaced[strings.ToLower(options.Name())] || standing(options)
	s.mu.Unlock()
	if !stands {
		return options, false, nil
	}
	if options.DB() == 0 {
		return s.main, true, nil
	}
	main, err := s.main.With(func(c *endpoint.Config) { c.DB = options.DB() })
	if err != nil {
		return nil, true, fmt.Errorf("redis address %q stands for %s: %w", options, s.main, err)
	}
	return main, true, nil
}

// standing says that an address is port 6379 of this machine.
func standing(o *endpoint.Options) bool {
	host, port, err := net.SplitHostPort(o.Addresses()[0])
	return err == nil && o.IsSingle() && strings.HasPrefix(o.Address(), "redis://") && loopback(host) && port == "6379"
}

// open finds the server at an address, or makes a client of it. A name that nobody resolves is an error now; a server that does not answer
// is tried again for as long as the program runs.
func (s *servers) open(ctx context.Context, address string) (*server, error) {
	options := s.main
	if address != "" {
		var err error
		if options, _, err = s.resolve(address); err != nil {
			return nil, err
		}
	}
	if err := lookup(ctx, options); err != nil {
		return nil, err
	}
	id := endpointID(options)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[id]; known != nil {
		return known, nil
	}
	for _, warning := range options.Warnings() {
		s.log.Warn(warning)
	}
	one := &server{id: id, options: options, client: options.Client(nil)}
	s.known[id] = one
	return one, nil
}

// listen begins to keep a connection for messages, subscribed to nothing yet. Doing so again does nothing.
func (s *servers) listen(one *server) {
	e := attached(one.id, one.options, func(ctx context.Context, channel string, payload []byte) error {
		return one.client.Publish(ctx, channel, payload).Err()
	})
	e.OncePerPatterns = one.options.Name() == s.embedded
	s.attach(e)
	if one.options.IsMaster() || one.options.IsCluster() {
		one.watched.Do(func() { s.watches.Go(func() { s.follow(s.watching, one.id, one.options) }) }) // ends with close
	}
}

// attached is a server as the scheduler takes it.
func attached(id tenants.EndpointID, o *endpoint.Options, publish func(ctx context.Context, channel string, payload []byte) error) scheduler.Endpoint {
	e := scheduler.Endpoint{ID: id, Name: o.Name(), Dial: o.Subscriber, Publish: publish, Unordered: o.IsCluster()}
	if o.IsCluster() {
		e.Slot = endpoint.Slot
		e.DialShard = func(ctx context.Context, slot int) (net.Conn, func(slot int) string, error) {
			socket, slots, err := o.ShardSubscriber(ctx, slot)
			if err != nil {
				return nil, nil, err
			}
			return socket, slots.Owner, nil
		}
	}
	return e
}

// sharded says why sharded channels are not offered on a server, or nil.
func (s *servers) sharded(id tenants.EndpointID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.known[id]; one != nil && one.options.Name() == s.embedded {
		return hint{errors.New("the embedded Redis has no sharded channels"), "use a channel or a pattern, or give a Redis 7 or a cluster with --redis URL"}
	}
	return nil
}

// follow tells of slots of a cluster that have moved, and moves the connections to a new master when Sentinels name one, until ctx ends. A master
// that is demoted or dies ends its connections itself; one that is merely cut off from its Sentinels does not.
func (s *servers) follow(ctx context.Context, id tenants.EndpointID, o *endpoint.Options) {
	last := ""
	o.Watch(ctx, func(c endpoint.Change) {
		if c.Slots != nil {
			s.reshard(id, c.Slots.Owner)
			return
		}
		former := last
		if last = c.Master; former == "" {
			return
		}
		s.log.Info("redis has another master", "endpoint", o.Name(), "master", c.Master, "former", former)
		if err := s.renew(ctx, id, "the master is now "+c.Master); err != nil && ctx.Err() == nil {
			s.log.Warn("redis connections were not moved to the new master", "endpoint", o.Name(), "cause", err)
		}
	})
}

// listenFor is listen for the servers of triggers.
func (s *servers) listenFor(triggers []tenants.Trigger) {
	for _, t := range triggers {
		s.mu.Lock()
		one := s.known[t.Endpoint]
		s.mu.Unlock()
		s.listen(one)
	}
}

// endpointID names a server and the credential to use on it, without telling the credential.
func endpointID(o *endpoint.Options) tenants.EndpointID {
	user, sum := o.Credential()
	if sum == "" {
		return tenants.EndpointID(o.Address())
	}
	scheme, rest, _ := strings.Cut(o.Address(), "://")
	return tenants.EndpointID(fmt.Sprintf("%s://%s@%s#%s", scheme, user, rest, sum))
}

// lookup refuses a host that nobody knows, where no other is named beside it.
func lookup(ctx context.Context, o *endpoint.Options) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var names []string
	for _, address := range o.Addresses() {
		host, _, err := net.SplitHostPort(address)
		if err != nil || net.ParseIP(host) != nil {
			return nil
		}
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err == nil {
			return nil
		}
		names = append(names, fmt.Sprintf("%q", host))
	}
	return hint{fmt.Errorf("the address does not resolve: no host is called %s", strings.Join(names, " or ")),
		"correct the address, or give a Redis with --redis URL"}
}

// hint is an error with its next step, as deploy reads it.
type hint struct {
	error
	next string
}

func (h hint) NextStep() string { return h.next }
func (h hint) Unwrap() error    { return h.error }

// find is api.Config.Server: the address that a client named, or the server whose triggers the target wakes, or the main one.
func (s *servers) find(triggers []scheduler.TriggerState, address string, to tenants.Target) (api.Server, error) {
	var one *server
	s.mu.Lock()
	var on []*server
	for _, t := range triggers {
		if known := s.known[t.Endpoint]; wakes(t.Target, to) && known != nil && !slices.Contains(on, known) {
			on = append(on, known)
		}
	}
	s.mu.Unlock()
	var err error
	switch {
	case address == "" && len(on) == 1:
		one = on[0]
	case address == "" && len(on) > 1:
		names := make([]string, len(on))
		for i, w := range on {
			names[i] = w.options.Address()
		}
		return api.Server{}, fmt.Errorf("triggers on %d servers listen to %q; name one of them as endpoint: %s", len(on), to.Name, strings.Join(names, ", "))
	default:
		if one, err = s.openKnown(address); err != nil {
			return api.Server{}, err
		}
	}
	return api.Server{ID: one.id, Sharded: s.sharded(one.id), Publish: publishing(one.client)}, nil
}

// wakes tells whether a trigger's target takes what is published to another, or watches the same.
func wakes(trigger, to tenants.Target) bool {
	if (trigger.Kind == tenants.Sharded) != (to.Kind == tenants.Sharded) {
		return false
	}
	return trigger.Name == to.Name || trigger.Kind == tenants.Pattern && scheduler.Match(trigger.Name, to.Name)
}

// publishing publishes with a client, on channels and sharded channels.
func publishing(client redis.UniversalClient) func(ctx context.Context, to tenants.Target, payload []byte) (int64, error) {
	return func(ctx context.Context, to tenants.Target, payload []byte) (int64, error) {
		if to.Kind == tenants.Sharded {
			return client.SPublish(ctx, to.Name, payload).Result()
		}
		return client.Publish(ctx, to.Name, payload).Result()
	}
}

// openKnown finds a server that a trigger uses already, or main: a client of the API cannot make the process connect elsewhere.
func (s *servers) openKnown(address string) (*server, error) {
	if address == "" {
		one, err := s.open(context.Background(), "")
		if err == nil {
			s.listen(one)
		}
		return one, err
	}
	options, _, err := s.resolve(address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.known {
		if one.options.Name() == options.Name() {
			return one, nil
		}
	}
	return nil, fmt.Errorf("no trigger uses a server at %s", options.Name())
}

func (s *servers) close() {
	s.stop()
	s.watches.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.known {
		one.client.Close() // commands under way have ended: the scheduler was shut down before
	}
}
