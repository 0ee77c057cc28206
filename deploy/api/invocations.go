package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// How many invocations a list has, where the request does not say and where it does.
const (
	defaultLimit = 50
	maxLimit     = 1000
)

// invocations lists a tenant's last runs, newest first.
func (s *server) invocations(w http.ResponseWriter, r *http.Request, tenant tenants.ID) {
	q, err := query(r, "limit")
	if err != nil {
		badRequest(w, "invalid_parameter", err.Error(), "Use ?limit=100.")
		return
	}
	limit, err := readLimit(q)
	if err != nil {
		badRequest(w, "invalid_limit", err.Error(), "Use ?limit=100.")
		return
	}
	data := s.Recorder.History.Last(tenant, limit)
	if data == nil {
		data = []telemetry.Invocation{} // an empty list in JSON
	}
	writeJSON(w, map[string]any{"data": data})
}

func readLimit(q url.Values) (int, error) {
	if !q.Has("limit") {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > maxLimit {
		return 0, fmt.Errorf("limit is a number from 1 to %d", maxLimit)
	}
	return n, nil
}

// invocation shows one run, as long as the history remembers it.
func (s *server) invocation(w http.ResponseWriter, r *http.Request, tenant tenants.ID) {
	in, ok := s.Recorder.History.Find(tenant, r.PathValue("id"))
	if !ok {
		problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such invocation",
			Detail: "it never was, or newer ones have taken its place in the history", Next: "The list of invocations has those that are remembered."}.write(w)
		return
	}
	writeJSON(w, in)
}
