package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func isMismatch(err error) bool { return errors.Is(err, store.ErrMismatch) }
func isState(err error) bool    { return errors.Is(err, store.ErrState) }

// canary asks for version 2 to be tried against version 1.
func canary(percent int) deploy.DeploymentRequest {
	return deploy.DeploymentRequest{Shares: []deploy.Share{{Version: "2", Percent: percent}, {Version: "1", Percent: 100 - percent}}}
}

func TestCanaryKeepsKeysTogether(t *testing.T) {
	h := fresh(t)
	v := []tenants.Version{h.version("mailer", h.source("echo-a", text("", "orders"))), h.version("mailer", h.source("echo-b", text("", "orders", "bills")))}
	r := canary(30)
	r.Affinity = "customer"
	h.deployed(h.CreateDeployment(t.Context(), ada, tenant, "mailer", r))
	h.listens("acme:bills", "acme:orders")
	of := map[string]tenants.VersionID{} // the version of each customer
	second := 0
	for i := range 300 {
		customer := fmt.Sprintf("c%d", i%100)
		got := h.ask("acme:orders", fmt.Sprintf(`{"n":%d,"customer":%q}`, i, customer))
		if len(got) != 1 || got[0].Outcome != tenants.Handled {
			t.Fatalf("a message was handled by %+v", got)
		}
		if known, seen := of[customer]; seen && known != got[0].Version {
			t.Errorf("customer %s changed its version", customer)
		}
		of[customer] = got[0].Version
		if got[0].Version == v[1].Digest {
			second++
		}
	}
	if second < 30 || second > 150 { // of 300 messages of 100 customers, 90 are due
		t.Errorf("%d of 300 messages went to the version that has 30 percent", second)
	}
	if got := h.ask("acme:bills", "{}"); len(got) != 1 || got[0].Version != v[1].Digest {
		t.Errorf("a message on the new version's own channel was handled by %+v", got)
	}
	before := of
	r.Shares[0].Percent, r.Shares[1].Percent = 60, 40
	h.deployed(h.CreateDeployment(t.Context(), ada, tenant, "mailer", r))
	for customer, version := range before {
		got := h.ask("acme:orders", fmt.Sprintf(`{"customer":%q}`, customer))
		if version == v[1].Digest && got[0].Version != version {
			t.Errorf("customer %s was taken from the version whose share has grown", customer)
		}
	}
}

func TestGuardRollsBack(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders")))
	stable := h.deploy("mailer", 1)
	h.version("mailer", h.source("evil", text("", "orders")))
	r := canary(50)
	r.Guard = &tenants.Guard{Errors: 0.1, Window: time.Minute, Least: 10}
	d, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", r)
	tried := h.deployed(d, err)
	n := 0
	h.until("the guard gives the traffic back", func() bool {
		n++
		h.ask("acme:orders", fmt.Sprintf("trap %d", n)) // which version 1 echoes
		return h.deployment("mailer", string(tried.ID)).State == tenants.DeploymentRolledBack
	})
	tried = h.deployment("mailer", string(tried.ID))
	last := tried.Steps[len(tried.Steps)-1]
	if last.Reason != "guard" || !strings.HasPrefix(last.Detail, "v2 failed ") {
		t.Errorf("it says %+v", last)
	}
	now := h.deployment("mailer", store.Current)
	if now.State != tenants.DeploymentLive || now.Weights[0] != (tenants.Weight{Version: 1, Percent: 100}) || now.RollbackOf != tried.ID || now.Actor != "tenloom" {
		t.Errorf("live is %+v", now)
	}
	for i := range 20 {
		if got := h.ask("acme:orders", fmt.Sprintf("trap again %d", i)); len(got) != 1 || got[0].Outcome != tenants.Handled {
			t.Fatalf("after the rollback a message was handled by %+v", got)
		}
	}
	h = h.again(func(*hosted) {})
	h.listens("acme:orders")
	if stable = h.deployment("mailer", string(stable.ID)); stable.State != tenants.DeploymentSuperseded {
		t.Errorf("the first deployment is %s", stable.State)
	}
}

func TestCanaryMakesSense(t *testing.T) {
	h := fresh(t)
	h.version("mailer", h.source("echo-a", text("", "orders")))
	h.version("mailer", h.source("echo-b", text("", "orders")))
	for name, r := range map[string]deploy.DeploymentRequest{
		"none":     {},
		"90":       {Shares: []deploy.Share{{"1", 90}}},
		"110":      {Shares: []deploy.Share{{"1", 60}, {"2", 50}}},
		"twice":    {Shares: []deploy.Share{{"1", 50}, {"v1", 50}}},
		"alone":    {Shares: []deploy.Share{{"1", 100}}, Guard: new(tenants.DefaultGuard())},
		"affinity": {Shares: []deploy.Share{{"1", 100}}, Affinity: "/a~2"},
	} {
		_, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", r)
		p := problem(t, err, deploy.InvalidRequest)
		if name != "affinity" && len(p.Faults) == 0 {
			t.Errorf("%s has no faults", name)
		}
		if _, err := json.Marshal(p); err != nil {
			t.Error(err)
		}
	}
	if _, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(9)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown version gives %v", err)
	}
}
