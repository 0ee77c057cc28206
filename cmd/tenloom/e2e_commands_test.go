package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What "publish" says with its exit code and on stderr.
func TestPublishTellsWhatHappened(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		h := newHolding(t)
		r := s.up(t, h.app(t))
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "held"), h.payload())
		for _, row := range []struct {
			name   string
			args   []string
			code   int
			stderr string
		}{
			{"handled", []string{"quick", "x"}, exitOK, ""},
			{"not waited for", []string{"quick", "x", "--wait", "0s"}, exitOK, ""},
			{"nobody, near", []string{"quik", "x"}, exitOK, "Warning: nothing listens on \"quik\". Did you mean \"quick\" (1 handler)?\n"},
			{"nobody, far", []string{"elsewhere", "x"}, exitOK, "Warning: nothing listens on \"elsewhere\".\n"},
			{"failed", []string{"broken", "trap"}, exitFailed, ""},
			{"pending", []string{"slow", "@held", "--wait", "100ms"}, exitPending,
				"Still pending after 100ms: 1 of 1 delivery. See " + r.api + "/v1/tenants/demo/invocations\n"},
			{"no such tenant", []string{"quick", "x", "--tenant", "acme"}, exitNotFound, "Error: there is no tenant of this name here\n  Check -t or TENLOOM_TENANT.\n"},
			{"too large", []string{"quick", "@large"}, exitQuota, "Error: a message may have 1048576 bytes\n  Keep large data in Redis and publish its key.\n"},
		} {
			if row.name == "too large" {
				writeFile(t, filepath.Join(dir, "large"), make([]byte, 1<<20+1))
			}
			done := tenloom(t, dir, append([]string{"publish", "--server", r.api}, row.args...)...)
			expect(t, row.name+": exit code", done.code, row.code)
			expect(t, row.name+": stderr", requestLine.ReplaceAllString(done.stderr, ""), row.stderr)
		}
		close(h.let)
		expect(t, "exit code of up", r.stop(t), exitOK)

		gone := tenloom(t, dir, "publish", "--server", r.api, "quick", "x")
		expect(t, "nobody there: exit code", gone.code, exitFailed)
		if !strings.Contains(gone.stderr, r.api) || !strings.Contains(gone.stderr, `"tenloom up" starts one`) {
			t.Errorf("nobody there: %s", gone.stderr)
		}
	})
}

// requestLine names the request in the operator's log; it is another each time.
var requestLine = regexp.MustCompile(`(?m)^  request req_\w+\n`)

// A subscriber sees what anybody publishes, handled or not.
func TestSubscribeSees(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		path, err := program()
		if err != nil {
			t.Fatal(err)
		}
		r := s.up(t, writeApp(t, ordersV2))
		sub := startProcess(t, t.TempDir(), nil, path, "subscribe", "--server", r.api, "orders", "news", "--pattern", "events.*", "--count", "4")
		sub.awaitLog(t, "Listening.")
		r.publish(t, "orders", "one")
		r.publish(t, "news", "two")
		c := s.client(t, r)
		for _, payload := range []string{"three", "\xff"} {
			if err := c.Publish(t.Context(), "events.any", payload).Err(); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, "exit code", sub.wait(t), exitOK)
		var seen []string
		for line := range strings.Lines(sub.stdout.String()) {
			_, message, _ := strings.Cut(strings.TrimSpace(line), "\t") // after its time
			seen = append(seen, message)
		}
		expect(t, "messages", strings.Join(seen, "; "), "orders\tone; news\ttwo; events.any\tthree; events.any\t\"\\xff\"")

		for _, target := range []string{"news", "events.any"} {
			eventually(t, "nothing is left of the subscription to "+target, func() bool {
				answer, _ := r.publish(t, target, "x")
				return answer.RedisReceivers == 0
			})
		}
	})
}

// One that is interrupted ends 130; it survives the server's absence as long as it says.
func TestSubscribeInterrupted(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	r := stage{}.up(t, writeApp(t, ordersV2))
	sub := startProcess(t, t.TempDir(), nil, path, "subscribe", "--server", r.api, "orders")
	sub.awaitLog(t, "Listening.")
	expect(t, "exit code of up, with a subscriber", r.stop(t), exitOK)
	sub.awaitLog(t, "connecting again")
	expect(t, "exit code", sub.stop(t), exitInterrupted)
}

// "invoke" runs one handler without a server, and its exit code is the handler's.
func TestInvoke(t *testing.T) {
	t.Parallel()
	dir := writeApp(t, fmt.Sprintf(reaching, "127.0.0.1:1")+`
[[trigger.redis]]
channel = "evil"
component = "evil"
[component.evil]
source = "evil.wasm"
[component.evil.tool.tenloom]
timeout = "200ms"
[[trigger.redis]]
channel = "lost"
component = "lost"
[component.lost]
source = "not-built-yet.wasm"
`)
	writeFile(t, filepath.Join(dir, "payload"), fields("kv-get", "default", "k"))
	writeFile(t, filepath.Join(dir, "word"), fields("config", "word"))
	writeFile(t, filepath.Join(dir, "channel"), fields("config", "tenloom_channel"))
	for _, row := range []struct {
		args           []string
		code           int
		stdout, stderr string // the latter in part
	}{
		{[]string{"evil", "-d", "success"}, exitOK, "", " units of fuel\n"},
		{[]string{"evil", "-d", "success", "--json"}, exitOK, "{\n  \"component\": \"evil\",\n  \"outcome\": \"handled\",\n  \"duration_ms\": ", ""},
		{[]string{"evil", "-d", "trap", "--json"}, exitFailed, "{\n  \"component\": \"evil\",\n  \"outcome\": \"failed\",\n  \"error\": \"wasm error: unreachable", ""},
		{[]string{"evil", "-d", "print"}, exitOK, strings.Repeat(strings.Repeat("x", 99)+"\n", 10), ""},
		{[]string{"evil", "-d", "error"}, exitFailed, "", "Error: evil: handler returned an error\n"},
		{[]string{"evil", "-d", "trap"}, exitFailed, "half way", "Error: evil: wasm error: unreachable"},
		{[]string{"evil", "-d", "loop"}, exitFailed, "", "Error: evil: timed out after 200ms"},
		{[]string{"v1", "-d", "@payload"}, exitOK, "err 4", ""},
		{[]string{"v1", "-d", "@word"}, exitOK, "ok <given>", ""},
		{[]string{"v1", "-d", "@word", "--variable", "word=flag"}, exitOK, "ok <flag>", ""},
		{[]string{"v1", "-d", "@channel"}, exitOK, "ok invoke", ""},
		{[]string{"v1", "-d", "@channel", "--channel", "mine"}, exitOK, "ok mine", ""},
		{[]string{"v1", "-d", "@channel", "--compile-apart"}, exitOK, "ok invoke", ""},
		{[]string{"v1", "--compile-apart", "--compile-time", "1ms"}, exitDeploy, "", "longer than the limit of 1ms"},
		{[]string{"v1", "--compile-time", "0s"}, exitUsage, "", "want a duration such as 90s"},
		{[]string{"evill"}, exitNotFound, "", `did you mean "evil"?`},
		{[]string{"lost"}, exitDeploy, "", "not-built-yet.wasm does not exist"},
		{[]string{"evil", "-d", "@absent"}, exitUsage, "", "read payload"},
		{[]string{}, exitUsage, "", "needs an argument more"},
		{[]string{"evil", "--dir", "absent"}, exitUsage, "", "absent"},
	} {
		done := tenloom(t, dir, append([]string{"invoke"}, row.args...)...)
		what := fmt.Sprint("invoke ", row.args)
		expect(t, what+": exit code", done.code, row.code)
		if !strings.HasPrefix(done.stdout, row.stdout) || (row.stdout == "" && done.stdout != "") {
			t.Errorf("%s: stdout %.200q, want %.200q", what, done.stdout, row.stdout)
		}
		if !strings.Contains(done.stderr, row.stderr) {
			t.Errorf("%s: stderr %q, want %q", what, done.stderr, row.stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".tenloom")); err == nil {
		t.Error("invoke has left a state directory")
	}
}

// "check" lists what it found in every example, for people and for programs.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"hello", "c-echo", "operations"} {
		t.Run(name, func(t *testing.T) {
			dir := example(t, name)
			done := tenloom(t, dir, "check")
			expect(t, "exit code", done.code, exitOK)
			expect(t, "stderr", done.stderr, "")
			for line := range strings.Lines(done.stdout) {
				if !strings.HasPrefix(line, "ok\t") {
					t.Errorf("a line of check: %q", line)
				}
			}
			var listed struct {
				App        string
				Components []checked
			}
			done = tenloom(t, t.TempDir(), "check", dir, "--json")
			if err := json.Unmarshal([]byte(done.stdout), &listed); err != nil {
				t.Fatalf("%v\n%s", err, done.stdout)
			}
			expect(t, "app", listed.App, name)
			for _, c := range listed.Components {
				if !strings.HasPrefix(c.Digest, "sha256:") || len(c.Channels) == 0 || len(c.Imports) == 0 || c.Bytes == 0 {
					t.Errorf("check --json: %+v", c)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, ".spin")); err == nil {
				t.Error("check has left a log directory")
			}
		})
	}
}

// An application from the Go template builds with the Go that is there and runs; so does the test that comes with it.
func TestNewGo(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		parent := t.TempDir()
		done := tenloom(t, parent, "new", "order-mailer", "-t", "go")
		expect(t, "exit code", done.code, exitOK)
		expect(t, "stderr", done.stderr, "")
		dir := filepath.Join(parent, "order-mailer")
		build := finish(t, dir, []string{"GOFLAGS=-mod=mod", "GOPROXY=off"}, "sh", "-c", buildCommand(t, dir))
		expect(t, "exit code of the build", build, finished{})
		r := s.up(t, parent, "order-mailer")
		answer, done := r.publish(t, "order-mailer", "Ada")
		expect(t, "exit code of publish", done.code, exitOK)
		if len(answer.Deliveries) != 1 || !strings.Contains(answer.Deliveries[0].Output, "Ada") {
			t.Errorf("the handler answered %+v", answer.Deliveries)
		}
		if again := tenloom(t, parent, "new", "order-mailer"); again.code != exitConflict {
			t.Errorf("new over what is there ended with %d: %s", again.code, again.stderr)
		}
	})
}

// buildCommand reads what a person is told to type.
func buildCommand(t *testing.T, dir string) string {
	for line := range strings.Lines(string(readFile(t, filepath.Join(dir, "spin.toml")))) {
		if text, ok := strings.CutPrefix(line, "command = "); ok {
			return strings.Trim(strings.TrimSpace(text), `"`)
		}
	}
	t.Fatal("the manifest has no build command")
	return ""
}

func TestNewC(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	done := tenloom(t, parent, "new", "notes", "-t", "c", "--json")
	expect(t, "exit code", done.code, exitOK)
	var told struct{ Files, Next []string }
	if err := json.Unmarshal([]byte(done.stdout), &told); err != nil {
		t.Fatalf("%v\n%s", err, done.stdout)
	}
	written := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(parent, "notes"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(filepath.Join(parent, "notes"), path)
			written[filepath.ToSlash(name)] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "files", told.Files, slices.Sorted(maps.Keys(written)))
	for _, want := range []string{"spin.toml", "handler.c", "spin_redis.h", "build.sh"} {
		if !written[want] {
			t.Errorf("%s is missing among %v", want, told.Files)
		}
	}
	check := tenloom(t, parent, "check", "notes")
	expect(t, "exit code of check before the build", check.code, exitDeploy)
	if !strings.Contains(check.stderr, "build it: ") {
		t.Errorf("check does not say how to build: %s", check.stderr)
	}
}

// What outlives a run with --ephemeral, and where --state and --log-dir put things.
func TestUpKeepsItsFiles(t *testing.T) {
	t.Parallel()
	dir := writeApp(t, ordersV2)
	place, empty, temporary := t.TempDir(), t.TempDir(), t.TempDir()
	r := stage{}.up(t, dir, "--state", filepath.Join(place, "state"), "--log-dir", filepath.Join(place, "logs"))
	r.publish(t, "orders", "x")
	expect(t, "exit code", r.stop(t), exitOK)
	expect(t, "log", string(readFile(t, filepath.Join(place, "logs", "second_stdout.txt"))), "1 x\n")
	for _, path := range []string{filepath.Join(dir, ".tenloom"), filepath.Join(dir, ".spin")} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is there although another place was named", path)
		}
	}
	if cached, err := filepath.Glob(filepath.Join(place, "state", "cache", "*", "*")); len(cached) == 0 || err != nil {
		t.Errorf("no compiled code is kept: %v %v", cached, err)
	}

	r = stage{}.upWith(t, empty, []string{"TMPDIR=" + temporary}, "--ephemeral")
	expect(t, "exit code", r.stop(t), exitOK)
	for _, path := range []string{empty, temporary} {
		left, err := os.ReadDir(path)
		if err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v %v", path, left, err)
		}
	}
}
