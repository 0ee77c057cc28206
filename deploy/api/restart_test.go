package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/deploy/api"
)

// again is the API of another process over the same store.
func (h *house) again() *house {
	other := *h
	st := *h.stage
	other.stage = &st
	other.api = api.Handler(h.config())
	st.Server = httptest.NewServer(other.api)
	h.t.Cleanup(st.Server.Close)
	return &other
}

// What was answered to a key, and who uploaded what, outlives the process, and holds beside it.
func TestRememberedByStore(t *testing.T) {
	a := build(t)
	b := a.again()
	const body = `{"name":"ci","role":"deployer"}`
	first := a.as("operator", "POST", "tokens", body, "Idempotency-Key", "k")
	second := b.as("operator", "POST", "tokens", body, "Idempotency-Key", "k")
	if first.status != 201 || second.status != 201 || second.header.Get("Idempotent-Replayed") != "true" || second.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("%d %s, then %d %s", first.status, first.body, second.status, second.body)
	}
	if strings.Contains(second.body, "tlm_") {
		t.Errorf("the store kept a token: %s", second.body)
	}
	b.as("operator", "POST", "tokens", `{"name":"ci","role":"owner"}`, "Idempotency-Key", "k").refused(t, 422, "idempotency_mismatch")
	if r := b.as("operator", "POST", "/v1/tenants/other/tokens", body, "Idempotency-Key", "k"); r.status != 201 || r.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("another path: %d %v", r.status, r.header)
	}

	code := module("one")
	a.ok("deployer", "PUT", "apps/mailer/blobs/"+sum(code), code)
	if r := b.as("deployer", "HEAD", "apps/mailer/blobs/"+sum(code), ""); r.status != 200 {
		t.Errorf("what was uploaded is gone: %d", r.status)
	}
	if r := b.as("deployer", "POST", "apps/mailer/versions", versionBody(spin("orders"), sum(code)), "Prefer", "wait=30"); r.status != 201 {
		t.Errorf("%d %s", r.status, r.body)
	}
	b.as("other deployer", "POST", "/v1/tenants/other/apps/secretapp/versions", versionBody(spin("c"), sum(code))).refused(t, 422, "artifact_missing")

	// While one process carries a request out, another says so.
	reader, writer := io.Pipe()
	done := make(chan int)
	go func() { // ends with the request, whose body ends below
		req := httptest.NewRequest(http.MethodPost, "/v1/tenants", reader)
		req.Header.Set("Authorization", "Bearer "+a.tokens["operator"])
		req.Header.Set("Idempotency-Key", "slow")
		w := httptest.NewRecorder()
		a.api.ServeHTTP(w, req)
		done <- w.Code
	}()
	if _, err := io.WriteString(writer, `{"name":`); err != nil {
		t.Fatal(err)
	}
	b.as("operator", "POST", "/v1/tenants", `{"name":"slow"}`, "Idempotency-Key", "slow").refused(t, 409, "idempotency_running")
	if _, err := io.WriteString(writer, `"slow"}`); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if code := <-done; code != 201 {
		t.Errorf("%d", code)
	}
	if r := b.as("operator", "POST", "/v1/tenants", `{"name":"slow"}`, "Idempotency-Key", "slow"); r.status != 201 || r.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d %s", r.status, r.body)
	}
}
