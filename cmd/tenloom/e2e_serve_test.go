package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// served is a "tenloom serve" in a process of its own.
type served struct {
	*running
	state string
}

// startServe runs a server with a state directory until the test ends, and returns when it is ready.
func startServe(t testing.TB, state string, env []string, args ...string) *served {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := &served{startProcess(t, t.TempDir(), env, append([]string{path, "serve", "--state", state, "--listen", "127.0.0.1:0"}, args...)...), state}
	s.await(t, "Ready in ")
	s.api = regexp.MustCompile(`https?://127\.0\.0\.1:\d+`).FindString(s.stdout.String())
	return s
}

// token is the first operator's.
func (s *served) token(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.state, operatorTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// ask sends a request with a token and decodes the answer.
func (s *served) ask(t testing.TB, method, path, token, body string) (status int, answer map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.api+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil && resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s: %d: %v", method, path, resp.StatusCode, err)
	}
	return resp.StatusCode, answer
}

// TestServeLife: a first start makes a token that opens the API, what was made is there after a restart, and the token is made once.
func TestServeLife(t *testing.T) {
	redis, state := redistest.Start(t), filepath.Join(t.TempDir(), "state")
	s := startServe(t, state, []string{"TENLOOM_REDIS=" + redis.URL})
	token := s.token(t)
	for _, name := range []string{operatorTokenFile, "seal.key", "store.db"} {
		if info, err := os.Stat(filepath.Join(state, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if status, _ := s.ask(t, "GET", "/v1/tenants", "", ""); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
	if status, answer := s.ask(t, "POST", "/v1/tenants", token, `{"name":"acme"}`); status != http.StatusCreated {
		t.Errorf("create tenant: %d %v", status, answer)
	}
	if status, text := s.readyz(); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, text)
	}
	path, _ := program()
	second := finish(t, t.TempDir(), nil, path, "serve", "--state", state, "--listen", "127.0.0.1:0", "--redis", redis.URL)
	if second.code != exitFailed || !strings.Contains(second.stderr, "another tenloom") {
		t.Errorf("a second server with this state ends with %d: %s", second.code, second.stderr)
	}
	if code := s.stop(t); code != exitOK {
		t.Errorf("ended with %d", code)
	}

	again := startServe(t, state, nil, "--redis", redis.URL)
	if strings.Contains(again.stdout.String(), "Token") || again.token(t) != token {
		t.Error("a second start made another token")
	}
	if status, answer := again.ask(t, "GET", "/v1/tenants/acme", token, ""); status != http.StatusOK {
		t.Errorf("after a restart: %d %v", status, answer)
	}
	again.signal(t, syscall.SIGHUP)
	again.awaitLog(t, "the configuration was read again")
}

// TestServeRefuses: a configuration with faults ends the program before it touches anything, with 2.
func TestServeRefuses(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state")
	got := finish(t, t.TempDir(), []string{"TENLOOM_STORE_KIND=etdc"}, path, "serve", "--state", state)
	if got.code != exitUsage || !strings.Contains(got.stderr, `$TENLOOM_STORE_KIND: store.kind: want file or etcd, have "etdc"; did you mean "etcd"?`) {
		t.Errorf("%d %s", got.code, got.stderr)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Error("the state directory was made")
	}
}

// TestServeReload: SIGHUP takes what can be taken and names the rest; a file with faults changes nothing.
func TestServeReload(t *testing.T) {
	redis, dir := redistest.Start(t), t.TempDir()
	file := filepath.Join(dir, "tenloom.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n[redis.default]\nurl = \""+redis.URL+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log.level = \"info\"")
	s := startServe(t, filepath.Join(dir, "state"), nil, "-c", file)
	write("log.level = \"debug\"\nlimits.slots = 7\ndrain_timeout = \"3s\"")
	s.signal(t, syscall.SIGHUP)
	s.awaitLog(t, `"changed":"drain_timeout, log.level","after_restart":"limits.slots"`)
	s.ask(t, "GET", "/v1/whoami", s.token(t), "")
	s.awaitLog(t, `"level":"DEBUG"`)
	write("log.levle = \"info\"")
	s.signal(t, syscall.SIGHUP)
	s.awaitLog(t, `did you mean \"log.level\"?`)
	if status, _ := s.ask(t, "GET", "/v1/whoami", s.token(t), ""); status != http.StatusOK {
		t.Errorf("after a faulty reload: %d", status)
	}
}

// TestServeReloadAddsRedis: a server that SIGHUP adds is offered at once to who is granted it; one that changes or goes waits for a restart.
func TestServeReloadAddsRedis(t *testing.T) {
	redis, second, dir := redistest.Start(t), redistest.Start(t), t.TempDir()
	file := filepath.Join(dir, "tenloom.toml")
	write := func(more string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("[redis.default]\nurl = \""+redis.URL+"\"\n"+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	s := startServe(t, filepath.Join(dir, "state"), nil, "-c", file)
	operator := s.operator(t)
	acme := s.join(t, operator, "acme")
	app := echoOn(t, "second")
	acme.does(app, `offers no Redis at second`, exitDeploy, "deploy")
	write("[redis.second]\nurl = \"" + second.URL + "\"\n")
	s.signal(t, syscall.SIGHUP)
	s.awaitLog(t, `"changed":"redis.second.url","after_restart":""`)
	acme.does(app, `does not grant the Redis`, exitDeploy, "deploy")
	_, policy := s.ask(t, "GET", "/v1/tenants/acme/policy", s.token(t), "")
	policy["grants"].(map[string]any)["endpoints"] = []string{"default", "second"}
	text, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("PUT", s.api+"/v1/tenants/acme/policy", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token(t))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", "*")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	acme.does(app, `Live`, 0, "deploy")
	out := second.Client().Subscribe(t.Context(), "acme:echo.out")
	defer out.Close()
	if _, err := out.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	acme.does(app, `ok\s+acme/c-echo`, 0, "publish", "echo", "hello", "--wait", "30s")
	if m, err := out.ReceiveMessage(t.Context()); err != nil || m.Payload != "hello" {
		t.Error(m, err)
	}
	write("")
	s.signal(t, syscall.SIGHUP)
	s.awaitLog(t, `"changed":"","after_restart":"redis.second.url"`)
	acme.does(app, `ok\s+acme/c-echo`, 0, "publish", "echo", "hello", "--wait", "30s")
}

// TestServeNotifies: systemd hears of each stage, and signs of life.
func TestServeNotifies(t *testing.T) {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	heard := newTranscript()
	listening := make(chan struct{})
	go func() { // ends with socket
		defer close(listening)
		buf := make([]byte, 4096)
		for {
			n, _, err := socket.ReadFromUnix(buf)
			if err != nil {
				return
			}
			heard.Write(append(buf[:n:n], '\n'))
		}
	}()
	redis := redistest.Start(t)
	s := startServe(t, filepath.Join(t.TempDir(), "state"), []string{"NOTIFY_SOCKET=" + socket.LocalAddr().String(), "WATCHDOG_USEC=20000"}, "--redis", redis.URL)
	wait := func(text string) {
		t.Helper()
		if !heard.has(text, patience) {
			t.Fatalf("systemd did not hear %q: %s", text, heard)
		}
	}
	wait("READY=1\nSTATUS=0 applications\n")
	wait("WATCHDOG=1\n")
	s.signal(t, syscall.SIGHUP)
	wait("RELOADING=1\nMONOTONIC_USEC=")
	s.stop(t)
	wait("STOPPING=1")
	socket.Close()
	<-listening
}

// TestServeWithoutRedis: a Redis that is lost leaves the API ready, and says so.
func TestServeWithoutRedis(t *testing.T) {
	s := startServe(t, filepath.Join(t.TempDir(), "state"), nil, "--redis", "redis://127.0.0.1:1")
	if status, text := s.readyz(); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	began := time.Now()
	if code := s.stop(t); code != exitOK {
		t.Errorf("ended with %d after %v", code, time.Since(began))
	}
}
