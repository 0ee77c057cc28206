package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func TestDeploymentTakesTheTraffic(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders")))
	first := h.deploy("mailer", 1)
	h.listens("acme:orders")
	v2 := h.version("mailer", h.source("echo-b", text("", "bills", "orders")))
	second := h.deploy("mailer", 2)
	h.listens("acme:bills", "acme:orders")
	if got := h.ask("acme:orders", "hi"); len(got) != 1 || got[0].Version != v2.Digest || got[0].Outcome != tenants.Handled {
		t.Errorf("the message was handled by %+v", got)
	}
	first = h.deployment("mailer", string(first.ID))
	if first.State != tenants.DeploymentSuperseded || second.State != tenants.DeploymentLive || second.Previous != first.ID {
		t.Errorf("the first is %s, the second %s after %s", first.State, second.State, second.Previous)
	}
	h.until("the first version is closed", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.closed == 1 })
	if h.loads != 2 {
		t.Errorf("components were loaded %d times: a version that was prepared is not loaded again", h.loads)
	}
	var actions []string
	for e, err := range h.store.AuditEntries(t.Context(), tenant, 0) {
		if err != nil {
			t.Fatal(err)
		}
		actions = append(actions, string(e.Action))
	}
	if want := []string{"apps.create", "versions.create", "deployments.create", "versions.create", "deployments.create"}; !slices.Equal(actions, want) {
		t.Errorf("the audit log has %v", actions)
	}
	if _, err := h.store.VerifyAudit(t.Context(), tenant); err != nil {
		t.Error(err)
	}
}

// TestDeploymentFails breaks each step of a deployment: what was live goes on, and the deployment says why.
func TestDeploymentFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(h *hosted) *hosted
		code  deploy.ProblemCode
		says  string
	}{
		{"the store loses a module", func(h *hosted) *hosted {
			return h.again(func(h *hosted) { h.lose(h.read("mailer", "2").Components["m"]) })
		}, deploy.DeployRefused, "not there"},
		{"a required variable is gone", func(h *hosted) *hosted {
			h.change(func(tx *store.Tx) error { return tx.DeleteVariable(t.Context(), tenant, "mailer", "topic") })
			return h
		}, deploy.DeployRefused, "topic"},
		{"the server refuses the channel", func(h *hosted) *hosted {
			h.redis.SetUser("default", "resetchannels", "&acme:orders")
			h.redis.KillClients("pubsub")
			h.listens("acme:orders")
			return h
		}, deploy.NotSubscribed, "acme:bills"},
		{"the component does not start any more", func(h *hosted) *hosted {
			h = h.again(func(*hosted) {})
			h.broken = func(u *deploy.Unit) error { return advice{"it does not start", "mend it"} }
			return h
		}, deploy.DeployRefused, "it does not start; mend it"},
		{"the disk is full when the switch is written down", func(h *hosted) *hosted {
			h.after = func() { h.disk.full.Store(1) }
			return h
		}, deploy.NotSwitched, "deploy again"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := fresh(t)
			h.change(func(tx *store.Tx) error {
				return tx.PutVariable(t.Context(), tenants.Variable{Tenant: tenant, App: "mailer", Name: "topic", Value: "bills"})
			})
			v1 := h.version("mailer", h.source("echo-a", text("", "orders")))
			live := h.deploy("mailer", 1)
			s := h.source("echo-b", "spin_manifest_version = 2\n[application]\nname = \"mailer\"\n[variables]\ntopic = { required = true }\n"+
				"[[trigger.redis]]\nchannel = \"{{ topic }}\"\ncomponent = \"m\"\n[component.m]\nsource = \"m.wasm\"\n")
			h.version("mailer", s)
			h = row.spoil(h)
			d, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(2))
			if err != nil {
				t.Fatal(err)
			}
			o := h.wait(d.Operation)
			failed := h.deployment("mailer", string(d.Deployment.ID))
			last := failed.Steps[len(failed.Steps)-1]
			if o.State != tenants.OperationFailed || failed.State != tenants.DeploymentFailed || last.Reason != string(row.code) || !strings.Contains(last.Detail, row.says) {
				t.Errorf("the operation is %s, the deployment %s: %+v", o.State, failed.State, last)
			}
			h.listens("acme:orders")
			if got := h.ask("acme:orders", "hi"); len(got) != 1 || got[0].Version != v1.Digest {
				t.Errorf("the message was handled by %+v", got)
			}
			if live = h.deployment("mailer", string(live.ID)); live.State != tenants.DeploymentLive {
				t.Errorf("what was live is %s", live.State)
			}
			h.broken = nil
			if r := h.deploy("mailer", 1); r.State != tenants.DeploymentLive { // the way is free
				t.Errorf("the next deployment is %s", r.State)
			}
		})
	}
}

// again ends the host and starts another over what it left, after between has had its way with that.
func (h *hosted) again(between func(h *hosted)) *hosted {
	h.t.Helper()
	h.stop()
	next := host(h.t, h.dir, h.redis)
	between(next)
	if r := next.start(); len(r.Failed) > 0 {
		h.t.Errorf("not brought back: %v", r.Failed)
	}
	return next
}

// lose removes an artifact behind everybody's back.
func (h *hosted) lose(digest string) {
	h.t.Helper()
	sum := strings.TrimPrefix(digest, "sha256:")
	if err := os.Remove(filepath.Join(h.dir, "artifacts", "sha256", sum[:2], sum)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hosted) change(f func(tx *store.Tx) error) {
	h.t.Helper()
	if _, err := h.store.Update(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
}
