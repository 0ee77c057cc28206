package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/deploy/oci"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/artifact"
	"github.com/tenloom/tenloom/tenants/store/kv"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
	"github.com/tenloom/tenloom/tenants/store/kv/etcd"
)

// hosted is every room of a process that serves many tenants, wired.
type hosted struct {
	log       *slog.Logger
	store     *store.Store
	artifacts *artifact.Store
	sealer    *secrets.Sealer
	variables *settled
	*observed
	tail       *telemetry.Tail
	scheduler  *scheduler.Scheduler
	runtime    *sandbox.Runtime
	vault      *vaultPart // nil without one
	servers    *platformServers
	guard      *outbound.Dialer
	controller *deploy.Controller
	state      string

	phase     atomic.Value       // string: what the process is busy with; "" serves
	following context.CancelFunc // ends variables.follow
	follower  sync.WaitGroup

	mu    sync.Mutex
	rooms map[tenants.ID]*tenantRoom // of tenants that have had a policy; they stay until the process ends
}

// openHosted opens everything and starts nothing that a message could reach.
func openHosted(ctx context.Context, c *configuration, log *slog.Logger) (_ *hosted, err error) {
	labelled := c.number("metrics.tenants")
	if labelled == 0 {
		labelled = -1
	}
	telling, log, err := observe(ctx, observing{history: c.number("limits.history"), labelled: labelled, slow: c.duration("traces.slow")}, log)
	if err != nil {
		return nil, err
	}
	h := &hosted{log: log, state: c.stateDirectory(), observed: telling, tail: telemetry.NewTail(0, 0), rooms: map[tenants.ID]*tenantRoom{}}
	h.phase.Store("starting")
	defer func() {
		if err != nil {
			h.close(context.Background())
		}
	}()
	endpoint.LogTo(log)
	if err := os.MkdirAll(h.state, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w\n  --state DIR names another place", err)
	}
	records, err := openRecords(ctx, c)
	if err != nil {
		return nil, err
	}
	if h.store, err = store.Open(ctx, records); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), records.Close())
	}
	if h.artifacts, err = openArtifacts(ctx, c); err != nil {
		return nil, err
	}
	key := c.text("seal_key_file")
	if key == "" {
		key = filepath.Join(h.state, "seal.key")
	}
	if h.sealer, err = secrets.OpenSealer(key); err != nil {
		return nil, err
	}
	compiling, err := compileFlags{time: c.duration("compile.time"), apart: c.on("compile.apart")}.config(sandbox.Config{
		CacheDir: filepath.Join(h.state, "cache"), Reset: sandbox.ResetMethod(c.text("reset")), Log: log,
	})
	if err != nil {
		return nil, err
	}
	if h.runtime, err = sandbox.New(ctx, compiling); err != nil {
		return nil, err
	}
	running := c.scheduler()
	running.Recorder, running.Log, running.OnGap, running.Spill = h.recorder, log, h.gap, filepath.Join(h.state, "spill")
	if h.scheduler, err = scheduler.New(running); err != nil {
		return nil, err
	}
	h.watch(h.scheduler)
	vaultConfig, err := c.vaultConfig()
	if err != nil {
		return nil, fail(exitUsage, "vault: %w", err)
	}
	if h.vault, err = openVault(vaultConfig, c.text("vault.variables"), log); err != nil {
		return nil, err
	}
	if h.servers, err = newPlatformServers(c, newServers(nil, "", h.scheduler, log), h.vault); err != nil {
		return nil, err
	}
	blocked, err := outbound.ParseNetworks(c.list("outbound.blocked"))
	if err != nil {
		return nil, err
	}
	h.guard = &outbound.Dialer{Blocked: blocked}
	h.variables = newSettled(h.store, h.sealer, log)
	following, stop := context.WithCancel(context.Background())
	h.following = stop
	h.follower.Go(func() { h.variables.follow(following) }) // ends with close
	puller, err := h.puller(c)
	if err != nil {
		return nil, err
	}
	h.controller = deploy.New(deploy.Config{
		Store: h.store, Artifacts: h.artifacts, Dir: filepath.Join(h.state, "files"), Log: log,
		System: h.system, Switch: h.switchTo, Hold: h.scheduler.Hold, Drain: h.scheduler.Settle, Policy: h.setPolicy, Ended: h.operation,
		Pull: puller.Pull,
	})
	return h, nil
}

func openRecords(ctx context.Context, c *configuration) (kv.Store, error) {
	if c.text("store.kind") == "etcd" {
		o := etcd.Options{Endpoints: c.list("store.endpoints"), Prefix: c.text("store.prefix"), User: c.text("store.user"), Password: c.text("store.password")}
		var err error
		if o.TLS, err = clientTLS(c.text("store.ca"), c.text("store.cert"), c.text("store.key")); err != nil {
			return nil, fail(exitUsage, "store: %w", err)
		}
		records, err := etcd.Open(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		return records, nil
	}
	records, err := bolt.Open(filepath.Join(c.stateDirectory(), "store.db"))
	switch {
	case errors.Is(err, kv.ErrLocked):
		return nil, fmt.Errorf("open store: %w\n  --state DIR names another place; several servers share an etcd", err)
	case err != nil:
		return nil, fmt.Errorf("open store: %w", err)
	}
	return records, nil
}

// clientTLS is nil where nothing is given: the system's authorities, and no certificate.
func clientTLS(ca, cert, key string) (*tls.Config, error) {
	if ca+cert+key == "" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", ca)
		}
	}
	if cert+key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

func openArtifacts(ctx context.Context, c *configuration) (a *artifact.Store, err error) {
	if url := c.text("artifacts"); url != "" {
		a, err = artifact.Open(ctx, url)
	} else {
		a, err = artifact.Folder(filepath.Join(c.stateDirectory(), "artifacts"))
	}
	if err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	return a, nil
}

// puller takes applications from the registries that the operator allows.
func (h *hosted) puller(c *configuration) (*oci.Puller, error) {
	p := &oci.Puller{Put: h.artifacts.Put, Credentials: c.text("registries.credentials")}
	if list := c.list("registries.allowed"); !slices.Equal(list, []string{"none"}) {
		p.Registries = list
	}
	if p.Credentials != "" {
		if _, err := os.Stat(p.Credentials); err != nil {
			return nil, fail(exitUsage, "registries.credentials: %w", err)
		}
	}
	return p, nil
}

// system is deploy.Config.System: the platform as one application sees it.
func (h *hosted) system(ctx context.Context, s deploy.Scope) (deploy.System, error) {
	key := appKey{s.Tenant, s.App}
	if err := h.variables.refresh(ctx, key); err != nil {
		return deploy.System{}, err
	}
	resolver := secrets.NewResolver(declared(s.Manifest), append([]secrets.Provider{h.variables.of(key)}, h.vault.providers(key)...)...)
	return deploy.System{
		Policy: s.Policy, MaxModule: maxModule,
		Required:     resolver.Check,
		Render:       resolver.Render,
		CheckHosts:   func(entries []string) error { _, err := outbound.Parse(entries, nil); return withNext(err) },
		GrantedHosts: h.grantedHosts(s.Policy.Grants),
		Endpoint: func(_ context.Context, address string) (tenants.EndpointID, error) {
			one, err := h.servers.granted(address, s.Policy.Grants)
			if err != nil {
				return "", err
			}
			return one.id, nil
		},
		Shared:  func(tenants.EndpointID) bool { return true },
		Sharded: h.servers.sharded,
		Load:    func(ctx context.Context, u *deploy.Unit) error { return h.load(ctx, u, resolver) },
	}, nil
}

// compile takes an artifact by its digest, which was verified when it was read.
func (h *hosted) compile(ctx context.Context, u *deploy.Unit) (*sandbox.Program, error) {
	digest, err := hex.DecodeString(strings.TrimPrefix(u.Digest, "sha256:"))
	if err != nil || len(digest) != sha256.Size {
		return h.runtime.Compile(ctx, u.Wasm)
	}
	return h.runtime.CompileKnown(ctx, [sha256.Size]byte(digest), u.Wasm)
}

// load compiles a unit, binds it to what it may do, and starts it once unless that was done before.
func (h *hosted) load(ctx context.Context, u *deploy.Unit, resolver *secrets.Resolver) error {
	program, err := h.compile(ctx, u)
	if err != nil {
		return withNext(err)
	}
	host, err := h.host(u, resolver)
	if err != nil {
		return errors.Join(err, program.Close())
	}
	log := h.log.With("tenant", u.Tenant, "app", u.App, "component", u.Component.ID)
	tenant, app, id, version := u.Tenant, u.App, u.Component.ID, u.Version
	bound := program.Bind(sandbox.Binding{
		Host: host, Env: u.Component.Environment, Owner: string(u.Tenant), Files: u.Files, Memory: u.Limits.Memory, Timeout: u.Limits.Timeout,
		Fuel: u.Limits.Fuel, Budget: h.room(u.Tenant).budget, Output: int64(u.Limits.Output), LogRate: u.Limits.LogRate,
		Reuse: u.Component.Tool.Isolation == manifest.Reuse,
		Lines: func(l sandbox.Line) {
			if l.Platform {
				l.Text = []byte(advice(string(l.Text), id))
			}
			line := telemetry.Line{At: time.Now(), Tenant: tenant, App: app, Component: id, Version: version, Stream: l.Stream, Text: l.Text}
			if names, ok := l.Attributes.(*ownedNames); ok {
				line.Invoked = names.Invocation
			}
			h.line(line)
		},
	})
	u.Isolation, u.Why = bound.Isolation()
	if !u.Started {
		if err := bound.Check(ctx); err != nil {
			bound.Close()
			return errors.Join(errors.New("the component does not start, which every message would meet: "+named(err, id)), program.Close())
		}
	}
	u.Handler = &handler{program: program, component: bound, log: log}
	return nil
}

// host is what one component may reach.
func (h *hosted) host(u *deploy.Unit, resolver *secrets.Resolver) (*spin.Host, error) {
	allowed, err := allowList(u.Component, resolver)
	if err != nil {
		return nil, err
	}
	tenant, app, id, version, room := u.Tenant, u.App, u.Component.ID, u.Version, h.room(u.Tenant)
	host := &spin.Host{
		Gate: &outbound.Gate{
			Allowed: allowed, Ceiling: room.ceiling.Load, Pool: room.pool, HTTP: room.http,
			Offered: func(address string) bool { _, ours, err := h.servers.meant(address); return err == nil && ours },
			Denied: func(d *outbound.Denied) {
				text := d.Error() + "; to allow it, add to [component." + string(id) + "]: " + d.Hint
				if d.Beyond {
					text = d.Error() + "; the manifest allows it, the tenant's policy does not: ask the operator to add it to grants.hosts"
				}
				h.line(telemetry.Line{At: time.Now(), Tenant: tenant, App: app, Component: id, Version: version, Stream: telemetry.Stderr, Text: []byte(text)})
			},
		},
		Variables: componentVariables(u.Component, resolver),
		Stores:    map[string]spin.Store{},
		Limits: spin.Limits{
			HostCalls: int64(u.Limits.HostCalls), BytesOut: int64(u.Limits.BytesOut), BytesIn: int64(u.Limits.BytesIn),
			Connections: u.Limits.Handles, StoreHandles: u.Limits.Handles,
		},
	}
	for _, label := range u.Component.KeyValueStores {
		h.servers.mu.Lock()
		main := h.servers.known[tenants.DefaultEndpoint]
		h.servers.mu.Unlock()
		host.Stores[label] = spin.NewRedisStore(main.client, fmt.Sprintf("tenloom:kv:%s/%s/%s", u.Tenant, u.App, label))
	}
	return host, nil
}

// switchTo is deploy.Config.Switch.
func (h *hosted) switchTo(tenant tenants.ID, app tenants.AppName, bound []deploy.Bound, paused string) error {
	if paused != "" {
		switch err := h.scheduler.Pause(tenant, app, paused); {
		case errors.Is(err, scheduler.ErrUnknown):
			return nil // it never ran here, and does not begin now
		case err != nil:
			return err
		}
	}
	triggers := make([]scheduler.Trigger, len(bound))
	for i := range bound {
		triggers[i] = entry(&bound[i])
	}
	if err := h.scheduler.Apply(tenant, app, triggers); err != nil || paused != "" || len(bound) == 0 {
		return err
	}
	return h.scheduler.Resume(tenant, app)
}

// entry is a trigger as the scheduler takes it.
func entry(b *deploy.Bound) scheduler.Trigger {
	t := scheduler.Trigger{Trigger: b.Trigger, Invoker: enter(b)}
	if b.Split == nil {
		return t
	}
	return scheduler.Trigger{Trigger: b.Leading(), Invoker: &scheduler.Split{
		Of:     [2]scheduler.Trigger{t, {Trigger: b.Other.Trigger, Invoker: enter(b.Other)}},
		Choose: b.Split.Choose, Note: b.Split.Note,
	}}
}

func enter(b *deploy.Bound) scheduler.Invoker { return &entrance{b.Handler.(*handler), b.Prefix} }

// checks are the lines of /readyz. A Redis that is lost makes triggers wait and not the API: it is told, and the process stays ready.
func (h *hosted) checks() []api.Check {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	all := []api.Check{checkOf("store", h.store.Check(ctx)), checkOf("artifacts", h.artifacts.Check(ctx))}
	if phase := h.phase.Load().(string); phase != "" {
		return append([]api.Check{{Name: "server", Detail: "is " + phase}}, all...)
	}
	for _, id := range h.servers.names() {
		all = append(all, api.Check{Name: "redis " + string(id), OK: true, Detail: h.condition(id)})
	}
	if h.vault != nil { // what was read stays in force while it is away, so the process stays ready
		all = append(all, api.Check{Name: "vault", OK: true, Detail: h.vault.client.State().String()})
	}
	return all
}

func checkOf(name string, err error) api.Check {
	if err != nil {
		return api.Check{Name: name, Detail: err.Error()}
	}
	return api.Check{Name: name, OK: true, Detail: "ok"}
}

// condition tells how the subscriptions on a server stand.
func (h *hosted) condition(id tenants.EndpointID) string {
	waiting, reason, all := 0, "", h.scheduler.TargetStates(id)
	for _, t := range all {
		if t.State != scheduler.Active {
			waiting, reason = waiting+1, t.State.String()+" "+t.Reason
		}
	}
	login := h.vault.condition(id)
	if waiting > 0 {
		return fmt.Sprintf("degraded: %d of %s not subscribed: %s", waiting, count(len(all), "target"), reason) + h.vault.advise(id, reason) + login
	}
	return fmt.Sprintf("ok, %s", count(len(all), "target")) + login
}

// gap tells each component in its own log when messages for it may have been lost.
func (h *hosted) gap(g scheduler.Gap) {
	h.observed.gap(g)
	for _, c := range g.Concerns {
		h.line(telemetry.Line{At: g.Until, Tenant: c.Tenant, App: c.App, Component: c.Component, Stream: telemetry.Stderr, Text: []byte(gapText(g, c.Targets))})
	}
}

// Artifacts that no version names are removed when they are a day old: until then an upload may wait for its version.
const (
	collectEvery = time.Hour
	uploadAge    = store.RememberedFor
)

// collect removes them again and again, until ctx ends.
func (h *hosted) collect(ctx context.Context) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if _, err := h.store.Forget(ctx, now); err != nil && ctx.Err() == nil {
				h.log.Warn("uploads and answers of yesterday were not forgotten", "cause", err)
			}
			done, err := h.artifacts.Collect(ctx, now.Add(-uploadAge), h.controller.NamedArtifacts)
			switch {
			case err != nil && ctx.Err() == nil:
				h.log.Warn("artifacts that no version names were not removed", "cause", err)
			case done.Removed > 0:
				h.log.Info("artifacts that no version names were removed", "removed", done.Removed, "bytes", done.Bytes, "kept", done.Kept)
			}
		}
	}
}

// counts sums up all tenants.
func (h *hosted) counts() (sum telemetry.Counts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum.Outcomes = map[string]int64{}
	for id := range h.rooms {
		c := h.recorder.Account(id).Counts()
		sum.Received += c.Received
		for outcome, n := range c.Outcomes {
			sum.Outcomes[outcome] += n
		}
	}
	return sum
}

// close releases everything that was opened, senders before receivers; the scheduler was shut down before, or never got a trigger.
func (h *hosted) close(ctx context.Context) error {
	var err error
	if h.scheduler != nil {
		_, e := h.scheduler.Shutdown(ctx)
		err = errors.Join(err, e)
	}
	if h.following != nil {
		h.following()
		h.follower.Wait()
	}
	for _, r := range h.rooms {
		r.pool.Close()
		r.http.CloseIdleConnections()
	}
	if h.servers != nil {
		h.servers.close()
	}
	err = errors.Join(err, h.vault.close())
	if h.runtime != nil {
		err = errors.Join(err, h.runtime.Close(ctx))
	}
	if h.artifacts != nil {
		err = errors.Join(err, h.artifacts.Close())
	}
	if h.store != nil {
		err = errors.Join(err, h.store.Close())
	}
	h.observed.close()
	return err
}
