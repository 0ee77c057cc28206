package manifest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tenloom/tenloom/deploy/manifest"
)

// tree is what the mounts below choose from.
var tree = []string{
	"a.txt", "b.txt", ".hidden", "odd[1].txt", "assets/one.png", "assets/two.jpg", "assets/deep/three.png", "assets/deep/deeper/four.png",
	"assets/.git/config", "secrets/key", "secrets/more/key2", "x1", "x2", "x-", "x]",
}

// mount writes the tree and the manifest and mounts component a.
func mount(t testing.TB, dir, fields string) (fs.FS, error) {
	t.Helper()
	for _, name := range tree {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), "data of "+name)
	}
	write(t, filepath.Join(dir, "spin.toml"), minimal+fields)
	m, err := manifest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m.Mount(&m.Components[0])
}

// listing gives all files as guest=host, or as the name where both are the same; a file's content names it on the host.
func listing(t testing.TB, fsys fs.FS) string {
	t.Helper()
	var out []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if host, ok := strings.CutPrefix(string(data), "data of "); ok && host != name {
			name += "=" + host
		}
		out = append(out, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestMount(t *testing.T) {
	for _, test := range []struct{ name, fields, want string }{
		{"none", ``, ""},
		{"file", `files = ["a.txt"]`, "a.txt"},
		{"file with dot", `files = ["./a.txt"]`, "a.txt"},
		{"star is one component", `files = ["*.txt"]`, "a.txt b.txt odd[1].txt"},
		{"star takes dot files and no directories", `files = ["*"]`, ".hidden a.txt b.txt odd[1].txt spin.toml x- x1 x2 x]"},
		{"question mark", `files = ["?.txt"]`, "a.txt b.txt"},
		{"class", `files = ["x[0-9]"]`, "x1 x2"},
		{"class with dash", `files = ["x[-]"]`, "x-"},
		{"class with bracket", `files = ["x[]]"]`, "x]"},
		{"class negated", `files = ["x[!0-9]"]`, "x- x]"},
		{"class backwards", `files = ["x[9-0]"]`, ""},
		{"brackets in a name that exists", `files = ["odd[1].txt"]`, "odd[1].txt"},
		{"double star", `files = ["**/*.png"]`, "assets/deep/deeper/four.png assets/deep/three.png assets/one.png"},
		{"double star means zero directories too", `files = ["assets/**/*.png"]`, "assets/deep/deeper/four.png assets/deep/three.png assets/one.png"},
		{"double star twice", `files = ["**/deep/**/*"]`, "assets/deep/deeper/four.png assets/deep/three.png"},
		{"double star beside itself", `files = ["assets/**/**/*.png"]`, "assets/deep/deeper/four.png assets/deep/three.png assets/one.png"},
		{"double star at the end means directories", `files = ["assets/**"]`, ""},
		{"star as directory", `files = ["*/*/*.png"]`, "assets/deep/three.png"},
		{"glob then plain name", `files = ["*/key"]`, "secrets/key"},
		{"glob finds nothing", `files = ["*.gif", "none/**/*"]`, ""},
		{"directory, as Spin places it", `files = ["secrets"]`, "secrets/secrets/key=secrets/key secrets/secrets/more/key2=secrets/more/key2"},
		{"placement of a directory", `files = [{ source = "assets", destination = "/static" }]`,
			"static/.git/config=assets/.git/config static/deep/deeper/four.png=assets/deep/deeper/four.png static/deep/three.png=assets/deep/three.png static/one.png=assets/one.png static/two.jpg=assets/two.jpg"},
		{"placement at the root", `files = [{ source = "secrets", destination = "/" }]`, "key=secrets/key more/key2=secrets/more/key2"},
		{"placement of all", `files = [{ source = ".", destination = "/all" }]
			exclude_files = ["assets/*", "*.txt", "x*", ".hidden", "spin.toml"]`, "all/secrets/key=secrets/key all/secrets/more/key2=secrets/more/key2"},
		{"placement of a file", `files = [{ source = "a.txt", destination = "/etc/app/b.conf" }]`, "etc/app/b.conf=a.txt"},
		{"placement without slash", `files = [{ source = "a.txt", destination = "b.conf" }]`, "b.conf=a.txt"},
		{"exclude: star crosses directories", `files = ["**/*"]
			exclude_files = ["assets/*", "x*", "*.t?t", "spin.toml", ".hidden"]`, "secrets/key secrets/more/key2"},
		{"exclude: double star", `files = ["secrets/**/*"]
			exclude_files = ["**/key"]`, "secrets/more/key2"},
		{"exclude: double star at the end excludes no file", `files = ["secrets/**/*"]
			exclude_files = ["secrets/**"]`, "secrets/key secrets/more/key2"},
		{"exclude: not for a file named outright", `files = ["a.txt"]
			exclude_files = ["*"]`, "a.txt"},
		{"the later of two wins", `files = [{ source = "a.txt", destination = "/x" }, { source = "b.txt", destination = "/x" }]`, "x=b.txt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys, err := mount(t, t.TempDir(), test.fields)
			if err != nil {
				t.Fatal(err)
			}
			got := listing(t, fsys)
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			var names []string
			for _, f := range strings.Fields(test.want) {
				guest, _, _ := strings.Cut(f, "=")
				names = append(names, guest)
			}
			if err := fstest.TestFS(fsys, names...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMountFaults(t *testing.T) {
	for _, test := range []struct{ name, fields, want string }{
		{"missing file", `files = ["nope.txt"]`, `6:10: component.a.files[0]: "nope.txt" does not exist and doesn't appear to be a glob pattern`},
		{"missing source", `files = ["a.txt", { source = "nope", destination = "/" }]`, `6:19: component.a.files[1]: file or directory "nope" does not exist`},
		{"below a file", `files = ["a.txt/b"]`, `"a.txt/b" does not exist`},
		{"invalid glob", `files = ["[a*"]`, `invalid glob pattern "[a*": "[" has no matching "]"`},
		{"file at the root", `files = [{ source = "a.txt", destination = "/" }]`, `"/" is not a valid destination file name`},
		{"file at a directory", `files = [{ source = "a.txt", destination = "/x/" }]`, `"/x/" is not a valid destination file name`},
		{"file below a file", `files = [{ source = "a.txt", destination = "/x" }, { source = "a.txt", destination = "/x/y" }]`, "/x is both a file and a directory"},
		{"file over a directory", `files = [{ source = "a.txt", destination = "/x/y" }, { source = "a.txt", destination = "/x" }]`, "/x is both a file and a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := mount(t, t.TempDir(), test.fields)
			var faults manifest.Faults
			if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), test.want) || faults[0].Next == "" {
				t.Errorf("got %v", err)
			}
		})
	}
	_, err := mount(t, t.TempDir(), `files = ["nope", "a.txt", "nope either"]`)
	if faults := (manifest.Faults)(nil); !errors.As(err, &faults) || len(faults) != 2 {
		t.Errorf("two faults, got %v", err)
	}
}

// Nothing outside of the manifest's directory is ever seen, by whatever kind of link.
func TestMountLinks(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "passwd"), "secret")
	links := map[string]string{
		"abs-file": filepath.Join(outside, "passwd"), "abs-dir": outside, "up-dir": "../" + filepath.Base(outside),
		"inside-file": "a.txt", "inside-dir": "assets", "dangling": "nowhere", "loop": ".", "secrets/up": "..",
	}
	for _, test := range []struct{ name, fields, want, fault string }{
		{"link to a file outside", `files = ["abs-file"]`, "", "escapes"},
		{"file below a link to a directory outside", `files = ["abs-dir/passwd"]`, "", "escapes"},
		{"relative link", `files = ["up-dir/passwd"]`, "", "escapes"},
		{"placement", `files = [{ source = "abs-dir", destination = "/" }]`, "", "escapes"},
		{"glob", `files = ["abs-*"]`, "", "escapes"},
		{"glob below", `files = ["abs-dir/*"]`, "", "escapes"},
		{"everything", `files = ["**/*.png"]`, "", "escapes"},
		{"excluded links", `files = ["**/*.png"]
			exclude_files = ["abs-*", "up-dir"]`,
			"assets/deep/deeper/four.png assets/deep/three.png assets/one.png inside-dir/deep/deeper/four.png=assets/deep/deeper/four.png inside-dir/deep/three.png=assets/deep/three.png inside-dir/one.png=assets/one.png", ""},
		{"link to a file inside", `files = ["inside-file"]`, "inside-file=a.txt", ""},
		{"link to a directory inside", `files = ["inside-dir/*.png"]`, "inside-dir/one.png=assets/one.png", ""},
		{"link to nothing", `files = ["dang*"]`, "", ""},
		{"link to its own directory", `files = ["secrets/**/k*"]`, "secrets/key secrets/more/key2", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, to := range links {
				link := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(to, "../") {
					rel, err := filepath.Rel(dir, outside)
					if err != nil {
						t.Fatal(err)
					}
					to = rel
				}
				if err := os.Symlink(to, link); err != nil {
					t.Fatal(err)
				}
			}
			fsys, err := mount(t, dir, test.fields)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Fatalf("got %v, %v", fsys, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(t, fsys); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// A link that is put in place of a file after Mount leads nowhere.
func TestMountThenLink(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "passwd")
	write(t, outside, "secret")
	dir := t.TempDir()
	fsys, err := mount(t, dir, `files = ["a.txt", "b.txt"]`)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "a.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "a.txt")); err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(fsys, "a.txt")
	if err == nil || strings.Contains(err.Error(), dir) {
		t.Errorf("read %q, %v", data, err)
	}
	if err := os.Remove(filepath.Join(dir, "b.txt")); err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Open("b.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file removed since: %v", err)
	}
}

func TestMountBounds(t *testing.T) {
	dir := t.TempDir()
	for i := range 10_001 {
		write(t, filepath.Join(dir, "many", fmt.Sprint(i)), "")
	}
	if _, err := mount(t, dir, `files = ["many/*"]`); err == nil || !strings.Contains(err.Error(), "more than 10000 files") {
		t.Errorf("many: %v", err)
	}

	dir = t.TempDir()
	write(t, filepath.Join(dir, "large"), "")
	if err := os.Truncate(filepath.Join(dir, "large"), 256<<20+1); err != nil {
		t.Fatal(err)
	}
	if _, err := mount(t, dir, `files = ["large"]`); err == nil || !strings.Contains(err.Error(), "more than 256 MiB") {
		t.Errorf("large: %v", err)
	}

	dir = t.TempDir()
	write(t, filepath.Join(dir, strings.Repeat("d/", 70), "f"), "")
	if _, err := mount(t, dir, `files = ["**/f"]`); err == nil || !strings.Contains(err.Error(), "deeper than 64 directories") {
		t.Errorf("deep: %v", err)
	}
}

func TestMountIsReadOnly(t *testing.T) {
	fsys, err := mount(t, t.TempDir(), `files = ["a.txt"]`)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Open("a.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := f.(interface{ Write([]byte) (int, error) }); ok {
		t.Error("a mounted file offers Write")
	}
	info, err := f.Stat()
	if err != nil || info.Mode() != 0o444 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
