package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of publishing.
const (
	MaxPayload    = 1 << 20 // bytes of one message
	DefaultWait   = 10 * time.Second
	MaxWait       = 60 * time.Second
	maxPublishing = 512 // requests at once, those that wait among them; one more is told to come again
	maxNear       = 3   // channels that are suggested
	maxCompared   = 10_000
)

type publishAnswer struct {
	ID             string     `json:"id"`
	Channel        string     `json:"channel"`
	Bytes          int        `json:"bytes"`
	RedisReceivers int64      `json:"redis_receivers"`
	Matched        int        `json:"matched"`
	Pending        int        `json:"pending"`
	Deliveries     []delivery `json:"deliveries"`
	Near           []near     `json:"near,omitempty"`
}

type delivery struct {
	App        tenants.AppName     `json:"app"`
	Component  tenants.ComponentID `json:"component"`
	Version    tenants.VersionID   `json:"version"`
	Outcome    tenants.Outcome     `json:"outcome"`
	Reason     tenants.Reason      `json:"reason"`
	Error      string              `json:"error"`
	QueuedMS   float64             `json:"queued_ms"`
	DurationMS float64             `json:"duration_ms"`
	Output     string              `json:"output"`
	Truncated  int64               `json:"truncated"`
	Memory     uint64              `json:"memory_bytes"`
	Fuel       uint64              `json:"fuel"`
	Invocation string              `json:"invocation"`
}

type near struct {
	Channel  string `json:"channel"`
	Handlers int    `json:"handlers"`
}

// publish publishes a message and answers what became of it: which triggers it woke, how each ended, and what they printed. It answers when
// all have ended, or after wait with what is known by then.
func (s *server) publish(c *call) error {
	if err := s.publishing.take(); err != nil {
		return err
	}
	defer s.publishing.leave()
	m, refused := readMessage(c.w, c.r)
	if refused != nil {
		return refused
	}
	tenant := c.tenant.Value.ID
	wrote := m.to
	on, err := s.Server(tenant, m.endpoint, wrote)
	if err != nil {
		return unknownEndpoint(err)
	}
	if wrote.Kind == tenants.Sharded && on.Sharded != nil {
		return noSharded(on)
	}
	m.to.Name = c.published(on.ID, wrote.Name)
	answer, err := s.send(c.ctx(), tenant, on, m)
	if err != nil {
		return &problem{Status: http.StatusBadGateway, Code: "redis_unavailable", Title: "Redis did not take the message", Detail: err.Error(),
			Next: "See /readyz for how the connection stands."}
	}
	answer.Channel = wrote.Name
	if answer.Matched == 0 {
		answer.Near = s.near(tenant, wrote)
	}
	return c.json(http.StatusOK, answer)
}

func noSharded(on Server) *problem {
	return badRequest("no_sharded_channels", on.Sharded.Error(), "Use a channel, or a server that is Redis 7 or a cluster.")
}

func unknownEndpoint(err error) *problem {
	return badRequest("unknown_endpoint", err.Error(), "Name the address of a Redis server that a trigger uses.")
}

// send publishes a message and waits for its deliveries.
func (s *server) send(ctx context.Context, tenant tenants.ID, on Server, m message) (publishAnswer, error) {
	began := time.Now()
	trace := s.wrap(tenant, &m, began)
	follow := s.Scheduler.FollowTo(on.ID, m.to, m.payload)
	waiting, cancel := context.WithTimeout(ctx, m.wait)
	defer cancel()
	receivers, err := on.Publish(ctx, m.to, m.payload)
	s.published(trace, tenant, on.ID, m, follow.ID, began, err)
	if err != nil {
		cancel()
		follow.Wait(waiting)
		return publishAnswer{}, err
	}
	deliveries := []delivery{}
	for _, in := range follow.Wait(waiting) {
		deliveries = append(deliveries, delivery{
			App: in.App, Component: in.Component, Version: in.Version, Outcome: in.Outcome, Reason: in.Reason, Error: in.Error,
			QueuedMS: in.QueuedMS, DurationMS: in.RanMS, Output: in.Output, Truncated: in.Truncated, Memory: in.Memory, Fuel: in.Fuel, Invocation: in.ID,
		})
	}
	slices.SortFunc(deliveries, func(a, b delivery) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Invocation, b.Invocation))
	})
	return publishAnswer{
		ID: follow.ID.String(), Channel: m.to.Name, Bytes: len(m.payload), RedisReceivers: receivers,
		Matched: follow.Matched, Pending: max(follow.Matched-len(deliveries), 0), Deliveries: deliveries,
	}, nil
}

// near lists a tenant's channels, or sharded ones, whose names are near one that nobody listens to. It looks at maxCompared of them.
func (s *server) near(tenant tenants.ID, to tenants.Target) []near {
	handlers := map[string]int{}
	var names []string
	for _, t := range s.Scheduler.Triggers(tenant) {
		name, _ := s.written(tenant, t.Endpoint, t.Target.Name)
		if t.Target.Kind != to.Kind || name == to.Name {
			continue
		}
		if handlers[name]++; handlers[name] == 1 && len(names) < maxCompared {
			names = append(names, name)
		}
	}
	var found []near
	for _, name := range tenants.Near(to.Name, names, maxNear) {
		found = append(found, near{Channel: name, Handlers: handlers[name]})
	}
	return found
}
