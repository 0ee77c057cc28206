package api

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// How many invocations a list has, where the request does not say and where it does.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

var invocationFilters = []string{"limit", "cursor", "app", "component", "version", "channel", "outcome", "since", "until", "slower", "faster"}

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
	found := s.selectInvocations(c, limit+1, want)
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

// selectInvocations asks the archive where there is one, else the history in memory.
func (s *server) selectInvocations(c *call, n int, want telemetry.Filter) []telemetry.Invocation {
	id := c.tenant.Value.ID
	if a := s.Recorder.Archive(); a != nil {
		return a.Select(id, n, want)
	}
	return s.Recorder.History.Select(id, c.q.Get("cursor"), n, want.Takes)
}

// plainName is written for what does not say its server any more.
func (s *server) plainName(in telemetry.Invocation, name string) string {
	wrote, _ := s.written(in.Tenant, in.Endpoint, name)
	return wrote
}

// wantedInvocations reads the filters, which are named as the CLI's flags. What was before the tenant was another's of the same name.
func (c *call) wantedInvocations() (f telemetry.Filter, err error) {
	q := c.q
	if q.Has("outcome") {
		f.Outcome = new(tenants.Outcome)
		if err := f.Outcome.UnmarshalText([]byte(q.Get("outcome"))); err != nil {
			return f, badRequest("invalid_parameter", clip(err.Error()), "Use ?outcome=failed.")
		}
	}
	for name, at := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if q.Has(name) {
			if *at, err = since(q.Get(name), c.now); err != nil {
				return f, err
			}
		}
	}
	for name, d := range map[string]*time.Duration{"slower": &f.AtLeast, "faster": &f.LessThan} {
		if q.Has(name) {
			if *d, err = time.ParseDuration(q.Get(name)); err != nil || *d < 0 {
				return f, badRequest("invalid_parameter", name+" is a duration, not "+clip(q.Get(name)), "Use ?slower=100ms.")
			}
		}
	}
	if cursor := q.Get("cursor"); cursor != "" {
		id, err := tenants.ParseULID(strings.TrimPrefix(cursor, "inv_"))
		if err != nil {
			return f, badRequest("invalid_cursor", "the cursor is not one of this list", "Begin again without a cursor.")
		}
		f.After = tenants.InvocationID(id)
	}
	if made := c.tenant.Value.Created; made.After(f.Since) {
		f.Since = made
	}
	if f.App = c.app.Value.Name; f.App == "" {
		f.App = tenants.AppName(q.Get("app"))
	}
	f.Version, f.Component = tenants.VersionID(q.Get("version")), tenants.ComponentID(q.Get("component"))
	if channel := q.Get("channel"); channel != "" { // as it is written on a server of the tenant's own, and on one that it shares
		f.Channels = []string{channel, string(c.tenant.Value.ID) + ":" + channel}
	}
	return f, nil
}

// payloadOf is what an invocation shows of its message.
type payloadOf struct {
	telemetry.Invocation
	Payload       *string `json:"payload,omitempty"`
	PayloadBase64 []byte  `json:"payload_base64,omitempty"`
	Masked        bool    `json:"masked,omitempty"` // the caller may not see payloads
}

// invocation shows one run, as long as it is remembered, with the beginning of its payload where that is kept and the caller may see it.
func (s *server) invocation(c *call) error {
	in, ok := s.findInvocation(c.tenant.Value.ID, c.r.PathValue("id"))
	if !ok || in.Received.Before(c.tenant.Value.Created) {
		return &problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such invocation",
			Detail: "it never was, or newer ones have taken its place in the history", Next: "The list of invocations has those that are remembered."}
	}
	in.Channel, in.Target = s.plainName(in, in.Channel), s.plainName(in, in.Target)
	out := payloadOf{Invocation: in}
	switch text := string(in.Payload); {
	case len(in.Payload) == 0:
	case !c.principalMay(tenants.ReadPayloads):
		out.Masked = true
	case utf8.ValidString(text):
		out.Payload = &text
	default:
		out.PayloadBase64 = in.Payload
	}
	return c.json(http.StatusOK, out)
}

func (s *server) findInvocation(tenant tenants.ID, name string) (telemetry.Invocation, bool) {
	if a := s.Recorder.Archive(); a != nil {
		id, err := tenants.ParseULID(strings.TrimPrefix(name, "inv_"))
		if err != nil {
			return telemetry.Invocation{}, false
		}
		if in, ok := a.Find(tenant, tenants.InvocationID(id)); ok {
			return in, true
		}
	}
	return s.Recorder.History.Find(tenant, name)
}
