package manifest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/deploy/manifest"
)

const minimal = `spin_manifest_version = 2
application.name = "app"
trigger.redis = [{ component = "a", channel = "c" }]
[component.a]
source = "a.wasm"
`

func TestLoadFileAndDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "spin.toml")
	write(t, file, minimal)
	t.Chdir(dir)
	for _, path := range []string{dir, file, ".", "", "spin.toml"} {
		m, err := manifest.Load(path)
		if err != nil {
			t.Fatalf("Load(%q): %v", path, err)
		}
		if m.Name != "app" || !sameFile(t, m.Dir, dir) || filepath.Base(m.File) != "spin.toml" {
			t.Errorf("Load(%q): name %q, dir %q, file %q", path, m.Name, m.Dir, m.File)
		}
	}
}

func TestLoadOtherName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "other.toml")
	write(t, file, minimal+"faulty = 1\n")
	_, err := manifest.Load(file)
	var faults manifest.Faults
	if !errors.As(err, &faults) || faults[0].File != file || faults[0].Line != 6 {
		t.Errorf("got %#v", err)
	}
}

func TestLoadMissing(t *testing.T) {
	outer := t.TempDir()
	inner := filepath.Join(outer, "src", "deep")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := manifest.Load(inner)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v is not fs.ErrNotExist", err)
	}
	if want := filepath.Join(inner, "spin.toml"); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tenloom new") {
		t.Errorf("%v does not say where it looked and what to do next", err)
	}

	write(t, filepath.Join(outer, "spin.toml"), minimal)
	if _, err = manifest.Load(inner); err == nil || !strings.Contains(err.Error(), "there is one in "+outer) {
		t.Errorf("%v does not point at the manifest above", err)
	}
	if _, err = manifest.Load(filepath.Join(outer, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestLoadNotAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "spin.toml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.Load(dir); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("got %v", err)
	}
}

func TestBounds(t *testing.T) {
	for _, test := range []struct{ name, input, want string }{
		{"size", "# " + strings.Repeat("x", 256<<10), "larger than 256 KiB"},
		{"array", "a = [" + strings.Repeat("1,", 1001) + "]", "more than 1000 entries"},
		{"keys", lines(1001, "a%d = 1"), "more than 1000 entries"},
		{"tables", lines(1001, "[component.a%d]"), "more than 1000 entries"},
		{"array of tables", lines(1001, "[[component]] # %d"), "more than 1000 entries"},
		{"inline tables", "a = " + strings.Repeat("{ a = ", 40) + "1" + strings.Repeat("}", 40), "nested deeper than 32"},
		{"headers", "[" + strings.Repeat("a.", 40) + "a]", "nested deeper than 32"},
		{"very deep", "a = " + strings.Repeat("[", 200_000), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := manifest.Parse("spin.toml", []byte(test.input))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %.200v", err)
			}
		})
	}
}

// A line of many values costs as much as its length, not as much as its square.
func TestManyValuesOnOneLine(t *testing.T) {
	row := "[" + strings.Repeat("[],", 999) + "]"
	_, err := manifest.Parse("spin.toml", []byte("a = ["+strings.Repeat(row+",", 80)+"]"))
	if err == nil {
		t.Error("no fault")
	}
}

func TestProfile(t *testing.T) {
	m, err := manifest.Parse("spin.toml", []byte(minimal+`
environment = { A = "1", B = "2" }
build = { command = "make", workdir = "w" }
dependencies = { "x:y" = "1", "x:z" = "1" }
[component.a.profile.debug]
source = "debug.wasm"
environment = { B = "3", C = "4" }
build.command = ["make debug"]
dependencies = { "x:z" = { path = "z.wasm" }, "x:w" = "2" }
[component.a.profile.clash]
dependencies = { "x:y@1.0.0" = "1" }
[component.a.profile.empty]
[component.b]
source = "b.wasm"
profile.fast.build.command = "make fast"
`))
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(m.Components)
	p, err := m.Profile("debug")
	if err != nil {
		t.Fatal(err)
	}
	a := p.Components[0]
	got := fmt.Sprintln(a.Source.Path, a.Environment, a.Build.Commands, a.Build.Workdir, len(a.Dependencies), a.Dependencies[1].Path, a.Dependencies[2].Version)
	if want := "debug.wasm map[A:1 B:3 C:4] [make debug] w 3 z.wasm 2\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p.Components[1].Build != nil || p.Components[1].Source.Path != "b.wasm" {
		t.Error("a component without the profile changed")
	}
	if fast, err := m.Profile("fast"); err != nil || fast.Components[1].Build.Commands[0] != "make fast" {
		t.Error("a profile's build command is not taken where there was none", err)
	}
	if _, err := m.Profile("clash"); err == nil || !strings.Contains(err.Error(), "conflicts with") {
		t.Errorf("clash: %v", err)
	}
	if _, err := m.Profile("deugb"); err == nil || !strings.Contains(err.Error(), "Profile deugb is not defined in this application") || !strings.Contains(err.Error(), "debug, empty, fast") {
		t.Errorf("unknown: %v", err)
	}
	if same, err := m.Profile(""); err != nil || same != m {
		t.Error("no profile is not the manifest itself")
	}
	if fmt.Sprint(m.Components) != before {
		t.Error("the manifest itself changed")
	}
}

func lines(n int, format string) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, format+"\n", i)
	}
	return out.String()
}

func write(t testing.TB, file, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sameFile(t testing.TB, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}
