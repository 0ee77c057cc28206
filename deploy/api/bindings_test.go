package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/tenants"
)

// Each call of a binding has Dapr's code and body.
func TestBindings(t *testing.T) {
	h := build(t)
	h.redis.Set(t.Context(), "text", "no number", 0)
	const list = "create delete expire get hget hset increment publish xadd zadd"
	wrong := func(text string) string {
		return `{"errorCode":"ERR_INVOKE_OUTPUT_BINDING","message":"error invoking output binding main: ` + text + `"}` + "\n"
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string // "*" anything
	}{
		{"no JSON", "POST", "main", `{`, 400, "*"},
		{"no operation", "POST", "main", `{}`, 500, wrong("operation field is missing from request")},
		{"no such binding", "POST", "other", `{"operation":"get"}`, 500, `{"errorCode":"ERR_INVOKE_OUTPUT_BINDING","message":"error invoking output binding other: couldn't find output binding other"}` + "\n"},
		{"no such operation", "POST", "main", `{"operation":"list"}`, 500, wrong("binding main does not support operation list. supported operations:" + list)},
		{"no key", "POST", "main", `{"operation":"get","metadata":{"key":""}}`, 500, wrong("redis binding: missing key in request metadata")},
		{"create", "POST", "main", `{"operation":"create","data":{"b": 12345678901234567890,"a":"<&>"},"metadata":{"key":"k"}}`, 204, ""},
		{"get, numbers and order as they were", "PUT", "main", `{"operation":"get","metadata":{"key":"k"}}`, 200, `{"b":12345678901234567890,"a":"<&>"}`},
		{"get what is not there", "POST", "main", `{"operation":"get","metadata":{"key":"nothing"}}`, 200, ""},
		{"create a text", "POST", "main", `{"operation":"create","data":"x","metadata":{"key":"s"}}`, 204, ""},
		{"which has its quotes", "POST", "main", `{"operation":"get","metadata":{"key":"s"}}`, 200, `"x"`},
		{"create nothing", "POST", "main", `{"operation":"create","metadata":{"key":"n"}}`, 204, ""},
		{"which is null", "POST", "main", `{"operation":"get","metadata":{"key":"n"}}`, 200, `null`},
		{"get and keep", "POST", "main", `{"operation":"get","metadata":{"key":"s","delete":"TRUE"}}`, 200, `"x"`},
		{"get and delete", "POST", "main", `{"operation":"get","metadata":{"key":"s","delete":"true"}}`, 200, `"x"`},
		{"is gone", "POST", "main", `{"operation":"get","metadata":{"key":"s"}}`, 200, ""},
		{"delete", "POST", "main", `{"operation":"delete","metadata":{"key":"k"}}`, 204, ""},
		{"delete again", "POST", "main", `{"operation":"delete","metadata":{"key":"k"}}`, 204, ""},
		{"increment", "POST", "main", `{"operation":"increment","metadata":{"key":"i"}}`, 204, ""},
		{"increment text", "POST", "main", `{"operation":"increment","metadata":{"key":"text"}}`, 500, wrong("ERR value is not an integer or out of range")},
		{"ttl of nothing", "POST", "main", `{"operation":"create","data":1,"metadata":{"key":"z","ttl":"0"}}`, 500, wrong("ttl is neither a duration above zero, such as 500ms, nor a whole number of seconds above zero")},
		{"and nothing is there", "POST", "main", `{"operation":"get","metadata":{"key":"z"}}`, 200, ""},
		{"hset", "POST", "main", `{"operation":"hset","data":{"f":"v","n":1.50},"metadata":{"key":"h"}}`, 200, "2"},
		{"hget", "POST", "main", `{"operation":"hget","metadata":{"key":"h","field":"n"}}`, 200, "1.50"},
		{"hget nothing", "POST", "main", `{"operation":"hget","metadata":{"key":"h","field":"x"}}`, 200, ""},
		{"zadd", "POST", "main", `{"operation":"zadd","data":{"m":1.5,"o":2},"metadata":{"key":"zs"}}`, 200, "2"},
		{"xadd", "POST", "main", `{"operation":"xadd","data":{"a":"b"},"metadata":{"key":"st","maxlen":"10"}}`, 200, "*"},
		{"publish", "POST", "main", `{"operation":"publish","data":"hello","metadata":{"channel":"c"}}`, 200, "0"},
		{"publish nowhere", "POST", "main", `{"operation":"publish","data":"hello"}`, 500, wrong("redis binding: missing channel in request metadata")},
		{"expire", "POST", "main", `{"operation":"expire","metadata":{"key":"i","TTL":"1h"}}`, 200, "true"},
		{"expire nothing", "POST", "main", `{"operation":"expire","metadata":{"key":"nothing","ttl":"60"}}`, 200, "false"},
	} {
		r := h.as("deployer", c.method, "/v1.0/bindings/"+c.path, c.body)
		if r.status != c.status || c.want != "*" && r.body != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.name, r.status, r.body, c.status, c.want)
		}
		if c.name == "increment" && r.header.Get("metadata.value") != "1" {
			t.Errorf("the new value is not told: %v", r.header)
		}
	}
	h.ok("deployer", "POST", "/v1.0/bindings/main", `{"operation":"create","data":1,"metadata":{"key":"short","ttl":"500ms"}}`)
	h.ok("deployer", "POST", "/v1.0/bindings/main", `{"operation":"increment","metadata":{"key":"counted","ttlInSeconds":"100"}}`)
	if d := h.redis.PTTL(t.Context(), "short").Val(); d <= 0 || d > 500*time.Millisecond {
		t.Errorf("a short ttl is %v", d)
	}
	if d := h.redis.PTTL(t.Context(), "counted").Val(); d <= 90*time.Second {
		t.Errorf("an increment's ttl is %v", d)
	}
	large := `{"operation":"create","metadata":{"key":"k"},"data":"` + strings.Repeat("x", api.MaxPayload) + `"}`
	if r := h.as("deployer", "POST", "/v1.0/bindings/main", large); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", r.status)
	}
}

// A token of an app has what a component's scopes give it; a viewer's and a tenant's that is suspended have nothing.
func TestBindingsOfOthers(t *testing.T) {
	h := build(t)
	const get = `{"operation":"get","metadata":{"key":"k"}}`
	h.token("of mailer", tenants.Token{Tenant: acme, Role: tenants.Deployer, App: "mailer", Expires: time.Now().Add(time.Hour)})
	if r := h.as("of mailer", "POST", "/v1.0/bindings/main", get); r.status != 500 || !strings.Contains(r.body, "couldn't find output binding") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := h.as("viewer", "POST", "/v1.0/bindings/main", get); r.status != http.StatusForbidden {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := h.as("operator", "POST", "/v1.0/bindings/main", get); r.status != http.StatusForbidden || !strings.Contains(r.body, "belongs to no tenant") {
		t.Errorf("%d %s", r.status, r.body)
	}
	h.ok("operator", "POST", "/v1/tenants/acme:suspend", "")
	if r := h.as("deployer", "POST", "/v1.0/bindings/main", get); r.status != http.StatusForbidden {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// What is published goes out in Dapr's envelope, or as it came.
func TestTopics(t *testing.T) {
	h := build(t)
	sub := h.redis.PSubscribe(t.Context(), "*")
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := func() (string, map[string]any) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		json.Unmarshal([]byte(m.Payload), &v) // a raw one is no JSON
		v2 := map[string]any{"payload": m.Payload}
		for k := range v {
			v2[k] = v[k]
		}
		return m.Channel, v2
	}
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		name, path, kind, body string
		status                 int
		want                   map[string]any
	}{
		{"JSON", "main/orders/new", "application/json", `{"n": 12345678901234567890}`, 204, map[string]any{"datacontenttype": "application/json", "topic": "orders/new", "pubsubname": "main",
			"traceparent": trace, "traceid": trace, "source": "acme", "type": "com.dapr.event.sent", "specversion": "1.0"}},
		{"text", "main/orders?metadata.cloudevent.id=7&metadata.cloudevent.type=t", "text/plain", `hello`, 204, map[string]any{"data": "hello", "id": "7", "type": "t", "datacontenttype": "text/plain"}},
		{"bytes", "main/orders", "application/octet-stream", "\xff", 204, map[string]any{"data_base64": "/w=="}},
		{"an event", "main/orders", "application/cloudevents+json", `{"id":"mine","data":1,"extra":true,"topic":"lies"}`, 204, map[string]any{"id": "mine", "extra": true, "topic": "orders", "data": 1.0}},
		{"raw", "main/orders?metadata.rawPayload=true", "application/json", `as it {is`, 204, map[string]any{"payload": "as it {is"}},
		{"no event", "main/orders", "application/cloudevents+json", `7`, 500, nil},
		{"nowhere", "other/orders", "text/plain", `x`, 404, nil},
		{"no topic", "main/", "text/plain", `x`, 404, nil},
		{"away", "main/orders?metadata.rawPayload=true", "text/plain", `fail`, 500, nil},
		{"never of use", "main/orders?metadata.ttlInSeconds=-1", "text/plain", `x`, 500, nil},
	} {
		r := h.as("deployer", "POST", "/v1.0/publish/"+c.path, c.body, "Content-Type", c.kind, "Traceparent", trace)
		if r.status != c.status || c.status >= 400 && !strings.Contains(r.body, `"errorCode":"ERR_`) {
			t.Errorf("%s: %d %s", c.name, r.status, r.body)
			continue
		}
		if c.want == nil {
			continue
		}
		channel, got := next()
		if !strings.HasPrefix(channel, "acme:orders") {
			t.Errorf("%s: on %s", c.name, channel)
		}
		for k, v := range c.want {
			if fmt.Sprint(got[k]) != fmt.Sprint(v) {
				t.Errorf("%s: %s is %v, want %v", c.name, k, got[k], v)
			}
		}
		if c.name == "JSON" && !strings.Contains(fmt.Sprint(got["payload"]), `"data":{"n":12345678901234567890}`) {
			t.Errorf("the number is not the one that was sent: %s", got["payload"])
		}
	}
	bulk := func(body string) reply {
		return h.as("deployer", "POST", "/v1.0/publish/bulk/main/orders?metadata.rawPayload=true", body)
	}
	r := bulk(`[{"entryId":"a","event":"one","contentType":"text/plain"},{"entryId":"b","event":"fail","contentType":"text/plain"},
		{"entryId":"c","event":{"x": 1},"contentType":"application/json","metadata":{"rawPayload":"false"}},{"entryId":"d","event":"/w==","contentType":"application/octet-stream"}]`)
	var failed struct {
		ErrorCode     string
		FailedEntries []struct{ EntryID, Error string }
	}
	mustDecode(t, r.body, &failed)
	if r.status != 500 || len(failed.FailedEntries) != 1 || failed.FailedEntries[0].EntryID != "b" || failed.FailedEntries[0].Error != "redis is away" {
		t.Errorf("%d %s", r.status, r.body)
	}
	var heard []string
	for range 3 {
		_, m := next()
		heard = append(heard, fmt.Sprint(m["payload"]))
	}
	if heard[0] != "one" || !strings.Contains(heard[1], `"data":{"x":1}`) || heard[2] != "\xff" {
		t.Errorf("%q", heard)
	}
	for _, body := range []string{`{}`, `[{"event":"x","contentType":"text/plain"}]`, `[{"entryId":"a","event":1,"contentType":"text/plain"}]`,
		"[" + strings.Join(slices.Repeat([]string{`{"entryId":"a","event":"","contentType":"text/plain"}`}, 2), ",") + "]"} {
		if r := bulk(body); r.status != 400 || !strings.Contains(r.body, "ERR_PUBSUB_EVENTS_SER") {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
}

// A component file makes a connection; what it says is shown, masked.
func TestConnectionOfComponent(t *testing.T) {
	h := build(t)
	const file = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: cache}\nspec:\n  type: bindings.redis\n  metadata:\n" +
		"  - {name: redisHost, value: redis.example.com}\n  - {name: redisPassword, secretKeyRef: {name: redis, key: password}}\n  - {name: redisMaxRetries, value: %s}\nscopes: [mailer]\n"
	send := func(retries string, secrets map[string]string) reply {
		body, _ := json.Marshal(map[string]any{"component": fmt.Sprintf(file, retries), "secrets": secrets})
		return h.as("owner", "PUT", "connections/cache", string(body))
	}
	if r := send("x", map[string]string{}); r.status != http.StatusUnprocessableEntity && r.status != http.StatusBadRequest || !strings.Contains(r.body, "component:8:") || !strings.Contains(r.body, "component:9:") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := send("7", map[string]string{"secretKeyRef redis/password": "hunter2"}); r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.body)
	}
	r := h.as("owner", "GET", "connections/cache", "")
	for _, want := range []string{`"address":"redis://redis.example.com:6379"`, `"redisPassword":"******** (secretKeyRef redis/password)"`, `"redisMaxRetries":"7 (value)"`,
		`"dialTimeout":"5s (default)"`, `"apps":["mailer"]`, `"has_login":true`} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %s in %s", want, r.body)
		}
	}
	if strings.Contains(r.body, "hunter2") {
		t.Error("the password is shown")
	}
	readBook(t).check(t, "GET", "/v1/tenants/acme/connections/cache", r)
}
