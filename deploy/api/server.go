package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/binding"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/artifact"
)

// Config is the running system as the API reaches it. Without a Store there is what "tenloom up" needs: messages, triggers, invocations and
// usage of the tenants that are Known; with one there is all of it.
type Config struct {
	Scheduler *scheduler.Scheduler
	Recorder  *telemetry.Recorder
	Log       *slog.Logger // each request, at debug level
	Build     Build

	// Local is who calls from this machine without a token; nil: nobody may. With it set, requests on loopback addresses are held against the
	// names of this machine, so that no web page's own name leads here.
	Local *tenants.Principal
	// Store is what the platform keeps; nil: nothing.
	Store *store.Store
	// Artifacts keeps what versions are made of, and Controller leads their life: there where Store is.
	Artifacts  *artifact.Store
	Controller *deploy.Controller
	// Tail has the last lines of all handlers: there where Store is.
	Tail *telemetry.Tail
	// Shared tells whether other tenants use the same channels of a server, so that a tenant's names begin with its own there; nil: none.
	Shared func(on tenants.EndpointID) bool
	// Known tells whether a tenant exists, where there is no Store.
	Known func(tenants.ID) bool
	// Seal encrypts a secret's value before it is kept; nil: none are taken.
	Seal func(plain []byte) (tenants.Sealed, error)
	// CheckPolicy says what of a policy this platform cannot carry out, as tenants.Faults where it can; nil: nothing.
	CheckPolicy func(p tenants.Policy) error
	// TestConnection logs in at a tenant's Redis server, within the platform's rules of what may be reached. Its error is shown to the tenant;
	// nil: not offered.
	TestConnection func(ctx context.Context, n tenants.Connection) (Found, error)
	// CheckConnection says as Faults what is wrong with a tenant's connection, as far as that shows without going there; nil: nothing more than
	// its own Check.
	CheckConnection func(n tenants.Connection) error
	// ConnectionState tells how a connection stands, and who uses it; nil: nobody knows, and nobody does.
	ConnectionState func(t tenants.ID, name string) ConnectionState
	// Ledger has what tenants used by day; nil: nobody has.
	Ledger *telemetry.Ledger
	// Meter answers /metrics, for operators; nil: nobody.
	Meter *telemetry.Meter
	// Server finds the Redis server to publish on or to watch: by the address a client named, or, where it named none, by the target's
	// triggers. The target is as the tenant wrote it, without the prefix that it has on a server that is Shared. An error is the client's.
	Server func(tenant tenants.ID, address string, target tenants.Target) (Server, error)
	// Bind carries out an operation on a tenant's Redis of that name, for an app of its or, with "", the tenant itself; nil: not offered. Its error
	// is the client's; ErrNoBinding where there is none.
	Bind func(ctx context.Context, t tenants.ID, app tenants.AppName, name string, r binding.Request) (binding.Answer, error)
	// Topics finds where events of that name are published, as Bind does.
	Topics func(ctx context.Context, t tenants.ID, app tenants.AppName, name string) (Topics, error)
	// Checks are the lines of /readyz.
	Checks func() []Check
}

// Server is one Redis server that messages can be published on.
type Server struct {
	ID tenants.EndpointID
	// Publish returns how many clients and patterns of that server the message reached, ours among them. The target is a channel or a sharded
	// channel.
	Publish func(ctx context.Context, to tenants.Target, payload []byte) (int64, error)
	Sharded error // why it has no sharded channels; nil where it may have
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
	testing    places
	testingOf  shares
	binding    places
	attempts   *attempts
	answers    answers
	rates      rates
	sessions   sessions
	uploads    places
	epoch      string // of this process, in the ids of log lines
}

func newServer(c Config) *server {
	var remembered answers = newReplays()
	if c.Store != nil {
		remembered = newKept(c.Store, c.Log)
	}
	return &server{
		Config: c, publishing: make(places, maxPublishing), streams: make(places, maxStreams), testing: make(places, maxTesting), testingOf: shares{most: maxTestingOf, taken: map[tenants.ID]int{}}, binding: make(places, maxBinding),
		attempts: newAttempts(), answers: remembered, rates: rates{quota: map[tenants.ID]*tenants.Quota{}},
		sessions: sessions{open: map[tenants.TokenID]map[*call]context.CancelCauseFunc{}},
		uploads:  make(places, maxUploads), epoch: strconv.FormatInt(time.Now().UnixMilli(), 36),
	}
}

// Handler serves the API. Streams end with their request's context: when the client has gone, or when whoever serves the Handler closes the
// connections or ends the server's BaseContext. A server's Shutdown alone waits for them.
func Handler(c Config) http.Handler {
	s := newServer(c)
	mux, verbs := http.NewServeMux(), map[string]bool{}
	for _, rt := range s.routes() {
		mux.HandleFunc(rt.pattern(), s.handle(&rt))
		if _, verb := cutLast(rt.pattern(), ':'); strings.HasSuffix(rt.pattern(), "/:"+verb) {
			verbs[verb] = true
		}
	}
	h := sameSite(verbed(routed(mux), verbs))
	if c.Local != nil {
		h = sameHost(h)
	}
	return s.identified(h)
}

// routes is everything that there is.
func (s *server) routes() []route {
	all := []route{
		{method: "GET", path: "/healthz", open: true, query: anyQuery, serve: s.health},
		{method: "GET", path: "/readyz", open: true, query: anyQuery, serve: s.ready},
		{method: "GET", path: "/version", open: true, query: anyQuery, serve: s.version},

		{method: "GET", path: "/metrics", open: s.Local != nil, action: tenants.ReadMetrics, query: anyQuery, serve: s.metrics},

		{method: "GET", path: "/v1/openapi.json", open: true, serve: s.openapi},
		{method: "GET", path: "/v1/whoami", serve: s.whoami},
		{method: "POST", path: "/v1/tenants/{tenant}/messages", action: tenants.PublishMessage, serve: s.publish},
		{method: "GET", path: "/v1/tenants/{tenant}/messages:subscribe", action: tenants.ReadStream, query: anyQuery, serve: s.subscribe},
		{method: "GET", path: "/v1/tenants/{tenant}/channels", action: tenants.ReadChannels, serve: s.channels},
		{method: "GET", path: "/v1/tenants/{tenant}/subscriptions", action: tenants.ReadSubscriptions, serve: s.subscriptions},
		{method: "GET", path: "/v1/tenants/{tenant}/triggers", action: tenants.ReadSubscriptions, serve: s.triggers},
		{method: "GET", path: "/v1/tenants/{tenant}/invocations", action: tenants.ReadInvocations, query: invocationFilters, serve: s.invocations},
		{method: "GET", path: "/v1/tenants/{tenant}/invocations/{id}", action: tenants.ReadInvocations, serve: s.invocation},
		{method: "POST", path: "/v1.0/bindings/{name}", action: tenants.InvokeBinding, own: true, query: anyQuery, serve: s.bind},
		{method: "PUT", path: "/v1.0/bindings/{name}", action: tenants.InvokeBinding, own: true, query: anyQuery, serve: s.bind},
		{method: "POST", path: "/v1.0/publish/{endpoint}/{topic}", action: tenants.PublishEvent, own: true, query: anyQuery, serve: s.publishEvent},
		{method: "PUT", path: "/v1.0/publish/{endpoint}/{topic}", action: tenants.PublishEvent, own: true, query: anyQuery, serve: s.publishEvent},
		{method: "POST", path: "/v1.0/publish/bulk/{endpoint}/{topic}", action: tenants.PublishEvent, own: true, query: anyQuery, serve: s.publishEvents},
		{method: "PUT", path: "/v1.0/publish/bulk/{endpoint}/{topic}", action: tenants.PublishEvent, own: true, query: anyQuery, serve: s.publishEvents},
		{method: "GET", path: "/v1/tenants/{tenant}/usage", action: tenants.ReadUsage, query: usageParameters, serve: s.usage},
	}
	if s.Store == nil {
		return all
	}
	return append(all, []route{
		{method: "GET", path: "/v1/audit", action: tenants.ReadAudit, query: []string{"limit", "cursor", "after"}, serve: s.listAudit},
		{method: "GET", path: "/v1/tokens", action: tenants.ReadOperatorTokens, query: paging, serve: s.listOperatorTokens},
		{method: "POST", path: "/v1/tokens", action: tenants.CreateOperatorToken, serve: s.createOperatorToken},
		{method: "GET", path: "/v1/tokens/{id}", action: tenants.ReadOperatorTokens, serve: s.showOperatorToken},
		{method: "DELETE", path: "/v1/tokens/{id}", action: tenants.RevokeOperatorToken, serve: s.revokeOperatorToken},
		{method: "GET", path: "/v1/operations/{id}", serve: s.showOperation},
		{method: "GET", path: "/v1/operations/{id}/events", serve: s.watchOperation},

		{method: "GET", path: "/v1/tenants", action: tenants.ListTenants, query: paging, serve: s.listTenants},
		{method: "POST", path: "/v1/tenants", action: tenants.CreateTenant, serve: s.createTenant},
		{method: "GET", path: "/v1/tenants/{tenant}", action: tenants.ReadTenant, serve: s.showTenant},
		{method: "PATCH", path: "/v1/tenants/{tenant}", action: tenants.UpdateTenant, serve: s.patchTenant},
		{method: "DELETE", path: "/v1/tenants/{tenant}", action: tenants.DeleteTenant, serve: s.deleteTenant},
		{method: "POST", path: "/v1/tenants/{tenant}:suspend", action: tenants.SuspendTenant, serve: s.suspendTenant},
		{method: "POST", path: "/v1/tenants/{tenant}:resume", action: tenants.ResumeTenant, serve: s.resumeTenant},
		{method: "GET", path: "/v1/tenants/{tenant}/policy", action: tenants.ReadPolicy, serve: s.showPolicy},
		{method: "PUT", path: "/v1/tenants/{tenant}/policy", action: tenants.WritePolicy, serve: s.putPolicy},
		{method: "GET", path: "/v1/tenants/{tenant}/audit", action: tenants.ReadAudit, query: []string{"limit", "cursor", "after"}, serve: s.listAudit},

		{method: "GET", path: "/v1/tenants/{tenant}/members", action: tenants.ReadMembers, query: paging, serve: s.listMembers},
		{method: "GET", path: "/v1/tenants/{tenant}/members/{subject}", action: tenants.ReadMembers, serve: s.showMember},
		{method: "PUT", path: "/v1/tenants/{tenant}/members/{subject}", action: tenants.WriteMember, serve: s.putMember},
		{method: "DELETE", path: "/v1/tenants/{tenant}/members/{subject}", action: tenants.DeleteMember, serve: s.deleteMember},

		{method: "GET", path: "/v1/tenants/{tenant}/tokens", action: tenants.ReadTokens, query: paging, serve: s.listTokens},
		{method: "POST", path: "/v1/tenants/{tenant}/tokens", action: tenants.CreateToken, serve: s.createToken},
		{method: "GET", path: "/v1/tenants/{tenant}/tokens/{id}", action: tenants.ReadTokens, serve: s.showToken},
		{method: "DELETE", path: "/v1/tenants/{tenant}/tokens/{id}", action: tenants.RevokeToken, serve: s.revokeToken},

		{method: "GET", path: "/v1/tenants/{tenant}/connections", action: tenants.ReadConnections, query: paging, serve: s.listConnections},
		{method: "GET", path: "/v1/tenants/{tenant}/connections/{name}", action: tenants.ReadConnections, serve: s.showConnection},
		{method: "PUT", path: "/v1/tenants/{tenant}/connections/{name}", action: tenants.WriteConnection, serve: s.putConnection},
		{method: "DELETE", path: "/v1/tenants/{tenant}/connections/{name}", action: tenants.DeleteConnection, serve: s.deleteConnection},
		{method: "POST", path: "/v1/tenants/{tenant}/connections/{name}:test", action: tenants.TestConnection, serve: s.testConnection},

		{method: "GET", path: "/v1/tenants/{tenant}/apps", action: tenants.ListApps, query: paging, serve: s.listApps},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}", action: tenants.ReadApp, serve: s.showApp},
		{method: "PUT", path: "/v1/tenants/{tenant}/apps/{app}", action: tenants.CreateApp, serve: s.putApp},
		{method: "PATCH", path: "/v1/tenants/{tenant}/apps/{app}", action: tenants.UpdateApp, serve: s.patchApp},
		{method: "DELETE", path: "/v1/tenants/{tenant}/apps/{app}", action: tenants.DeleteApp, serve: s.deleteApp},
		{method: "POST", path: "/v1/tenants/{tenant}/apps/{app}:pause", action: tenants.PauseApp, serve: s.pauseApp},
		{method: "POST", path: "/v1/tenants/{tenant}/apps/{app}:resume", action: tenants.ResumeApp, serve: s.resumeApp},

		{method: "HEAD", path: "/v1/tenants/{tenant}/apps/{app}/blobs/{digest}", action: tenants.ReadBlob, serve: s.headBlob},
		{method: "PUT", path: "/v1/tenants/{tenant}/apps/{app}/blobs/{digest}", action: tenants.WriteBlob, serve: s.putBlob},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/versions", action: tenants.ReadVersions, query: paging, serve: s.listVersions},
		{method: "POST", path: "/v1/tenants/{tenant}/apps/{app}/versions", action: tenants.CreateVersion, query: []string{"validate"}, deploys: true, serve: s.createVersion},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/versions/{version}", action: tenants.ReadVersions, serve: s.showVersion},
		{method: "DELETE", path: "/v1/tenants/{tenant}/apps/{app}/versions/{version}", action: tenants.DeleteVersion, serve: s.deleteVersion},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/deployments", action: tenants.ReadDeployments, query: paging, serve: s.listDeployments},
		{method: "POST", path: "/v1/tenants/{tenant}/apps/{app}/deployments", action: tenants.CreateDeployment, serve: s.createDeployment},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/deployments/{deployment}", action: tenants.ReadDeployments, serve: s.deploymentOf},
		{method: "POST", path: "/v1/tenants/{tenant}/apps/{app}/deployments/{deployment}:cancel", action: tenants.CancelDeployment, serve: s.cancelDeployment},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/triggers", action: tenants.ReadTriggers, serve: s.appTriggers},
		{method: "POST", path: "/v1/tenants/{tenant}/apps/{app}/triggers/{trigger}:pause", action: tenants.PauseTrigger, serve: s.pauseTrigger},
		{method: "POST", path: "/v1/tenants/{tenant}/apps/{app}/triggers/{trigger}:resume", action: tenants.ResumeTrigger, serve: s.resumeTrigger},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/logs", action: tenants.ReadLogs, query: logParameters, serve: s.logs},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/invocations", action: tenants.ReadInvocations, query: invocationFilters, serve: s.invocations},

		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/variables", action: tenants.ReadVariables, query: paging, serve: s.listVariables},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/variables/{name}", action: tenants.ReadVariables, serve: s.showVariable},
		{method: "PUT", path: "/v1/tenants/{tenant}/apps/{app}/variables/{name}", action: tenants.WriteVariable, serve: s.putVariable},
		{method: "DELETE", path: "/v1/tenants/{tenant}/apps/{app}/variables/{name}", action: tenants.DeleteVariable, serve: s.deleteVariable},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/secrets", action: tenants.ReadSecrets, query: paging, serve: s.listSecrets},
		{method: "GET", path: "/v1/tenants/{tenant}/apps/{app}/secrets/{name}", action: tenants.ReadSecrets, serve: s.showSecret},
		{method: "PUT", path: "/v1/tenants/{tenant}/apps/{app}/secrets/{name}", action: tenants.WriteSecret, serve: s.putSecret},
		{method: "DELETE", path: "/v1/tenants/{tenant}/apps/{app}/secrets/{name}", action: tenants.DeleteSecret, serve: s.deleteSecret},
	}...)
}

// places bounds how many requests do the same thing at once. One more is refused.
type places chan struct{}

func (p places) take() error {
	select {
	case p <- struct{}{}:
		return nil
	default:
		return tooMany()
	}
}

func (p places) leave() { <-p }

// shares are places of which no tenant has more than most.
type shares struct {
	most  int
	mu    sync.Mutex
	taken map[tenants.ID]int // without those who have none
}

func (s *shares) take(t tenants.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[t] == s.most {
		return tooMany()
	}
	s.taken[t]++
	return nil
}

func (s *shares) leave(t tenants.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[t]--; s.taken[t] == 0 {
		delete(s.taken, t)
	}
}

func tooMany() *problem {
	return &problem{Status: http.StatusTooManyRequests, Code: "too_many_requests", Title: "Too many requests at once", RetryAfter: 1,
		Detail: "others are being answered, and no more are taken beside them", Next: "Try again in a moment."}
}
