package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/examples/templates"
)

func TestNewWritesTheTemplate(t *testing.T) {
	for _, kind := range templates.Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, stdout, stderr := run(t.Context(), "new", "order-mailer", "-t", kind, "--json")
			if code != 0 || stderr != "" {
				t.Fatalf("ended with %d and %s", code, stderr)
			}
			want, err := templates.Files(kind, "order-mailer")
			if err != nil {
				t.Fatal(err)
			}
			if got := readTree(t, "order-mailer"); !maps.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("wrote %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
			var said struct {
				Name, Template string
				Files, Next    []string
			}
			if err := json.Unmarshal([]byte(stdout), &said); err != nil {
				t.Fatal(err)
			}
			if said.Name != "order-mailer" || said.Template != kind || !slices.Equal(said.Files, slices.Sorted(maps.Keys(want))) {
				t.Errorf("said %+v", said)
			}
			if n := len(said.Next); n != 4 || said.Next[0] != "cd order-mailer" || said.Next[2] != "tenloom up" ||
				said.Next[3] != "tenloom publish order-mailer 'hello'" || !strings.Contains(string(want["spin.toml"]), said.Next[1]) {
				t.Errorf("next: %q", said.Next)
			}
			onlyEntry(t, "order-mailer")
		})
	}
}

func readTree(t *testing.T, dir string) map[string][]byte {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// onlyEntry checks that nothing else, a draft perhaps, was left in the working directory.
func onlyEntry(t *testing.T, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("the folder holds %q, want %q", names, want)
	}
}

func TestNewOverwritesNothing(t *testing.T) {
	obstacles := map[string]func() error{
		"file":            func() error { return os.WriteFile("mailer", []byte("mine"), 0o600) },
		"empty folder":    func() error { return os.Mkdir("mailer", 0o700) },
		"dangling link":   func() error { return os.Symlink("nowhere", "mailer") },
		"earlier project": func() error { return writeNew("mailer", map[string][]byte{"spin.toml": []byte("mine")}) },
	}
	for name, place := range obstacles {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := place(); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat("mailer")
			if err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := run(t.Context(), "new", "mailer")
			want := "Error: mailer exists already\n  nothing was written; choose another name or remove it\n"
			if code != exitConflict || stdout != "" || stderr != want {
				t.Errorf("ended with %d, %q and %q, want %q", code, stdout, stderr, want)
			}
			after, err := os.Lstat("mailer")
			if err != nil || !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
				t.Errorf("what was there changed: %v, %v", after, err)
			}
			onlyEntry(t, "mailer")
		})
	}
}

// A path that leads out of the folder is refused, and nothing stays behind.
func TestWriteNewWritesAllOrNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := writeNew("mailer", map[string][]byte{"a.txt": nil, "../b.txt": nil}); err == nil {
		t.Error("wrote outside of the folder")
	}
	onlyEntry(t)
}

func TestNextCommands(t *testing.T) {
	const manifest = `spin_manifest_version = 2
[[trigger.redis]]
channel = "orders"
component = "mailer"
[component.mailer.build]
command = "make"
`
	rows := []struct {
		program, manifest string
		want              []string
	}{
		{"tenloom", manifest, []string{"cd mailer", "make", "tenloom up", "tenloom publish orders 'hello'"}},
		{"go run ./cmd/tenloom", manifest, []string{"(cd mailer && make)", "go run ./cmd/tenloom up mailer", "go run ./cmd/tenloom publish orders 'hello'"}},
		{"tenloom", "", []string{"cd mailer", "tenloom up", "tenloom publish CHANNEL 'hello'"}},
	}
	for _, row := range rows {
		if got := nextCommands(row.program, "mailer", map[string][]byte{"spin.toml": []byte(row.manifest)}); !slices.Equal(got, row.want) {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

func TestPrintNew(t *testing.T) {
	files := map[string][]byte{"spin.toml": []byte("x"), "main.go": []byte("package main")}
	for format, want := range map[string]string{
		"table": "Created mailer/ from template go: 2 files\nNext:   cd mailer\n        tenloom up\n",
		"tsv":   "created\tmailer/main.go\t12 B\ncreated\tmailer/spin.toml\t1 B\nnext\tcd mailer\nnext\ttenloom up\n",
	} {
		var out bytes.Buffer
		if err := printNew(screen{w: &out, format: format}, "mailer", "go", files, []string{"cd mailer", "tenloom up"}); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q", format, out.String(), err, want)
		}
	}
}
