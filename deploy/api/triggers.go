package api

import (
	"net/http"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

type trigger struct {
	App       tenants.AppName     `json:"app"`
	Component tenants.ComponentID `json:"component"`
	Version   tenants.VersionID   `json:"version"`
	ID        string              `json:"id"`
	Kind      string              `json:"kind"`
	Target    string              `json:"target"`
	Endpoint  tenants.EndpointID  `json:"endpoint"`
	Isolation tenants.Isolation   `json:"isolation"`
	Why       string              `json:"isolation_reason,omitempty"`
	State     string              `json:"state"`
	Reason    string              `json:"reason,omitempty"`
	Since     time.Time           `json:"since,omitzero"`
	Breaker   string              `json:"breaker"`           // of the component: closed, open or half_open
	ProbeAt   time.Time           `json:"probe_at,omitzero"` // while open: when one delivery is let through
}

// triggers lists a tenant's triggers and how Redis stands to each. Its length is bounded by what the tenant has deployed.
func (s *server) triggers(c *call) error {
	all := []trigger{}
	for _, t := range s.Scheduler.Triggers(c.tenant.Value.ID) {
		all = append(all, trigger{
			App: t.App, Component: t.Component, Version: t.Version, ID: t.ID, Kind: t.Target.Kind.String(), Target: t.Target.Name,
			Endpoint: t.Endpoint, Isolation: t.Isolation, Why: t.Why, State: t.State.String(), Reason: t.Reason, Since: t.Since,
			Breaker: t.Breaker.State.String(), ProbeAt: t.Breaker.Probe,
		})
	}
	return c.json(http.StatusOK, listing[trigger]{Data: all})
}
