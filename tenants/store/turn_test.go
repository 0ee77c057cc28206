package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
)

// TestUpdateOf: many at once change one tenant, and none of them has to do it twice; another tenant's do not wait for a slow one.
func TestUpdateOf(t *testing.T) {
	k, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	entry := func(id tenants.ID) tenants.AuditEntry {
		return tenants.AuditEntry{Chain: id, At: time.Now(), Actor: "ada", Action: tenants.WriteVariable, Outcome: "ok"}
	}
	const each, at = 20, 8
	var runs atomic.Int64
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			for range each {
				_, err := s.UpdateOf(t.Context(), "acme", func(tx *store.Tx) error {
					runs.Add(1)
					return tx.Audit(t.Context(), entry("acme"))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if runs.Load() != each*at {
		t.Errorf("%d updates ran %d times", each*at, runs.Load())
	}
	_, err = s.UpdateOf(t.Context(), "acme", func(tx *store.Tx) error {
		if _, err := s.UpdateOf(t.Context(), "umbrella", func(tx *store.Tx) error { return tx.Audit(t.Context(), entry("umbrella")) }); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.UpdateOf(ctx, "acme", func(*store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("it did not wait for its turn until ctx ended: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
