package secrets_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/tenants"
)

func TestSealer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "seal.key")
	s, err := secrets.OpenSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	for _, plain := range []string{"", "hunter2", strings.Repeat("x", 64<<10)} {
		sealed, err := s.Seal([]byte(plain))
		if err != nil || plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Fatalf("%d bytes: %v", len(plain), err)
		}
		if again, _ := s.Seal([]byte(plain)); bytes.Equal(again, sealed) {
			t.Error("sealed twice, it is the same")
		}
		later, err := secrets.OpenSealer(path) // another process
		if err != nil {
			t.Fatal(err)
		}
		if v, err := later.Open(sealed); err != nil || v.Reveal() != plain {
			t.Errorf("%d bytes: %v", len(plain), err)
		}
		for i := range min(len(sealed), 40) {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			if _, err := s.Open(changed); !errors.Is(err, secrets.ErrSealed) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
	}
	other, err := secrets.OpenSealer(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := other.Seal([]byte("x"))
	for _, bad := range []tenants.Sealed{nil, {}, {1}, {2, 3}, sealed, sealed[:5]} {
		if _, err := s.Open(bad); !errors.Is(err, secrets.ErrSealed) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func TestSealerRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"readable": {strings.Repeat("ab", 32), 0o640, "others can read it"},
		"short":    {"abcd", 0o600, "64 digits of hex"},
		"long":     {strings.Repeat("ab", 33), 0o600, "64 digits of hex"},
		"empty":    {"", 0o600, "64 digits of hex"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(row.text), row.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := secrets.OpenSealer(path); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}

// TestSealerTogether: processes that start at once come to one key.
func TestSealerTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	var wg sync.WaitGroup
	all := make([]*secrets.Sealer, 8)
	for i := range all {
		wg.Go(func() { all[i], _ = secrets.OpenSealer(path) })
	}
	wg.Wait()
	sealed, err := all[0].Seal([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		if v, err := s.Open(sealed); err != nil || v.Reveal() != "x" {
			t.Errorf("%d: %v", i, err)
		}
	}
}
