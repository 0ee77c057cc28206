package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// needs says for each route the least role that may use it. A route that is added belongs here.
var needs = map[string]string{
	"GET /healthz": "open", "GET /readyz": "open", "GET /version": "open", "GET /v1/openapi.json": "open",
	"GET /v1/whoami": "any", "GET /v1/operations/{id}": "any", "GET /v1/operations/{id}/events": "any",
	"GET /v1/tokens": "operator", "POST /v1/tokens": "operator", "GET /v1/tokens/{id}": "operator", "DELETE /v1/tokens/{id}": "operator",
	"GET /metrics": "operator", "GET /v1/audit": "operator", "GET /v1/tenants": "operator", "POST /v1/tenants": "operator",
	"GET /v1/tenants/{tenant}": "viewer", "PATCH /v1/tenants/{tenant}": "operator", "DELETE /v1/tenants/{tenant}": "operator",
	"POST /v1/tenants/{tenant}:suspend": "operator", "POST /v1/tenants/{tenant}:resume": "operator",
	"GET /v1/tenants/{tenant}/policy": "viewer", "PUT /v1/tenants/{tenant}/policy": "operator",
	"GET /v1/tenants/{tenant}/audit": "owner", "GET /v1/tenants/{tenant}/usage": "viewer",
	"GET /v1/tenants/{tenant}/members": "owner", "GET /v1/tenants/{tenant}/members/{subject}": "owner",
	"PUT /v1/tenants/{tenant}/members/{subject}": "owner", "DELETE /v1/tenants/{tenant}/members/{subject}": "owner",
	"GET /v1/tenants/{tenant}/tokens": "owner", "POST /v1/tenants/{tenant}/tokens": "operator", // an owner's token makes no tokens
	"GET /v1/tenants/{tenant}/tokens/{id}": "owner", "DELETE /v1/tenants/{tenant}/tokens/{id}": "owner",
	"GET /v1/tenants/{tenant}/connections": "owner", "GET /v1/tenants/{tenant}/connections/{name}": "owner",
	"PUT /v1/tenants/{tenant}/connections/{name}": "owner", "DELETE /v1/tenants/{tenant}/connections/{name}": "owner",
	"POST /v1/tenants/{tenant}/connections/{name}:test": "owner",
	"POST /v1/tenants/{tenant}/messages":                "deployer", "GET /v1/tenants/{tenant}/messages:subscribe": "viewer",
	"GET /v1/tenants/{tenant}/channels": "viewer", "GET /v1/tenants/{tenant}/subscriptions": "viewer", "GET /v1/tenants/{tenant}/triggers": "viewer",
	"GET /v1/tenants/{tenant}/invocations": "viewer", "GET /v1/tenants/{tenant}/invocations/{id}": "viewer",
	"GET /v1/tenants/{tenant}/apps": "viewer", "GET /v1/tenants/{tenant}/apps/{app}": "viewer", "PUT /v1/tenants/{tenant}/apps/{app}": "deployer",
	"PATCH /v1/tenants/{tenant}/apps/{app}": "deployer", "DELETE /v1/tenants/{tenant}/apps/{app}": "owner",
	"POST /v1/tenants/{tenant}/apps/{app}:pause": "deployer", "POST /v1/tenants/{tenant}/apps/{app}:resume": "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/variables": "deployer", "GET /v1/tenants/{tenant}/apps/{app}/variables/{name}": "deployer",
	"PUT /v1/tenants/{tenant}/apps/{app}/variables/{name}": "deployer", "DELETE /v1/tenants/{tenant}/apps/{app}/variables/{name}": "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/secrets": "deployer", "GET /v1/tenants/{tenant}/apps/{app}/secrets/{name}": "deployer",
	"PUT /v1/tenants/{tenant}/apps/{app}/secrets/{name}": "deployer", "DELETE /v1/tenants/{tenant}/apps/{app}/secrets/{name}": "deployer",
	"HEAD /v1/tenants/{tenant}/apps/{app}/blobs/{digest}": "deployer", "PUT /v1/tenants/{tenant}/apps/{app}/blobs/{digest}": "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/versions": "viewer", "POST /v1/tenants/{tenant}/apps/{app}/versions": "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/versions/{version}": "viewer", "DELETE /v1/tenants/{tenant}/apps/{app}/versions/{version}": "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/deployments": "viewer", "POST /v1/tenants/{tenant}/apps/{app}/deployments": "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/deployments/{deployment}":         "viewer",
	"POST /v1/tenants/{tenant}/apps/{app}/deployments/{deployment}:cancel": "deployer",
	"POST /v1.0/bindings/{name}":                                           "deployer",
	"PUT /v1.0/bindings/{name}":                                            "deployer",
	"POST /v1.0/publish/{endpoint}/{topic}":                                "deployer",
	"PUT /v1.0/publish/{endpoint}/{topic}":                                 "deployer",
	"POST /v1.0/publish/bulk/{endpoint}/{topic}":                           "deployer",
	"PUT /v1.0/publish/bulk/{endpoint}/{topic}":                            "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/triggers":                         "viewer",
	"POST /v1/tenants/{tenant}/apps/{app}/triggers/{trigger}:pause":        "deployer",
	"POST /v1/tenants/{tenant}/apps/{app}/triggers/{trigger}:resume":       "deployer",
	"GET /v1/tenants/{tenant}/apps/{app}/logs":                             "viewer",
	"GET /v1/tenants/{tenant}/apps/{app}/invocations":                      "viewer",
}

var ids = regexp.MustCompile(`"(request|trace)_id":"[^"]*"`)

// answered is an answer without what differs from one to the next by itself.
func (r reply) answered() string {
	return r.header.Get("Content-Type") + " " + r.header.Get("WWW-Authenticate") + " " + ids.ReplaceAllString(r.body, "")
}

// fill puts names into a route's path.
func fill(path, tenant, app string, token tenants.TokenID) string {
	return strings.NewReplacer("{tenant}", tenant, "{app}", app, "{subject}", "ann@acme.example", "{name}", "main_one", "{id}", string(token),
		"{digest}", "sha256:"+strings.Repeat("a", 64), "{version}", "1", "{deployment}", "current", "{trigger}", "orders").Replace(path)
}

// Every route with every wrong token: nothing is done, and nothing is said that tells a tenant, an app or a size.
func TestIsolation(t *testing.T) {
	h := build(t)
	h.token("expired", tenants.Token{Tenant: acme, Role: tenants.Owner, Expires: time.Now().Add(-time.Minute)})
	revoked := h.token("revoked", tenants.Token{Tenant: acme, Role: tenants.Owner})
	h.write(func(tx *store.Tx) error { return tx.RevokeToken(t.Context(), acme, revoked) })
	target := h.token("target", tenants.Token{Tenant: acme, Role: tenants.Owner})
	h.tokens["garbage"] = "tlm_garbage"
	h.tokens["none"] = ""
	before := h.audited(acme)

	rank := map[string]int{"open": 0, "any": 1, "viewer": 2, "deployer": 3, "owner": 4, "operator": 5}
	for _, rt := range api.Routes(h.config()) {
		name := rt.Method + " " + rt.Path
		least, ok := needs[name]
		if !ok {
			t.Errorf("%s: say in needs who may use it", name)
			continue
		}
		if least == "open" {
			continue
		}
		path := fill(rt.Path, "acme", "mailer", target)
		same := func(what string, got, want reply) {
			t.Helper()
			if got.status != want.status || got.answered() != want.answered() || rt.Method != "HEAD" && strings.Contains(got.body, "acme\"") {
				t.Errorf("%s: %s:\n%d %s\n%d %s", name, what, got.status, got.answered(), want.status, want.answered())
			}
		}
		unknown := h.do(rt.Method, path, "")
		if unknown.status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d %s", name, unknown.status, unknown.body)
		}
		for _, who := range []string{"none", "garbage", "expired", "revoked"} {
			same(who, h.wrong(who, rt.Method, path), unknown)
		}
		if strings.Contains(rt.Path, "{tenant}") {
			for _, who := range []string{"other viewer", "other deployer", "stranger"} {
				nowhere := h.as(who, rt.Method, fill(rt.Path, "nowhere", "mailer", target), "")
				if nowhere.status != http.StatusNotFound {
					t.Errorf("%s by %s of no tenant: %d", name, who, nowhere.status)
				}
				got := h.as(who, rt.Method, path, "")
				same(who, got, nowhere)
				if strings.Contains(got.body+got.header.Get("ETag"), "mailer") {
					t.Errorf("%s by %s tells %s", name, who, got.body)
				}
			}
		}
		for _, who := range []string{"viewer", "deployer", "owner"} {
			switch got := h.refusable(who, rt, path, rank[who] < rank[least]); {
			case rank[who] < rank[least] && got.status != http.StatusForbidden:
				t.Errorf("%s by %s: %d %s", name, who, got.status, got.body)
			case rank[who] >= rank[least] && (got.status == http.StatusForbidden || got.status == http.StatusUnauthorized):
				t.Errorf("%s by %s: %d %s", name, who, got.status, got.body)
			}
		}
		if strings.Contains(rt.Path, "{app}") && rt.Method != "PUT" {
			other := fill(rt.Path, "acme", "biller", target)
			same("a token of another app", h.as("app", rt.Method, other, ""), reply{404, http.Header{"Content-Type": {"application/problem+json"}},
				h.as("app", rt.Method, fill(rt.Path, "acme", "nothere", target), "").body})
		}
	}
	if after := h.audited(acme); len(after) != len(before) {
		t.Errorf("something was done: %q", after)
	}
	if name := "the log"; strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("%s: %s", name, h.log)
	}
}

// wrong sends a request with a token that is none, from an address that sent none before.
func (h *house) wrong(who, method, path string) reply {
	h.t.Helper()
	h.from++
	req := httptest.NewRequest(method, path, nil)
	req.RemoteAddr = fmt.Sprintf("192.0.%d.%d:1", h.from/256, h.from%256)
	req.Header.Set("Authorization", "Bearer "+h.tokens[who])
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, req)
	if method == "HEAD" {
		w.Body.Reset() // a server sends none
	}
	return reply{w.Code, w.Header(), w.Body.String()}
}

// refusable sends what must be refused; what may be done is looked at where it changes nothing and ends by itself.
func (h *house) refusable(who string, rt api.Route, path string, refused bool) reply {
	h.t.Helper()
	if !refused && (rt.Method != "GET" || strings.HasSuffix(rt.Path, "subscribe") || strings.HasSuffix(rt.Path, "events")) {
		return reply{status: http.StatusOK}
	}
	return h.as(who, rt.Method, path, "")
}
