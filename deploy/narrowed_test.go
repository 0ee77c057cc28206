package deploy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
)

// TestPolicyNarrows: what a policy does not grant is refused when a version is made, and when one is deployed again, with the line and the grant.
// What is live goes on, also after a restart, and gets no more than is granted.
func TestPolicyNarrows(t *testing.T) {
	h := fresh(t)
	const more = "allowed_outbound_hosts = [\"https://api.example.com\"]\n[component.m.tool.tenloom]\ntimeout = \"40s\"\nisolation = \"reuse\"\n"
	h.version("mailer", h.source("echo-a", text(more, "orders")))
	h.deploy("mailer", 1)
	narrow := tenants.DefaultPolicy()
	narrow.Grants.Hosts, narrow.Max.Timeout, narrow.FreshOnly = []string{"https://*.acme.io"}, 10*time.Second, true
	if err := h.SetPolicy(t.Context(), ada, tenant, narrow, ""); err != nil {
		t.Fatal(err)
	}
	refused := func(err error) {
		t.Helper()
		p := problem(t, err, deploy.DeployRefused)
		for _, want := range []string{"/component/m/allowed_outbound_hosts: spin.toml:9: ", "https://*.acme.io", "40s"} {
			if !strings.Contains(p.Error(), want) {
				t.Errorf("%q is not in %s", want, p.Error())
			}
		}
	}
	_, err := h.CheckVersion(t.Context(), tenant, "mailer", h.source("echo-b", text(more, "orders")))
	refused(err)
	d, err := h.CreateDeployment(t.Context(), ada, tenant, "mailer", all(1))
	if err != nil {
		t.Fatal(err)
	}
	o, err := h.Wait(t.Context(), d.Operation)
	if err != nil || o.State != tenants.OperationFailed || !strings.Contains(string(o.Problem), "https://*.acme.io") {
		t.Errorf("%+v %v", o, err)
	}
	if got := h.ask("acme:orders", "x"); len(got) != 1 {
		t.Errorf("what is live does not go on: %+v", got)
	}
	h.stop()

	next := host(t, h.dir, h.redis)
	if back := next.start(); back.Apps != 1 || len(back.Failed) != 0 {
		t.Errorf("brought back: %+v", back)
	}
	if next.limits.Timeout != 10*time.Second {
		t.Errorf("it may run for %v", next.limits.Timeout)
	}
	next.listens("acme:orders")
	if got := next.ask("acme:orders", "x"); len(got) != 1 {
		t.Errorf("it does not handle: %+v", got)
	}
}
