package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// call is one request whose caller is known and may do what it asks for.
type call struct {
	s      *server
	w      http.ResponseWriter
	r      *http.Request
	q      url.Values
	action tenants.Action
	now    time.Time

	who    tenants.Principal
	token  *tenants.Token // nil for who came without one
	tenant store.Record[tenants.Tenant]
	app    store.Record[tenants.App]
	policy tenants.Policy // of the tenant; the zero Policy where the path names none

	audited bool   // the act belongs in the audit log
	hide    []byte // the body that a replay shows in place of the answer's; nil: the same
}

func (c *call) ctx() context.Context { return c.r.Context() }

// request is the id of the request.
func (c *call) request() tenants.RequestID {
	if a, ok := unwrap(c.w); ok {
		return a.request
	}
	return ""
}

func unwrap(w http.ResponseWriter) (*answered, bool) {
	for {
		if a, ok := w.(*answered); ok {
			return a, true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil, false
		}
		w = u.Unwrap()
	}
}

// handle makes a route's handler: who asks, whether they may, whether they asked before, and then the route itself.
func (s *server) handle(rt *route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{s: s, w: w, r: r, action: rt.action, now: time.Now()}
		if err := s.serve(c, rt); err != nil {
			if a, ok := unwrap(w); ok && a.sent {
				return // a stream that was cut
			}
			s.problemOf(r, err).write(w)
		}
	}
}

func (s *server) serve(c *call, rt *route) error {
	if !rt.open {
		if err := s.admit(c, rt); err != nil {
			return err
		}
	}
	if len(rt.query) == 0 || rt.query[0] != anyQuery[0] {
		var err error
		if c.q, err = query(c.r, rt.query...); err != nil {
			return badRequest("invalid_parameter", err.Error(), "")
		}
	}
	if c.audited && !c.action.Writes() {
		if err := c.looked(); err != nil {
			return err
		}
	}
	if rt.method == http.MethodPost && !rt.open && c.r.Header.Get(idempotencyKey) != "" {
		return s.once(c, rt)
	}
	return rt.serve(c)
}

// admit finds out who calls and whether they may.
func (s *server) admit(c *call, rt *route) error {
	if err := s.authenticate(c); err != nil {
		return err
	}
	if a, ok := unwrap(c.w); ok {
		a.who = c.who.Subject
	}
	if err := s.take(c, tenants.RequestMeter); err != nil {
		return err
	}
	if rt.deploys {
		if err := s.take(c, tenants.DeployMeter); err != nil {
			return err
		}
	}
	if rt.action == "" {
		return nil
	}
	if rt.own {
		return s.caller(c, rt.action)
	}
	on := tenants.Resource{Tenant: tenants.ID(c.r.PathValue("tenant"))}
	if !strings.Contains(rt.path, "{tenant}") {
		return c.may(on)
	}
	// Before anything is read: for who is not a member, a tenant that is there costs what one costs that is not.
	if tenants.May(c.who, rt.action, on).Verdict == tenants.Unseen || tenants.CheckName(string(on.Tenant)) != nil {
		return noSuchTenant()
	}
	if err := s.findTenant(c, on.Tenant); err != nil {
		return err
	}
	on.Suspended = c.tenant.Value.State != tenants.TenantActive
	if strings.Contains(rt.path, "{app}") {
		return c.mayApp(rt, on)
	}
	return c.may(on)
}

func (s *server) findTenant(c *call, id tenants.ID) (err error) {
	if s.Store == nil {
		if !s.Known(id) {
			return noSuchTenant()
		}
		c.tenant.Value = tenants.Tenant{ID: id, State: tenants.TenantActive}
		return nil
	}
	if c.tenant, err = s.Store.Tenant(c.ctx(), id); errors.Is(err, store.ErrNotFound) {
		return noSuchTenant()
	}
	if err != nil {
		return err
	}
	have, err := s.Store.Policy(c.ctx(), id)
	c.policy = have.Value
	return err
}

// mayApp finds the path's app, by name or id. One that is not there, and one that the caller's token is not bound to, are the same.
func (c *call) mayApp(rt *route, on tenants.Resource) error {
	ref := c.r.PathValue("app")
	var err error
	if c.s.Store == nil {
		return noSuch("app")
	}
	if c.app, err = c.s.Store.App(c.ctx(), on.Tenant, ref); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	on.App = c.app.Value.Name
	if err != nil {
		on.App = tenants.AppName(ref)
	}
	access := tenants.May(c.who, c.action, on)
	c.audited = access.Audited
	if access.Verdict == tenants.Unseen {
		return noSuch("app")
	}
	if refused := refusal(access, c.action); refused != nil {
		return refused
	}
	if err != nil && rt.action != tenants.CreateApp {
		return noSuch("app")
	}
	return nil
}

// may asks for the call's action on a resource.
func (c *call) may(on tenants.Resource) error {
	access := tenants.May(c.who, c.action, on)
	c.audited = access.Audited
	return refusal(access, c.action)
}

func refusal(access tenants.Access, action tenants.Action) error {
	forbidden := func(code, detail, next string) error {
		return &problem{Status: http.StatusForbidden, Code: code, Title: "Not allowed", Detail: detail, Next: next}
	}
	switch access.Verdict {
	case tenants.Allowed:
		return nil
	case tenants.Unseen:
		return noSuchTenant()
	case tenants.OutOfScope:
		return forbidden("out_of_scope", "the token's scopes or its app do not reach "+string(action), "Use a token that has the scope, or a person's sign-in.")
	case tenants.Suspended:
		return forbidden("suspended", "the tenant is suspended, so nothing of it changes", "Ask an operator why.")
	}
	if access.Needs == tenants.NoRole {
		return forbidden("forbidden", string(action)+" takes an operator", "Ask an operator of the platform.")
	}
	return forbidden("forbidden", string(action)+" takes the role "+access.Needs.String(), "Ask an owner of the tenant.")
}

// principalMay tells whether the caller may do something else on the path's tenant and app.
func (c *call) principalMay(a tenants.Action) bool {
	on := tenants.Resource{Tenant: c.tenant.Value.ID, App: c.app.Value.Name}
	return tenants.May(c.who, a, on).Verdict == tenants.Allowed
}

// entry is the call's line in the audit log.
func (c *call) entry(target string, detail map[string]string) tenants.AuditEntry {
	e := tenants.AuditEntry{Chain: c.tenant.Value.ID, At: c.now, Actor: c.who.Subject, Action: c.action, App: c.app.Value.Name, Target: target,
		Request: c.request(), Outcome: "ok", Detail: detail}
	if e.Chain == "" {
		e.Chain = tenants.Platform
	}
	return e
}

// change does f and the call's audit entry in one transaction.
func (c *call) change(target string, detail map[string]string, f func(tx *store.Tx) error) error {
	_, err := c.s.Store.UpdateOf(c.ctx(), c.entry(target, detail).Chain, func(tx *store.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return c.audit(tx, target, detail)
	})
	return err
}

func (c *call) audit(tx *store.Tx, target string, detail map[string]string) error {
	if !c.audited {
		return nil
	}
	return tx.Audit(c.ctx(), c.entry(target, detail))
}

// looked writes down that an operator looked at what belongs to a tenant, before anything is shown.
func (c *call) looked() error {
	if c.s.Store == nil {
		return nil
	}
	return c.change(c.r.PathValue("id"), nil, func(*store.Tx) error { return nil })
}

// match holds the record that is to be changed against If-Match. required: there has to be one (428).
func (c *call) match(r store.Revision, required bool) error {
	tag := c.r.Header.Get("If-Match")
	if tag == "" && required {
		return &problem{Status: http.StatusPreconditionRequired, Code: "precondition_required", Title: "If-Match is missing",
			Detail: "a change of this resource names the state that it changes", Next: "Read it, and send the ETag of the answer as If-Match."}
	}
	return c.s.Store.Match(tag, r)
}

// tag names a record's state, and answers 304 where the client has it already.
func (c *call) tag(r store.Revision) (unchanged bool) {
	tag := c.s.Store.ETag(r)
	c.w.Header().Set("ETag", tag)
	read := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	if has := c.r.Header.Get("If-None-Match"); read && has != "" && c.s.Store.Match(has, r) == nil {
		c.w.WriteHeader(http.StatusNotModified)
		return true
	}
	return false
}

// one answers with a record and its ETag.
func (c *call) one(status int, r store.Revision, v any) error {
	if c.tag(r) {
		return nil
	}
	return c.json(status, v)
}

func (c *call) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	c.w.Write(append(b, '\n')) // fails only where the client has gone
	return nil
}

func (c *call) empty(status int) error {
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	return nil
}

// created answers that something was made, and where it is.
func (c *call) created(path string, r store.Revision, v any) error {
	c.w.Header().Set("Location", path)
	c.w.Header().Set("ETag", c.s.Store.ETag(r))
	return c.json(http.StatusCreated, v)
}
