package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestHostedOperations: handlers have every operation on the platform's Redis, and all that they leave there is under their tenant's name.
func TestHostedOperations(t *testing.T) {
	redis := redistest.Start(t)
	s := startServe(t, filepath.Join(t.TempDir(), "state"), nil, "--redis", redis.URL)
	acme := s.join(t, s.operator(t), "acme")
	app := example(t, "operations")
	acme.does(app, `Live`, 0, "deploy")
	got := acme.does(app, `execute=OK,-7,-6,nil`, 0, "publish", "operations", "go", "--wait", "30s", "--json")
	if strings.Contains(got.stdout, "failed") || strings.Count(got.stdout, `"handled"`) != 2 {
		t.Errorf("%s", got.stdout)
	}
	keys, err := redis.Client().Keys(t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "acme:") && !strings.HasPrefix(key, "tenloom:kv:acme/") {
			t.Errorf("the key %q is not acme's", key)
		}
	}
}
