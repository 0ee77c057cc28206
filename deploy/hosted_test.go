package deploy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/deploy/oci"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/artifact"
	"github.com/tenloom/tenloom/tenants/store/kv"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
)

// patience is how long a test on real time waits for what must come.
const patience = 60 * time.Second

var ada = deploy.Actor{Name: "ada@acme.io", Request: "req_1"}

// hosted is a Controller with the real rooms around it, as the program wires them: store, artifacts, scheduler, sandbox, Redis.
type hosted struct {
	*deploy.Controller
	t         testing.TB
	dir       string
	store     *store.Store
	artifacts *artifact.Store
	scheduler *scheduler.Scheduler
	runtime   *sandbox.Runtime
	redis     *redistest.Server
	disk      *disk
	puller    *oci.Puller

	seen func(d *scheduler.Delivery) // told of each invocation before it; may be nil

	mu     sync.Mutex
	loads  int
	limits tenants.Limits // of what was loaded last
	closed int
	broken func(u *deploy.Unit) error // refuses what is loaded; may be nil
	after  func()                     // called after the next switch; may be nil
}

// disk is what the store is kept on. It is full for as many commits as it is told.
type disk struct {
	kv.Store
	full atomic.Int32
}

func (d *disk) Commit(ctx context.Context, conditions []kv.Condition, writes []kv.Write) (kv.Revision, error) {
	if len(writes) > 0 && d.full.Add(-1) >= 0 {
		return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	return d.Store.Commit(ctx, conditions, writes)
}

// host starts one over a directory, which may hold what another left.
func host(t testing.TB, dir string, r *redistest.Server) *hosted {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &hosted{t: t, dir: dir, redis: r}
	k, err := bolt.Open(filepath.Join(dir, "store.db"))
	must(err)
	h.disk = &disk{Store: k}
	h.store, err = store.Open(t.Context(), h.disk)
	must(err)
	h.artifacts, err = artifact.Folder(filepath.Join(dir, "artifacts"))
	must(err)
	log := slog.New(slog.DiscardHandler)
	h.runtime, err = sandbox.New(context.Background(), sandbox.Config{Log: log, CompileTime: time.Hour, CacheDir: filepath.Join(dir, "cache")})
	must(err)
	h.scheduler, err = scheduler.New(scheduler.Config{Recorder: telemetry.New(100), Log: log})
	must(err)
	o, err := endpoint.Parse(r.URL)
	must(err)
	h.scheduler.AddEndpoint(scheduler.Endpoint{ID: tenants.DefaultEndpoint, Name: o.Name(), Dial: o.Subscriber})
	h.puller = &oci.Puller{Put: h.artifacts.Put}
	h.Controller = deploy.New(deploy.Config{
		Store: h.store, Artifacts: h.artifacts, Dir: filepath.Join(dir, "files"), System: h.system, Switch: h.apply, Hold: h.scheduler.Hold,
		Pull: h.puller.Pull, Drain: h.scheduler.Settle, Policy: h.scheduler.SetPolicy, SubscribeWait: patience,
	})
	t.Cleanup(h.stop)
	return h
}

// stop ends it as the program does: what changes, then what comes in, then what runs. A second call does nothing.
func (h *hosted) stop() {
	if h.Controller == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		h.t.Error(err)
	}
	if left, err := h.scheduler.Shutdown(ctx); err != nil || !left.Nothing() {
		h.t.Errorf("the scheduler left %+v, %v", left, err)
	}
	if err := errors.Join(h.runtime.Close(ctx), h.artifacts.Close(), h.store.Close()); err != nil {
		h.t.Error(err)
	}
	h.Controller = nil // stopped
}

// fresh is a host with an empty directory, tenant acme and its app mailer.
func fresh(t testing.TB) *hosted {
	h := host(t, t.TempDir(), redistest.Start(t))
	h.start()
	h.tenant(tenant, tenants.DefaultPolicy())
	h.app("mailer")
	return h
}

func (h *hosted) start() deploy.Restored {
	h.t.Helper()
	r, err := h.Start(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *hosted) tenant(id tenants.ID, p tenants.Policy) {
	h.t.Helper()
	now := time.Now().UTC()
	_, err := h.store.Update(h.t.Context(), func(tx *store.Tx) error {
		return tx.CreateTenant(h.t.Context(), tenants.Tenant{ID: id, State: tenants.TenantActive, Created: now, Changed: now}, p)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hosted) app(name tenants.AppName) {
	h.t.Helper()
	if _, err := h.CreateApp(h.t.Context(), ada, tenant, name); err != nil {
		h.t.Fatal(err)
	}
}

// system is the running system as one app sees it: its variables come from the store.
func (h *hosted) system(ctx context.Context, s deploy.Scope) (deploy.System, error) {
	values := map[string]string{}
	page, err := h.store.Variables(ctx, s.Tenant, s.App, store.Query{Limit: store.MaxPage})
	if err != nil {
		return deploy.System{}, err
	}
	for _, v := range page.Items {
		values[v.Value.Name] = v.Value.Value
	}
	vars := make([]secrets.Variable, len(s.Manifest.Variables))
	for i, v := range s.Manifest.Variables {
		vars[i] = secrets.Variable{Name: v.Name, Default: v.Default, Required: v.Required}
	}
	resolver := secrets.NewResolver(vars, secrets.Static(values))
	return deploy.System{
		MaxModule: 64 << 20, Required: resolver.Check, Render: resolver.Render, CheckHosts: checkHosts, GrantedHosts: grantedHosts(s.Policy),
		Endpoint: func(_ context.Context, address string) (tenants.EndpointID, error) {
			if address != "" {
				return "", advice{fmt.Sprintf("%q is no connection of the tenant", address), "add a connection"}
			}
			return tenants.DefaultEndpoint, nil
		},
		Shared: func(on tenants.EndpointID) bool { return on == tenants.DefaultEndpoint },
		Load:   h.load,
	}, nil
}

// grantedHosts is the ceiling of a policy's hosts.
func grantedHosts(p tenants.Policy) func(entry string) error {
	return func(entry string) error {
		ceiling, err := outbound.Parse(p.Grants.Hosts, nil)
		if err != nil {
			return err
		}
		if ok, err := ceiling.Covers(entry); !ok {
			return errors.Join(err, advice{fmt.Sprintf("%q is more than the policy grants: %v", entry, p.Grants.Hosts), "ask the operator"})
		}
		return nil
	}
}

func (h *hosted) load(ctx context.Context, u *deploy.Unit) error {
	h.mu.Lock()
	h.loads++
	h.limits = u.Limits
	broken := h.broken
	h.mu.Unlock()
	if broken != nil {
		if err := broken(u); err != nil {
			return err
		}
	}
	program, err := h.runtime.Compile(ctx, u.Wasm)
	var refused *sandbox.CompileError
	if errors.As(err, &refused) {
		return advice{refused.Detail, refused.Next}
	}
	if err != nil {
		return err
	}
	bound := program.Bind(sandbox.Binding{
		Env: u.Component.Environment, Files: u.Files, Memory: u.Limits.Memory, Timeout: u.Limits.Timeout, Reuse: u.Component.Tool.Isolation == manifest.Reuse,
	})
	u.Isolation, u.Why = bound.Isolation()
	if !u.Started {
		if err := bound.Check(ctx); err != nil {
			return errors.Join(err, program.Close())
		}
	}
	u.Handler = &hand{h: h, program: program, component: bound}
	return nil
}

// hand is a component as the scheduler invokes it.
type hand struct {
	h         *hosted
	program   *sandbox.Program
	component *sandbox.Component
	open      atomic.Int64 // sessions
	gone      atomic.Bool
}

func (u *hand) Close() error {
	u.h.mu.Lock()
	u.h.closed++
	u.h.mu.Unlock()
	u.gone.Store(true)
	if n := u.open.Load(); n > 0 {
		u.h.t.Errorf("a component was closed that %d sessions were open of", n)
	}
	u.component.Close()
	return u.program.Close()
}

func (u *hand) Open() scheduler.Session {
	u.open.Add(1)
	if u.gone.Load() {
		u.h.t.Error("a session was opened of a component that is closed")
	}
	return &inHand{u, u.component.Open()}
}

type inHand struct {
	*hand
	run *sandbox.Session
}

func (s *inHand) Close() {
	s.run.Close()
	s.open.Add(-1)
}

func (s *inHand) Invoke(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
	if s.h.seen != nil {
		s.h.seen(d)
	}
	r := s.run.Invoke(ctx, sandbox.Call{Payload: d.Payload(), Attributes: d, Began: d.Began, KeepOutput: d.KeepOutput})
	out := scheduler.Result{Outcome: r.Outcome, Output: r.Output}
	if r.Err != nil {
		out.Err = r.Err.Error()
	}
	return out
}

// apply is deploy.Config.Switch over the scheduler.
func (h *hosted) apply(t tenants.ID, a tenants.AppName, bound []deploy.Bound, paused string) error {
	all := make([]scheduler.Trigger, len(bound))
	for i := range bound {
		b := &bound[i]
		all[i] = scheduler.Trigger{Trigger: b.Leading()}
		if b.Split == nil {
			all[i].Invoker = b.Handler.(*hand)
			continue
		}
		all[i].Invoker = &scheduler.Split{Choose: b.Split.Choose, Note: b.Split.Note, Of: [2]scheduler.Trigger{
			{Trigger: b.Trigger, Invoker: b.Handler.(*hand)}, {Trigger: b.Other.Trigger, Invoker: b.Other.Handler.(*hand)},
		}}
	}
	if paused != "" {
		if err := h.scheduler.Pause(t, a, paused); errors.Is(err, scheduler.ErrUnknown) {
			return nil // nothing of it runs, and nothing is to
		}
		return h.scheduler.Apply(t, a, all)
	}
	if err := h.scheduler.Apply(t, a, all); err != nil || len(all) == 0 {
		return err
	}
	if h.after != nil {
		h.after()
		h.after = nil
	}
	return h.scheduler.Resume(t, a)
}

// upload puts an artifact and returns its digest.
func (h *hosted) upload(content []byte) string {
	h.t.Helper()
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	if _, err := h.artifacts.Put(h.t.Context(), digest, bytes.NewReader(content), 64<<20); err != nil {
		h.t.Fatal(err)
	}
	return digest
}

// text is a manifest of one component, m, on the given channels.
func text(more string, channels ...string) string {
	t := "spin_manifest_version = 2\n[application]\nname = \"mailer\"\n"
	for _, c := range channels {
		t += fmt.Sprintf("[[trigger.redis]]\nchannel = %q\ncomponent = \"m\"\n", c)
	}
	return t + "[component.m]\nsource = \"m.wasm\"\n" + more
}

// source is a version of one component.
func (h *hosted) source(module, manifest string) deploy.VersionSource {
	return deploy.VersionSource{Manifest: manifest, Components: map[tenants.ComponentID]string{"m": h.upload(guest(h.t, module))}}
}

// version makes a version of an app and waits until it is ready.
func (h *hosted) version(a tenants.AppName, s deploy.VersionSource) tenants.Version {
	h.t.Helper()
	made, err := h.CreateVersion(h.t.Context(), ada, tenant, a, s)
	if err != nil {
		h.t.Fatal(err)
	}
	h.done(made.Operation)
	return h.read(a, string(made.Version.Key))
}

func (h *hosted) read(a tenants.AppName, ref string) tenants.Version {
	h.t.Helper()
	v, err := h.store.Version(h.t.Context(), tenant, a, ref)
	if err != nil {
		h.t.Fatal(err)
	}
	return v.Value
}

// wait returns an operation when it has ended.
func (h *hosted) wait(id tenants.OperationID) tenants.Operation {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o, err := h.Wait(ctx, id)
	if err != nil {
		h.t.Fatalf("operation %s: %v", id, err)
	}
	return o
}

// done wants an operation to end well.
func (h *hosted) done(id tenants.OperationID) tenants.Operation {
	h.t.Helper()
	o := h.wait(id)
	if o.State != tenants.OperationDone {
		h.t.Fatalf("operation %s of %s ended %s: %s", o.ID, o.Kind, o.State, o.Problem)
	}
	return o
}

// deploy has a version take all traffic and waits until it does.
func (h *hosted) deploy(a tenants.AppName, number int) tenants.Deployment {
	h.t.Helper()
	return h.deployed(h.CreateDeployment(h.t.Context(), ada, tenant, a, all(number)))
}

func (h *hosted) deployed(d deploy.Deployed, err error) tenants.Deployment {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	h.done(d.Operation)
	return h.deployment(d.Deployment.App, string(d.Deployment.ID))
}

func (h *hosted) deployment(a tenants.AppName, ref string) tenants.Deployment {
	h.t.Helper()
	d, err := h.store.Deployment(h.t.Context(), tenant, a, ref)
	if err != nil {
		h.t.Fatal(err)
	}
	return d.Value
}

func all(number int) deploy.DeploymentRequest {
	return deploy.DeploymentRequest{Shares: []deploy.Share{{Version: fmt.Sprint(number), Percent: 100}}}
}

// until waits for a condition that something else brings about.
func (h *hosted) until(what string, ok func() bool) {
	h.t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			h.t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// listens waits until an app's triggers are subscribed to these and no others.
func (h *hosted) listens(targets ...string) {
	h.t.Helper()
	want := fmt.Sprint(targets)
	got := ""
	h.until("the triggers are "+want, func() bool {
		var names []string
		for _, t := range h.scheduler.Triggers(tenant) {
			if t.State == scheduler.Active {
				names = append(names, t.Target.Name)
			}
		}
		got = fmt.Sprint(names)
		return got == want
	})
}

// ask publishes a message and returns what became of it.
func (h *hosted) ask(channel, payload string) []telemetry.Invocation {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f := h.scheduler.Follow(tenants.DefaultEndpoint, channel, []byte(payload))
	if err := h.redis.Client().Publish(ctx, channel, payload).Err(); err != nil {
		h.t.Fatal(err)
	}
	return f.Wait(ctx)
}

// problem wants an error to be a Problem of a code.
func problem(t testing.TB, err error, code deploy.ProblemCode) *deploy.Problem {
	t.Helper()
	var p *deploy.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Fatalf("got %v, want a problem %s", err, code)
	}
	return p
}
