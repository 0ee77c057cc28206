package vaulttest_test

import (
	"testing"
	"time"

	"github.com/tenloom/tenloom/secrets/vaulttest"
)

// TestStart has a server sign somebody in and keep a secret.
func TestStart(t *testing.T) {
	s := vaulttest.Start(t)
	s.Put("app/key", map[string]any{"value": "hello"})
	read, err := s.Client().Logical().Read("secret/data/app/key")
	if err != nil || read.Data["data"].(map[string]any)["value"] != "hello" {
		t.Fatalf("have %v, %v", read, err)
	}
	role, secret := s.AppRole("app", time.Minute, time.Hour, "default")
	if signed := s.Write("auth/approle/login", map[string]any{"role_id": role, "secret_id": secret}); signed != nil {
		t.Fatalf("an answer to a sign-in has data: %v", signed)
	}
	if leases := s.Leases("database/creds/none"); leases != nil {
		t.Fatalf("have leases %v", leases)
	}
	s.Kill()
}
