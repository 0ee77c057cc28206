package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Config is the running system as the API reaches it. All of it is needed.
type Config struct {
	Scheduler *scheduler.Scheduler
	Recorder  *telemetry.Recorder
	Log       *slog.Logger // each request, at debug level
	Build     Build

	// Known tells whether a tenant exists.
	Known func(tenants.ID) bool
	// Server finds the Redis server to publish on or to watch: by the address a client named, or, where it named none, by the channel's
	// triggers. An error is the client's.
	Server func(tenant tenants.ID, address, channel string) (Server, error)
	// Checks are the lines of /readyz.
	Checks func() []Check
}

// Server is one Redis server that messages can be published on.
type Server struct {
	ID tenants.EndpointID
	// Publish returns how many clients and patterns of that server the message reached, ours among them.
	Publish func(ctx context.Context, channel string, payload []byte) (int64, error)
}

// Build says what program this is.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
	Go      string `json:"go"`
}

// Check is one thing that readiness depends on.
type Check struct {
	Name   string
	OK     bool
	Detail string // the reason where it is not ok
}

// Timeouts that whoever serves a Handler should set. It needs no others: bodies and streams have deadlines of their own.
const (
	ReadHeaderTimeout = 5 * time.Second
	IdleTimeout       = 2 * time.Minute
)

type server struct {
	Config
	ids        tenants.ULIDs // of requests
	publishing places
	streams    places
}

// Handler serves the API. Streams end with their request's context: when the client has gone, or when whoever serves the Handler closes the
// connections or ends the server's BaseContext. A server's Shutdown alone waits for them.
func Handler(c Config) http.Handler {
	s := &server{Config: c, publishing: make(places, maxPublishing), streams: make(places, maxStreams)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /version", s.version)
	mux.HandleFunc("POST /v1/tenants/{tenant}/messages", s.tenant(s.publish))
	mux.HandleFunc("GET /v1/tenants/{tenant}/messages:subscribe", s.tenant(s.subscribe))
	mux.HandleFunc("GET /v1/tenants/{tenant}/triggers", s.tenant(s.triggers))
	mux.HandleFunc("GET /v1/tenants/{tenant}/invocations", s.tenant(s.invocations))
	mux.HandleFunc("GET /v1/tenants/{tenant}/invocations/{id}", s.tenant(s.invocation))
	mux.HandleFunc("GET /v1/tenants/{tenant}/usage", s.tenant(s.usage))
	return s.identified(sameHost(sameSite(routed(mux))))
}

// tenant checks the path's tenant. One that does not exist and one that the caller may not see get the same answer.
func (s *server) tenant(next func(http.ResponseWriter, *http.Request, tenants.ID)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := tenants.ID(r.PathValue("tenant"))
		if !s.Known(id) {
			problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such tenant", Detail: "there is no tenant of this name here",
				Next: "Check -t or TENLOOM_TENANT."}.write(w)
			return
		}
		next(w, r, id)
	}
}

// places bounds how many requests do the same thing at once. One more is refused.
type places chan struct{}

func (p places) enter(w http.ResponseWriter) bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		w.Header().Set("Retry-After", "1")
		problem{Status: http.StatusTooManyRequests, Code: "too_many_requests", Title: "Too many requests at once",
			Detail: "others are being answered, and no more are taken beside them", Next: "Try again in a moment."}.write(w)
		return false
	}
}

func (p places) leave() { <-p }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) // fails only where the client has gone
}
