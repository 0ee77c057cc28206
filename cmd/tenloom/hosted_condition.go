package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

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
	if why := h.vault.unfitness(id); why != "" {
		return "degraded: " + why + login
	}
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
