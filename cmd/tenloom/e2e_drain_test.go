package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

const napping = `spin_manifest_version = 2
[application]
name = "sleeper"
version = "1.0.0"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "naps"
component = "sleep"
[component.sleep]
source = "sleep.wasm"
`

// busy is a server with a handler that runs and does not end soon.
func busy(t *testing.T, args ...string) *served {
	t.Helper()
	redis, dir := redistest.Start(t), t.TempDir()
	s := startServe(t, filepath.Join(t.TempDir(), "state"), nil, append(args, "--redis", redis.URL)...)
	acme := s.join(t, s.operator(t), "acme")
	wasm, err := os.ReadFile("testdata/sleep/sleep.wasm")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "sleep.wasm"), wasm)
	writeFile(t, filepath.Join(dir, "spin.toml"), []byte(napping))
	acme.does(dir, "v1 100 %", 0, "deploy")
	acme.does(dir, "", exitPending, "publish", "naps", "x", "--wait", "100ms")
	tick, late := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !strings.Contains(acme.run(dir, "usage", "--now").stdout, "counts.in_flight\t1\n") {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the handler does not run: " + acme.run(dir, "usage", "--now").stdout)
		}
	}
	return s
}

// TestServeCutsOff: a drain that cannot wait any longer says what it cut off, and ends with 9.
func TestServeCutsOff(t *testing.T) {
	s := busy(t, "--drain-timeout", "50ms")
	if code := s.stop(t); code != exitUndrained {
		t.Errorf("ended with %d", code)
	}
	s.await(t, "1 handler cancelled, 0 waiting messages dropped\n  acme:naps -> sleep: 1 cancelled, 0 dropped")
}

// TestServeForced: while it drains it is unready and answers, and a second signal ends it.
func TestServeForced(t *testing.T) {
	s := busy(t, "--drain-timeout", "1h")
	s.signal(t, syscall.SIGTERM)
	s.awaitLog(t, "draining")
	if status, text := s.readyz(); status != 503 || !strings.Contains(text, "server is stopping") {
		t.Errorf("%d %s", status, text)
	}
	if code := s.stop(t); code != exitUndrained {
		t.Errorf("ended with %d", code)
	}
}

// TestLogsFollow: a log that is followed goes on when the server was away.
func TestLogsFollow(t *testing.T) {
	redis, state := redistest.Start(t), filepath.Join(t.TempDir(), "state")
	s := startServe(t, state, nil, "--redis", redis.URL)
	acme, app := s.join(t, s.operator(t), "acme"), greeting(t)
	acme.does(app, "v1 100 %", 0, "deploy")
	acme.does(app, "Hello, Ada", 0, "publish", "greetings", `{"name":"Ada"}`)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	logs := startProcess(t, app, acme.env, path, "logs", "-f")
	logs.await(t, "\tgreet\tstdout\tHello, Ada\n")
	acme.does(app, "Hello, Eve", 0, "publish", "greetings", `{"name":"Eve"}`)
	logs.await(t, "\tgreet\tstdout\tHello, Eve\n")
	s.stop(t)
	logs.awaitLog(t, "connecting again")
	startServe(t, state, nil, "--redis", redis.URL, "--listen", strings.TrimPrefix(s.api, "http://"))
	acme.does(app, "Hello, Bob", 0, "publish", "greetings", `{"name":"Bob"}`, "--wait", "30s")
	logs.await(t, "\tgreet\tstdout\tHello, Bob\n")
	if code := logs.stop(t); code != exitInterrupted {
		t.Errorf("ended with %d", code)
	}
	if n := strings.Count(logs.stdout.String(), "Hello, Eve"); n != 1 {
		t.Errorf("a line was shown %d times", n)
	}
}
