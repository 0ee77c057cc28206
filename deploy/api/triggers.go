package api

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

type trigger struct {
	App       tenants.AppName     `json:"app"`
	Component tenants.ComponentID `json:"component"`
	Version   tenants.VersionID   `json:"version"`
	ID        string              `json:"id"`
	Kind      string              `json:"kind"`
	Target    string              `json:"target"`                  // as the tenant wrote it
	Actual    string              `json:"actual_target,omitempty"` // on the server, where that is another
	Endpoint  tenants.EndpointID  `json:"endpoint"`
	Isolation tenants.Isolation   `json:"isolation"`
	Why       string              `json:"isolation_reason,omitempty"`
	State     string              `json:"state"`
	Reason    string              `json:"reason,omitempty"`
	Since     time.Time           `json:"since,omitzero"`
	Breaker   string              `json:"breaker"`           // of the component: closed, open or half_open
	ProbeAt   time.Time           `json:"probe_at,omitzero"` // while open: when one delivery is let through
	Queued    int                 `json:"queued"`            // deliveries that wait, spilled ones included
	Spilled   int                 `json:"spilled"`           // of those, on disk
	OnDisk    int64               `json:"spilled_bytes"`
}

// triggers lists a tenant's triggers and how Redis stands to each. Its length is bounded by what the tenant has deployed.
func (s *server) triggers(c *call) error {
	all := []trigger{}
	for _, t := range s.Scheduler.Triggers(c.tenant.Value.ID) {
		all = append(all, s.showTrigger(t))
	}
	return c.json(http.StatusOK, listing[trigger]{Data: all})
}

func (s *server) showTrigger(t scheduler.TriggerState) trigger {
	name, actual := s.written(t.Tenant, t.Endpoint, t.Target.Name)
	return trigger{
		App: t.App, Component: t.Component, Version: t.Version, ID: t.ID, Kind: t.Target.Kind.String(), Target: name, Actual: actual,
		Endpoint: t.Endpoint, Isolation: t.Isolation, Why: t.Why, State: t.State.String(), Reason: t.Reason, Since: t.Since,
		Breaker: t.Breaker.State.String(), ProbeAt: t.Breaker.Probe,
		Queued: t.Queued, Spilled: t.Spilled, OnDisk: t.SpilledBytes,
	}
}

// appTriggers lists the triggers of what is live of an app, those that are paused too.
func (s *server) appTriggers(c *call) error {
	all, there := []trigger{}, map[string]bool{}
	for _, t := range s.Scheduler.Triggers(c.tenant.Value.ID) {
		if t.App == c.app.Value.Name {
			all = append(all, s.showTrigger(t))
			there[t.ID] = true
		}
	}
	for _, t := range s.Controller.Triggers(c.tenant.Value.ID, c.app.Value.Name) {
		if !there[t.ID] {
			all = append(all, s.showTrigger(scheduler.TriggerState{Trigger: t, State: scheduler.Paused}))
		}
	}
	slices.SortFunc(all, func(a, b trigger) int { return cmp.Compare(a.ID, b.ID) })
	return c.json(http.StatusOK, listing[trigger]{Data: all})
}

func (s *server) pauseTrigger(c *call) error {
	if err := bodyless(c.r); err != nil {
		return err
	}
	_, err := s.Controller.PauseTrigger(c.ctx(), c.actor(), c.tenant.Value.ID, string(c.app.Value.Name), c.r.PathValue("trigger"))
	return s.appNow(c, noSuchIf(err, "trigger"))
}

func (s *server) resumeTrigger(c *call) error {
	if err := bodyless(c.r); err != nil {
		return err
	}
	_, err := s.Controller.ResumeTrigger(c.ctx(), c.actor(), c.tenant.Value.ID, string(c.app.Value.Name), c.r.PathValue("trigger"))
	return s.appNow(c, noSuchIf(err, "trigger"))
}
