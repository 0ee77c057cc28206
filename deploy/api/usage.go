package api

import (
	"net/http"

	"github.com/tenloom/tenloom/tenants"
)

// usage is what a tenant's deliveries came to since the process began.
func (s *server) usage(w http.ResponseWriter, r *http.Request, id tenants.ID) {
	if _, err := query(r); err != nil {
		badRequest(w, "invalid_parameter", err.Error(), "")
		return
	}
	writeJSON(w, map[string]any{"counts": s.Recorder.Account(id).Counts(), "load": s.Scheduler.Load(id)})
}
