package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// platform is every room of one process, wired.
type platform struct {
	opened
	log *slog.Logger
	*observed
	scheduler *scheduler.Scheduler
	runtime   *sandbox.Runtime
	servers   *servers
	resolver  *secrets.Resolver
	pool      *outbound.Pool
	http      *http.Client
	guard     outbound.Dialer // the developer is the operator here: what the manifest lists may be on loopback or a private network
	folder    *telemetry.Folder
	policy    tenants.Policy
	budget    *sandbox.Budget // of the only tenant; nil where its policy bounds no processors

	mu     sync.Mutex
	loaded map[tenants.ComponentID]*handler
}

// platformConfig is what differs between the commands that run guests.
type platformConfig struct {
	manifest  *manifest.Manifest
	redis     *endpoint.Options  // the main server
	embedded  string             // host:port of the embedded Redis, "" where there is none
	variables []secrets.Provider // in the order in which they are asked
	compiling compileFlags
	cacheDir  string // compiled code; "" keeps none
	stateDir  string // messages beyond the queues of triggers with overflow "spill"; "" keeps none
	reset     sandbox.ResetMethod
	logDir    string    // of the guests' output; "" keeps none
	echo      io.Writer // a copy of the guests' output; may be nil
	log       *slog.Logger
	observed  *observed
}

// history is how many invocations the process remembers.
const history = 1000

func newPlatform(ctx context.Context, c platformConfig) (_ *platform, err error) {
	p := &platform{log: c.log, observed: c.observed, policy: tenants.DefaultPolicy(), loaded: map[tenants.ComponentID]*handler{}}
	defer func() {
		if err != nil {
			p.close(ctx)
		}
	}()
	if p.observed == nil { // nobody scrapes one run by hand, and it goes to no collector
		r := telemetry.New(history)
		p.observed = &observed{recorder: r, meter: telemetry.NewMeter(r, 0), log: c.log}
	}
	p.add(always(p.observed.close))
	spill := ""
	if c.stateDir != "" {
		spill = filepath.Join(c.stateDir, "spill")
		close, err := p.keep(c.stateDir, kept{invocations: 20_000, invocationBytes: 64 << 20})
		if err != nil {
			return nil, err
		}
		p.add(plainly(close))
	}
	endpoint.LogTo(c.log)
	p.resolver = secrets.NewResolver(declared(c.manifest), c.variables...)
	compiling, err := c.compiling.config(sandbox.Config{CacheDir: c.cacheDir, Reset: c.reset, Log: c.log})
	if err != nil {
		return nil, err
	}
	if p.runtime, err = sandbox.New(ctx, compiling); err != nil {
		return nil, err
	}
	p.add(p.runtime.Close)
	if p.scheduler, err = scheduler.New(scheduler.Config{Recorder: p.recorder, OnGap: p.gap, Log: c.log, Spill: spill}); err != nil {
		return nil, err
	}
	p.watch(p.scheduler)
	p.scheduler.SetPolicy(tenants.Demo, p.policy)
	if p.policy.CPU > 0 {
		p.budget = sandbox.NewBudget(p.policy.CPU)
	}
	if c.logDir != "" {
		if p.folder, err = telemetry.OpenFolder(c.logDir, c.echo); err != nil {
			return nil, fmt.Errorf("%w\n  --log-dir DIR names another place for the handlers' output", err)
		}
		p.add(plainly(p.folder.Close))
	}
	p.pool = outbound.NewPool(outbound.PoolConfig{Open: p.openRedis, Dial: p.guard.DialContext})
	p.http = outbound.NewHTTPClient(p.guard.DialContext)
	p.servers = newServers(c.redis, c.embedded, p.scheduler, c.log)
	p.add(always(p.servers.close))
	p.add(always(p.pool.Close))
	p.add(func(ctx context.Context) error { // senders before receivers; it was shut down before, or never got a trigger
		_, err := p.scheduler.Shutdown(ctx)
		return err
	})
	return p, nil
}

func declared(m *manifest.Manifest) []secrets.Variable {
	all := make([]secrets.Variable, len(m.Variables))
	for i, v := range m.Variables {
		all[i] = secrets.Variable{Name: v.Name, Default: v.Default, Required: v.Required, Secret: v.Secret, Description: v.Description}
	}
	return all
}

// openRedis is the outbound pool's way to a server that a guest named.
func (p *platform) openRedis(address string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) (redis.UniversalClient, error) {
	options, stands, err := p.servers.resolve(address)
	if err != nil {
		return nil, err
	}
	if stands { // dial leads to the address alone, and another server stands for it
		dial = nil
	}
	if options, err = asRESP2(options); err != nil {
		return nil, err
	}
	return options.Client(dial), nil
}

// asRESP2 chooses what Spin's guests expect where their address does not choose: under RESP 3 some replies have types that they cannot take.
func asRESP2(o *endpoint.Options) (*endpoint.Options, error) {
	if o.Protocol() != 0 {
		return o, nil
	}
	return o.With(func(c *endpoint.Config) { c.Protocol = 2 })
}

// system is the platform as a deployment reaches it.
func (p *platform) system() deploy.System {
	return deploy.System{
		Policy: p.policy, MaxModule: maxModule,
		Required:   p.resolver.Check,
		Render:     p.resolver.Render,
		CheckHosts: func(entries []string) error { _, err := outbound.Parse(entries, nil); return withNext(err) },
		Endpoint: func(ctx context.Context, address string) (tenants.EndpointID, error) {
			one, err := p.servers.open(ctx, address)
			if err != nil {
				return "", err
			}
			return one.id, nil
		},
		Sharded: p.servers.sharded,
		Load:    p.load,
		Apply:   p.apply,
	}
}

// withNext gives an error that knows its next step the method that deploy asks for.
func withNext(err error) error {
	var entry *outbound.EntryError
	var module *sandbox.CompileError
	switch {
	case errors.As(err, &entry):
		return hint{fmt.Errorf("%q: %s", entry.Entry, entry.Problem), entry.Next}
	case errors.As(err, &module) && module.Next == "":
		return hint{errors.New(module.Detail), "build the component again"}
	case errors.As(err, &module):
		return hint{errors.New(module.Detail), module.Next}
	}
	return err
}

const maxModule = 64 << 20 // bytes

// load compiles a unit, binds it to what it may do, and initialises it once.
func (p *platform) load(ctx context.Context, unit *deploy.Unit) error {
	u := *unit
	program, err := p.runtime.Compile(ctx, u.Wasm)
	if err != nil {
		return withNext(err)
	}
	if p.folder != nil {
		if err := p.folder.Touch(u.Component.ID); err != nil {
			return err
		}
	}
	host, err := p.host(u)
	if err != nil {
		return err
	}
	bound := program.Bind(sandbox.Binding{
		Host: host, Owner: string(u.Tenant), Env: u.Component.Environment, Files: u.Files, Warm: 1, Memory: u.Limits.Memory, Timeout: u.Limits.Timeout, Fuel: u.Limits.Fuel, Budget: p.budget,
		Output: int64(u.Limits.Output), LogRate: u.Limits.LogRate, Reuse: u.Component.Tool.Isolation == manifest.Reuse,
		Lines: func(l sandbox.Line) {
			if l.Platform {
				l.Text = []byte(advice(string(l.Text), u.Component.ID))
			}
			line := telemetry.Line{At: time.Now(), Tenant: u.Tenant, App: u.App, Component: u.Component.ID, Version: u.Version, Stream: l.Stream, Text: l.Text}
			if names, ok := l.Attributes.(*ownedNames); ok {
				line.Invoked, line.Trace = names.Invocation, names.Trace
			}
			p.write(line)
		},
	})
	unit.Isolation, unit.Why = bound.Isolation()
	if err := bound.Check(ctx); err != nil {
		return errors.New("the component does not start, which every message would meet: " + named(err, u.Component.ID))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded[u.Component.ID] = &handler{program: program, component: bound, log: p.log.With("tenant", u.Tenant, "app", u.App, "component", u.Component.ID)}
	return nil
}

func (p *platform) line(u deploy.Unit, stream telemetry.Stream, text []byte) {
	p.write(telemetry.Line{At: time.Now(), Tenant: u.Tenant, App: u.App, Component: u.Component.ID, Stream: stream, Text: text})
}

func (p *platform) write(l telemetry.Line) {
	if p.folder != nil {
		p.folder.Write(l)
	}
	p.exports.Line(l)
}

// gap tells each component in its own log when messages for it may have been lost.
func (p *platform) gap(g scheduler.Gap) {
	p.observed.gap(g)
	if p.folder == nil {
		return
	}
	for _, c := range g.Concerns {
		p.folder.Write(telemetry.Line{
			At: g.Until, Tenant: c.Tenant, App: c.App, Component: c.Component, Stream: telemetry.Stderr, Text: []byte(gapText(g, c.Targets)),
		})
	}
}

// gapText says to a tenant what was interrupted and for how long.
func gapText(g scheduler.Gap, targets int) string {
	what := "one channel or pattern"
	if targets > 1 {
		what = fmt.Sprintf("%d channels and patterns", targets)
	}
	text := fmt.Sprintf("tenloom: no messages of %s from %s to %s (%.3f s)", what, g.Since.UTC().Format("15:04:05.000"), g.Until.UTC().Format("15:04:05.000 UTC"),
		g.Until.Sub(g.Since).Seconds())
	if g.AtMost > 0 {
		text += fmt.Sprintf(", at most %d lost", g.AtMost)
	}
	return text + ": " + g.Cause
}

// host is what one component may reach.
func (p *platform) host(u deploy.Unit) (*spin.Host, error) {
	allowed, err := allowList(u.Component, p.resolver)
	if err != nil {
		return nil, err
	}
	h := &spin.Host{
		Wrap: wrapping(&u),
		Gate: &outbound.Gate{
			Allowed: allowed, Pool: p.pool, HTTP: p.http, Dial: p.guard.DialContext,
			Denied: func(d *outbound.Denied) {
				p.line(u, telemetry.Stderr, []byte(d.Error()+"; to allow it, add to [component."+string(u.Component.ID)+"]: "+d.Hint))
			},
		},
		Variables: componentVariables(u.Component, p.resolver),
		Stores:    map[string]spin.Store{},
		Limits: spin.Limits{
			HostCalls: int64(u.Limits.HostCalls), BytesOut: int64(u.Limits.BytesOut), BytesIn: int64(u.Limits.BytesIn),
			Connections: u.Limits.Handles, StoreHandles: u.Limits.Handles,
		},
	}
	for _, label := range u.Component.KeyValueStores {
		main, err := p.servers.open(context.Background(), "")
		if err != nil {
			return nil, fmt.Errorf("open key-value store %q: %w", label, err)
		}
		h.Stores[label] = spin.NewRedisStore(main.client, fmt.Sprintf("tenloom:kv:%s/%s/%s", u.Tenant, u.App, label))
	}
	return h, nil
}

// componentVariables answers a guest's question for one of its component's variables, as the application's variables stand at that moment.
func componentVariables(c *manifest.Component, r *secrets.Resolver) func(context.Context, string) (string, error) {
	return func(ctx context.Context, name string) (string, error) {
		if err := tenants.CheckVariableKey(name); err != nil {
			return "", fmt.Errorf("%w: %w", spin.ErrInvalidName, err)
		}
		text, ok := c.Variables[name]
		if !ok {
			return "", fmt.Errorf("%w: component %s has no variable %q", spin.ErrUndefined, c.ID, name)
		}
		value, err := r.Render(ctx, text.Template)
		switch {
		case errors.Is(err, secrets.ErrUndefined):
			return "", fmt.Errorf("%w: %w", spin.ErrUndefined, err)
		case err != nil:
			return "", fmt.Errorf("%w: %w", spin.ErrProvider, err)
		}
		return value, nil
	}
}

// allowList prepares a component's allow list. It is rendered for each use, because variables change, and read again when it came out
// different.
func allowList(c *manifest.Component, r *secrets.Resolver) (func(context.Context) (*outbound.Allowed, error), error) {
	legacy, err := legacyHosts(c)
	if err != nil {
		return nil, err
	}
	raw := make([]string, len(c.AllowedOutboundHosts))
	templates := map[string]tenants.Template{}
	for i, t := range c.AllowedOutboundHosts {
		raw[i], templates[t.Raw] = t.Raw, t.Template
	}
	var mu sync.Mutex
	var last []string
	var read *outbound.Allowed
	return func(ctx context.Context) (*outbound.Allowed, error) {
		entries, err := outbound.Render(raw, func(entry string) (string, error) { return r.Render(ctx, templates[entry]) })
		if err != nil {
			return nil, err
		}
		entries = append(entries, legacy...)
		mu.Lock()
		defer mu.Unlock()
		if read != nil && slices.Equal(entries, last) {
			return read, nil
		}
		if read, err = outbound.Parse(entries, nil); err != nil {
			return nil, err
		}
		last = entries
		return read, nil
	}, nil
}

// legacyHosts are the entries that version 1 manifests imply: allowed_http_hosts, and the default grant where nothing is said.
func legacyHosts(c *manifest.Component) ([]string, error) {
	var hosts []string
	for _, t := range c.AllowedHTTPHosts {
		hosts = append(hosts, t.Raw)
	}
	entries, err := outbound.ConvertHTTPHosts(hosts)
	if err != nil {
		return nil, err
	}
	if !c.HostsGiven {
		entries = append(entries, outbound.V1DefaultGrant...)
	}
	return entries, nil
}

// apply makes a version's triggers active.
func (p *platform) apply(v *deploy.Version) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]scheduler.Trigger, len(v.Triggers))
	for i, t := range v.Triggers {
		all[i] = scheduler.Trigger{Trigger: t, Invoker: p.loaded[t.Component]}
	}
	p.servers.listenFor(v.Triggers)
	return p.scheduler.Apply(v.Tenant, v.App, all)
}

// close releases everything that was opened.
func (p *platform) close(ctx context.Context) error { return p.opened.close(ctx) }

// stateDir is where a command keeps what outlives it, compiled code and the sample application, and messages that are spilled while it runs.
func stateDir(flag, appDir string) (string, error) {
	dir := flag
	if dir == "" {
		dir = filepath.Join(appDir, ".tenloom")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make state directory: %w\n  --state DIR names another place, --ephemeral needs none", err)
	}
	return filepath.Abs(dir)
}
