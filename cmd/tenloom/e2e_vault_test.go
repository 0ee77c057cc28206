package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/secrets/vaulttest"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// echoing is the example that publishes what it gets to the channel that a variable names, in a folder of its own.
func echoing(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"spin.toml", "echo.wasm"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "examples", "c-echo", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// heard waits for a message on a channel.
func heard(t *testing.T, p *redis.PubSub, channel, payload string) {
	t.Helper()
	for {
		m, err := p.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Channel == channel && m.Payload == payload {
			return
		}
	}
}

// details are all lines of /readyz.
func details(t *testing.T, s *served) string {
	t.Helper()
	_, text, err := get(t.Context(), s.api+"/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// collector keeps what is sent to it by OTLP over HTTP, as it came: the texts in protobuf stand there as they are.
type collector struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string]*bytes.Buffer // by path
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{got: map[string]*bytes.Buffer{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			plain, err := gzip.NewReader(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			body = plain
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.got[r.URL.Path] == nil {
			c.got[r.URL.Path] = &bytes.Buffer{}
		}
		io.Copy(c.got[r.URL.Path], body) // what is cut off is looked at as far as it came
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) text(path string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got[path] == nil {
		return ""
	}
	return c.got[path].String()
}

// TestServeVault runs a platform whose Redis login and whose tenants' variables come from Vault, changes both while it runs, seals Vault, and
// looks for every secret in everything that was printed, logged and answered.
func TestServeVault(t *testing.T) {
	const one, two, first, second = "hunter2-login-one", "hunter2-login-two", "hunter2-channel-one", "hunter2-channel-two"
	v, r := vaulttest.Start(t), redistest.Start(t, "--requirepass", "root", "--user", "app", "on", ">"+one, "~*", "&*", "+@all", "-@dangerous")
	root := redis.NewClient(&redis.Options{Addr: r.Addr, Password: "root"})
	defer root.Close()
	v.Put("redis/main", map[string]any{"username": "app", "password": one})
	v.Put("tenants/acme/c-echo", map[string]any{"echo_to": first})
	v.Policy("tenloom", `path "secret/data/redis/main" { capabilities = ["read"] }
		path "secret/data/tenants/*" { capabilities = ["read"] }`)
	role, secret := v.AppRole("tenloom", 60e9, 600e9, "tenloom")
	dir := t.TempDir()
	id := filepath.Join(dir, "secret-id")
	config := filepath.Join(dir, "tenloom.toml")
	for file, text := range map[string]string{id: secret, config: fmt.Sprintf(`
log.level = "debug"
[vault]
address = %q
auth = "approle"
role_id = %q
secret_id_file = %q
variables = "secret/data/tenants/{{ tenant }}/{{ app }}"
refresh = "1s"
rate = 50
[redis]
default.url = "redis://%s"
default.vault = "secret/data/redis/main"
`, v.URL, role, id, r.Addr)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var outputs []string
	keep := func(f finished) finished { outputs = append(outputs, f.stdout, f.stderr); return f }

	collector := newCollector(t)
	s := startServe(t, filepath.Join(dir, "state"), []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_TRACES_SAMPLER=always_on", "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_BLRP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=200"}, "-c", config)
	operator := s.operator(t)
	keep(operator.does(dir, `ok\s+vault\s+http.*signed in by approle(.|\n)*ok\s+vault variables\s+may use(.|\n)*ok\s+vault redis default\s+may use`, 0, "doctor", "-c", config))
	acme, app := s.join(t, operator, "acme"), echoing(t)
	keep(acme.does(app, `v1 100 %`, 0, "deploy"))
	listener := root.PSubscribe(t.Context(), "acme:hunter2-*")
	defer listener.Close()
	if _, err := listener.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo := func(payload string) {
		keep(acme.does(app, `ok\s+acme/c-echo`, 0, "publish", "echo", payload, "--wait", "30s"))
	}
	echo("a")
	heard(t, listener, "acme:"+first, "a")

	v.Put("tenants/acme/c-echo", map[string]any{"echo_to": second})
	eventually(t, "a guest has the new value", func() bool {
		echo("b")
		m, err := listener.ReceiveMessage(t.Context())
		return err == nil && m.Channel == "acme:"+second
	})

	if err := root.Do(t.Context(), "ACL", "SETUSER", "app", ">"+two).Err(); err != nil {
		t.Fatal(err)
	}
	v.Put("redis/main", map[string]any{"username": "app", "password": two})
	s.awaitLog(t, "another credential is in force: it was changed in Vault")
	for _, args := range [][]any{{"ACL", "SETUSER", "app", "<" + one}, {"CLIENT", "KILL", "USER", "app"}} {
		if err := root.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "everything is subscribed again", func() bool {
		text := details(t, s)
		return strings.Contains(text, "redis default") && !strings.Contains(text, "degraded")
	})
	echo("c")

	v.Seal()
	eventually(t, "the state is shown", func() bool { text := details(t, s); return strings.Contains(text, "Vault is sealed") })
	echo("d")
	heard(t, listener, "acme:"+second, "d")
	edit(t, filepath.Join(app, "spin.toml"), `echo_to = { default = "echo.out" }`, "echo_to = { default = \"echo.out\" }\nmissing = { required = true }")
	keep(acme.does(app, `missing`, exitDeploy, "deploy"))

	for _, args := range [][]string{{"logs"}, {"invocations", "ls"}, {"vars", "ls"}, {"secrets", "ls"}, {"triggers", "ls"}, {"channels", "ls"}, {"apps", "show"}, {"usage"}, {"audit"}, {"versions", "ls"}} {
		keep(acme.run(app, append(args, "-o", "json")...))
	}
	keep(operator.run(dir, "config", "print", "-c", config, "-o", "json"))
	outputs = append(outputs, details(t, s))
	for _, signal := range []string{"/v1/traces", "/v1/metrics", "/v1/logs"} {
		eventually(t, "a collector gets "+signal+", and it can be read", func() bool { return strings.Contains(collector.text(signal), "acme") })
		outputs = append(outputs, collector.text(signal))
	}
	s.signal(t, syscall.SIGQUIT) // the trace of all goroutines
	<-s.ended
	outputs = append(outputs, s.stdout.String(), s.stderr.String())
	for _, hidden := range []string{one, two, first, second, secret, v.Root} {
		for _, text := range outputs {
			if at := strings.Index(text, hidden); at >= 0 {
				t.Errorf("%q is shown: %s", hidden, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
	if !strings.Contains(s.stderr.String(), "goroutine ") {
		t.Error("there is no trace")
	}
}

// TestUpVault runs Spin's own block for Vault, and mounted files beside it, in the order in which they are given.
func TestUpVault(t *testing.T) {
	v := vaulttest.Start(t)
	v.Put("spin/echo_to", map[string]any{"value": "from.vault"})
	app, dir := echoing(t), t.TempDir()
	for _, row := range []struct{ config, want string }{
		{fmt.Sprintf("[[variables_provider]]\ntype = \"vault\"\nurl = %q\ntoken = %q\nmount = \"secret\"\nprefix = \"spin\"\n", v.URL, v.Root), "from.vault"},
		{fmt.Sprintf("[[config_provider]]\ntype = \"static\"\nvalues = { echo_to = \"from.static\" }\n[[config_provider]]\ntype = \"vault\"\nurl = %q\ntoken = %q\nmount = \"secret\"\nprefix = \"spin\"\n", v.URL, v.Root), "from.static"},
		{"[[variables_provider]]\ntype = \"files\"\ndir = " + fmt.Sprintf("%q", dir) + "\n", "from.file"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "echo_to"), []byte("from.file\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(t.TempDir(), "runtime.toml")
		if err := os.WriteFile(config, []byte(row.config), 0o600); err != nil {
			t.Fatal(err)
		}
		r := redistest.Start(t)
		client := r.Client()
		listener := client.Subscribe(t.Context(), row.want)
		if _, err := listener.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := startUp(t, app, "--redis", r.URL, "--runtime-config-file", config)
		eventually(t, "it is ready", s.ready)
		if err := client.Publish(t.Context(), "echo", "x").Err(); err != nil {
			t.Fatal(err)
		}
		heard(t, listener, row.want, "x")
		if code := s.stop(t); code != exitOK {
			t.Errorf("ended with %d", code)
		}
		if all := s.stdout.String() + s.stderr.String(); strings.Contains(all, v.Root) {
			t.Error("the token is shown")
		}
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"[[variables_provider]]\ntype = \"vault\"\nurl = \"x\"\ntoken = \"hunter2\"\nmount = \"secret\"\n":      `variables_provider 1: vault: address: it is no http:// or https:// URL`,
		"[[variables_provider]]\ntype = \"azure_key_vault\"\nvault_url = \"x\"\n":                               `azure_key_vault is not offered`,
		"[[variables_provider]]\ntype = \"vault\"\nurl = \"http://h\"\ntoken = \"hunter2\"\n":                   `mount is missing`,
		"[[variables_provider]]\ntype = \"vault\"\ntokn = \"hunter2\"\n":                                        `runtime.toml:3: unknown key "variables_provider.tokn"`,
		"[[variables_provider]]\ntype = \"vault\"\ntoken = \"hunter2\n":                                         `runtime.toml:3:17: not valid TOML`,
		"[[variables_provider]]\ntype = \"valut\"\n":                                                            `unknown type "valut"`,
		"state_dir = \"/tmp\"\n[[variables_provider]]\ntype = \"env\"\nprefix = \"P\"\ndotenv_path = \"/no\"\n": `open /no: no such file`,
	} {
		config := filepath.Join(t.TempDir(), "runtime.toml")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := finish(t, app, nil, path, "check", "--runtime-config-file", config)
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || strings.Contains(got.stderr+got.stdout, "hunter2") {
			t.Errorf("%q ends with %d and says %s%s, want %s", text, got.code, got.stdout, got.stderr, want)
		}
	}
}
