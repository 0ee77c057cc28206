package api

import (
	"net/http"
)

// usage is what a tenant's deliveries came to since the process began.
func (s *server) usage(c *call) error {
	id := c.tenant.Value.ID
	return c.json(http.StatusOK, map[string]any{"counts": s.Recorder.Account(id).Counts(), "load": s.Scheduler.Load(id), "apps": s.Recorder.Account(id).Apps()})
}
