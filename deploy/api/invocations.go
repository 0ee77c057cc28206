package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// How many invocations a list has, where the request does not say and where it does.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

var invocationFilters = []string{"limit", "cursor", "app", "component", "version", "channel", "outcome", "since", "slower"}

// invocations lists a tenant's last runs, or an app's, newest first. The cursor is the id of the last one on the page before.
func (s *server) invocations(c *call) error {
	limit, err := readLimit(c.q, defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	want, err := c.wantedInvocations()
	if err != nil {
		return err
	}
	found := s.Recorder.History.Select(c.tenant.Value.ID, c.q.Get("cursor"), limit+1, want)
	out := listing[telemetry.Invocation]{Data: found, HasMore: len(found) > limit}
	if out.HasMore {
		out.Data = found[:limit]
		out.Next = found[limit-1].ID
	}
	if found == nil {
		out.Data = []telemetry.Invocation{} // an empty list in JSON
	}
	for i := range out.Data {
		out.Data[i].Channel = c.s.plainName(out.Data[i], out.Data[i].Channel)
		out.Data[i].Target = c.s.plainName(out.Data[i], out.Data[i].Target)
	}
	c.link(out.Next)
	return c.json(http.StatusOK, out)
}

// plainName is written for what does not say its server any more.
func (s *server) plainName(in telemetry.Invocation, name string) string {
	wrote, _ := s.written(in.Tenant, in.Endpoint, name)
	return wrote
}

// wantedInvocations reads the filters, which are named as the CLI's flags.
func (c *call) wantedInvocations() (func(*telemetry.Record) bool, error) {
	q := c.q
	var outcome tenants.Outcome
	if q.Has("outcome") {
		if err := outcome.UnmarshalText([]byte(q.Get("outcome"))); err != nil {
			return nil, badRequest("invalid_parameter", clip(err.Error()), "Use ?outcome=failed.")
		}
	}
	var from time.Time
	var slower time.Duration
	var err error
	if q.Has("since") {
		if from, err = since(q.Get("since"), c.now); err != nil {
			return nil, err
		}
	}
	if q.Has("slower") {
		if slower, err = time.ParseDuration(q.Get("slower")); err != nil {
			return nil, badRequest("invalid_parameter", "slower is a duration, not "+clip(q.Get("slower")), "Use ?slower=100ms.")
		}
	}
	if cursor := q.Get("cursor"); cursor != "" {
		if _, err := tenants.ParseULID(strings.TrimPrefix(cursor, "inv_")); err != nil {
			return nil, badRequest("invalid_cursor", "the cursor is not one of this list", "Begin again without a cursor.")
		}
	}
	app := c.app.Value.Name
	if app == "" {
		app = tenants.AppName(q.Get("app"))
	}
	version, component, channel := q.Get("version"), tenants.ComponentID(q.Get("component")), q.Get("channel")
	return func(r *telemetry.Record) bool {
		name, _ := c.s.written(r.Trigger.Tenant, r.Trigger.Endpoint, string(r.Channel))
		return (app == "" || r.Trigger.App == app) && (component == "" || r.Trigger.Component == component) &&
			(version == "" || string(r.Trigger.Version) == version) && (channel == "" || name == channel) &&
			(!q.Has("outcome") || r.Outcome == outcome) && r.Ran >= slower && !r.Received.Before(from)
	}, nil
}

// invocation shows one run, as long as the history remembers it.
func (s *server) invocation(c *call) error {
	in, ok := s.Recorder.History.Find(c.tenant.Value.ID, c.r.PathValue("id"))
	if !ok {
		return &problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such invocation",
			Detail: "it never was, or newer ones have taken its place in the history", Next: "The list of invocations has those that are remembered."}
	}
	in.Channel, in.Target = s.plainName(in, in.Channel), s.plainName(in, in.Target)
	return c.json(http.StatusOK, in)
}
