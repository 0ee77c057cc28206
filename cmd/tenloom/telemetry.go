package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/telemetry/otlp"
	"github.com/tenloom/tenloom/tenants"
)

// observed is what the process tells of itself: accounts, their reader, and what goes to collectors.
type observed struct {
	recorder *telemetry.Recorder
	meter    *telemetry.Meter
	exports  *otlp.Exports // nil where the environment asks for none
	deploys  *telemetry.Timings
	ledger   *telemetry.Ledger // nil where nothing is kept
	log      *slog.Logger      // of this machine alone
}

// observing says how much is kept.
type observing struct {
	history  int
	labelled int           // tenants with metrics of their own
	slow     time.Duration // what is traced in any case
}

// operationKinds are what deployments are timed by.
var operationKinds = []string{"version.create", "deployment.create", "deployment.rollback", "other"}

// observe opens everything and gives the log that leads to collectors too, where the environment asks for that.
func observe(ctx context.Context, o observing, log *slog.Logger) (*observed, *slog.Logger, error) {
	r := telemetry.New(o.history)
	all := &observed{recorder: r, meter: telemetry.NewMeter(r, o.labelled), log: log,
		deploys: telemetry.NewTimings("tenloom.deploy.duration", "Time of deployments and of what leads to them.", "operation", operationKinds...)}
	all.meter.Add(telemetry.Process(time.Now(), buildVersion().Version))
	all.meter.Add(all.deploys.Source)
	var err error
	all.exports, err = otlp.Open(ctx, otlp.Config{
		Recorder: r, Meter: all.meter, Version: buildVersion().Version, Instance: string(tenants.NewID[tenants.RequestID](time.Now())),
		Slow: o.slow, Log: log,
	})
	var wrong *otlp.EnvError
	switch {
	case errors.As(err, &wrong):
		return nil, nil, &exitError{exitUsage, err}
	case err != nil:
		return nil, nil, err
	}
	if h := all.exports.Handler(); h != nil {
		log = slog.New(slog.NewMultiHandler(log.Handler(), h))
	}
	return all, log, nil
}

// watch has the meter read a scheduler.
func (o *observed) watch(s *scheduler.Scheduler) {
	o.meter.Loads(s.QueueLoads)
	o.meter.Add(s.Observe)
}

// operation times one that has ended.
func (o *observed) operation(op tenants.Operation) {
	i := slices.Index(operationKinds, op.Kind)
	if i < 0 {
		i = len(operationKinds) - 1
	}
	o.deploys.Add(i, op.Ended.Sub(op.Started))
}

// gap tells collectors of an interruption.
func (o *observed) gap(g scheduler.Gap) {
	for _, c := range g.Concerns {
		o.exports.Gap(telemetry.TracedGap{
			Tenant: c.Tenant, App: c.App, Component: c.Component, Endpoint: g.Endpoint, Since: g.Since, Until: g.Until, Targets: c.Targets, Cause: g.Cause,
		})
	}
}

// kept says for how long and how much the process keeps beyond its own life; 0 means the default.
type kept struct {
	usageDays       int
	invocations     int
	invocationBytes int64
}

// keep opens what outlives the process, in the state directory, and gives its close. Where another process has it open, as a second "up" in one
// folder does, this one keeps nothing.
func (o *observed) keep(state string, k kept) (close func() error, err error) {
	o.ledger, err = telemetry.OpenLedger(telemetry.LedgerConfig{Recorder: o.recorder, Dir: filepath.Join(state, "usage"), Days: k.usageDays, Log: o.log})
	if errors.Is(err, telemetry.ErrInUse) {
		o.log.Warn("usage and invocations are not kept", "cause", err)
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	archive, err := telemetry.OpenArchive(telemetry.ArchiveConfig{
		Dir: filepath.Join(state, "invocations"), Most: k.invocations, Bytes: k.invocationBytes, Log: o.log,
	})
	if err != nil {
		return nil, errors.Join(err, o.ledger.Close())
	}
	o.recorder.Keep(archive)
	o.meter.Add(archive.Observe)
	ctx, end := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	writers.Go(func() { o.ledger.Run(ctx) }) // both end with ctx
	writers.Go(func() { archive.Run(ctx) })
	return func() error {
		end()
		writers.Wait()
		o.recorder.Keep(nil)
		return errors.Join(o.ledger.Close(), archive.Close())
	}, nil
}

// flushTime is how long the end of the process waits for collectors.
const flushTime = 5 * time.Second

// close sends what waits. What a collector did not take in time is lost, which is told and fails nothing.
func (o *observed) close() {
	if o == nil || o.exports == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := o.exports.Shutdown(ctx); err != nil {
		o.log.Warn("OpenTelemetry: not everything was sent before the end", "cause", err)
	}
}
