package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/tenants"
)

// exitUndrained is that a stop could not wait for all handlers. A first start that fails ends with exitFailed, a configuration with faults with
// exitUsage: RestartPreventExitStatus=2 keeps systemd from trying that again.
const exitUndrained = 9

func serveCommand(g *globals) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the platform: many tenants, who deploy over its API",
		Long: `Run the platform: many tenants, who deploy over its API. The first start makes a token for its operator.

` + precedence + `

SIGTERM and an interrupt drain: the server turns unready, takes no more messages, and waits for running handlers up to drain_timeout; a second
one ends it at once. SIGHUP reads the configuration again, and says what needs a restart. Under systemd, use Type=notify-reload.

Ends with 0 when drained, 1 when it cannot start, 2 where the configuration is wrong, 9 when handlers had to be cut off.`,
		Example: "  tenloom serve --redis redis://localhost:6379\n  tenloom serve -c /etc/tenloom/tenloom.toml",
		Args:    wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.read()
			if err != nil {
				return err
			}
			c.tellNotes(g, cmd)
			return serveAll(cmd.Context(), &f, c, cmd.OutOrStdout(), cmd.ErrOrStderr(), g)
		},
	}
	f.add(cmd)
	return cmd
}

// serving is a server that runs, with what a reload changes.
type serving struct {
	*hosted
	flags  *configFlags
	config *configuration
	level  *slog.LevelVar
	cert   *certificate
	notify *notifier
	out    io.Writer
	hangup chan os.Signal // capacity 1: a reload that waits does for all
}

func serveAll(ctx context.Context, f *configFlags, c *configuration, out, messages io.Writer, g *globals) (err error) {
	began := time.Now()
	s := &serving{flags: f, config: c, level: &slog.LevelVar{}, notify: newNotifier(), out: out, hangup: make(chan os.Signal, 1)}
	signal.Notify(s.hangup, syscall.SIGHUP) // from the beginning: unheard, it would end the process
	defer signal.Stop(s.hangup)
	s.level.Set(c.level())
	log := newLog(messages, c.text("log.format"), s.level)
	if s.cert, err = c.certificate(); err != nil {
		return err
	}
	listener, err := listen(c.text("listen"))
	if err != nil {
		return err
	}
	defer listener.Close()
	if s.hosted, err = openHosted(ctx, c, log); err != nil {
		return err
	}
	log = s.log
	tokenFile, err := firstOperator(ctx, s.store, s.state, time.Now())
	if err != nil {
		return errors.Join(err, s.close(context.Background()))
	}
	closeServer := s.answer(listener)
	defer closeServer()
	fmt.Fprintf(out, "tenloom serve (%s). State: %s\n\n  API     %s/v1\n", buildVersion().Version, s.state, s.url(listener))
	for _, id := range s.servers.names() {
		fmt.Fprintf(out, "  Redis   %s at %s\n", id, s.servers.one(id).options)
	}
	if to := s.exports.About(); to != "" {
		fmt.Fprintf(out, "  OTLP    %s\n", to)
	}
	if tokenFile != "" {
		fmt.Fprintf(out, "  Token   an operator's, made now, in %s\n          %s login %s --token-file %s\n", tokenFile, g.program, s.url(listener), tokenFile)
	}
	if err := s.controller.RemoveFiles(ctx); err != nil { // it costs space alone
		log.Warn("files that no version names were not removed", "cause", err)
	}
	restored, err := s.controller.Start(ctx)
	if err != nil {
		return errors.Join(err, s.close(context.Background()))
	}
	for _, why := range restored.Failed {
		log.Error("an application was not brought back", "cause", why)
	}
	s.phase.Store("")
	fmt.Fprintf(out, "Ready in %.1f s with %s\n", time.Since(began).Seconds(), count(restored.Apps, "application"))
	s.tell("READY=1", fmt.Sprintf("STATUS=%s", count(restored.Apps, "application")))
	s.wait(ctx)
	return s.drain()
}

func newLog(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "text" || format == "" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func (s *serving) tell(state ...string) {
	if err := s.notify.send(state...); err != nil {
		s.log.Warn("systemd was not told", "cause", err)
	}
}

// url is where a client on this machine finds the API.
func (s *serving) url(l net.Listener) string {
	scheme := "http://"
	if s.cert != nil {
		scheme = "https://"
	}
	host, port, _ := net.SplitHostPort(l.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + net.JoinHostPort(host, port)
}

// answer serves the API until the returned function is called, which ends streams too.
func (s *serving) answer(l net.Listener) (stop func()) {
	life, end := context.WithCancel(context.Background())
	server := &http.Server{
		ReadHeaderTimeout: api.ReadHeaderTimeout, IdleTimeout: api.IdleTimeout, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Handler: s.handler(), BaseContext: func(net.Listener) context.Context { return life },
	}
	if s.cert != nil {
		s.cert.broken = func(err error) { s.log.Error("the new certificate cannot be used; the old one stays", "error", err) }
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.cert.get, NextProtos: []string{"h2", "http/1.1"}})
	}
	ended := make(chan struct{})
	go func() { // ends with server
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the API has stopped", "error", err)
		}
	}()
	return func() {
		end()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // for answers that are on their way
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
		<-ended
	}
}

func (h *hosted) handler() http.Handler {
	return api.Handler(api.Config{
		Scheduler: h.scheduler, Recorder: h.recorder, Meter: h.meter, Ledger: h.ledger, Log: h.log, Build: apiBuild(), Store: h.store, Artifacts: h.artifacts,
		Controller: h.controller, Tail: h.tail, Seal: h.sealer.Seal, Checks: h.checks, Shared: h.servers.is, Server: h.find,
		CheckConnection: h.checkConnection, TestConnection: h.testConnection, ConnectionState: h.connectionState, CheckPolicy: checkPolicy,
		Bind: h.bind, Topics: h.topics,
	})
}

// wait returns when the process is told to stop. It reloads when it is told to, and tells systemd that it is alive for as long as the message
// path is: what stands there for too long holds the lock that Load wants.
func (s *serving) wait(ctx context.Context) {
	watching, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup // both end with watching
	beside.Go(func() { s.notify.watch(watching, func() { s.scheduler.Load(tenants.Platform) }) })
	beside.Go(func() { s.collect(watching) })
	defer func() { stop(); beside.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.hangup:
			s.reload()
		}
	}
}

// reload reads the configuration again. With a fault nothing changes.
func (s *serving) reload() {
	s.tell("RELOADING=1", monotonicMicros())
	defer s.tell("READY=1")
	next, err := s.flags.read()
	if err != nil {
		s.log.Error("the configuration was not read again; the old one stays", "error", err)
		return
	}
	if err := s.renew(next); err != nil {
		s.log.Error("the configuration was not read again; the old one stays", "error", err)
		return
	}
	fresh, err := s.servers.open(next, s.vault)
	if err != nil {
		s.log.Error("a Redis server was not added", "error", err)
	}
	changed, later := s.compare(next, fresh)
	s.config = next
	s.level.Set(next.level())
	s.log.Info("the configuration was read again", "changed", strings.Join(changed, ", "), "after_restart", strings.Join(later, ", "))
}

// renew takes the certificate anew, which can fail.
func (s *serving) renew(next *configuration) error {
	cert, key := next.text("tls.cert"), next.text("tls.key")
	if s.cert == nil || cert == "" {
		return nil // to begin or end with TLS takes a restart
	}
	return s.cert.read(cert, key)
}

// compare tells which settings are different now: those that are in force from now on, such as those of fresh Redis servers, and those that wait for
// a restart.
func (s *serving) compare(next *configuration, fresh []string) (changed, later []string) {
	seen := map[string]bool{}
	for _, g := range append(s.config.ordered(), next.ordered()...) {
		if seen[g.key] || s.config.text(g.key) == next.text(g.key) {
			continue
		}
		seen[g.key] = true
		tlsBegins := strings.HasPrefix(g.key, "tls.") && (s.cert == nil || next.text("tls.cert") == "")
		parts := strings.Split(g.key, ".")
		added := parts[0] == "redis" && len(parts) == 3 && slices.Contains(fresh, parts[1])
		if (g.later && !added) || tlsBegins {
			later = append(later, g.key)
		} else {
			changed = append(changed, g.key)
		}
	}
	return changed, later
}

// drain turns unready, ends intake, waits for running handlers and says what came of it. A second signal ends the wait.
func (s *serving) drain() error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	s.phase.Store("stopping")
	s.tell("STOPPING=1", "STATUS=draining")
	s.log.Info("draining", "at_most", s.config.duration("drain_timeout").String())
	ctx, cancel := context.WithTimeout(context.Background(), s.config.duration("drain_timeout"))
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-again:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := s.controller.Shutdown(ctx)
	left, e := s.scheduler.Shutdown(ctx)
	err = errors.Join(err, e)
	fmt.Fprintf(s.out, "Stopped. %s\n", summary(s.counts()))
	if !left.Nothing() {
		fmt.Fprintf(s.out, "%s cancelled, %s dropped\n", count(left.Cancelled, "handler"), count(left.Dropped, "waiting message"))
		printUnfinished(s.out, left.Triggers)
	}
	if e := s.close(context.Background()); e != nil {
		err = errors.Join(err, e)
	}
	if !left.Nothing() {
		return &exitError{exitUndrained, err}
	}
	return err
}
