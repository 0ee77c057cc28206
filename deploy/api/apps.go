package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// appAnswer is what was asked of an app, and what is true of it.
type appAnswer struct {
	tenants.App
	Status appStatus `json:"status"`
}

type appStatus struct {
	ObservedGeneration int64       `json:"observed_generation"` // the one that Conditions are of
	Conditions         []condition `json:"conditions"`
	Triggers           int         `json:"triggers"`
	Active             int         `json:"active_triggers"`
}

// condition is one thing that is true of an app or not, and why.
type condition struct {
	Type   string    `json:"type"`
	Status bool      `json:"status"`
	Reason string    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// appStatus adds to an app how it stands: whether versions take traffic, and whether Redis acknowledged its triggers.
func (s *server) appStatus(a tenants.App, triggers []scheduler.TriggerState) appAnswer {
	out := appAnswer{App: a, Status: appStatus{ObservedGeneration: a.Generation}}
	subscribed := condition{Type: "Subscribed", Reason: "no_triggers"}
	for _, t := range triggers {
		if t.App != a.Name {
			continue
		}
		out.Status.Triggers++
		if t.State == scheduler.Active {
			out.Status.Active++
			continue
		}
		subscribed.Reason, subscribed.Since = t.State.String(), t.Since
		subscribed.Detail = clip(fmt.Sprintf("%s: %s", t.Target.Name, t.Reason))
	}
	if subscribed.Status = out.Status.Triggers > 0 && out.Status.Active == out.Status.Triggers; subscribed.Status {
		subscribed.Reason = ""
	}
	deployed := condition{Type: "Deployed", Status: out.Status.Triggers > 0}
	if !deployed.Status {
		deployed.Reason = "no_deployment"
		if a.Deployment != "" {
			deployed.Reason = "not_running"
		}
	}
	out.Status.Conditions = []condition{deployed, subscribed, {Type: "Paused", Status: a.Paused, Reason: a.PausedReason}}
	return out
}

func (s *server) listApps(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	id := c.tenant.Value.ID
	triggers := s.Scheduler.Triggers(id)
	p, err := s.Store.Apps(c.ctx(), id, q)
	if c.who.App != "" && err == nil { // what a token is not bound to is not there for it
		p = boundOnly(p, c.who.App)
	}
	return pageOf(c, p, err, func(a tenants.App) appAnswer { return s.appStatus(a, triggers) })
}

func boundOnly(p store.Page[tenants.App], name tenants.AppName) store.Page[tenants.App] {
	kept := p.Items[:0]
	for _, a := range p.Items {
		if a.Value.Name == name {
			kept = append(kept, a)
		}
	}
	p.Items = kept
	return p
}

func (s *server) showApp(c *call) error {
	return c.one(http.StatusOK, c.app.Revision, s.appStatus(c.app.Value, s.Scheduler.Triggers(c.tenant.Value.ID)))
}

// putApp adds an app, or answers with the one that is there.
func (s *server) putApp(c *call) error {
	if c.r.ContentLength != 0 {
		var in struct{}
		if err := c.readJSON(&in); err != nil {
			return err
		}
	}
	existed := c.app.Value.ID != ""
	if err := c.matchOr(c.app.Revision, there(existed)); err != nil {
		return err
	}
	id := c.tenant.Value.ID
	name := c.app.Value.Name
	if !existed {
		name = tenants.AppName(c.r.PathValue("app"))
		a := tenants.App{ID: tenants.NewID[tenants.AppID](c.now), Tenant: id, Name: name, Created: c.now.UTC(), CreatedBy: c.who.Subject}
		if err := c.change(string(a.ID), map[string]string{"name": string(name)}, func(tx *store.Tx) error { return tx.CreateApp(c.ctx(), a) }); err != nil {
			return err
		}
	}
	have, err := s.Store.App(c.ctx(), id, string(name))
	if err != nil {
		return err
	}
	return c.put(existed, "/v1/tenants/"+string(id)+"/apps/"+string(name), have.Revision, s.appStatus(have.Value, s.Scheduler.Triggers(id)))
}

func there(existed bool) error {
	if existed {
		return nil
	}
	return store.ErrNotFound
}

type appPatch struct {
	Paused *bool  `json:"paused"`
	Reason string `json:"paused_reason"`
}

// patchApp pauses or resumes an app that is as its ETag says.
func (s *server) patchApp(c *call) error {
	var in appPatch
	if err := c.readJSON(&in); err != nil {
		return err
	}
	if err := c.match(c.app.Revision, true); err != nil {
		return err
	}
	switch {
	case in.Paused == nil:
		return s.showApp(c)
	case *in.Paused:
		return s.pause(c, in.Reason)
	}
	return s.resume(c)
}

// pauseApp unsubscribes an app's triggers until it is resumed.
func (s *server) pauseApp(c *call) error {
	in, err := c.readReason()
	if err != nil {
		return err
	}
	return s.pause(c, in.Reason)
}

func (s *server) pause(c *call, reason string) error {
	_, err := s.Controller.PauseApp(c.ctx(), c.actor(), c.tenant.Value.ID, string(c.app.Value.Name), reason)
	return s.appNow(c, err)
}

func (s *server) resumeApp(c *call) error {
	if err := bodyless(c.r); err != nil {
		return err
	}
	return s.resume(c)
}

func (s *server) resume(c *call) error {
	_, err := s.Controller.ResumeApp(c.ctx(), c.actor(), c.tenant.Value.ID, string(c.app.Value.Name))
	return s.appNow(c, err)
}

// appNow answers with an app after a change of the Controller's.
func (s *server) appNow(c *call, err error) error {
	if err != nil {
		return err
	}
	have, err := s.Store.App(c.ctx(), c.tenant.Value.ID, string(c.app.Value.Name))
	if err != nil {
		return err
	}
	return c.one(http.StatusOK, have.Revision, s.appStatus(have.Value, s.Scheduler.Triggers(c.tenant.Value.ID)))
}

// deleteApp removes an app with everything that belongs to it.
func (s *server) deleteApp(c *call) error {
	if err := c.match(c.app.Revision, false); err != nil {
		return err
	}
	if err := s.Controller.DeleteApp(c.ctx(), c.actor(), c.tenant.Value.ID, string(c.app.Value.Name)); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
