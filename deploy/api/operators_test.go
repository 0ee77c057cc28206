package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

// Operators' tokens: made by an operator, no more than its own scopes allow, listed without their text, revoked at once, the last one never.
func TestOperatorTokens(t *testing.T) {
	h := build(t)
	var made struct {
		tenants.Token
		Text string `json:"token"`
	}
	r := h.as("operator", "POST", "/v1/tokens", `{"name":"backup","scopes":["tenants.list","operators.create"],"expires_in":"1h"}`)
	mustDecode(t, r.body, &made)
	if r.status != 201 || !made.Operator || made.Tenant != "" || r.header.Get("Location") != "/v1/tokens/"+string(made.ID) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	h.tokens["narrow"] = made.Text
	h.ok("narrow", "GET", "/v1/tenants", "")
	h.as("narrow", "GET", "/v1/tokens", "").refused(t, 403, "out_of_scope")
	h.as("narrow", "POST", "/v1/tokens", `{"name":"wider"}`).refused(t, 400, "invalid_request")
	h.as("narrow", "POST", "/v1/tokens", `{"name":"wider","scopes":["tenants.*"]}`).refused(t, 400, "invalid_request")
	h.ok("narrow", "POST", "/v1/tokens", `{"name":"same","scopes":["tenants.list"]}`)
	h.as("operator", "POST", "/v1/tokens", `{"name":"x","role":"owner"}`).refused(t, 400, "invalid_request")
	h.as("operator", "POST", "/v1/tokens", `{"name":"x","scopes":["nonsense"]}`).refused(t, 400, "invalid_request")
	if r := h.as("operator", "GET", "/v1/tokens", ""); strings.Contains(r.body, made.Text) || !strings.Contains(r.body, `"name":"backup"`) {
		t.Errorf("%s", r.body)
	}
	h.as("operator", "GET", "/v1/tenants/acme/tokens/"+string(made.ID), "").refused(t, 404, "not_found")

	var page struct{ Data []tenants.Token }
	mustDecode(t, h.as("operator", "GET", "/v1/tokens", "").body, &page)
	var first tenants.TokenID
	for _, one := range page.Data {
		if one.Name == "operator" {
			first = one.ID
		}
	}
	h.as("operator", "DELETE", "/v1/tokens/"+string(first), "").refused(t, 409, "last_operator")
	h.ok("operator", "DELETE", "/v1/tokens/"+string(made.ID), "")
	h.as("narrow", "GET", "/v1/tenants", "").refused(t, 401, "unauthenticated")
	h.as("operator", "DELETE", "/v1/tokens/"+string(made.ID), "").refused(t, 404, "not_found")
	mustDecode(t, h.as("operator", "POST", "/v1/tokens", `{"name":"second"}`).body, &made)
	h.tokens["second"] = made.Text
	h.ok("second", "DELETE", "/v1/tokens/"+string(first), "")
	h.as("operator", "GET", "/v1/tokens", "").refused(t, 401, "unauthenticated")
	if got := h.audited(tenants.Platform); len(got) != 5 || !strings.HasPrefix(got[0], "operators.revoke") {
		t.Errorf("%q", got)
	}
}

// Every deploy counts: making a version and its first deployment together as one, each later deployment, and a rollback.
func TestDeployRate(t *testing.T) {
	h := build(t)
	left := func(r reply) string {
		t.Helper()
		for _, one := range r.header.Values("RateLimit") {
			if rest, ok := strings.CutPrefix(one, `"deploy";r=`); ok {
				n, _, _ := strings.Cut(rest, ";")
				return n
			}
		}
		return ""
	}
	tag := h.etag("operator", "policy")
	h.ok("operator", "PUT", "policy", `{"grants":{"deploys_per_minute":5}}`, "If-Match", tag)
	post := func(path, body string) reply {
		t.Helper()
		return h.as("deployer", "POST", "apps/mailer/"+path, body, "Prefer", "wait=30")
	}
	for n := range 2 {
		code := module(fmt.Sprint(n))
		h.ok("deployer", "PUT", "apps/mailer/blobs/"+sum(code), code)
		if r := post("versions", versionBody(spin("orders"), sum(code))); r.status != 201 || left(r) == "" {
			t.Fatalf("%d %v %s", r.status, r.header, r.body)
		}
		if r := post("deployments", fmt.Sprintf(`{"version":%d}`, n+1)); r.status != 201 || left(r) != "" {
			t.Errorf("the first deployment of a version counts twice: %d %v", r.status, r.header)
		}
	}
	if r := post("deployments", `{"rollback":{}}`); r.status != 201 || left(r) == "" {
		t.Errorf("a rollback does not count: %d %v %s", r.status, r.header, r.body)
	}
	if r := post("deployments", `{"version":2}`); r.status != 201 || left(r) == "" {
		t.Errorf("another deployment does not count: %d %v", r.status, r.header)
	}
	last := reply{}
	for range 50 { // some come back while they are made
		if last = post("deployments", `{"version":1}`); last.status != 201 {
			break
		}
	}
	if p := last.refused(t, http.StatusTooManyRequests, "rate_limited"); p.Limit != 5 || !strings.Contains(p.Detail, "deploy 5 times a minute") {
		t.Errorf("%+v", p)
	}
	if r := h.as("operator", "POST", "apps/mailer/deployments", `{"version":1}`, "Prefer", "wait=30"); r.status != 201 {
		t.Errorf("an operator pays: %d %s", r.status, r.body)
	}
}
