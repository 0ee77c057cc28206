package api

import (
	"net/http"
	"strconv"
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
	State     string              `json:"state"`
	Reason    string              `json:"reason,omitempty"`
	Since     time.Time           `json:"since,omitzero"`
}

// triggers lists a tenant's triggers and how Redis stands to each.
func (s *server) triggers(w http.ResponseWriter, _ *http.Request, tenant tenants.ID) {
	all := []trigger{}
	for _, t := range s.Scheduler.Triggers(tenant) {
		all = append(all, trigger{
			App: t.App, Component: t.Component, Version: t.Version, ID: t.ID, Kind: t.Target.Kind.String(), Target: t.Target.Name,
			Endpoint: t.Endpoint, State: t.State.String(), Reason: t.Reason, Since: t.Since,
		})
	}
	writeJSON(w, map[string]any{"data": all})
}

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// invocations lists a tenant's last runs, newest first.
func (s *server) invocations(w http.ResponseWriter, r *http.Request, tenant tenants.ID) {
	limit := defaultLimit
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			badRequest(w, "invalid_limit", "limit is a number from 1 to "+strconv.Itoa(maxLimit), "")
			return
		}
		limit = n
	}
	data := s.Recorder.History.Last(tenant, limit)
	if data == nil {
		writeJSON(w, map[string]any{"data": []any{}})
		return
	}
	writeJSON(w, map[string]any{"data": data})
}

// invocation shows one run, as long as the history remembers it.
func (s *server) invocation(w http.ResponseWriter, r *http.Request, tenant tenants.ID) {
	in, ok := s.Recorder.History.Find(tenant, r.PathValue("id"))
	if !ok {
		problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such invocation",
			Detail: "it never was, or newer ones have taken its place in the history"}.write(w)
		return
	}
	writeJSON(w, in)
}
