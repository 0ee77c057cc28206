package api

import (
	"net/http"

	"github.com/tenloom/tenloom/telemetry"
)

// How many invocations a list has, where the request does not say and where it does.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// invocations lists a tenant's last runs, newest first.
func (s *server) invocations(c *call) error {
	limit, err := readLimit(c.q, defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	data := s.Recorder.History.Last(c.tenant.Value.ID, limit)
	if data == nil {
		data = []telemetry.Invocation{} // an empty list in JSON
	}
	return c.json(http.StatusOK, listing[telemetry.Invocation]{Data: data})
}

// invocation shows one run, as long as the history remembers it.
func (s *server) invocation(c *call) error {
	in, ok := s.Recorder.History.Find(c.tenant.Value.ID, c.r.PathValue("id"))
	if !ok {
		return &problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such invocation",
			Detail: "it never was, or newer ones have taken its place in the history", Next: "The list of invocations has those that are remembered."}
	}
	return c.json(http.StatusOK, in)
}
