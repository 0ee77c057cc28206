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
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// drainTimeout is how long an interrupted "up" waits for running handlers.
const drainTimeout = 10 * time.Second

// upFlags are what "up" can be told.
type upFlags struct {
	dir       string
	redis     redisFlags
	listen    string
	state     string
	logDir    string
	reset     string
	ephemeral bool
	build     bool
	variables variableFlags
	compiling compileFlags
	dapr      string
}

func upCommand(g *globals) *cobra.Command {
	f := &upFlags{}
	cmd := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Run the application in a folder, with everything it needs",
		Long: `Run the Spin application in DIR (default: this folder), or a sample where there is none, with everything it needs inside this process.

Without --redis an embedded Redis takes the place of the application's default address and of port 6379 of this machine, wherever the
manifest or a handler names them; with --redis URL, that server does. Other addresses are used as they are.`,
		Example: "  tenloom up\n  tenloom up ./mailer --redis redis://localhost:6379 --variable key=secret",
		Args:    wantArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.dir = args[0]
			}
			return up(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), g, *f)
		},
	}
	flags := cmd.Flags()
	f.redis.add(cmd, "Redis to use instead of the embedded one: redis://, rediss://, redis+sentinel://HOST,HOST/MASTER, redis+cluster://HOST,HOST")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:7070", "address of the API")
	flags.StringVar(&f.state, "state", "", "directory for what outlives a run: compiled code (default DIR/.tenloom)")
	flags.StringVar(&f.logDir, "log-dir", "", "directory of the handlers' output (default DIR/.spin/logs)")
	flags.StringVar(&f.reset, "reset", os.Getenv("TENLOOM_RESET"), "how instances are made clean: see tenloom doctor (TENLOOM_RESET; default: the best that works)")
	flags.BoolVar(&f.build, "build", false, "run the components' build commands first")
	flags.BoolVar(&f.ephemeral, "ephemeral", false, "keep nothing after the end")
	flags.StringVar(&f.dapr, "dapr-components", "", "folder with Dapr's component files, for the binding and publish API (default DIR/components, if there is one)")
	f.variables.add(cmd)
	f.compiling.add(cmd)
	return cmd
}

func up(ctx context.Context, out, messages io.Writer, g *globals, f upFlags) (err error) {
	began := time.Now()
	log := slog.New(slog.NewTextHandler(messages, &slog.HandlerOptions{Level: level(g)}))
	telling, log, err := observe(ctx, observing{history: history}, log)
	if err != nil {
		return err
	}
	app, err := openApplication(f)
	if err != nil {
		return err
	}
	defer app.cleanUp()
	m := app.manifest
	for _, w := range m.Warnings {
		if !g.quiet {
			fmt.Fprintf(messages, "Warning: %v\n", w)
		}
	}
	if f.build {
		if err := build(ctx, m, messages); err != nil {
			return err
		}
	}
	given, stopProviders, err := f.variables.providers(log)
	if err != nil {
		return err
	}
	defer stopProviders()
	components, err := readComponents(ctx, f.dapr, m.Dir, given, func(w error) {
		if !g.quiet {
			fmt.Fprintf(messages, "Warning: %v\n", w)
		}
	})
	if err != nil {
		return err
	}
	listener, err := listen(f.listen)
	if err != nil {
		return err
	}
	defer listener.Close()

	redis, stopRedis, err := mainRedis(f.redis, embeddedAddress)
	if err != nil {
		return err
	}
	defer stopRedis()
	var echo io.Writer
	if !g.quiet {
		echo = messages
	}
	p, err := newPlatform(ctx, platformConfig{
		manifest: m, redis: redis, embedded: embeddedName(f.redis.url, redis), variables: given, compiling: f.compiling, cacheDir: filepath.Join(app.state, "cache"), stateDir: app.state, reset: sandbox.ResetMethod(f.reset), logDir: app.logs, echo: echo, log: log, observed: telling,
	})
	if err != nil {
		return err
	}
	dapr, err := newBindings(p.servers, components)
	if err != nil {
		return errors.Join(err, p.close(context.Background()))
	}
	defer dapr.close()
	var serving atomic.Bool
	closeServer := serve(listener, p, dapr, &serving, log)
	defer closeServer()
	v, err := p.deploy(ctx, m)
	if err != nil {
		return errors.Join(err, p.close(context.Background()))
	}
	serving.Store(true)
	for _, n := range v.Notes() {
		if !g.quiet {
			fmt.Fprintf(messages, "Note: %v\n", n)
		}
	}

	banner(out, g, bannerFacts{listener.Addr(), redis, f.redis.url == "", app, f.ephemeral, telling.exports.About()})
	if waitReady(ctx, p, log) {
		printTriggers(out, p.scheduler.Triggers(tenants.Demo), began)
		printNext(out, g, v)
		<-ctx.Done()
	}
	return drain(out, p, &serving)
}

func listen(address string) (net.Listener, error) {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return nil, fail(exitUsage, "--listen %q is not an address to listen on\n  want HOST:PORT, such as 127.0.0.1:7070", address)
	}
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fail(exitFailed, "%w\n  another \"tenloom up\" may be running; --listen 127.0.0.1:0 takes a free port", err)
	case err != nil:
		return nil, fail(exitFailed, "%w\n  --listen HOST:PORT names another address", err)
	}
	return l, nil
}

func level(g *globals) slog.Level {
	if g.verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// application is what "up" runs, and where it keeps things.
type application struct {
	manifest *manifest.Manifest
	state    string
	logs     string
	sample   bool
	cleanUp  func()
}

// openApplication reads the manifest of the folder, or unpacks the sample where no folder was named and this one has no manifest.
func openApplication(f upFlags) (app application, err error) {
	app.cleanUp = func() {}
	dir := f.dir
	if dir == "" {
		dir = "."
		_, err := os.Stat("spin.toml")
		app.sample = errors.Is(err, os.ErrNotExist)
	}
	if f.ephemeral && f.state == "" {
		if f.state, err = os.MkdirTemp("", "tenloom-"); err != nil {
			return app, fmt.Errorf("make state directory: %w", err)
		}
		app.cleanUp = func() { os.RemoveAll(f.state) }
	}
	if !app.sample {
		if app.manifest, err = loadManifest(dir); err != nil {
			app.cleanUp()
			return app, err
		}
		dir = app.manifest.Dir
	}
	if app.state, err = stateDir(f.state, dir); err != nil {
		app.cleanUp()
		return app, err
	}
	if app.sample {
		dir = filepath.Join(app.state, "hello")
		if err := writeSample(dir); err != nil {
			return app, err
		}
		if app.manifest, err = loadManifest(dir); err != nil {
			return app, err
		}
	}
	if app.logs = f.logDir; app.logs == "" {
		app.logs = filepath.Join(app.manifest.Dir, ".spin", "logs")
	}
	return app, nil
}

func loadManifest(dir string) (*manifest.Manifest, error) {
	m, err := manifest.Load(dir)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return m, nil
}

// embeddedName is the embedded Redis' host:port, where none was given.
func embeddedName(given string, main *endpoint.Options) string {
	if given != "" {
		return ""
	}
	return main.Name()
}

// mainRedis is the Redis that was given, or an embedded one at the address.
func mainRedis(given redisFlags, address string) (main *endpoint.Options, stop func(), err error) {
	if main, err = given.options(); err != nil || main != nil {
		return main, func() {}, err
	}
	e, err := startEmbedded(address)
	if err != nil {
		return nil, nil, err
	}
	if main, err = endpoint.Parse(e.URL()); err != nil {
		e.Close()
		return nil, nil, err
	}
	return main, e.Close, nil
}

// deploy loads the application and makes it active. Its default Redis address is taken over by the main server.
func (p *platform) deploy(ctx context.Context, m *manifest.Manifest) (*deploy.Version, error) {
	if m.Address.Raw != "" {
		if address, err := p.resolver.Render(ctx, m.Address.Template); err == nil { // an error is reported with its line by Deploy
			if err := p.servers.stand(address); err != nil {
				return nil, fail(exitDeploy, "%s:%d: application.trigger.redis.address: %w", m.File, m.Address.Line, err)
			}
		}
	}
	v, err := deploy.Deploy(ctx, tenants.Demo, m, p.system())
	if err != nil {
		return nil, &exitError{exitDeploy, err}
	}
	return v, nil
}

// serve answers the API until the returned function is called.
func serve(l net.Listener, p *platform, dapr *bindings, serving *atomic.Bool, log *slog.Logger) (stop func()) {
	server := &http.Server{
		ReadHeaderTimeout: api.ReadHeaderTimeout, IdleTimeout: api.IdleTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Handler: api.Handler(api.Config{
			Scheduler: p.scheduler, Recorder: p.recorder, Meter: p.meter, Ledger: p.ledger, Log: log, Build: apiBuild(),
			Local: &tenants.Principal{Subject: "local", Tenant: tenants.Demo, Role: tenants.Owner},
			Known: func(id tenants.ID) bool { return id == tenants.Demo },
			Server: func(id tenants.ID, address string, to tenants.Target) (api.Server, error) {
				return p.servers.find(p.scheduler.Triggers(id), address, to)
			},
			Bind: dapr.bind, Topics: dapr.topics,
			Checks: func() []api.Check { return p.checks(serving.Load()) },
		}),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the API has stopped", "error", err)
		}
	}()
	return func() {
		server.Close() // streams have no end of their own
		<-ended
	}
}

func apiBuild() api.Build {
	v := buildVersion()
	return api.Build{Version: v.Version, Commit: v.Commit, Date: v.Date, Go: v.Go}
}

// checks are the lines of /readyz: the application itself, then each trigger.
func (p *platform) checks(serving bool) []api.Check {
	if !serving {
		return []api.Check{{Name: "application", Detail: "is starting or stopping"}}
	}
	checks := []api.Check{{Name: "application", OK: true, Detail: "deployed"}}
	for _, t := range p.scheduler.Triggers("") {
		detail := t.State.String()
		if t.Reason != "" {
			detail += ": " + t.Reason
		}
		checks = append(checks, api.Check{Name: "trigger " + t.String(), OK: t.State == scheduler.Active, Detail: detail})
	}
	return checks
}

// waitReady waits until every trigger is acknowledged, or answers false because ctx ended before. It names what it waits for when that takes
// long.
func waitReady(ctx context.Context, p *platform, log *slog.Logger) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	warned, began := time.Time{}, time.Now()
	for {
		waiting := ""
		for _, c := range p.checks(true) {
			if !c.OK {
				waiting = c.Name + " " + c.Detail
				break
			}
		}
		if waiting == "" {
			return true
		}
		now := time.Now()
		if now.Sub(began) > 2*time.Second && now.Sub(warned) > 10*time.Second {
			warned = now
			log.Warn("waiting for Redis; trying again for as long as it takes", "for", waiting)
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// drain ends intake, waits for running handlers, and says what it could not wait for, which makes the exit code other than 0. A second
// signal ends the process at once.
func drain(out io.Writer, p *platform, serving *atomic.Bool) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	serving.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	code := exitFailed // where the time ends
	told := make(chan struct{})
	go func() { // ends with ctx
		defer close(told)
		select {
		case <-again:
			code = exitInterrupted
			cancel()
		case <-ctx.Done():
		}
	}()
	left, err := p.scheduler.Shutdown(ctx)
	counts := p.recorder.Account(tenants.Demo).Counts()
	fmt.Fprintf(out, "\nStopped. %s\n", summary(counts))
	if !left.Nothing() {
		fmt.Fprintf(out, "%s cancelled, %s dropped\n", count(left.Cancelled, "handler"), count(left.Dropped, "waiting message"))
		printUnfinished(out, left.Triggers)
	}
	err = errors.Join(err, p.close(context.Background()))
	if err == nil && !left.Nothing() {
		<-told // ctx has ended
		return &exitError{code: code}
	}
	return err
}

// printUnfinished names the triggers whose work was given up, the first of many.
func printUnfinished(out io.Writer, all []scheduler.Unfinished) {
	const most = 20
	for i, u := range all {
		if i == most {
			fmt.Fprintf(out, "  and %d more triggers\n", len(all)-most)
			return
		}
		fmt.Fprintf(out, "  %s -> %s: %d cancelled, %d dropped\n", u.Target.Name, u.Component, u.Cancelled, u.Dropped)
	}
}

func summary(c telemetry.Counts) string {
	text := count(int(c.Received), "delivery")
	if c.Received != 1 {
		text = fmt.Sprintf("%d deliveries", c.Received)
	}
	for o := range tenants.Outcomes {
		if n := c.Outcomes[o.String()]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, o)
		}
	}
	return text
}
