package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func TestWhoAmI(t *testing.T) {
	h := build(t)
	for who, want := range map[string]string{
		"owner": "false acme owner ", "app": "false acme owner mailer", "operator": "true <nil> none ",
	} {
		w := h.ok(who, "GET", "/v1/whoami", "")
		app, _ := w["app"].(string)
		if got := fmt.Sprintf("%v %v %v %s", w["operator"], w["tenant"], w["role"], app); got != want || w["kind"] != "token" {
			t.Errorf("%s: %s, want %s", who, got, want)
		}
		if token := w["token"].(map[string]any); token["name"] != who || token["hash"] != nil {
			t.Errorf("%s: %v", who, token)
		}
	}
}

// Every token that is not good gets the same answer, whatever is wrong with it.
func TestUnauthenticated(t *testing.T) {
	h := build(t)
	h.token("expired", tenants.Token{Tenant: acme, Role: tenants.Owner, Expires: time.Now().Add(-time.Minute)})
	revoked := h.token("revoked", tenants.Token{Tenant: acme, Role: tenants.Owner})
	h.write(func(tx *store.Tx) error { return tx.RevokeToken(t.Context(), acme, revoked) })
	good := h.tokens["owner"]
	var first problem
	for i, header := range []string{
		"", "Bearer", "Bearer ", "Bearer x", "Basic " + good, "tlm_x", good, "Bearer " + good[:len(good)-1], "Bearer " + good + "x", "Bearer " + strings.ToUpper(good),
		"Bearer " + tenants.NewTokenText().Reveal(), "Bearer " + h.tokens["expired"], "Bearer " + h.tokens["revoked"], "Bearer " + strings.Repeat("x", 10_000),
	} {
		var add []string
		if header != "" {
			add = []string{"Authorization", header}
		}
		r := h.do("GET", "/v1/tenants/acme", "", add...)
		p := r.refused(t, http.StatusUnauthorized, "unauthenticated")
		p.RequestID, p.TraceID = "", ""
		if i == 0 {
			first = p
		}
		if fmt.Sprint(p) != fmt.Sprint(first) || r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%.40s: %+v, want %+v", header, p, first)
		}
	}
	if r := h.as("owner", "GET", "/v1/tenants/acme", ""); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Ten thousand wrong tokens from one address cost twenty looks into the store, and lock nobody out who was in before.
func TestWrongTokens(t *testing.T) {
	h := build(t)
	h.as("owner", "GET", "/v1/whoami", "")
	statuses := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1250 {
				r := h.guess()
				mu.Lock()
				statuses[r.status]++
				mu.Unlock()
				if r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
		})
	}
	begin := time.Now()
	all.Wait()
	if looked := statuses[401]; looked < 20 || looked > 20+8+int(time.Since(begin)/time.Second)+10 || statuses[401]+statuses[429] != 10_000 {
		t.Errorf("%v", statuses)
	}
	if r := h.as("owner", "GET", "/v1/whoami", ""); r.status != http.StatusOK {
		t.Errorf("who was in before is out: %d %s", r.status, r.body)
	}
	for range wrongBurst + 1 { // a token of the bucket may have come back meanwhile
		if r := h.guess(); r.status != http.StatusUnauthorized {
			r.refused(t, http.StatusTooManyRequests, "too_many_attempts")
			return
		}
	}
	t.Errorf("%d wrong tokens more, and none was held back", wrongBurst+1)
}

// wrongBurst is how many wrong tokens an address may send at once.
const wrongBurst = 20

// guess sends a token that nobody has, from this machine.
func (h *house) guess() reply {
	req := httptest.NewRequest("GET", "/v1/whoami", nil)
	req.RemoteAddr = "127.0.0.1:1"
	req.Header.Set("Authorization", "Bearer "+tenants.NewTokenText().Reveal())
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, req)
	return reply{w.Code, w.Header(), w.Body.String()}
}

func TestLocal(t *testing.T) {
	h := build(t, func(c *api.Config) { c.Local = &tenants.Principal{Subject: "local", Tenant: acme, Role: tenants.Owner} })
	if w := h.do("GET", "/v1/whoami", ""); w.status != 200 || !strings.Contains(w.body, `"subject":"local","kind":"person"`) {
		t.Errorf("%d %s", w.status, w.body)
	}
	h.do("GET", "/v1/whoami", "", "Authorization", "Bearer wrong").refused(t, 401, "unauthenticated")
	if w := h.as("viewer", "GET", "/v1/whoami", ""); !strings.Contains(w.body, `"role":"viewer"`) {
		t.Errorf("a token counts more than the place: %s", w.body)
	}
}

func TestETags(t *testing.T) {
	h := build(t)
	tag := h.etag("operator", "policy")
	h.as("operator", "PUT", "policy", "{}").refused(t, http.StatusPreconditionRequired, "precondition_required")
	h.as("operator", "PUT", "policy", "{}", "If-Match", `"x"`).refused(t, http.StatusPreconditionFailed, "precondition_failed")
	r := h.as("operator", "PUT", "policy", `{"weight":3,"grants":{"deploys_per_minute":7}}`, "If-Match", tag)
	if r.status != 200 || !strings.Contains(r.body, `"weight":3`) || !strings.Contains(r.body, `"deploys_per_minute":7`) || r.header.Get("ETag") == tag {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.as("operator", "PUT", "policy", "{}", "If-Match", tag).refused(t, http.StatusPreconditionFailed, "precondition_failed")
	if r := h.as("viewer", "GET", "policy", "", "If-None-Match", r.header.Get("ETag")); r.status != http.StatusNotModified || r.body != "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.as("operator", "PATCH", "/v1/tenants/acme", `{"title":"Acme"}`).refused(t, http.StatusPreconditionRequired, "precondition_required")
	if got := h.ok("operator", "PATCH", "/v1/tenants/acme", `{"title":"Acme"}`, "If-Match", h.etag("owner", "/v1/tenants/acme")); got["title"] != "Acme" {
		t.Errorf("%v", got)
	}
	if all := h.audited(acme); !slices.Equal(all, []string{"tenants.update acme", "policy.write acme"}) {
		t.Errorf("%q", all)
	}
}

// All faults of a body come at once, each with its place, and an unknown name with the one that was meant.
func TestFaults(t *testing.T) {
	h := build(t)
	p := h.as("operator", "POST", "/v1/tenants", `{"nam":"x","title":3,"policy":{"weight":0,"grants":{"app":1},"queue_bytes":"x"}}`).refused(t, 400, "invalid_request")
	got := map[string]string{}
	for _, e := range p.Errors {
		got[e.Pointer] = e.Code + " " + e.Detail
	}
	for pointer, want := range map[string]string{
		"/nam": `unknown_field is not known; did you mean "name"?`, "/title": "invalid_type must be a string, not number",
		"/policy/grants/app": `unknown_field "app" is not known here; did you mean "apps"?`, "/policy/queue_bytes": `invalid "x" is not a whole number`,
	} {
		if got[pointer] != want {
			t.Errorf("%s: %q, want %q", pointer, got[pointer], want)
		}
	}
	p = h.as("operator", "POST", "/v1/tenants", `{"name":"X","policy":{"weight":0}}`).refused(t, 400, "invalid_request")
	if len(p.Errors) != 2 || p.Errors[1].Pointer != "/policy/weight" {
		t.Errorf("%+v", p.Errors)
	}
	for body, want := range map[string]string{
		"": "invalid_json", "[]": "invalid_type", "null": "invalid_type", "{": "invalid_json", `{"name":"a"} {}`: "invalid_json", "\xff": "invalid_utf8",
		`{"title":"\ud800"}`: "invalid_utf8", `{"name":"a","name":"b"}`: "duplicate", `{"name":null}`: "invalid_type",
	} {
		if p := h.as("operator", "POST", "/v1/tenants", body).refused(t, 400, "invalid_request"); p.Errors[0].Code != want {
			t.Errorf("%s: %+v, want %s", body, p.Errors, want)
		}
	}
	if p := h.as("operator", "GET", "/v1/tenants?limits=3", "").refused(t, 400, "invalid_parameter"); !strings.Contains(p.Detail, `did you mean "limit"?`) {
		t.Errorf("%+v", p)
	}
	if p := h.as("operator", "POST", "/v1/tenants", `{"title":"`+strings.Repeat("x", 4<<20)+`"}`).refused(t, 413, "too_large"); p.Limit != 4<<20 {
		t.Errorf("%+v", p)
	}
	h.as("operator", "POST", "/v1/tenants", "a=b", "Content-Type", "application/x-www-form-urlencoded").refused(t, 415, "unsupported_media_type")
	h.as("operator", "POST", "/v1/tenants", "{}", "Content-Encoding", "gzip").refused(t, 415, "unsupported_encoding")
}

func TestPages(t *testing.T) {
	h := build(t)
	for i := range 7 {
		h.ok("deployer", "PUT", fmt.Sprintf("apps/app-%d", i), "")
	}
	var names []string
	path := "apps?limit=3"
	for range 10 {
		r := h.as("viewer", "GET", path, "")
		var page struct {
			Data    []struct{ Name string }
			HasMore bool   `json:"has_more"`
			Next    string `json:"next_cursor"`
		}
		mustDecode(t, r.body, &page)
		for _, a := range page.Data {
			names = append(names, a.Name)
		}
		link := r.header.Get("Link")
		if page.HasMore != (page.Next != "") || page.HasMore != (link != "") {
			t.Fatalf("%+v, Link %s", page, link)
		}
		if !page.HasMore {
			break
		}
		path = strings.TrimPrefix(strings.TrimSuffix(link, `>; rel="next"`), "<")
	}
	if got := strings.Join(names, " "); got != "app-0 app-1 app-2 app-3 app-4 app-5 app-6 mailer" {
		t.Error(got)
	}
	h.as("viewer", "GET", "apps?cursor=x", "").refused(t, 400, "invalid_cursor")
	h.as("viewer", "GET", "apps?limit=0", "").refused(t, 400, "invalid_limit")
	if r := h.as("app", "GET", "apps", ""); strings.Contains(r.body, "app-0") || !strings.Contains(r.body, "mailer") {
		t.Errorf("a token of one app sees %s", r.body)
	}
}

func TestRates(t *testing.T) {
	h := build(t)
	tag := h.etag("operator", "policy")
	h.ok("operator", "PUT", "policy", `{"grants":{"requests_per_second":2}}`, "If-Match", tag)
	var last reply
	for range 50 {
		if last = h.as("viewer", "GET", "/v1/tenants/acme", ""); last.status != 200 {
			break
		}
		if !strings.Contains(last.header.Get("RateLimit-Policy"), `"request";q=2;w=1`) || !strings.Contains(last.header.Get("RateLimit"), `"request";r=`) {
			t.Fatalf("%v", last.header)
		}
	}
	p := last.refused(t, http.StatusTooManyRequests, "rate_limited")
	if p.Retry != 1 || last.header.Get("Retry-After") != "1" || p.Limit != 2 || last.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("%+v %v", p, last.header)
	}
	if r := h.as("stranger", "GET", "/v1/tenants/other", ""); r.status != 200 {
		t.Errorf("another tenant pays: %d", r.status)
	}
	if r := h.as("operator", "GET", "/v1/tenants/acme", ""); r.status != 200 {
		t.Errorf("an operator pays: %d", r.status)
	}
}

func TestIdempotency(t *testing.T) {
	h := build(t)
	make := func(key, body string) reply {
		return h.as("operator", "POST", "tokens", body, "Idempotency-Key", key)
	}
	first := make("k1", `{"name":"ci","role":"deployer"}`)
	if first.status != 201 || !strings.Contains(first.body, `"token":"tlm_`) || first.header.Get("Idempotent-Replayed") != "" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	again := make("k1", `{"name":"ci","role":"deployer"}`)
	if again.status != 201 || again.header.Get("Idempotent-Replayed") != "true" || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("%d %s %v", again.status, again.body, again.header)
	}
	if strings.Contains(again.body, "tlm_") || again.header.Get("X-Request-Id") == first.header.Get("X-Request-Id") {
		t.Errorf("the replay shows %s", again.body)
	}
	make("k1", `{"name":"ci2","role":"deployer"}`).refused(t, 422, "idempotency_mismatch")
	make("k2", `{"name":"","role":"deployer"}`).refused(t, 400, "invalid_request")
	if p := make("k2", `{"name":"","role":"deployer"}`); p.status != 400 || p.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a refusal is kept too: %d", p.status)
	}
	make(strings.Repeat("k", 256), `{}`).refused(t, 400, "invalid_idempotency_key")
	if r := h.as("owner", "GET", "tokens", ""); strings.Count(r.body, `"name":"ci"`) != 1 {
		t.Errorf("%s", r.body)
	}
}

// Many send the same request at once: it is done once, and the others are told to wait or get the first's answer.
func TestIdempotencyHammer(t *testing.T) {
	h := build(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for {
				r := h.as("operator", "POST", "/v1/tenants", `{"name":"once"}`, "Idempotency-Key", "k")
				if r.status == 201 {
					return
				}
				r.refused(t, 409, "idempotency_running")
			}
		})
	}
	all.Wait()
	if got := h.audited(tenants.Platform); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func mustDecode(t testing.TB, body string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), to); err != nil {
		t.Fatalf("%v in %.500s", err, body)
	}
}
