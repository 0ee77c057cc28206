package secrets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/secrets"
)

// TestFolder reads one file for each variable, and again when it has changed: written over, replaced, or behind a link that leads elsewhere, as
// Kubernetes does it.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := secrets.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := func(name, text string, there bool) {
		t.Helper()
		v, ok, err := p.Lookup(t.Context(), name)
		if err != nil || ok != there || v.Reveal() != text {
			t.Fatalf("%s: have %q, %v, %v; want %q, %v", name, v.Reveal(), ok, err, text, there)
		}
	}
	want("key", "", false)
	put("key", "one\n")
	want("key", "one", true)
	put("key", "two")
	want("key", "two", true)
	put("other", "333")
	if err := os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	want("key", "333", true)
	for _, v := range []string{"v1", "v2"} {
		put(v, v)
		os.Remove(filepath.Join(dir, "key"))
		if err := os.Symlink(v, filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
		want("key", v, true)
	}
	put("large", strings.Repeat("x", 1<<20+1))
	if _, _, err := p.Lookup(t.Context(), "large"); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Fatalf("have %v", err)
	}
	if _, err := secrets.Folder(filepath.Join(dir, "nowhere")); err == nil {
		t.Fatal("a folder that is not there is one")
	}
}
