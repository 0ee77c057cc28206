package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestSpinPlugin does what Spin does: it installs the package that the plugin's manifest names, and runs it for "spin deploy --from spin.toml".
func TestSpinPlugin(t *testing.T) {
	out := t.TempDir()
	built, err := program()
	if err != nil {
		t.Fatal(err)
	}
	pack := exec.Command("../../packaging/spin-plugin/pack", "1.2.3", out, "", runtime.GOOS+"/"+runtime.GOARCH)
	pack.Env = append(os.Environ(), "TENLOOM_BINARY="+built)
	if text, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var manifest struct {
		Name, Version, SpinCompatibility, License string
		Packages                                  []struct{ OS, Arch, URL, SHA256 string }
	}
	text, err := os.ReadFile(filepath.Join(out, "tenloom.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Name != "tenloom" || manifest.Version != "1.2.3" || manifest.License == "" || len(manifest.Packages) != 1 {
		t.Fatalf("%s", text)
	}
	home := filepath.Join(t.TempDir(), "plugins", "tenloom")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := strings.TrimPrefix(manifest.Packages[0].URL, "file://")
	if text, err := exec.Command("tar", "-C", home, "-xzf", archive).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}

	redis := redistest.Start(t)
	s := startServe(t, filepath.Join(t.TempDir(), "state"), nil, "--redis", redis.URL)
	acme := s.join(t, s.operator(t), "acme")
	app := greeting(t)
	env := append([]string{"SPIN_BIN_PATH=/usr/local/bin/spin", "SPIN_VERSION=4.0.2"}, acme.env...)
	got := finish(t, app, env, filepath.Join(home, "tenloom"), "deploy", "--from", "spin.toml", "--variable", "redis_address=redis://localhost:6379")
	if got.code != exitOK || !strings.Contains(got.stdout, "acme/hello v1 100 %") || !strings.Contains(got.stderr, "spin tenloom logs -f -a hello") {
		t.Errorf("%d\n%s%s", got.code, got.stdout, got.stderr)
	}
	acme.does(app, `"Hello, Ada"`, 0, "publish", "greetings", `{"name":"Ada"}`)
}
