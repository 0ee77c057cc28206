package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// tenantRoom is what the handlers of one tenant share.
type tenantRoom struct {
	pool    *outbound.Pool
	http    *http.Client
	policy  atomic.Pointer[tenants.Policy]
	ceiling atomic.Pointer[outbound.Allowed] // of the policy's Grants.Hosts
	budget  *sandbox.Budget
	quota   *tenants.Quota

	mu  sync.Mutex
	cut map[speaker]lineCount // of what was cut since it was last told; empty while none is. Of components that ran lately
}

// speaker is a component, as the one whose log a line is in.
type speaker struct {
	app       tenants.AppName
	component tenants.ComponentID
}

type lineCount struct{ lines, bytes int }

// room finds or makes what a tenant's handlers share.
func (h *hosted) room(id tenants.ID) *tenantRoom {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[id]
	if r == nil {
		policy := tenants.DefaultPolicy()
		r = &tenantRoom{quota: tenants.NewQuota(policy), http: outbound.NewHTTPClient(h.outward), budget: sandbox.NewBudget(policy.CPU)}
		r.govern(policy, h.log)
		r.pool = outbound.NewPool(outbound.PoolConfig{Dial: h.outward, Open: func(address string, dial dialFunc) (redis.UniversalClient, error) {
			return h.openRedis(id, r, address, dial)
		}})
		h.rooms[id] = r
	}
	return r
}

// govern takes a policy over. Hosts that cannot be read, which the API does not let in, grant nothing.
func (r *tenantRoom) govern(p tenants.Policy, log *slog.Logger) {
	ceiling, err := outbound.Parse(p.Grants.Hosts, nil)
	if err != nil {
		log.Error("the hosts that a policy grants cannot be read; none is granted", "error", err)
		ceiling = &outbound.Allowed{}
	}
	r.ceiling.Store(ceiling)
	r.policy.Store(&p)
	r.quota.SetPolicy(p)
	r.budget.SetShare(p.CPU)
}

// checkPolicy is api.Config.CheckPolicy.
func checkPolicy(p tenants.Policy) error {
	var faults tenants.Faults
	for i, entry := range p.Grants.Hosts {
		if _, err := outbound.Parse([]string{entry}, nil); err != nil {
			faults = append(faults, tenants.Fault{Pointer: fmt.Sprintf("/grants/hosts/%d", i), Code: "invalid", Detail: err.Error()})
		}
	}
	if faults == nil {
		return nil
	}
	return faults
}

// grantedHosts is deploy.System.GrantedHosts under a tenant's policy. The platform's own servers are granted by name, and connections by their
// addresses.
func (h *hosted) grantedHosts(t tenants.ID, g tenants.Grants) func(entry string) error {
	ceiling, err := outbound.Parse(g.Hosts, nil)
	if err != nil {
		ceiling = &outbound.Allowed{}
	}
	return func(entry string) error {
		ok, err := ceiling.Covers(entry)
		if ok || err != nil {
			return withNext(err)
		}
		if own := h.connections.meant(t, entry); own != nil {
			return own.within(ceiling)
		}
		if _, ours, err := h.servers.meant(entry); err == nil && ours {
			return nil
		}
		granted := "no host at all"
		if len(g.Hosts) > 0 {
			granted = strings.Join(g.Hosts, ", ")
		}
		return hint{fmt.Errorf("%q is more than the tenant's policy grants: %s", entry, cut(granted, 300)), "ask for what lies within one of the grants, or ask the operator for more (grants.hosts)"}
	}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// openRedis is a tenant's way to a server that its handler named: one of the platform's, under the tenant's own names, or any other that the
// guard lets through.
func (h *hosted) openRedis(id tenants.ID, r *tenantRoom, address string, dial dialFunc) (redis.UniversalClient, error) {
	if own := h.connections.meant(id, address); own != nil {
		return own.client(address)
	}
	_, ours, err := h.servers.meant(address)
	if err != nil {
		return nil, err
	}
	if ours {
		one, err := h.servers.granted(address, r.policy.Load().Grants)
		if err != nil {
			return nil, err
		}
		return h.servers.tenantClient(one, id, func() tenants.Grants { return r.policy.Load().Grants })
	}
	options, err := endpoint.Parse(address)
	if err != nil {
		return nil, err
	}
	if options, err = asRESP2(options); err != nil {
		return nil, err
	}
	return options.Client(dial), nil
}

// setPolicy is deploy.Config.Policy.
func (h *hosted) setPolicy(id tenants.ID, p tenants.Policy) {
	h.room(id).govern(p, h.log)
	h.scheduler.SetPolicy(id, p)
}

// grants are what a tenant may reach as its policy stands.
func (h *hosted) grants(id tenants.ID) tenants.Grants { return h.room(id).policy.Load().Grants }

// tellCutEvery is how often a component's log says at most how much of it was cut.
const tellCutEvery = time.Second

// line keeps what a handler printed for its tenant, as fast as the tenant's policy allows. What is beyond is cut, and counted; the component's own
// log says how much.
func (h *hosted) line(l telemetry.Line) {
	r := h.room(l.Tenant)
	if r.quota.Take(tenants.LogMeter, len(l.Text)+1, l.At).OK {
		h.tail.Write(l)
		h.exports.Line(l)
		return
	}
	h.recorder.Account(l.Tenant).CutLine()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cut) == 0 {
		r.cut = map[speaker]lineCount{}
		time.AfterFunc(tellCutEvery, func() { h.tellCut(l.Tenant, r) })
	}
	who := speaker{l.App, l.Component}
	n := r.cut[who]
	r.cut[who] = lineCount{n.lines + 1, n.bytes + len(l.Text)}
}

// tellCut says in the logs of a tenant's components how much of them was cut. Nothing limits these lines: there is one for a component and second.
func (h *hosted) tellCut(t tenants.ID, r *tenantRoom) {
	r.mu.Lock()
	cut := r.cut
	r.cut = nil
	r.mu.Unlock()
	most := r.policy.Load().Grants.LogBytesPerSecond
	for who, n := range cut {
		text := fmt.Sprintf("tenloom: %s (%s) cut: the tenant's handlers together may print %s in a second (log_bytes_per_second)",
			count(n.lines, "line"), size(int64(n.bytes)), size(int64(most)))
		h.tail.Write(telemetry.Line{At: time.Now(), Tenant: t, App: who.app, Component: who.component, Stream: telemetry.Stderr, Text: []byte(text)})
	}
}

// retire takes a tenant's outbound clients of some addresses out of use.
func (h *hosted) retire(id tenants.ID, which func(address string) bool) {
	h.mu.Lock()
	r := h.rooms[id]
	h.mu.Unlock()
	if r != nil {
		r.pool.Retire(which)
	}
}

func (h *hosted) closeRooms() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rooms {
		r.pool.Close()
	}
}
