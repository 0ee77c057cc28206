package templates_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/examples/templates"
)

// write puts a new application into a folder of its own.
func write(t *testing.T, kind, name string) string {
	t.Helper()
	files, err := templates.Files(kind, name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for path, data := range files {
		to := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, "PWD=")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// wasm checks that a module was built: the handler's export is in it.
func wasm(t *testing.T, path string) {
	t.Helper()
	module, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(module, []byte("\x00asm\x01\x00\x00\x00")) || !bytes.Contains(module, []byte("\x14handle-redis-message\x00")) {
		t.Errorf("%s is no module with a handler", path)
	}
}

// TestGo builds and tests a new application with the registry out of reach.
func TestGo(t *testing.T) {
	dir := write(t, "go", "order-mailer")
	offline := []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off"}
	run(t, dir, offline, "go", "vet", "./...")
	run(t, dir, offline, "go", "test", "./...")
	run(t, dir, append(offline, "GOOS=wasip1", "GOARCH=wasm"), "go", "build", "-buildmode=c-shared", "-o", "main.wasm", ".")
	wasm(t, filepath.Join(dir, "main.wasm"))
}

func TestFiles(t *testing.T) {
	for kind, want := range map[string][]string{
		"go": {".gitignore", "README.md", "go.mod", "main.go", "main_test.go", "spin.toml"},
		"c":  {".gitignore", "README.md", "build.sh", "handler.c", "spin.toml", "spin_redis.h"},
	} {
		files, err := templates.Files(kind, "a-b2")
		if err != nil {
			t.Fatal(err)
		}
		for path, data := range files {
			if bytes.Contains(data, []byte("@NAME@")) {
				t.Errorf("%s: %s has a placeholder left", kind, path)
			}
		}
		got := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(path string) bool { return strings.HasPrefix(path, "sdk/") })
		if !slices.Equal(got, want) {
			t.Errorf("%s: files %v, want %v", kind, got, want)
		}
		m, err := manifest.Parse("spin.toml", files["spin.toml"])
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if m.Name != "a-b2" || len(m.Components) != 1 || m.Components[0].ID != "a-b2" {
			t.Errorf("%s: application %s, components %v", kind, m.Name, m.Components)
		}
	}
}

func TestBadNames(t *testing.T) {
	for _, c := range []struct{ kind, name, want string }{
		{"rust", "a", `no template "rust"; there are: c, go`},
		{"../go", "a", "no template"},
		{"go", "", "empty"},
		{"go", "Order", "a-z"},
		{"go", "a_b", "a-z"},
		{"go", "../a", "a-z"},
		{"go", "1a", "start with a letter"},
		{"go", "a-1", "start with a letter"},
		{"go", "a--b", "start with a letter"},
		{"go", strings.Repeat("a", 64), "at most 63"},
	} {
		if files, err := templates.Files(c.kind, c.name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %d files, error %v; want %q", c.kind, c.name, len(files), err, c.want)
		}
	}
}

// TestArchive: what "tenloom new" writes is the SDK as it stands.
func TestArchive(t *testing.T) {
	files, err := templates.Files("go", "a")
	if err != nil {
		t.Fatal(err)
	}
	sdk := os.DirFS("../../sdk")
	err = fs.WalkDir(sdk, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "testdata/") {
			return err
		}
		want, err := fs.ReadFile(sdk, path)
		if got := files["sdk/"+path]; !bytes.Equal(got, want) {
			t.Errorf("sdk/%s differs from the archive (%d and %d bytes): run go generate ./examples/templates", path, len(want), len(got))
		}
		delete(files, "sdk/"+path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range files {
		if strings.HasPrefix(path, "sdk/") {
			t.Errorf("the archive has %s, which is gone: run go generate ./examples/templates", path)
		}
	}
	// The bytes depend on the sources alone, so that build.sh --check may compare them.
	again := filepath.Join(t.TempDir(), "sdk.zip")
	run(t, ".", nil, "go", "run", "./pack", "../../sdk", again)
	got, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile("sdk.zip"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("pack made %d other bytes than sdk.zip, %v: run go generate ./examples/templates", len(got), err)
	}
}
