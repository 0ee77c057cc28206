package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/deploy/oci"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/binding"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/artifact"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
)

// house is the API over everything that a platform keeps, with two tenants and a token for each who.
type house struct {
	*stage
	store   *store.Store
	blobs   *artifact.Store
	deploy  *deploy.Controller
	tail    *telemetry.Tail
	ledger  *telemetry.Ledger
	pull    func(ctx context.Context, reference string, most int64) (oci.App, error) // may be set before the first call
	tokens  map[string]string                                                        // by who: operator, viewer, deployer, owner, app (an owner's, bound to mailer), reader (scope *.read), stranger (owner of other)
	log     *bytes.Buffer
	testing chan tenants.ID // who tests a connection to a server that is slow
	api     http.Handler
	redis   *redis.Client
	from    int // the last caller's address
}

const acme tenants.ID = "acme"

// build opens a house whose tenant acme has the app mailer, and whose tenant other has the app secretapp.
func build(t testing.TB, change ...func(*api.Config)) *house {
	t.Helper()
	kv, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{stage: &stage{t: t, recorder: telemetry.New(1000)}, tokens: map[string]string{}, log: &bytes.Buffer{}, testing: make(chan tenants.ID)}
	if h.store, err = store.Open(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	if h.scheduler, err = scheduler.New(scheduler.Config{Recorder: h.recorder, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := h.scheduler.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h.blobs = artifact.Memory()
	h.pull = (&oci.Puller{Put: h.blobs.Put}).Pull
	h.tail = telemetry.NewTail(0, 0)
	if h.ledger, err = telemetry.OpenLedger(telemetry.LedgerConfig{Recorder: h.recorder, Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.ledger.Close() })
	h.deploy = deploy.New(deploy.Config{
		Store: h.store, Artifacts: h.blobs, Dir: t.TempDir(), System: h.system, Switch: h.apply,
		Hold:   func(context.Context, tenants.EndpointID, []tenants.Target) (func(), error) { return func() {}, nil },
		Drain:  func(context.Context) error { return nil },
		Policy: h.scheduler.SetPolicy,
		Pull: func(ctx context.Context, reference string, most int64) (oci.App, error) {
			return h.pull(ctx, reference, most)
		},
	})
	if _, err := h.deploy.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.deploy.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h.scheduler.AddEndpoint(scheduler.Endpoint{ID: tenants.DefaultEndpoint, Name: "redis:6379", Dial: func(context.Context) (net.Conn, error) {
		return nil, errors.New("there is no Redis here")
	}})
	h.redis = redis.NewClient(&redis.Options{Addr: redistest.Embedded(t), Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { h.redis.Close() })
	h.furnish()
	c := h.config()
	for _, f := range change {
		f(&c)
	}
	h.api = api.Handler(c)
	h.Server = httptest.NewServer(h.api)
	t.Cleanup(func() {
		h.Server.CloseClientConnections()
		h.Server.Close()
	})
	return h
}

func (h *house) config() api.Config {
	return api.Config{
		Scheduler: h.scheduler, Recorder: h.recorder, Meter: telemetry.NewMeter(h.recorder, 0), Log: slog.New(slog.NewTextHandler(h.log, nil)), Build: api.Build{Version: "1.2.3", Go: "go1"}, Store: h.store,
		Artifacts: h.blobs, Controller: h.deploy, Tail: h.tail, Ledger: h.ledger, Shared: func(on tenants.EndpointID) bool { return on == tenants.DefaultEndpoint },
		Seal: func(plain []byte) (tenants.Sealed, error) { return append([]byte("sealed:"), plain...), nil },
		TestConnection: func(ctx context.Context, n tenants.Connection) (api.Found, error) {
			if strings.Contains(n.Address, "slow") {
				h.testing <- n.Tenant
				<-ctx.Done()
				return api.Found{}, ctx.Err()
			}
			if strings.Contains(n.Address, "gone") {
				return api.Found{}, fmt.Errorf("no server at %s", n.Address)
			}
			return api.Found{Server: "redis.acme.example:6380", Version: "7.0.15", Missing: []api.Missing{{Rule: "+psubscribe", Why: "patterns"}}}, nil
		},
		ConnectionState: func(_ tenants.ID, name string) api.ConnectionState {
			if name == "busy" {
				return api.ConnectionState{State: "ok", UsedBy: []tenants.AppName{"biller", "mailer"}}
			}
			if name == "lent" {
				until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
				return api.ConnectionState{State: "ok", Credential: &api.ConnectionCredential{State: "failing", Path: "database/creds/acme_lent", User: "v_1", Until: &until,
					Renewable: true, Reason: "denied", Denied: &api.Denied{Path: "sys/leases/renew", Capability: "update"}, Detail: "permission denied"}}
			}
			return api.ConnectionState{State: "unused"}
		},
		Server: func(_ tenants.ID, address string, _ tenants.Target) (api.Server, error) {
			if address != "" {
				return api.Server{}, fmt.Errorf("no trigger uses a server at %s", address)
			}
			return api.Server{ID: "default", Publish: func(context.Context, tenants.Target, []byte) (int64, error) { return 0, nil }}, nil
		},
		Bind: func(ctx context.Context, _ tenants.ID, app tenants.AppName, name string, r binding.Request) (binding.Answer, error) {
			if name != "main" || app == "mailer" {
				return binding.Answer{}, api.ErrNoBinding
			}
			return binding.Do(ctx, h.redis, binding.Retry{}, r)
		},
		Topics: func(_ context.Context, _ tenants.ID, _ tenants.AppName, name string) (api.Topics, error) {
			to := api.Topics{Server: api.Server{ID: tenants.DefaultEndpoint, Publish: func(ctx context.Context, to tenants.Target, payload []byte) (int64, error) {
				if strings.Contains(string(payload), "fail") {
					return 0, errors.New("redis is away")
				}
				return h.redis.Publish(ctx, to.Name, payload).Result()
			}}}
			if name != "main" {
				return to, api.ErrNoBinding
			}
			return to, nil
		},
		Checks: func() []api.Check { return nil },
	}
}

// system is what a version runs in here: handlers that are Go functions, of modules that are not looked at.
func (h *house) system(context.Context, deploy.Scope) (deploy.System, error) {
	return deploy.System{
		MaxModule:  1 << 20,
		Required:   func(context.Context) error { return nil },
		Render:     func(_ context.Context, t tenants.Template) (string, error) { return t.String(), nil },
		CheckHosts: func([]string) error { return nil },
		Endpoint:   func(context.Context, string) (tenants.EndpointID, error) { return tenants.DefaultEndpoint, nil },
		Shared:     func(tenants.EndpointID) bool { return true },
		Load: func(_ context.Context, u *deploy.Unit) error {
			if bytes.Contains(u.Wasm, []byte("broken")) {
				return errors.New("the module is broken")
			}
			u.Handler = loadedHandler{echo}
			return nil
		},
	}, nil
}

type loadedHandler struct{ *handler }

func (loadedHandler) Close() error { return nil }

func (l loadedHandler) Open() scheduler.Session { return l.handler }

func (h *house) apply(t tenants.ID, a tenants.AppName, bound []deploy.Bound, paused string) error {
	all := make([]scheduler.Trigger, len(bound))
	for i := range bound {
		all[i] = scheduler.Trigger{Trigger: bound[i].Leading(), Invoker: bound[i].Handler.(loadedHandler)}
	}
	if paused != "" {
		all = nil
	}
	return h.scheduler.Apply(t, a, all)
}

// furnish puts tenants, apps and tokens into the store.
func (h *house) furnish() {
	h.t.Helper()
	policy := tenants.DefaultPolicy()
	policy.Grants.RequestsPerSecond, policy.Grants.DeploysPerMinute = 100_000, 10_000
	now := time.Now().UTC()
	for tenant, app := range map[tenants.ID]tenants.AppName{acme: "mailer", "other": "secretapp"} {
		h.scheduler.SetPolicy(tenant, policy)
		h.write(func(tx *store.Tx) error {
			return tx.CreateTenant(h.t.Context(), tenants.Tenant{ID: tenant, State: tenants.TenantActive, Created: now, Changed: now}, policy)
		})
		h.write(func(tx *store.Tx) error {
			return tx.CreateApp(h.t.Context(), tenants.App{ID: tenants.NewID[tenants.AppID](now), Tenant: tenant, Name: app, Created: now, CreatedBy: "test"})
		})
	}
	h.token("operator", tenants.Token{Operator: true})
	h.token("viewer", tenants.Token{Tenant: acme, Role: tenants.Viewer})
	h.token("deployer", tenants.Token{Tenant: acme, Role: tenants.Deployer})
	h.token("owner", tenants.Token{Tenant: acme, Role: tenants.Owner})
	h.token("app", tenants.Token{Tenant: acme, Role: tenants.Owner, App: "mailer"})
	h.token("reader", tenants.Token{Tenant: acme, Role: tenants.Owner, Scopes: []tenants.Scope{"*.read"}})
	for name, role := range map[string]tenants.Role{"other viewer": tenants.Viewer, "other deployer": tenants.Deployer, "stranger": tenants.Owner} {
		h.token(name, tenants.Token{Tenant: "other", Role: role})
	}
}

func (h *house) write(f func(tx *store.Tx) error) {
	h.t.Helper()
	if _, err := h.store.Update(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
}

// token makes a token and keeps its text under a name.
func (h *house) token(who string, t tenants.Token) tenants.TokenID {
	h.t.Helper()
	text := tenants.NewTokenText()
	now := time.Now().UTC()
	t.ID, t.Name, t.Hint, t.Hash, t.Created, t.By = tenants.NewID[tenants.TokenID](now), who, text.Hint(), text.Hash(), now, "test"
	if t.Expires.IsZero() {
		t.Expires = now.Add(time.Hour)
	}
	if !t.Expires.After(now) {
		t.Created = t.Expires.Add(-time.Hour)
	}
	h.write(func(tx *store.Tx) error { return tx.CreateToken(h.t.Context(), t) })
	h.tokens[who] = text.Reveal()
	return t.ID
}

// as sends a request with who's token, and holds the answer against the OpenAPI document. A path that begins with a letter is one of acme's.
func (h *house) as(who, method, path, body string, header ...string) reply {
	h.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/v1/tenants/acme/" + path
	}
	token, ok := h.tokens[who]
	if !ok {
		token = who
	}
	r := h.do(method, path, body, append(header, "Authorization", "Bearer "+token)...)
	readBook(h.t).check(h.t, method, path, r)
	return r
}

// ok is as for requests that must be done, and decodes the answer.
func (h *house) ok(who, method, path, body string, header ...string) map[string]any {
	h.t.Helper()
	r := h.as(who, method, path, body, header...)
	if r.status/100 != 2 {
		h.t.Fatalf("%s %s %s: %d %s", who, method, path, r.status, r.body)
	}
	var out map[string]any
	if r.body != "" {
		if err := json.Unmarshal([]byte(r.body), &out); err != nil {
			h.t.Fatalf("%s %s: %v in %s", method, path, err, r.body)
		}
	}
	return out
}

// etag reads a resource's ETag.
func (h *house) etag(who, path string) string {
	h.t.Helper()
	r := h.as(who, "GET", path, "")
	tag := r.header.Get("ETag")
	if r.status != http.StatusOK || tag == "" {
		h.t.Fatalf("GET %s: %d, ETag %q", path, r.status, tag)
	}
	return tag
}

// audited lists the actions in a chain of the audit log, the newest first, with their targets.
func (h *house) audited(chain tenants.ID) (all []string) {
	h.t.Helper()
	p, err := h.store.Audits(h.t.Context(), chain, store.Query{Limit: 500})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range p.Items {
		all = append(all, strings.TrimSpace(string(e.Value.Action)+" "+e.Value.Target))
	}
	return all
}
