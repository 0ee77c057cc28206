package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/artifact"
)

// hosted is every room of a process that serves many tenants, wired.
type hosted struct {
	opened
	log       *slog.Logger
	store     *store.Store
	artifacts *artifact.Store
	sealer    *secrets.Sealer
	variables *settled
	*observed
	tail        *telemetry.Tail
	scheduler   *scheduler.Scheduler
	runtime     *sandbox.Runtime
	vault       *vaultPart // nil without one
	servers     *platformServers
	connections *connections
	guard       *outbound.Dialer
	controller  *deploy.Controller
	state       string

	phase atomic.Value // string: what the process is busy with; "" serves

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
	h.add(always(h.observed.close))
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
	keeping, err := h.keep(h.state, kept{c.number("usage.days"), c.number("limits.invocations"), int64(c.number("limits.invocations_mb")) << 20})
	if err != nil {
		return nil, err
	}
	h.add(plainly(keeping))
	records, err := openRecords(ctx, c)
	if err != nil {
		return nil, err
	}
	if h.store, err = store.Open(ctx, records); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), records.Close())
	}
	h.add(plainly(h.store.Close))
	if h.artifacts, err = openArtifacts(ctx, c); err != nil {
		return nil, err
	}
	h.add(plainly(h.artifacts.Close))
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
	h.add(h.runtime.Close)
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
	if h.vault, err = openVault(vaultConfig, c.text("vault.variables"), c.text("vault.connections"), log); err != nil {
		return nil, err
	}
	h.add(plainly(h.vault.close))
	h.meter.Add(h.vault.observe)
	blocked, err := outbound.ParseNetworks(c.list("outbound.blocked"))
	if err != nil {
		return nil, err
	}
	h.guard = &outbound.Dialer{Blocked: blocked}
	h.servers = newPlatformServers(newServers(nil, "", h.scheduler, log))
	h.connections = newConnections(&connections{
		store: h.store, sealer: h.sealer, on: h.scheduler, dial: h.outward, follow: h.servers.follow, retire: h.retire, lend: h.vault.lend, log: log,
	})
	h.variables = newSettled(h.store, h.sealer, log)
	h.add(always(h.servers.close))
	h.add(always(h.closeRooms))
	h.add(always(h.connections.close))
	h.add(always(h.follow()))
	h.add(func(ctx context.Context) error { // senders before receivers; serve has it drained before
		_, err := h.scheduler.Shutdown(ctx)
		return err
	})
	if _, err := h.servers.open(c, h.vault); err != nil {
		return nil, err
	}
	puller, err := h.puller(c)
	if err != nil {
		return nil, err
	}
	h.controller = deploy.New(deploy.Config{
		Store: h.store, Artifacts: h.artifacts, Dir: filepath.Join(h.state, "files"), Log: log,
		System: h.system, Switch: h.switchTo, Hold: h.hold, Drain: h.scheduler.Settle, Policy: h.setPolicy, Ended: h.operation,
		Pull: puller.Pull,
	})
	return h, nil
}

// follow keeps what handlers need at hand like the store, until the returned function is called.
func (h *hosted) follow() (stop func()) {
	ctx, end := context.WithCancel(context.Background())
	var follower sync.WaitGroup
	follower.Go(func() { h.variables.follow(ctx, h.connections.take) }) // ends with ctx
	return func() {
		end()
		follower.Wait()
	}
}

// close releases everything that was opened.
func (h *hosted) close(ctx context.Context) error { return h.opened.close(ctx) }
