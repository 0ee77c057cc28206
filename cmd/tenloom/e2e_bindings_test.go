package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// bindTo calls a binding as a person's tenant.
func (s *served) bindTo(t *testing.T, p *person, name, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.api+"/v1.0/bindings/"+name, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokenOf(t, p))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 4<<10)
	n, _ := resp.Body.Read(b)
	return resp.StatusCode, string(b[:n])
}

// TestHostedBindings: a component file makes a connection whose binding reaches its Redis, over TLS with a private authority; on the platform's
// shared Redis each tenant has keys of its own, in transactions too; a pubsub component adds entries to streams; others see nothing of it.
func TestHostedBindings(t *testing.T) {
	platform := redistest.Start(t)
	ca, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	own := redistest.StartTLS(t, ca, "--requirepass", "hunter2")
	s := serveOpen(t, platform)
	operator := s.operator(t)
	acme, umbrella := s.join(t, operator, "acme"), s.join(t, operator, "umbrella")

	dir := t.TempDir()
	component := func(name, kind string) string {
		return fmt.Sprintf("---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: %s}\nspec:\n  type: %s\n  metadata:\n  - {name: redisHost, value: %q}\n"+
			"  - {name: redisPassword, secretKeyRef: {name: redis, key: password}}\n  - {name: enableTLS, value: true}\n  - {name: poolSzie, value: 3}\n  - name: caCert\n    value: |\n      %s\n",
			name, kind, own.Addr, strings.ReplaceAll(strings.TrimSpace(string(ca.PEM())), "\n", "\n      "))
	}
	file := filepath.Join(dir, "redis.yaml")
	if err := os.WriteFile(file, []byte(component("cache", "bindings.redis")+component("events", "pubsub.redis")), 0o600); err != nil {
		t.Fatal(err)
	}
	acme.does(dir, `redis_password`, exitUsage, "connections", "add", "-f", file)
	acme.does(dir, `did you mean poolSize`, 0, "connections", "add", "-f", file, "--variable", "redis_password=hunter2")
	acme.does(dir, `redisPassword\s+\*+ \(secretKeyRef redis/password\)`, 0, "connections", "show", "cache")
	acme.does(dir, `ok\s+yes`, 0, "connections", "test", "cache")

	good := func(p *person, name, body, want string) {
		t.Helper()
		if status, answer := s.bindTo(t, p, name, body); status >= 300 || answer != want {
			t.Errorf("%s %s: %d %q, want %q", name, body, status, answer, want)
		}
	}
	good(acme, "cache", `{"operation":"create","data":{"n":12345678901234567890},"metadata":{"key":"k","ttl":"1h"}}`, "")
	good(acme, "cache", `{"operation":"get","metadata":{"key":"k"}}`, `{"n":12345678901234567890}`)
	if v := own.Client().Get(t.Context(), "k").Val(); v != `{"n":12345678901234567890}` {
		t.Errorf("Redis has %q", v)
	}
	if status, answer := s.bindTo(t, umbrella, "cache", `{"operation":"get","metadata":{"key":"k"}}`); status != 500 || !strings.Contains(answer, "couldn't find output binding cache") {
		t.Errorf("another's connection: %d %s", status, answer)
	}

	good(acme, "default", `{"operation":"create","data":1,"metadata":{"key":"k"}}`, "")
	good(acme, "default", `{"operation":"increment","metadata":{"key":"k","ttl":"1h"}}`, "")
	good(acme, "default", `{"operation":"get","metadata":{"key":"k"}}`, "2")
	good(umbrella, "default", `{"operation":"get","metadata":{"key":"k"}}`, "")
	good(umbrella, "default", `{"operation":"get","metadata":{"key":"acme:k"}}`, "")
	good(umbrella, "default", `{"operation":"delete","metadata":{"key":"acme:k"}}`, "")
	if keys := platform.Client().Keys(t.Context(), "*k").Val(); fmt.Sprint(keys) != "[acme:k]" {
		t.Errorf("the shared Redis has %v", keys)
	}

	if status, answer := s.ask(t, "POST", "/v1.0/publish/events/orders?metadata.rawPayload=true", tokenOf(t, acme), `{"a":1}`); status != http.StatusNoContent {
		t.Errorf("%d %v", status, answer)
	}
	entries := own.Client().XRange(t.Context(), "orders", "-", "+").Val()
	if len(entries) != 1 || entries[0].Values["data"] != `{"a":1}` {
		t.Errorf("%v", entries)
	}
}
