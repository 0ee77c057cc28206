package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func TestTenants(t *testing.T) {
	h := build(t)
	r := h.as("operator", "POST", "/v1/tenants", `{"name":"new","title":"New one","policy":{"weight":2}}`)
	if r.status != 201 || r.header.Get("Location") != "/v1/tenants/new" || r.header.Get("ETag") == "" {
		t.Fatalf("%d %s %v", r.status, r.body, r.header)
	}
	if p := h.ok("operator", "GET", "/v1/tenants/new/policy", ""); p["weight"] != 2.0 || p["queue_count"] != 10000.0 {
		t.Errorf("%v", p)
	}
	h.as("operator", "POST", "/v1/tenants", `{"name":"new"}`).refused(t, 409, "exists")
	if l := h.ok("operator", "GET", "/v1/tenants", ""); len(l["data"].([]any)) != 3 {
		t.Errorf("%v", l)
	}
	if all := h.audited(tenants.Platform); !slices.Equal(all, []string{"tenants.create new"}) {
		t.Errorf("%q", all)
	}
	if l := h.ok("operator", "GET", "/v1/audit", ""); len(l["data"].([]any)) != 1 {
		t.Errorf("%v", l)
	}
}

func TestMembers(t *testing.T) {
	h := build(t)
	r := h.as("owner", "PUT", "members/ann@acme.example", `{"role":"viewer"}`)
	if r.status != 201 || r.header.Get("Location") != "/v1/tenants/acme/members/ann@acme.example" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := h.as("owner", "PUT", "members/ann@acme.example", `{"role":"owner"}`, "If-Match", r.header.Get("ETag")); r.status != 200 || !strings.Contains(r.body, `"role":"owner"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.as("owner", "PUT", "members/ann@acme.example", `{"role":"viewer"}`, "If-Match", r.header.Get("ETag")).refused(t, 412, "precondition_failed")
	h.as("owner", "PUT", "members/ann@acme.example", `{"role":"viewer"}`, "If-None-Match", "*").refused(t, 412, "precondition_failed")
	h.as("owner", "PUT", "members/bob", `{"role":"king"}`).refused(t, 400, "invalid_request")
	h.as("owner", "PUT", "members/bob", `{"role":"none"}`).refused(t, 400, "invalid_request")
	h.as("owner", "PUT", "members/a%20b", `{"role":"viewer"}`).refused(t, 400, "invalid_request")
	if r := h.as("owner", "PUT", "members/iss%2Fx%23sub", `{"role":"viewer"}`); r.status != 201 || r.header.Get("Location") != "/v1/tenants/acme/members/iss%2Fx%23sub" {
		t.Errorf("%d %s %v", r.status, r.body, r.header)
	}
	if l := h.ok("owner", "GET", "members", ""); len(l["data"].([]any)) != 2 {
		t.Errorf("%v", l)
	}
	h.ok("owner", "DELETE", "members/ann@acme.example", "")
	h.as("owner", "GET", "members/ann@acme.example", "").refused(t, 404, "not_found")
	h.as("owner", "DELETE", "members/ann@acme.example", "").refused(t, 404, "not_found")
}

func TestTokens(t *testing.T) {
	h := build(t)
	made := h.ok("operator", "POST", "tokens", `{"name":"ci","role":"deployer","app":"mailer","scopes":["versions.*"],"expires_in":"24h"}`)
	text, id := made["token"].(string), made["id"].(string)
	expires, err := time.Parse(time.RFC3339, made["expires"].(string))
	if err != nil || time.Until(expires) > 24*time.Hour || time.Until(expires) < 23*time.Hour {
		t.Errorf("expires %v, %v", made["expires"], err)
	}
	if w := h.ok(text, "GET", "/v1/whoami", ""); w["app"] != "mailer" || w["role"] != "deployer" {
		t.Errorf("%v", w)
	}
	if r := h.as("owner", "GET", "tokens/"+id, ""); r.status != 200 || strings.Contains(r.body, "tlm_") || !strings.Contains(r.body, `"name":"ci"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.as("owner", "POST", "tokens", `{"name":"x","role":"viewer"}`).refused(t, 403, "out_of_scope")
	for _, body := range []string{
		`{"role":"viewer"}`, `{"name":"x"}`, `{"name":"x","role":"viewer","scopes":["all"]}`, `{"name":"x","role":"viewer","expires_in":"1s"}`,
		`{"name":"x","role":"viewer","expires_in":"9000h"}`, `{"name":"x","role":"viewer","expires_in":"soon"}`, `{"name":"x","role":"viewer","expires":"2001-01-01T00:00:00Z"}`,
	} {
		h.as("operator", "POST", "tokens", body).refused(t, 400, "invalid_request")
	}
	h.as("operator", "POST", "tokens", `{"name":"x","role":"viewer","app":"nothere"}`).refused(t, 404, "not_found")
	h.ok("owner", "DELETE", "tokens/"+id, "")
	h.as(text, "GET", "/v1/whoami", "").refused(t, 401, "unauthenticated")
	h.as("owner", "DELETE", "tokens/"+id, "").refused(t, 404, "not_found")
	h.as("owner", "DELETE", "tokens/x%2Fy", "").refused(t, 404, "not_found")
}

// What was given as user and password is sealed, and nothing of it is seen again, anywhere.
func TestConnections(t *testing.T) {
	h := build(t)
	if r := h.as("owner", "PUT", "connections/main", `{"address":"rediss://redis.acme.example:6380","username":"ann","password":"s3cret"}`); r.status != 201 || !strings.Contains(r.body, `"has_login":true`) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	have, err := h.store.Connection(t.Context(), acme, "main")
	if err != nil || string(have.Value.Login) != "sealed:rediss://ann:s3cret@redis.acme.example:6380" {
		t.Errorf("%s %v", string(have.Value.Login), err)
	}
	for _, path := range []string{"connections", "connections/main", "audit"} {
		if r := h.as("owner", "GET", path, ""); r.status != 200 || strings.Contains(r.body, "s3cret") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := h.ok("owner", "POST", "connections/main:test", ""); r["ok"] != true {
		t.Errorf("%v", r)
	}
	h.ok("owner", "PUT", "connections/gone", `{"address":"redis://gone:1"}`)
	if r := h.ok("owner", "POST", "connections/gone:test", ""); r["ok"] != false || !strings.Contains(r["detail"].(string), "no server") {
		t.Errorf("%v", r)
	}
	h.ok("owner", "PUT", "connections/busy", `{"address":"redis://busy:1"}`)
	h.ok("owner", "PUT", "connections/busy", `{"address":"redis://busy:1","password":"other"}`)
	for _, r := range []reply{h.as("owner", "DELETE", "connections/busy", ""), h.as("owner", "PUT", "connections/busy", `{"address":"redis://busy:2"}`)} {
		if p := r.refused(t, 409, "connection_in_use"); fmt.Sprint(p.Names) != "[biller mailer]" {
			t.Errorf("%v", p)
		}
	}
	if r := h.as("owner", "PUT", "connections/lent", `{"address":"redis://lent:1","vault":true}`); r.status != 201 || !strings.Contains(r.body, `"vault":true,`) || !strings.Contains(r.body, `"denied":{"path":"sys/leases/renew","capability":"update"}`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.as("owner", "PUT", "connections/lent", `{"address":"redis://lent:1","vault":true,"password":"x"}`).refused(t, 400, "invalid_request")
	h.as("owner", "PUT", "connections/user", `{"address":"redis://h","username":"ann"}`).refused(t, 400, "invalid_request")
	h.as("owner", "PUT", "connections/user", `{"address":"redis+sentinel://h/m?sentinel_password=x"}`).refused(t, 400, "invalid_request")
	h.as("owner", "PUT", "connections/user", `{"address":"redis://h","ca":"x"}`).refused(t, 400, "invalid_request")
	h.as("owner", "POST", "connections/main:test", "{}").refused(t, 400, "unexpected_body")
	h.as("owner", "POST", "connections/nothere:test", "").refused(t, 404, "not_found")
	h.as("owner", "POST", "connections/main/:test", "").refused(t, 404, "not_found")
	p := h.as("owner", "PUT", "connections/main", `{"address":"redis://ann:s3cret@h"}`).refused(t, 400, "invalid_request")
	if b, _ := json.Marshal(p); strings.Contains(string(b), "s3cret") {
		t.Errorf("%s", b)
	}
	h.ok("owner", "DELETE", "connections/main", "")
	h.as("owner", "GET", "connections/main", "").refused(t, 404, "not_found")
}

func TestApps(t *testing.T) {
	h := build(t)
	r := h.as("deployer", "PUT", "apps/biller", "")
	if r.status != 201 || r.header.Get("Location") != "/v1/tenants/acme/apps/biller" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	var app struct{ ID string }
	mustDecode(t, r.body, &app)
	if again := h.as("deployer", "PUT", "apps/biller", "{}"); again.status != 200 || !strings.Contains(again.body, app.ID) {
		t.Errorf("%d %s", again.status, again.body)
	}
	if byID := h.ok("viewer", "GET", "apps/"+app.ID, ""); byID["name"] != "biller" || byID["status"].(map[string]any)["observed_generation"] != byID["generation"] {
		t.Errorf("%v", byID)
	}
	h.as("deployer", "PUT", "apps/biller", "", "If-None-Match", "*").refused(t, 412, "precondition_failed")
	h.as("deployer", "PUT", "apps/Bad_Name", "").refused(t, 400, "invalid_request")
	h.as("deployer", "PUT", "apps/biller", `{"x":1}`).refused(t, 400, "invalid_request")
	h.as("viewer", "GET", "apps/nothere", "").refused(t, 404, "not_found")
	h.ok("operator", "PUT", "policy", `{"grants":{"apps":2}}`, "If-Match", h.etag("operator", "policy"))
	h.as("deployer", "PUT", "apps/third", "").refused(t, 403, "quota_exceeded")
}

func TestVariablesAndSecrets(t *testing.T) {
	h := build(t)
	if r := h.as("deployer", "PUT", "apps/mailer/variables/smtp_host", `{"value":"mail.example"}`); r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	tag := h.etag("deployer", "apps/mailer/variables/smtp_host")
	if r := h.as("deployer", "PUT", "apps/mailer/variables/smtp_host", `{"value":""}`, "If-Match", tag); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.as("deployer", "PUT", "apps/mailer/variables/smtp_host", `{"value":"x"}`, "If-Match", tag).refused(t, 412, "precondition_failed")
	h.as("deployer", "PUT", "apps/mailer/variables/smtp_host", `{}`).refused(t, 400, "invalid_request")
	h.as("deployer", "PUT", "apps/mailer/variables/BAD", `{"value":"x"}`).refused(t, 400, "invalid_request")
	h.as("deployer", "PUT", "apps/mailer/variables/long", `{"value":"`+strings.Repeat("x", 64<<10+1)+`"}`).refused(t, 400, "invalid_request")

	r := h.as("deployer", "PUT", "apps/mailer/secrets/key", `{"value":"s3cret"}`)
	if r.status != 201 || strings.Contains(r.body, "s3cret") || !strings.Contains(r.body, `"version":1`) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	h.as("deployer", "PUT", "apps/mailer/variables/key", `{"value":"x"}`).refused(t, 409, "exists")
	if p := h.as("deployer", "PUT", "apps/mailer/secrets/key", `{"value":"`+strings.Repeat("x", 64<<10+1)+`"}`).refused(t, 413, "too_large"); p.Limit != 64<<10 {
		t.Errorf("%+v", p)
	}
	for _, path := range []string{"apps/mailer/secrets", "apps/mailer/secrets/key", "audit", "apps/mailer/variables"} {
		who := "deployer"
		if path == "audit" {
			who = "owner"
		}
		if r := h.as(who, "GET", path, ""); r.status != 200 || strings.Contains(r.body, "s3cret") || strings.Contains(r.body, "sealed") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	have, err := h.store.Secret(t.Context(), acme, "mailer", "key")
	if err != nil || string(have.Value.Sealed) != "sealed:s3cret" {
		t.Errorf("%v", err)
	}
	h.ok("deployer", "DELETE", "apps/mailer/secrets/key", "")
	h.ok("deployer", "DELETE", "apps/mailer/variables/smtp_host", "")
	h.as("deployer", "DELETE", "apps/mailer/variables/smtp_host", "").refused(t, 404, "not_found")
	if all := h.audited(acme); !slices.Equal(all[:3], []string{"variables.delete smtp_host", "secrets.delete key", "secrets.write key"}) {
		t.Errorf("%q", all)
	}
}

// The export is what verifies.
func TestAudit(t *testing.T) {
	h := build(t)
	for _, name := range []string{"a", "b", "c"} {
		h.ok("deployer", "PUT", "apps/mailer/variables/"+name, `{"value":"x"}`)
	}
	r := h.as("owner", "GET", "audit", "", "Accept", "application/x-ndjson")
	head, err := tenants.VerifyAudit(store.ReadAudit(strings.NewReader(r.body)), tenants.AuditHead{})
	if err != nil || head.Seq != 3 || r.header.Get("Audit-Head") != "3 "+head.Hash || r.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%+v %v, header %v", head, err, r.header)
	}
	if r := h.as("owner", "GET", "audit?after=2", "", "Accept", "application/x-ndjson"); strings.Count(r.body, "\n") != 1 || !strings.Contains(r.body, `"seq":3`) {
		t.Errorf("%s", r.body)
	}
	h.as("owner", "GET", "audit?after=x", "", "Accept", "application/x-ndjson").refused(t, 400, "invalid_parameter")
	h.as("owner", "GET", "audit?after=1", "").refused(t, 400, "invalid_parameter")
	var page struct{ Data []tenants.AuditEntry }
	mustDecode(t, h.as("owner", "GET", "audit?limit=2", "").body, &page)
	if len(page.Data) != 2 || page.Data[0].Seq != 3 || !tenants.IsID[tenants.TokenID](page.Data[0].Actor) || !strings.HasPrefix(string(page.Data[0].Request), "req_") {
		t.Errorf("%+v", page)
	}
}

// What an operator sees of a tenant's messages is written down; what a member sees is not.
func TestOperatorsLooksAreAudited(t *testing.T) {
	h := build(t)
	h.ok("viewer", "GET", "invocations", "")
	h.ok("operator", "GET", "usage", "")
	if all := h.audited(acme); len(all) != 0 {
		t.Fatalf("%q", all)
	}
	h.ok("operator", "GET", "invocations", "")
	if all := h.audited(acme); !slices.Equal(all, []string{"invocations.read"}) {
		t.Errorf("%q", all)
	}
}

func TestSuspended(t *testing.T) {
	h := build(t)
	h.write(func(tx *store.Tx) error {
		have, err := tx.Tenant(t.Context(), acme)
		have.Value.State = tenants.TenantSuspended
		if err != nil {
			return err
		}
		return tx.PutTenant(t.Context(), have.Value)
	})
	h.as("deployer", "PUT", "apps/mailer/variables/a", `{"value":"x"}`).refused(t, 403, "suspended")
	h.as("deployer", "POST", "messages", text("c", "x")).refused(t, 403, "suspended")
	h.ok("viewer", "GET", "apps", "")
}

func (h *house) operation(by string, state tenants.OperationState) tenants.Operation {
	h.t.Helper()
	now := time.Now().UTC()
	o := tenants.Operation{ID: tenants.NewID[tenants.OperationID](now), Tenant: acme, App: "mailer", Kind: "version.create", By: by, State: tenants.OperationRunning, Started: now}
	if state != o.State {
		if err := o.End(state, now); err != nil {
			h.t.Fatal(err)
		}
	}
	h.write(func(tx *store.Tx) error { return tx.CreateOperation(h.t.Context(), o) })
	return o
}

func TestOperations(t *testing.T) {
	h := build(t)
	me := h.ok("deployer", "GET", "/v1/whoami", "")["subject"].(string)
	o := h.operation(me, tenants.OperationDone)
	path := "/v1/operations/" + string(o.ID)
	for who, ok := range map[string]bool{"deployer": true, "owner": true, "operator": true, "app": true, "viewer": false, "stranger": false} {
		r := h.as(who, "GET", path, "")
		if ok && r.status != 200 {
			t.Errorf("%s: %d %s", who, r.status, r.body)
		}
		if !ok {
			r.refused(t, 404, "not_found")
			if nowhere := h.as(who, "GET", "/v1/operations/op_01ARZ3NDEKTSV4RRFFQ69G5FAV", ""); nowhere.answered() != r.answered() {
				t.Errorf("%s: %s, %s", who, r.body, nowhere.body)
			}
		}
	}
}

// The events of an operation are its states until its end.
func TestOperationEvents(t *testing.T) {
	h := build(t)
	o := h.operation("someone", tenants.OperationRunning)
	w := h.follow("owner", "/v1/operations/"+string(o.ID)+"/events")
	if e := w.expect("operation"); !strings.Contains(e.data, `"state":"running"`) {
		t.Errorf("%+v", e)
	}
	o.Note(tenants.Step{State: "compiling", At: time.Now().UTC()})
	h.write(func(tx *store.Tx) error { return tx.PutOperation(t.Context(), o) })
	if e := w.expect("operation"); !strings.Contains(e.data, "compiling") {
		t.Errorf("%+v", e)
	}
	if err := o.End(tenants.OperationDone, time.Now().UTC()); err != nil {
		t.Fatal(err)
	}
	h.write(func(tx *store.Tx) error { return tx.PutOperation(t.Context(), o) })
	if e := w.expect("operation"); !strings.Contains(e.data, `"state":"done"`) {
		t.Errorf("%+v", e)
	}
	if e, err := w.read(); err == nil {
		t.Errorf("%+v after the end", e)
	}
}

// A token that is revoked ends its streams, and so does one that expires in the middle.
func TestStreamsSignedOut(t *testing.T) {
	h := build(t)
	o := h.operation("someone", tenants.OperationRunning)
	path := "/v1/operations/" + string(o.ID) + "/events"
	leaving := h.token("leaving", tenants.Token{Tenant: acme, Role: tenants.Owner})
	h.token("short", tenants.Token{Tenant: acme, Role: tenants.Owner, Expires: time.Now().Add(time.Second)})
	first, second := h.follow("leaving", path), h.follow("short", path)
	first.expect("operation")
	second.expect("operation")
	h.ok("owner", "DELETE", "tokens/"+string(leaving), "")
	for _, w := range []*watching{first, second} {
		if e := w.expect("signed_out"); !strings.Contains(e.data, "unauthenticated") {
			t.Errorf("%+v", e)
		}
		if e, err := w.read(); err == nil {
			t.Errorf("%+v after the end", e)
		}
	}
}

// follow opens a stream of events.
func (h *house) follow(who, path string, header ...string) *watching {
	h.t.Helper()
	req, err := h.request(h.t.Context(), "GET", path, "", append(header, "Authorization", "Bearer "+h.tokens[who], "Accept", "text/event-stream")...)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := h.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
	}
	return &watching{h.t, bufio.NewReader(resp.Body), nil}
}

// One tenant's tests of servers that do not answer leave places for those of others.
func TestConnectionTestsAreShared(t *testing.T) {
	h := build(t)
	h.ok("owner", "PUT", "connections/main", `{"address":"redis://slow:1"}`)
	h.ok("stranger", "PUT", "/v1/tenants/other/connections/main", `{"address":"redis://here:1"}`)
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			r, err := http.NewRequestWithContext(ctx, "POST", h.URL+"/v1/tenants/acme/connections/main:test", nil)
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+h.tokens["owner"])
			if answer, err := http.DefaultClient.Do(r); err == nil {
				answer.Body.Close()
			}
		})
		<-h.testing
	}
	h.as("owner", "POST", "connections/main:test", "").refused(t, 429, "too_many_requests")
	if r := h.ok("stranger", "POST", "/v1/tenants/other/connections/main:test", ""); r["ok"] != true {
		t.Errorf("%v", r)
	}
	cancel()
	wait.Wait()
}
