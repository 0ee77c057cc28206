package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// The tests of the files e2e_*_test.go drive the program as its users do: "up" in a process of its own, publishing through the command and
// through a Redis client, reading its logs, its API and its exit codes.

// stage is the Redis that a scenario plays against.
type stage struct {
	server *redistest.Server // nil: the embedded one
	args   []string          // what tells "up" of it
}

// onBoth plays a scenario against a real redis-server and against the embedded Redis.
func onBoth(t *testing.T, scenario func(t *testing.T, s stage)) {
	t.Parallel()
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		scenario(t, stage{server, []string{"--redis", server.URL}})
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		scenario(t, stage{})
	})
}

// up runs the application in dir until it is ready.
func (s stage) up(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	return s.upWith(t, dir, nil, args...)
}

// upWith is up with variables in the program's environment.
func (s stage) upWith(t *testing.T, dir string, env []string, args ...string) *running {
	t.Helper()
	r := startUpWith(t, dir, env, slices.Concat(s.args, args)...)
	r.await(t, "ready in")
	if status, text := r.readyz(); status != http.StatusOK || text != "ready\n" {
		t.Fatalf("the program says that it is ready, /readyz says %d %q", status, text)
	}
	return r
}

// client is a Redis client of the server that a program uses.
func (s stage) client(t *testing.T, r *running) *redis.Client {
	t.Helper()
	if s.server != nil {
		return s.server.Client()
	}
	options, err := redis.ParseURL(r.redis)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

// guests is where the modules are that applications of the tests use; each folder says what they do. Echoes count their messages: they print
// "1 " first, unless an instance served two.
var guests = map[string]string{
	"echo-a.wasm":     "../../sandbox/testdata/guests/echo-a.wasm",
	"echo-b.wasm":     "../../sandbox/testdata/guests/echo-b.wasm",
	"reader.wasm":     "../../sandbox/testdata/guests/reader.wasm",
	"evil.wasm":       "../../sandbox/testdata/guests/evil.wasm",
	"spend.wasm":      "../../sandbox/testdata/guests/spend.wasm",
	"table-grow.wasm": "../../sandbox/testdata/guests/table-grow.wasm",
	"no-handler.wasm": "../../sandbox/testdata/guests/no-handler.wasm",
	"import.wasm":     "../../sandbox/testdata/guests/import-module.wasm",
	"function.wasm":   "../../sandbox/testdata/guests/import-function.wasm",
	"init-trap.wasm":  "../../sandbox/testdata/guests/init-trap.wasm",
	"relay.wasm":      "../../sandbox/testdata/components/relay.wasm",
	"later.wasm":      "../../sandbox/testdata/components/later.wasm",
	"v1.wasm":         "../../sandbox/spin/testdata/v1.wasm",
	"v2.wasm":         "../../sandbox/spin/testdata/v2.wasm",
	"echo.wasm":       "../../examples/c-echo/echo.wasm",
	"sleep.wasm":      "testdata/sleep/sleep.wasm",
}

// writeApp writes an application: the manifest, and each module that it names.
func writeApp(tb testing.TB, manifest string) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	writeFile(tb, filepath.Join(dir, "spin.toml"), []byte(manifest))
	for name, from := range guests {
		if strings.Contains(manifest, `"`+name+`"`) {
			writeFile(tb, filepath.Join(dir, name), readFile(tb, from))
		}
	}
	return dir
}

// example copies an application of examples/ to where it may write its logs.
func example(tb testing.TB, name string) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", name, "*.*"))
	if err != nil || len(files) == 0 {
		tb.Fatal("no such example", name, err)
	}
	for _, file := range files {
		writeFile(tb, filepath.Join(dir, filepath.Base(file)), readFile(tb, file))
	}
	return dir
}

func writeFile(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		tb.Fatal(err)
	}
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// printed reads what a component printed to "stdout" or "stderr".
func printed(tb testing.TB, dir, component, stream string) string {
	tb.Helper()
	return string(readFile(tb, filepath.Join(dir, ".spin", "logs", component+"_"+stream+".txt")))
}

// eventually waits until a condition holds that nobody announces.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// post publishes through the API.
func (r *running) post(tb testing.TB, channel string, payload []byte) publishAnswer {
	tb.Helper()
	request, err := json.Marshal(publishRequest{Channel: channel, PayloadBase64: payload, Wait: "60s"})
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := http.Post(r.api+"/v1/tenants/demo/messages", "application/json", bytes.NewReader(request))
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var answer publishAnswer
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		tb.Fatalf("publish to %s: %s %s %v", channel, resp.Status, body, err)
	}
	return answer
}

// publish publishes with the command.
func (r *running) publish(tb testing.TB, args ...string) (publishAnswer, finished) {
	tb.Helper()
	done := tenloom(tb, tb.TempDir(), append([]string{"publish", "--server", r.api, "--json", "--wait", "60s"}, args...)...)
	var answer publishAnswer
	if done.stdout != "" {
		if err := json.Unmarshal([]byte(done.stdout), &answer); err != nil {
			tb.Fatalf("publish %q: %v\n%s", args, err, done.stdout)
		}
	}
	return answer, done
}

// usage is what /v1/tenants/demo/usage answers.
type usage struct {
	Counts struct {
		Received, Gaps    int64
		Outcomes, Reasons map[string]int64
	}
	Load struct {
		Queued   int
		InFlight int `json:"in_flight"`
	}
}

func (r *running) usage(tb testing.TB) (u usage) {
	tb.Helper()
	r.askJSON(tb, "/v1/tenants/demo/usage", &u)
	return u
}

// ran shows the deliveries of an answer: component, outcome and output of each.
func ran(a publishAnswer) string {
	var all []string
	for _, d := range a.Deliveries {
		all = append(all, fmt.Sprintf("%s %s %q", d.Component, d.Outcome, d.Output))
	}
	return strings.Join(all, "; ")
}

// expect compares what one command gave.
func expect(tb testing.TB, what string, got, want any) {
	tb.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		tb.Errorf("%s:\ngot  %s\nwant %s", what, g, w)
	}
}

// golden holds text against testdata/e2e/NAME.txt, or writes it there with -update.
func golden(tb testing.TB, name, got string) {
	tb.Helper()
	path := filepath.Join("testdata", "e2e", name+".txt")
	if *update {
		writeFile(tb, path, []byte(got))
		return
	}
	if want := string(readFile(tb, path)); got != want {
		tb.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// volatile is what differs from run to run.
var volatile = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`(msg|inv)_[0-9A-Z]{26}`), "${1}_ID"},
	{regexp.MustCompile(`[0-9]+(\.[0-9]+)? m?s\b`), "TIME"},
	{regexp.MustCompile(`\b([0-9a-f]{7}|devel)\b`), "VERSION"},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "ADDRESS"},
	{regexp.MustCompile(`(Redis  redis://ADDRESS) +`), "${1}  "},
}

// mask names what differs from run to run: directories, addresses, ids and times.
func mask(text, dir string) string {
	text = strings.ReplaceAll(text, dir, "DIR")
	for _, v := range volatile {
		text = v.what.ReplaceAllString(text, v.name)
	}
	return text
}
