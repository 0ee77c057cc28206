package bolt_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tenloom/tenloom/tenants/store/kv"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
	"github.com/tenloom/tenloom/tenants/store/kv/kvtest"
)

func TestContract(t *testing.T) {
	var mu sync.Mutex
	paths := map[kv.Store]string{}
	open := func(t *testing.T, path string) kv.Store {
		s := openAt(t, path)
		mu.Lock()
		defer mu.Unlock()
		paths[s] = path
		return s
	}
	path := func(t *testing.T, s kv.Store) string {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return paths[s]
	}
	kvtest.Run(t, kvtest.Backend{
		Open:   func(t *testing.T) kv.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) },
		Reopen: func(t *testing.T, s kv.Store) kv.Store { return open(t, path(t, s)) },
		Compact: func(t *testing.T, s kv.Store) kv.Store {
			p := path(t, s)
			forget(t, p)
			return open(t, p)
		},
	})
}

func openAt(t *testing.T, path string) kv.Store {
	t.Helper()
	s, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// forget does to the file what many thousand commits do: it empties the log of changes.
func forget(t *testing.T, path string) {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket([]byte("log")); err != nil {
			return err
		}
		_, err := tx.CreateBucket([]byte("log"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "store.db")
	s := openAt(t, path)
	_, err := bolt.Open(path)
	if !errors.Is(err, kv.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Fatalf("while it is open: %v", err)
	}
	s.Close()
	openAt(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no store ", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(garbage); !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("garbage: %v", err)
	}
	if _, err := bolt.Open(dir); err == nil {
		t.Error("a folder is taken for a store")
	}
	if _, err := bolt.Open(filepath.Join(garbage, "store.db")); err == nil {
		t.Error("a file is taken for a folder")
	}
}
