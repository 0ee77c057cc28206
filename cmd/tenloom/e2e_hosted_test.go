package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// person uses the program as one of a platform's people, with a folder of contexts of their own.
type person struct {
	t   *testing.T
	env []string
}

func (s *served) person(t *testing.T) *person {
	return &person{t, []string{"TENLOOM_CONFIG_DIR=" + t.TempDir(), "CI=true"}}
}

// run runs a command in a folder to its end.
func (p *person) run(dir string, args ...string) finished {
	p.t.Helper()
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	return finish(p.t, dir, p.env, append([]string{path}, args...)...)
}

// does wants a command to end with a code, and to print or say something.
func (p *person) does(dir, want string, code int, args ...string) finished {
	p.t.Helper()
	got := p.run(dir, args...)
	if got.code != code || !regexp.MustCompile(want).MatchString(got.stdout+got.stderr) {
		p.t.Fatalf("%s: ended with %d, want %d and %q\n%s%s", strings.Join(args, " "), got.code, code, want, got.stdout, got.stderr)
	}
	return got
}

// join makes a tenant and signs a person in as its owner.
func (s *served) join(t *testing.T, operator *person, tenant string) *person {
	t.Helper()
	dir := t.TempDir()
	operator.does(dir, "is there", 0, "tenants", "create", tenant)
	operator.does(dir, "shown this once", 0, "tokens", "create", "laptop", "-t", tenant, "--role", "owner", "--to", "token")
	p := s.person(t)
	p.does(dir, `owner in `+tenant, 0, "login", s.api, "--token-file", "token")
	return p
}

func (s *served) operator(t *testing.T) *person {
	t.Helper()
	p := s.person(t)
	p.does(t.TempDir(), "operator", 0, "login", s.api, "--token-file", filepath.Join(s.state, operatorTokenFile))
	return p
}

// greeting is the sample application in a folder of its own.
func greeting(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := writeSample(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func edit(t *testing.T, file, old, replaced string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), old, replaced, 1)
	if changed == string(text) {
		t.Fatalf("%s does not hold %q", file, old)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestHosted is the platform's first day: two tenants deploy the same application, publish on the same channel name, and see nothing of each other;
// deployments, rollbacks, variables and the audit log; all of it there after a restart.
func TestHosted(t *testing.T) {
	redis, state := redistest.Start(t), filepath.Join(t.TempDir(), "state")
	s := startServe(t, state, nil, "--redis", redis.URL)
	operator := s.operator(t)
	acme, umbrella := s.join(t, operator, "acme"), s.join(t, operator, "umbrella")
	app := greeting(t)

	acme.does(app, "nothing was deployed", 0, "deploy", "--dry-run")
	acme.does(app, `Live +acme/hello v1 100 %`, 0, "deploy", "-m", "first")
	acme.does(app, `Unchanged +this is v1`, 0, "deploy", "--no-promote")
	acme.does(app, `^$`, 0, "diff")
	acme.does(app, `ok\s+acme/hello greet \w+.*"Hello, Ada"`, 0, "publish", "greetings", `{"name":"Ada"}`, "--wait", "30s")
	umbrella.does(app, `nothing listens on "greetings"`, 0, "publish", "greetings", "x")

	umbrella.does(app, `Live +umbrella/hello v1`, 0, "deploy")
	umbrella.does(app, `"Hello, Eve"`, 0, "publish", "greetings", `{"name":"Eve"}`)
	acme.does(app, `Hello, Ada`, 0, "logs")
	lines := acme.does(app, `"invocation":"inv_\w+".*"level":"info","text":"Hello, Ada"`, 0, "logs", "-o", "ndjson", "--version", "v1", "--level", "info").stdout
	invocation := regexp.MustCompile(`inv_\w+`).FindString(lines)
	acme.does(app, `Hello, Ada`, 0, "logs", "--invocation", invocation)
	acme.does(app, `^$`, 0, "logs", "--level", "error")
	acme.does(app, `no such version`, exitNotFound, "logs", "--version", "v9")
	if got := acme.run(app, "logs"); strings.Contains(got.stdout, "Eve") {
		t.Error("acme sees what umbrella's handler printed")
	}
	for _, args := range [][]string{{"apps", "ls"}, {"logs"}, {"versions", "ls"}, {"tokens", "ls"}, {"audit"}, {"usage"}, {"policy", "show"}, {"publish", "greetings"}, {"apps", "rm", "-y"}} {
		got := umbrella.run(app, append(args, "-t", "acme")...)
		none := umbrella.run(app, append(args, "-t", "nobody")...)
		request := regexp.MustCompile(`req_\w+`)
		if got.code != exitNotFound || got.stdout != "" || request.ReplaceAllString(got.stderr, "") != request.ReplaceAllString(none.stderr, "") {
			t.Errorf("%s in another's tenant: %d %s%s; in none: %s", args, got.code, got.stdout, got.stderr, none.stderr)
		}
	}

	edit(t, filepath.Join(app, "spin.toml"), `version = "`, `version = "9`)
	acme.does(app, `manifest`, 1, "diff")
	acme.does(app, `Live +acme/hello v2 30 %, v1 70 %`, 0, "deploy", "--canary", "30")
	acme.does(app, `v2 100 %`, 0, "promote")
	acme.does(app, `takes a yes`, exitUsage, "rollback")
	acme.does(app, `Live\tv1 100 %\n(.|\n)*v2 100 % -> v1 \(since`, 0, "rollback", "-y")
	acme.does(app, `is set`, 0, "vars", "set", "redis_address=redis://127.0.0.1:6379")
	acme.does(app, `NOT rolled back: redis_address`, exitConflict, "rollback", "-y", "v2")
	acme.does(app, `v2 100 %`, 0, "rollback", "-y", "v2", "--with-variables")

	if code := s.stop(t); code != exitOK {
		t.Errorf("ended with %d", code)
	}
	s = startServe(t, state, nil, "--redis", redis.URL)
	s.await(t, "with 2 applications")
	for _, p := range []*person{acme, umbrella} { // the port is another one
		p.env = append(p.env, "TENLOOM_SERVER="+s.api, "TENLOOM_TOKEN="+tokenOf(t, p))
	}
	acme.does(app, `"Hello, Ada"`, 0, "publish", "greetings", `{"name":"Ada"}`, "--wait", "30s")
	acme.does(app, `v2 100 %|"version":2|v2`, 0, "deployments", "ls")
	log := filepath.Join(t.TempDir(), "audit.ndjson")
	if err := os.WriteFile(log, []byte(acme.does(app, `deployments.create`, 0, "audit", "-o", "ndjson").stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	acme.does(app, `^sound`, 0, "audit", "verify", log)
	edit(t, log, `"deployments.create"`, `"deployments.cancel"`)
	acme.does(app, `was changed after it was written`, exitFailed, "audit", "verify", log)
	acme.does(app, `counts.received\s+1`, 0, "usage", "--now")
	acme.does(app, `^\w+\t2\t0\t`, 0, "usage") // one of them before the restart
	acme.does(app, `^\d{4}-\d\d-\d\d\t\w+\t2\t0\t`, 0, "usage", "--by", "day")
	acme.does(app, `is gone`, 0, "apps", "rm", "-y")
	acme.does(app, `nothing listens`, 0, "publish", "greetings", "x")
	umbrella.does(app, `"Hello, Eve"`, 0, "publish", "greetings", `{"name":"Eve"}`)
}

// tokenOf reads a person's token where the program keeps it.
func tokenOf(t *testing.T, p *person) string {
	t.Helper()
	dir, _ := strings.CutPrefix(p.env[0], "TENLOOM_CONFIG_DIR=")
	text, err := os.ReadFile(filepath.Join(dir, "contexts", "local.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept target
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	return kept.Token
}

// TestHostedRefuses: what cannot be deployed is told with its place, and what is live goes on.
func TestHostedRefuses(t *testing.T) {
	redis := redistest.Start(t)
	s := startServe(t, filepath.Join(t.TempDir(), "state"), nil, "--redis", redis.URL)
	operator := s.operator(t)
	acme := s.join(t, operator, "acme")
	app := greeting(t)
	operator.does(app, `last operator|nobody could operate`, exitConflict, "tokens", "rm", "--operator", regexp.MustCompile(`tok_\w+`).FindString(operator.run(app, "tokens", "ls", "--operator").stdout))
	operator.does(app, `shown this once`, 0, "tokens", "create", "second", "--operator", "--to", "operator.token")
	operator.does(app, `second`, 0, "tokens", "ls", "--operator")
	second := s.person(t)
	second.does(app, `operator`, 0, "login", s.api, "--token-file", "operator.token")
	second.does(app, `acme`, 0, "tenants", "ls")
	operator.does(app, `--role`, exitUsage, "tokens", "create", "x", "--operator", "--role", "owner")
	acme.does(app, `takes an operator`, exitSignIn, "tokens", "ls", "--operator")
	acme.does(app, "v1 100 %", 0, "deploy")
	operator.does(app, `grants/hosts/1 .*has no scheme`, exitUsage, "policy", "set", "-t", "acme", "-f", `grants.hosts=["https://*.acme.io","acme.io"]`)
	operator.does(app, `is changed`, 0, "policy", "set", "-t", "acme", "-f", `grants.hosts=["https://*.acme.io"]`)
	edit(t, filepath.Join(app, "spin.toml"), `source = "greet.wasm"`, "source = \"greet.wasm\"\nallowed_outbound_hosts = [\"https://api.acme.io\", \"redis://localhost:6379\", \"https://example.com\"]")
	acme.does(app, `spin.toml:\d+: "https://example.com:?\d*" is more than the tenant's policy grants: https://\*.acme.io`, exitDeploy, "deploy")
	edit(t, filepath.Join(app, "spin.toml"), `, "https://example.com"`, "")
	acme.does(app, "v3 100 %", 0, "deploy")
	edit(t, filepath.Join(app, "spin.toml"), "redis://localhost:6379", "redis://elsewhere.example.com:6379")
	acme.does(app, `the platform offers no Redis at elsewhere.example.com:6379`, exitDeploy, "deploy")
	acme.does(app, `"Hello, Ada"`, 0, "publish", "greetings", `{"name":"Ada"}`)
	if err := os.Remove(filepath.Join(app, "greet.wasm")); err != nil {
		t.Fatal(err)
	}
	acme.does(app, `spin.toml:\d+: component.greet.source: .*\n.*deploy --build`, exitUsage, "deploy")
}

// TestServeBackup: what a server kept is there in another place after backup and restore, and the file store of a server that runs is left alone.
func TestServeBackup(t *testing.T) {
	redis, dir := redistest.Start(t), t.TempDir()
	state := filepath.Join(dir, "state")
	s := startServe(t, state, nil, "--redis", redis.URL)
	operator := s.operator(t)
	operator.does(dir, "is there", 0, "tenants", "create", "acme")
	operator.does(dir, "stop the server first", exitConflict, "backup", "b", "--state", state, "--redis", redis.URL)
	token := s.token(t)
	s.stop(t)
	operator.does(dir, `\d+ records? in b`, 0, "backup", "b", "--state", state, "--redis", redis.URL)
	operator.does(dir, `\d+ records?, made at`, 0, "restore", "--check", "b")
	other := filepath.Join(dir, "other")
	operator.does(dir, `made at`, 0, "restore", "b", "--state", other, "--redis", redis.URL)
	operator.does(dir, `not empty`, exitConflict, "restore", "b", "--state", other, "--redis", redis.URL)
	again := startServe(t, other, nil, "--redis", redis.URL)
	if status, answer := again.ask(t, "GET", "/v1/tenants/acme", token, ""); status != 200 {
		t.Errorf("%d %v", status, answer)
	}
}
