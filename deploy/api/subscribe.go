package api

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/tenloom/tenloom/tenants"
)

const (
	maxTargets = 64  // of one subscription
	maxStreams = 256 // at once; one more is told to come again
)

// subscribe streams messages as server-sent events: "ready" when Redis has acknowledged every target, then "message" for each, and "gap"
// where the client was too slow.
func (s *server) subscribe(c *call) error {
	targets, address, err := readTargets(c.r)
	if err != nil {
		return badRequest("invalid_subscription", err.Error(), "Use ?channel=NAME, ?pattern=PATTERN or ?sharded=NAME, several times if needed.")
	}
	on, err := s.watched(c.tenant.Value.ID, address, targets)
	if err != nil {
		return unknownEndpoint(err)
	}
	if on.Sharded != nil && slices.ContainsFunc(targets, func(t tenants.Target) bool { return t.Kind == tenants.Sharded }) {
		return noSharded(on)
	}
	if c.r.Method == http.MethodHead {
		streamHeader(c.w)
		return nil
	}
	if err := s.streams.take(); err != nil {
		return err
	}
	defer s.streams.leave()
	targets = c.watchedAs(on.ID, targets)
	tap, err := s.Scheduler.Tap(on.ID, targets, tapBuffer)
	if err != nil {
		return unknownEndpoint(err)
	}
	defer tap.Close()
	ctx, done := c.streaming()
	defer done()
	st := newStream(c.w, tap, targets, func() []state { return s.Scheduler.TargetStates(on.ID) })
	st.written = func(name string) string {
		wrote, _ := s.written(c.tenant.Value.ID, on.ID, name)
		return wrote
	}
	st.masked = !c.principalMay(tenants.ReadPayloads)
	return st.run(ctx)
}

// readTargets reads what to watch, each target once, and on which server.
func readTargets(r *http.Request) (targets []tenants.Target, address string, err error) {
	q, err := query(r, "channel", "pattern", "sharded", "endpoint")
	if err != nil {
		return nil, "", err
	}
	add := func(kind tenants.Kind, names []string) {
		for _, name := range names {
			if t := (tenants.Target{Kind: kind, Name: name}); !slices.Contains(targets, t) && len(targets) <= maxTargets {
				targets = append(targets, t)
			}
		}
	}
	add(tenants.Exact, q["channel"])
	add(tenants.Pattern, q["pattern"])
	add(tenants.Sharded, q["sharded"])
	if len(targets) == 0 || len(targets) > maxTargets {
		return nil, "", fmt.Errorf("a subscription has 1 to %d channels, patterns and sharded channels", maxTargets)
	}
	for _, t := range targets {
		if t.Name == "" || len(t.Name) > maxName {
			return nil, "", fmt.Errorf("a %v has 1 to %d bytes, not %d", t.Kind, maxName, len(t.Name))
		}
	}
	return targets, q.Get("endpoint"), nil
}

// watched finds the one server of all targets.
func (s *server) watched(tenant tenants.ID, address string, targets []tenants.Target) (Server, error) {
	on, err := s.Server(tenant, address, targets[0])
	if err != nil || address != "" {
		return on, err
	}
	for _, t := range targets[1:] {
		other, err := s.Server(tenant, "", t)
		if err != nil {
			return Server{}, err
		}
		if other.ID != on.ID {
			return Server{}, fmt.Errorf("triggers listen to %q and %q on different servers: name one of them as endpoint, or subscribe to each by itself",
				clip(targets[0].Name), clip(t.Name))
		}
	}
	return on, nil
}
