package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
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
	main     string // URL
	embedded string // host:port of the embedded Redis, "" where there is none
	attach   func(scheduler.Endpoint)

	mu       sync.Mutex
	replaced map[string]bool // host:port that main stands for
	known    map[tenants.EndpointID]*server
}

type server struct {
	id      tenants.EndpointID
	options *endpoint.Options
	client  redis.UniversalClient // for publishing and the key-value stores
}

func newServers(main, embedded string, attach func(scheduler.Endpoint)) *servers {
	return &servers{main: main, embedded: embedded, attach: attach, replaced: map[string]bool{}, known: map[tenants.EndpointID]*server{}}
}

// stand makes main stand for the server at an address.
func (s *servers) stand(address string) error {
	u, err := parseAddress(address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced[hostport(u)] = true
	return nil
}

// resolve puts main in the place of an address that it stands for. The database number stays the address's own.
func (s *servers) resolve(address string) (string, error) {
	u, err := parseAddress(address)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	stands := s.replaced[hostport(u)] || u.Scheme == "redis" && loopback(u.Hostname()) && (u.Port() == "" || u.Port() == "6379")
	s.mu.Unlock()
	if !stands {
		return address, nil
	}
	main, err := parseAddress(s.main)
	if err != nil {
		return "", err
	}
	if strings.Trim(u.Path, "/") != "" {
		main.Path = u.Path
	}
	return main.String(), nil
}

func hostport(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func parseAddress(address string) (*url.URL, error) {
	if _, err := endpoint.Parse(address); err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address is not a URL like redis://host:6379") // the original would quote a password
	}
	return u, nil
}

// open finds the server at an address, or makes a client of it. A name that nobody resolves is an error now; a server that does not answer
// is tried again for as long as the program runs.
func (s *servers) open(ctx context.Context, address string) (*server, error) {
	if address == "" {
		address = s.main
	}
	address, err := s.resolve(address)
	if err != nil {
		return nil, err
	}
	options, err := endpoint.Parse(address)
	if err != nil {
		return nil, err
	}
	if err := lookup(ctx, options.Name()); err != nil {
		return nil, err
	}
	id := endpointID(address, options)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[id]; known != nil {
		return known, nil
	}
	one := &server{id: id, options: options, client: options.Client(nil)}
	s.known[id] = one
	return one, nil
}

// listen begins to keep a connection for messages, subscribed to nothing yet. Doing so again does nothing.
func (s *servers) listen(one *server) {
	s.attach(scheduler.Endpoint{
		ID: one.id, Name: one.options.Name(), Dial: one.options.Subscriber, OncePerPatterns: one.options.Name() == s.embedded,
		Publish: func(ctx context.Context, channel string, payload []byte) error {
			return one.client.Publish(ctx, channel, payload).Err()
		},
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
func endpointID(address string, o *endpoint.Options) tenants.EndpointID {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return tenants.EndpointID("redis://" + o.Name())
	}
	sum := sha256.Sum256([]byte(u.User.String()))
	return tenants.EndpointID(fmt.Sprintf("redis://%s@%s#%s", u.User.Username(), o.Name(), hex.EncodeToString(sum[:4])))
}

func lookup(ctx context.Context, hostport string) error {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil || net.ParseIP(host) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
		return hint{fmt.Errorf("the address does not resolve: no host is called %q", host),
			"correct the address, or give a Redis with --redis URL"}
	}
	return nil
}

// hint is an error with its next step, as deploy reads it.
type hint struct {
	error
	next string
}

func (h hint) NextStep() string { return h.next }
func (h hint) Unwrap() error    { return h.error }

// find is api.Config.Server: the address that a client named, or the server whose triggers the channel wakes, or the main one.
func (s *servers) find(triggers []scheduler.TriggerState, address, channel string) (api.Server, error) {
	var one *server
	s.mu.Lock()
	var wakes []*server
	for _, t := range triggers {
		hit := t.Target.Name == channel || t.Target.Kind == tenants.Pattern && scheduler.Match(t.Target.Name, channel)
		if known := s.known[t.Endpoint]; hit && known != nil && !slices.Contains(wakes, known) {
			wakes = append(wakes, known)
		}
	}
	s.mu.Unlock()
	var err error
	switch {
	case address == "" && len(wakes) == 1:
		one = wakes[0]
	case address == "" && len(wakes) > 1:
		names := make([]string, len(wakes))
		for i, w := range wakes {
			names[i] = "redis://" + w.options.Name()
		}
		return api.Server{}, fmt.Errorf("triggers on %d servers listen to %q; name one of them as endpoint: %s", len(wakes), channel, strings.Join(names, ", "))
	default:
		if one, err = s.openKnown(address); err != nil {
			return api.Server{}, err
		}
	}
	return api.Server{ID: one.id, Publish: func(ctx context.Context, channel string, payload []byte) (int64, error) {
		return one.client.Publish(ctx, channel, payload).Result()
	}}, nil
}

// openKnown finds a server that a trigger uses already, or main: a client of the API cannot make the process connect elsewhere.
func (s *servers) openKnown(address string) (*server, error) {
	if address == "" {
		one, err := s.open(context.Background(), s.main)
		if err == nil {
			s.listen(one)
		}
		return one, err
	}
	resolved, err := s.resolve(address)
	if err != nil {
		return nil, err
	}
	options, err := endpoint.Parse(resolved)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.known {
		one.client.Close() // commands under way have ended: the scheduler was shut down before
	}
}
