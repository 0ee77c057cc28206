package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

const head = `spin_manifest_version = 2
[application]
name = "app"
`

const plain = head + `[[trigger.redis]]
channel = "c"
component = "a"
[component.a]
source = "a.wasm"
`

func TestLoadTouchesNoRedis(t *testing.T) {
	r, m := newRunning(t), application(t, plain)
	v, err := deploy.Load(t.Context(), tenant, m, r.system(m))
	if err != nil {
		t.Fatal(err)
	}
	if v.Tenant != tenant || v.App != "app" || len(v.Units) != 1 || v.Units[0].Version != v.ID || len(v.Triggers) != 0 || len(r.loaded) != 1 {
		t.Errorf("loaded %+v", v)
	}
	if len(r.opened)+len(r.applied) > 0 {
		t.Errorf("opened %q, applied %d", r.opened, len(r.applied))
	}
}

// A manifest of which one component was chosen is loaded without the others, whose triggers are left out with them.
func TestLoadOneComponent(t *testing.T) {
	r, m := newRunning(t), application(t, plain+`
[[trigger.redis]]
channel = "{{ gone }}"
component = "b"
[component.b]
source = "not-built.wasm"
[variables]
gone = { default = "" }
`)
	m.Components = m.Components[:1]
	v, err := deploy.Load(t.Context(), tenant, m, r.system(m))
	if err != nil || len(v.Units) != 1 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestRefusedIsFaults(t *testing.T) {
	r, m := newRunning(t), application(t, strings.Replace(plain, "a.wasm", "b.wasm", 1))
	v, err := deploy.Deploy(t.Context(), tenant, m, r.system(m))
	var refused *deploy.Refused
	var faults manifest.Faults
	if v != nil || !errors.As(err, &refused) || !errors.As(err, &faults) || len(faults) != 1 {
		t.Fatalf("%v, %v", v, err)
	}
	if f := faults[0]; f.File != m.File || f.Line != 7 || f.Path != "component.a.source" || f.Next == "" {
		t.Errorf("%+v", f)
	}
}

func TestApplyFails(t *testing.T) {
	r, m := newRunning(t), application(t, plain)
	sys := r.system(m)
	wrong := errors.New("no such tenant")
	sys.Apply = func(*deploy.Version) error { return wrong }
	if _, err := deploy.Deploy(t.Context(), tenant, m, sys); !errors.Is(err, wrong) || !strings.Contains(err.Error(), "apply acme/app") {
		t.Errorf("%v", err)
	}
}

// However many faults there are, an answer holds a hundred, and says how many more.
func TestManyFaults(t *testing.T) {
	text := head + "[trigger]\n"
	for i := range 150 {
		text += fmt.Sprintf("[component.a%d]\nsource = \"a.wasm\"\nai_models = [\"x\"]\n", i)
	}
	r, m := newRunning(t), application(t, text)
	_, err := deploy.Deploy(t.Context(), tenant, m, r.system(m))
	var refused *deploy.Refused
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	last := refused.Faults[len(refused.Faults)-1]
	if len(refused.Faults) != 101 || last.Problem != "50 more faults" {
		t.Errorf("%d faults, the last is %v", len(refused.Faults), last)
	}
}

// When the context ends, in whichever step, the error is the context's, nothing is applied, and no step follows.
func TestCancelled(t *testing.T) {
	text := head + `[variables]
host = { default = "cache" }
`
	for i := range 10 {
		text += fmt.Sprintf(`[[trigger.redis]]
channel = "c"
component = "a%d"
address = "redis://h%d"
[component.a%d]
source = "a.wasm"
files = ["conf/*"]
allowed_outbound_hosts = ["redis://{{ host }}"]
`, i, i, i)
	}
	for _, step := range []string{"required", "render", "hosts", "load", "endpoint", "none"} {
		t.Run(step, func(t *testing.T) {
			r, m := newRunning(t), application(t, text)
			write(t, m.Dir, "conf/x", []byte("x"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			at := func(here string) {
				if here == step {
					cancel()
				}
			}
			sys, real := r.system(m), r.system(m)
			sys.Required = func(ctx context.Context) error { at("required"); return real.Required(ctx) }
			sys.Render = func(ctx context.Context, text tenants.Template) (string, error) {
				at("render")
				return real.Render(ctx, text)
			}
			sys.CheckHosts = func(e []string) error { at("hosts"); return real.CheckHosts(e) }
			sys.Load = func(ctx context.Context, u *deploy.Unit) error { at("load"); return real.Load(ctx, u) }
			sys.Endpoint = func(ctx context.Context, a string) (tenants.EndpointID, error) {
				at("endpoint")
				return real.Endpoint(ctx, a)
			}
			v, err := deploy.Deploy(ctx, tenant, m, sys)
			if step == "none" {
				if err != nil || len(v.Triggers) != 10 || len(r.applied) != 1 {
					t.Errorf("undisturbed: %v, applied %d", err, len(r.applied))
				}
				return
			}
			if !errors.Is(err, context.Canceled) || errors.As(err, new(*deploy.Refused)) {
				t.Errorf("%v", err)
			}
			if v != nil || len(r.applied) > 0 || step != "endpoint" && len(r.opened) > 0 || len(r.loaded) > 2 && step != "endpoint" {
				t.Errorf("opened %q, loaded %q, applied %d", r.opened, r.loaded, len(r.applied))
			}
		})
	}
}

// Two units are loaded at a time, and all of them even if one fails.
func TestLoadsTwoAtATime(t *testing.T) {
	text := head + "[trigger]\n"
	for i := range 9 {
		text += fmt.Sprintf("[component.a%d]\nsource = \"a.wasm\"\n", i)
	}
	r, m := newRunning(t), application(t, text)
	sys := r.system(m)
	var now, most, all atomic.Int32
	both := make(chan struct{}, 1)
	sys.Load = func(context.Context, *deploy.Unit) error {
		defer now.Add(-1)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		switch all.Add(1) { // the first waits for the second
		case 1:
			<-both
		case 2:
			both <- struct{}{}
		}
		return errors.New("refused")
	}
	_, err := deploy.Load(t.Context(), tenant, m, sys)
	var refused *deploy.Refused
	if !errors.As(err, &refused) || len(refused.Faults) != 9 || all.Load() != 9 || most.Load() != 2 {
		t.Errorf("%d loaded, %d at once: %v", all.Load(), most.Load(), err)
	}
}

// The manifest that was read is deployed as it is: a deployment does not change it.
func TestManifestStays(t *testing.T) {
	r, m := newRunning(t), application(t, plain)
	before := fmt.Sprintf("%+v", *m)
	if _, err := deploy.Deploy(t.Context(), tenant, m, r.system(m)); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprintf("%+v", *m); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A unit's files are what its component may see, and nothing else.
func TestUnitFiles(t *testing.T) {
	r, m := newRunning(t), application(t, plain+`files = ["conf/*", { source = "conf/y", destination = "/top" }]
exclude_files = ["conf/y"]
`)
	write(t, m.Dir, "conf/x", []byte("1"))
	write(t, m.Dir, "conf/y", []byte("2"))
	v, err := deploy.Deploy(t.Context(), tenant, m, r.system(m))
	if err != nil {
		t.Fatal(err)
	}
	f, err := v.Units[0].Files.Open("conf/x")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := v.Units[0].Files.Open("conf/y"); err == nil {
		t.Error("an excluded file is there")
	}
}

// Modules of one path are read once and count once.
func TestSharedModule(t *testing.T) {
	text := head + "[trigger]\n"
	for i := range 20 {
		text += fmt.Sprintf("[component.a%d]\nsource = \"big.wasm\"\n", i)
	}
	r, m := newRunning(t), application(t, text)
	write(t, m.Dir, "big.wasm", nil)
	if err := os.Truncate(filepath.Join(m.Dir, "big.wasm"), 60<<20); err != nil { // 20 times this would be more than an application may have
		t.Fatal(err)
	}
	sys := r.system(m)
	sys.Load = func(context.Context, *deploy.Unit) error { return nil }
	v, err := deploy.Load(t.Context(), tenant, m, sys)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Units) != 20 || &v.Units[0].Wasm[0] != &v.Units[19].Wasm[0] {
		t.Error("the components do not share their module")
	}
}

// Modules that are each small enough may be too much together. The one that is too much is not read.
func TestModulesTogether(t *testing.T) {
	text := head + "[trigger]\n"
	for i := range 6 {
		text += fmt.Sprintf("[component.a%d]\nsource = \"big%d.wasm\"\n", i, i)
	}
	r, m := newRunning(t), application(t, text)
	for i, size := range []int64{64 << 20, 64 << 20, 64 << 20, 63 << 20, 2 << 20, 1 << 20} {
		name := fmt.Sprintf("big%d.wasm", i)
		write(t, m.Dir, name, nil)
		if err := os.Truncate(filepath.Join(m.Dir, name), size); err != nil {
			t.Fatal(err)
		}
	}
	_, err := deploy.Load(t.Context(), tenant, m, r.system(m))
	var refused *deploy.Refused
	if !errors.As(err, &refused) || len(refused.Faults) != 1 {
		t.Fatal(err)
	}
	f := refused.Faults[0]
	want := filepath.Join(m.Dir, "big4.wasm") + " has 2 MiB, and all modules of an application may have 256 MiB together, of which 1 MiB are left"
	if f.Path != "component.a4.source" || f.Problem != want {
		t.Errorf("%v", f)
	}
}

func TestFilesTogether(t *testing.T) {
	text := head + "[trigger]\n"
	for i := range 5 {
		text += fmt.Sprintf("[component.a%d]\nsource = \"a.wasm\"\nfiles = [\"big\"]\n", i)
	}
	r, m := newRunning(t), application(t, text)
	write(t, m.Dir, "big", nil)
	if err := os.Truncate(filepath.Join(m.Dir, "big"), 256<<20); err != nil {
		t.Fatal(err)
	}
	_, err := deploy.Load(t.Context(), tenant, m, r.system(m))
	var refused *deploy.Refused
	if !errors.As(err, &refused) || len(refused.Faults) != 1 {
		t.Fatal(err)
	}
	if f := refused.Faults[0]; f.Path != "component.a4.files" || !strings.Contains(f.Problem, "more than 1024 MiB together") {
		t.Errorf("%v", f)
	}
}

// A version is named after everything that decides what it does, and nothing else.
func TestVersion(t *testing.T) {
	base := func() map[string]string {
		return map[string]string{
			"spin.toml": plain + "files = [\"conf/*\"]\n[component.a.profile.fast]\nenvironment = { SPEED = \"1\" }\n",
			"a.wasm":    string(guest(t, "echo-a")), "conf/x": "1", "conf/y": "22", "beside": "1",
		}
	}
	r := newRunning(t)
	version := func(files map[string]string, profile string) tenants.VersionID {
		t.Helper()
		dir := t.TempDir()
		for name, content := range files {
			write(t, dir, name, []byte(content))
		}
		m, err := manifest.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if m, err = m.Profile(profile); err != nil {
			t.Fatal(err)
		}
		v, err := deploy.Deploy(t.Context(), tenant, m, r.system(m))
		if err != nil {
			t.Fatal(err)
		}
		return v.ID
	}
	first := version(base(), "")
	if name := string(first); len(name) != 71 || !strings.HasPrefix(name, "sha256:") || strings.Trim(name[7:], "0123456789abcdef") != "" {
		t.Errorf("the name is %q", name)
	}
	if again := version(base(), ""); again != first {
		t.Error("the same application in another directory is another version")
	}
	files := base()
	files["beside"] = "2"
	if version(files, "") != first {
		t.Error("a file that no component sees makes another version")
	}

	seen := []tenants.VersionID{first}
	differs := func(what string, v tenants.VersionID) {
		t.Helper()
		if slices.Contains(seen, v) {
			t.Errorf("%s makes no version of its own", what)
		}
		seen = append(seen, v)
	}
	for what, change := range map[string]func(f map[string]string){
		"a channel":                  func(f map[string]string) { f["spin.toml"] = strings.Replace(f["spin.toml"], `"c"`, `"d"`, 1) },
		"an environment":             func(f map[string]string) { f["spin.toml"] += "[component.a.environment]\nA = \"1\"\n" },
		"a limit":                    func(f map[string]string) { f["spin.toml"] += "[component.a.tool.tenloom]\nconcurrency = 1\n" },
		"a module":                   func(f map[string]string) { f["a.wasm"] = string(guest(t, "echo-b")) },
		"a file's content":           func(f map[string]string) { f["conf/x"] = "2" },
		"a file's end":               func(f map[string]string) { f["conf/x"] = "" },
		"a file's name":              func(f map[string]string) { f["conf/z"] = f["conf/x"]; delete(f, "conf/x") },
		"a file more":                func(f map[string]string) { f["conf/z"] = "" },
		"files that swap":            func(f map[string]string) { f["conf/x"], f["conf/y"] = f["conf/y"], f["conf/x"] },
		"a byte moved between files": func(f map[string]string) { f["conf/x"], f["conf/y"] = "12", "2" },
	} {
		files := base()
		change(files)
		differs(what, version(files, ""))
	}
	differs("a profile", version(base(), "fast"))
}
