package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestHostedCanary: a canary that fails is taken back while deploy looks on, which ends with 7 and says why; one that does not is kept.
func TestHostedCanary(t *testing.T) {
	redis := redistest.Start(t)
	s := startServe(t, filepath.Join(t.TempDir(), "state"), nil, "--redis", redis.URL)
	operator := s.operator(t)
	acme := s.join(t, operator, "acme")
	operator.does(t.TempDir(), `is changed`, 0, "policy", "set", "-t", "acme", "-f", "grants.requests_per_second=100000")
	app := t.TempDir()
	write := func(module string) {
		t.Helper()
		wasm, err := os.ReadFile(filepath.Join("..", "..", "sandbox", "testdata", "guests", module+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(app, "m.wasm"), wasm)
	}
	manifest := "spin_manifest_version = 2\n[application]\nname = \"mailer\"\n[variables]\nused = { default = \"x\" }\n[[trigger.redis]]\nchannel = \"orders\"\ncomponent = \"m\"\n[component.m]\nsource = \"m.wasm\"\n"
	writeFile(t, filepath.Join(app, "spin.toml"), []byte(manifest))
	write("echo-a")
	acme.does(app, `--affinity and --guard are for a canary`, exitUsage, "deploy", "--guard", "none")
	acme.does(app, `(?m)^  redis orders -> m   active$`, 0, "deploy", "--variable", "used=1", "--variable", "left=2")
	acme.does(app, `(?m)^Pruned +left of variables, which the manifest does not declare$`, 0, "deploy", "--prune")
	if got := acme.run(app, "vars", "ls", "-a", "mailer").stdout; !strings.Contains(got, "used") || strings.Contains(got, "left") {
		t.Errorf("variables after --prune: %s", got)
	}
	write("evil")
	acme.does(app, `did you mean "errors"`, exitUsage, "deploy", "--canary", "50", "--guard", "error=5%")

	done := make(chan finished)
	go func() { // ends with the command
		done <- acme.run(app, "deploy", "--canary", "50", "--guard", "errors=10%,least=5", "--affinity", "customer", "--wait", "10m")
	}()
	token := tokenOf(t, acme)
	var got finished
	for n := 0; ; n++ {
		select {
		case got = <-done:
		default:
			s.ask(t, "POST", "/v1/tenants/acme/messages", token, fmt.Sprintf(`{"channel":"orders","payload":"trap %d","wait":"10s"}`, n)) // which v1 echoes
			continue
		}
		break
	}
	if got.code != exitDeploy || !regexp.MustCompile(`rolled back after \d+ s: v2 failed \d+ of \d+ \(\d+\.\d %\), more than 10.0 %`).MatchString(got.stderr) {
		t.Errorf("ended with %d: %s%s", got.code, got.stdout, got.stderr)
	}
	acme.does(app, `v1 100 %|"version":1,"percent":100`, 0, "api", "GET", "/v1/tenants/acme/apps/mailer/deployments/current")

	edit(t, filepath.Join(app, "spin.toml"), `name = "mailer"`, "name = \"mailer\"\nversion = \"2\"")
	write("echo-a")
	acme.does(app, `(?s)v3 10 %, v1 90 %.*The guard found nothing`, 0, "deploy", "--canary", "10", "--wait", "1s")
	acme.does(app, `v3 50 %, v1 50 %`, 0, "promote", "--percent", "50", "--guard", "none")
}
