package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Config is the running system as the API reaches it.
type Config struct {
	Scheduler *scheduler.Scheduler
	Recorder  *telemetry.Recorder
	Log       *slog.Logger
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

type server struct{ Config }

// Handler serves the API. Browsers' requests from other sites are refused (Sec-Fetch-Site and Origin), and so are host names that only a
// resolver under somebody else's control would lead here.
func Handler(c Config) http.Handler {
	s := &server{c}
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
	mux.HandleFunc("/", s.missing)
	return sameHost(http.NewCrossOriginProtection().Handler(mux))
}

// sameHost refuses a name that is not this machine's on a connection that came in on a loopback address: a web page whose name was made to
// resolve to 127.0.0.1 sends its own name.
func sameHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if local != nil && local.IP.IsLoopback() && !loopbackName(r.Host) {
			problem{Status: http.StatusMisdirectedRequest, Code: "wrong_host", Title: "Wrong host name",
				Detail: "this server answers to localhost and loopback addresses", Next: "Use http://" + local.String()}.write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopbackName(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
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

func (s *server) missing(w http.ResponseWriter, r *http.Request) {
	problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such resource", Detail: r.Method + " " + r.URL.Path}.write(w)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) // fails only where the client has gone
}

// Server timeouts that whoever serves this Handler should set; streams lift the write timeout for themselves.
const (
	ReadHeaderTimeout = 5 * time.Second
	IdleTimeout       = 2 * time.Minute
)
