package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What scripts and probes read from a running program.
func TestUpAnswersItsAPI(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		r := s.up(t, writeApp(t, ordersV2))
		answer, _ := r.publish(t, "orders.paid", "first")
		r.publish(t, "orders", "second")

		status, body := r.ask(t, "/healthz")
		expect(t, "/healthz", string(body), "ok\n")
		expect(t, "/healthz", status, http.StatusOK)
		_, body = r.ask(t, "/readyz?verbose")
		expect(t, "lines of /readyz?verbose", strings.Count(string(body), "[+]"), 6) // the application and five triggers

		var build struct{ Version, Go string }
		r.askJSON(t, "/version", &build)
		if build.Version == "" || !strings.HasPrefix(build.Go, "go1.") {
			t.Errorf("/version answers %+v", build)
		}

		var triggers struct {
			Data []struct {
				App, Component, Kind, Target, Endpoint, State string
				Since                                         time.Time
			}
		}
		r.askJSON(t, "/v1/tenants/demo/triggers", &triggers)
		var listed []string
		for _, trigger := range triggers.Data {
			listed = append(listed, strings.Join([]string{trigger.App, trigger.Kind, trigger.Target, trigger.Component, trigger.State}, " "))
			if trigger.Since.IsZero() || !strings.Contains(trigger.Endpoint, "127.0.0.1") {
				t.Errorf("a trigger: %+v", trigger)
			}
		}
		expect(t, "triggers", strings.Join(listed, "; "), "orders channel orders first active; orders channel orders first active; "+
			"orders channel orders second active; orders channel orders.paid audit active; orders pattern orders.* audit active")

		type invocation struct{ ID, Message, App, Version, Component, Channel, Target, Outcome, Output string }
		var runs struct{ Data []invocation }
		r.askJSON(t, "/v1/tenants/demo/invocations", &runs)
		expect(t, "invocations", len(runs.Data), 5)
		r.askJSON(t, "/v1/tenants/demo/invocations?limit=1", &runs)
		expect(t, "the newest", len(runs.Data), 1)
		expect(t, "its channel", runs.Data[0].Channel, "orders")
		var one invocation
		first := answer.Deliveries[0]
		r.askJSON(t, "/v1/tenants/demo/invocations/"+first.Invocation, &one)
		expect(t, "one run", one, invocation{
			first.Invocation, answer.ID, "orders", first.Version, "audit", "orders.paid", one.Target, "handled", "1 first\npost\n",
		})
	})
}

// What is refused, with a problem document that names its code.
func TestUpRefusesRequests(t *testing.T) {
	t.Parallel()
	r := stage{}.up(t, writeApp(t, ordersV2))
	for _, row := range []struct {
		name, method, path, body, code string
		status                         int
		header                         http.Header
	}{
		{"no such page", "GET", "/nowhere", "", "not_found", 404, nil},
		{"no such tenant", "GET", "/v1/tenants/acme/triggers", "", "not_found", 404, nil},
		{"no such run", "GET", "/v1/tenants/demo/invocations/inv_00000000000000000000000000", "", "not_found", 404, nil},
		{"no run's name", "GET", "/v1/tenants/demo/invocations/x", "", "not_found", 404, nil},
		{"limit", "GET", "/v1/tenants/demo/invocations?limit=0", "", "invalid_limit", 400, nil},
		{"nothing to subscribe to", "GET", "/v1/tenants/demo/messages:subscribe", "", "invalid_subscription", 400, nil},
		{"no channel", "POST", "/v1/tenants/demo/messages", `{}`, "invalid_message", 400, nil},
		{"not JSON", "POST", "/v1/tenants/demo/messages", `channel=orders`, "invalid_message", 400, nil},
		{"unknown member", "POST", "/v1/tenants/demo/messages", `{"chanel":"orders"}`, "invalid_message", 400, nil},
		{"two payloads", "POST", "/v1/tenants/demo/messages", `{"channel":"orders","payload":"x","payload_base64":"eA=="}`, "invalid_message", 400, nil},
		{"wait", "POST", "/v1/tenants/demo/messages", `{"channel":"orders","wait":"soon"}`, "invalid_message", 400, nil},
		{"a server of the caller's", "POST", "/v1/tenants/demo/messages", `{"channel":"orders","payload":"x","endpoint":"redis://127.0.0.1:1"}`, "unknown_endpoint", 400, nil},
		{"too large", "POST", "/v1/tenants/demo/messages", `{"channel":"orders","payload":"` + strings.Repeat("x", 1<<20+1) + `"}`, "message_too_large", 413, nil},
		{"a name that was made to resolve here", "GET", "/readyz", "", "wrong_host", 421, http.Header{"Host": {"attacker.example"}}},
		{"a page of another site", "POST", "/v1/tenants/demo/messages", `{"channel":"orders"}`, "", 403, http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), row.method, r.api+row.path, strings.NewReader(row.body))
			if err != nil {
				t.Fatal(err)
			}
			for name := range row.header {
				req.Header.Set(name, row.header.Get(name))
			}
			if host := row.header.Get("Host"); host != "" {
				req.Host = host
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, "status", resp.StatusCode, row.status)
			if row.code == "" {
				return
			}
			var refused struct {
				Code, Title string
				Status      int
			}
			if err := json.Unmarshal(body, &refused); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("not a problem document: %v\n%s", err, body)
			}
			if refused.Code != row.code || refused.Status != row.status || refused.Title == "" {
				t.Errorf("got %s", body)
			}
		})
	}
	expect(t, "deliveries", r.usage(t).Counts.Received, 0)
}

// ask gets a page.
func (r *running) ask(tb testing.TB, path string) (status int, body []byte) {
	tb.Helper()
	status, body, err := get(tb.Context(), r.api+path)
	if err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	return status, body
}

func (r *running) askJSON(tb testing.TB, path string, into any) {
	tb.Helper()
	status, body := r.ask(tb, path)
	if err := json.Unmarshal(body, into); err != nil || status != http.StatusOK {
		tb.Fatalf("%s: %d %s %v", path, status, body, err)
	}
}
