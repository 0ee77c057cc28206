package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/store/artifact"
	"github.com/tenloom/tenloom/tenants/store/artifact/artifacttest"
)

func folder(t *testing.T, dir string) *artifact.Store {
	t.Helper()
	s, err := artifact.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFolder(t *testing.T) {
	artifacttest.Run(t, func(t *testing.T) *artifact.Store { return folder(t, filepath.Join(t.TempDir(), "deep", "artifacts")) })
}

func TestMemory(t *testing.T) {
	artifacttest.Run(t, func(t *testing.T) *artifact.Store { return artifact.Memory() })
}

func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// A file that somebody or something changed is found when it is read, and healed by the next upload.
func TestDamageIsFoundAndHealed(t *testing.T) {
	dir := t.TempDir()
	s := folder(t, dir)
	defer s.Close()
	digest, content := artifacttest.Content(1, 10_000)
	put := func() {
		t.Helper()
		if _, err := s.Put(t.Context(), digest, bytes.NewReader(content), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	put()
	paths := files(t, dir)
	if len(paths) != 1 || !strings.HasSuffix(paths[0], filepath.Join("sha256", digest[7:9], digest[7:])) {
		t.Fatalf("files %v", paths)
	}
	for name, b := range map[string][]byte{"short": content[:9_999], "changed": append([]byte{content[0] ^ 1}, content[1:]...), "empty": nil} {
		if err := os.WriteFile(paths[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context(), digest, 1<<20); !errors.Is(err, artifact.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		put()
		if got, err := s.Read(t.Context(), digest, 1<<20); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s, healed: %v", name, err)
		}
	}
}

// What an upload left that was cut off by a crash is collected, and refused uploads leave no file at all.
func TestNothingIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	s := folder(t, dir)
	defer s.Close()
	digest, content := artifacttest.Content(1, 10_000)
	if _, err := s.Put(t.Context(), digest, bytes.NewReader(content[1:]), 1<<20); err == nil {
		t.Fatal("a wrong digest is taken")
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := os.WriteFile(filepath.Join(dir, "sha256", digest[7:9], "fileblob123"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(context.Context) (map[string]bool, error) { return nil, nil }
	if got, err := s.Collect(t.Context(), time.Now().Add(time.Hour), none); err != nil || got.Removed != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	for _, url := range []string{"mem://", "file://" + dir} {
		s, err := artifact.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	for _, url := range []string{"", "ftp://x", "file://" + os.Args[0]} {
		if _, err := artifact.Open(t.Context(), url); err == nil {
			t.Errorf("%q is opened", url)
		}
	}
}
