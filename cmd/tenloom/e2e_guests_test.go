package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// Every outbound operation, a variable and a key-value store, from a guest in each ABI.
func TestUpOffersEveryOperation(t *testing.T) {
	const lines = `variable=ok
%spublish=ok
set=ok
get=hello
incr=42
del=2
sadd=2
smembers=bar,baz
srem=1
execute=OK,-7,-6,nil
kv_open=ok
kv_set=ok
kv_get=kept
`
	onBoth(t, func(t *testing.T, s stage) {
		dir := example(t, "operations")
		r := s.up(t, dir)
		done := s.client(t, r).Subscribe(t.Context(), "operations:a:done", "operations:b:done")
		defer done.Close()
		for range 2 {
			if _, err := done.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		answer, _ := r.publish(t, "operations", "go")
		expect(t, "deliveries", ran(answer), fmt.Sprintf("shape-a handled %q; shape-b handled %q",
			fmt.Sprintf(lines, ""), fmt.Sprintf(lines, "open=ok\n")))
		heard := map[string]string{}
		for range 2 {
			m, err := done.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			heard[m.Channel] = m.Payload
		}
		expect(t, "what both published", heard, map[string]string{"operations:a:done": "go", "operations:b:done": "go"})
		answer, _ = r.publish(t, "operations", "again") // over what the first run left
		expect(t, "deliveries of a second run", len(answer.Deliveries), 2)
		for _, d := range answer.Deliveries {
			expect(t, d.Component, d.Outcome, "handled")
		}
		if n, err := s.client(t, r).Get(t.Context(), "operations:a:int").Int(); n != -6 || err != nil {
			t.Errorf("the guest's key holds %d, %v", n, err)
		}
	})
}

func TestUpEchoes(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		r := s.up(t, example(t, "c-echo"), "--variable", "echo_to=elsewhere")
		replies := s.client(t, r).Subscribe(t.Context(), "elsewhere")
		defer replies.Close()
		if _, err := replies.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		payload := strings.Repeat("\x00\xff\r\n", 1000)
		answer := r.post(t, "echo", []byte(payload))
		expect(t, "deliveries", ran(answer), `echo handled ""`)
		m, err := replies.ReceiveMessage(t.Context())
		if err != nil || m.Payload != payload {
			t.Errorf("%v, %d bytes came back", err, len(m.Payload))
		}
	})
}

const refusing = `spin_manifest_version = 2
[application]
name = "refusing"
[application.trigger.redis]
address = "redis://localhost:6379"
[variables]
host = { default = "" }
[[trigger.redis]]
channel = "echo"
component = "echo"
[component.echo]
source = "echo.wasm"
allowed_outbound_hosts = %s
variables = { redis_address = "redis://localhost:6379", to = "replies" }
`

// A guest that calls what its manifest does not list gets an error, and its log the line to add. With that line it is let through.
func TestUpRefusesHosts(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		for _, row := range []struct {
			name, hosts, outcome string
			args                 []string
		}{
			{"none", `[]`, "failed", nil},
			{"other port", `["redis://localhost:6380"]`, "failed", nil},
			{"optional, left out", `["redis://{{ host }}:6379"]`, "failed", []string{"--variable", "host=nowhere"}},
			{"as the log says", `["redis://localhost:6379"]`, "handled", nil},
			{"templated", `["redis://{{ host }}:6379"]`, "handled", []string{"--variable", "host=localhost"}},
			{"any", `["redis://*:*"]`, "handled", nil},
		} {
			t.Run(row.name, func(t *testing.T) {
				dir := writeApp(t, fmt.Sprintf(refusing, row.hosts))
				r := s.up(t, dir, row.args...)
				answer, done := r.publish(t, "echo", "x")
				expect(t, "deliveries", len(answer.Deliveries), 1)
				expect(t, "outcome", answer.Deliveries[0].Outcome, row.outcome)
				log := printed(t, dir, "echo", "stderr")
				const line = "outbound network destination not allowed: redis://localhost:6379; to allow it, add to [component.echo]: " +
					"allowed_outbound_hosts = [\"redis://localhost:6379\"]\n"
				if row.outcome == "handled" {
					expect(t, "exit code", done.code, exitOK)
					expect(t, "stderr", log, "")
					return
				}
				expect(t, "exit code", done.code, exitFailed)
				expect(t, "stderr", log, line+"echo: could not publish to replies; the component's log has the host's reason\n")
			})
		}
	})
}

const hostile = `spin_manifest_version = 2
[application]
name = "hostile"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "evil"
component = "evil"
[[trigger.redis]]
channel = "endless"
component = "endless"
[[trigger.redis]]
channel = "calm"
component = "calm"
[component.evil]
source = "evil.wasm"
[component.evil.tool.tenloom]
memory = "4MiB"
[component.endless]
source = "evil.wasm"
[component.endless.tool.tenloom]
timeout = "300ms"
concurrency = 2
[component.calm]
source = "echo-a.wasm"
`

// Whatever a guest does, its delivery ends with an outcome, the process lives, and its neighbour is served.
func TestUpSurvivesGuests(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		dir := writeApp(t, hostile)
		r := s.up(t, dir, "-q")
		for _, row := range []struct{ mode, outcome, problem string }{
			{"trap", "failed", "wasm error: unreachable"},
			{"recurse", "failed", "stack overflow"},
			{"exit0", "failed", "the guest exited with code 0"},
			{"exit3", "failed", "the guest exited with code 3"},
			{"exittimeout", "failed", "the guest exited with code"},
			{"starve", "failed", "memory"},
			{"hungry", "failed", "memory"},
			{"grow", "handled", ""},
			{"print", "handled", ""},
			{"lines", "handled", ""},
			{"success", "handled", ""},
			{"error", "failed", "handler returned an error"},
			{"odd", "failed", "7"},
			{"pointer", "failed", "outside"},
			{"loop", "timed_out", "timed out after 300ms"},
			{"sleep", "timed_out", "timed out after 300ms"},
			{strings.Repeat("x", 4242), "timed_out", "timed out after 300ms"},
			{strings.Repeat("x", 4243), "failed", "do not fit the memory"},
			{"quiet", "handled", ""},
		} {
			t.Run(row.mode[:min(len(row.mode), 16)], func(t *testing.T) {
				channel := "evil"
				if row.outcome == "timed_out" {
					channel = "endless"
				}
				answer := r.post(t, channel, []byte(row.mode))
				if len(answer.Deliveries) != 1 {
					t.Fatalf("%d deliveries, %d pending", len(answer.Deliveries), answer.Pending)
				}
				d := answer.Deliveries[0]
				if d.Outcome != row.outcome || !strings.Contains(d.Error, row.problem) || (d.Error == "") != (row.problem == "") {
					t.Errorf("%s %q, want %s %q", d.Outcome, d.Error, row.outcome, row.problem)
				}
				if row.mode == "print" && d.Truncated < 8<<20 {
					t.Errorf("%d bytes of 10 MB were cut", d.Truncated)
				}
				expect(t, "neighbour", ran(r.post(t, "calm", []byte("x"))), `calm handled "1 x\n"`)
			})
		}
		const most = 3 << 20 // "print" and "lines" may write 1 MiB for each stream
		if n := len(printed(t, dir, "evil", "stdout")) + len(printed(t, dir, "evil", "stderr")); n > most {
			t.Errorf("%d bytes of the guest's output are in its log", n)
		}
		u := r.usage(t)
		expect(t, "load", u.Load, usage{}.Load)
		var ended int64
		for _, n := range u.Counts.Outcomes {
			ended += n
		}
		expect(t, "deliveries ended", ended, u.Counts.Received)
		expect(t, "exit code", r.stop(t), exitOK)
	})
}

// While guests spin in all the places that their component has, another component answers.
func TestUpServesBesideSpinningGuests(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		r := s.up(t, writeApp(t, hostile))
		c := s.client(t, r)
		for range 10 {
			if err := c.Publish(t.Context(), "endless", "loop").Err(); err != nil {
				t.Fatal(err)
			}
			expect(t, "neighbour", ran(r.post(t, "calm", []byte("x"))), `calm handled "1 x\n"`)
		}
		eventually(t, "all that spun is cut off", func() bool { return r.usage(t).Counts.Outcomes["timed_out"] == 10 })
	})
}

// fields is the payload that v1.wasm and v2.wasm read: lengths and bytes; the first is how its allocator behaves.
func fields(all ...string) []byte {
	var payload []byte
	for _, f := range append([]string{"0"}, all...) {
		payload = append(binary.LittleEndian.AppendUint32(payload, uint32(len(f))), f...)
	}
	return payload
}

const reaching = `spin_manifest_version = 2
[application]
name = "reaching"
[application.trigger.redis]
address = "redis://localhost:6379"
[variables]
word = { default = "given" }
[[trigger.redis]]
channel = "v1"
component = "v1"
[[trigger.redis]]
channel = "v2"
component = "v2"
[component.v1]
source = "v1.wasm"
allowed_outbound_hosts = ["http://%s", "redis://localhost:6379"]
key_value_stores = ["default", "shared"]
[component.v1.variables]
word = "<{{ word }}>"
[component.v2]
source = "v2.wasm"
key_value_stores = ["default"]
`

// Outbound HTTP, variables and key-value stores, which outlive the program where Redis does.
func TestUpReachesOut(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			body, err := io.ReadAll(q.Body)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("X-Seen", q.Header.Get("X-Sent"))
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, "%s %s %s", q.Method, q.URL, body)
		}))
		defer site.Close()
		dir := writeApp(t, fmt.Sprintf(reaching, site.Listener.Addr()))
		r := s.up(t, dir)
		for _, row := range []struct {
			channel string
			fields  []string
			output  string
		}{
			{"v1", []string{"http", "1", site.URL + "/a?b=c", "bbody", "X-Sent", "yes"}, "ok 418 x-seen=yes body POST /a?b=c body"},
			{"v1", []string{"http", "0", "http://localhost:1/", ""}, "err 1"},
			{"v1", []string{"set", "redis://localhost:6379/5", "k", "in five"}, "ok"},
			{"v1", []string{"get", "redis://localhost:6379/5", "k"}, "ok in five"},
			{"v1", []string{"get", "redis://localhost:6379", "k"}, "ok"},
			{"v1", []string{"incr", "redis://localhost:6379/5", "k"}, "err 1"},
			{"v1", []string{"get", "redis://127.0.0.1:6379/5", "k"}, "err 1"}, // another name than the one listed
			{"v1", []string{"config", "word"}, "ok <given>"},
			{"v1", []string{"config", "tenloom_channel"}, "ok v1"},
			{"v1", []string{"kv-set", "default", "k", "kept"}, "ok"},
			{"v1", []string{"kv-get", "default", "k"}, "ok kept"},
			{"v1", []string{"kv-exists", "shared", "k"}, "ok 0"},
			{"v1", []string{"kv-get", "secret", "k"}, "err 2"},
			{"v2", []string{"kv-get", "default", "k"}, "ok kept"},
		} {
			d := r.post(t, row.channel, fields(row.fields...)).Deliveries
			if len(d) != 1 || strings.TrimSpace(d[0].Output) != row.output {
				t.Errorf("%s %q: got %+v, want %s", row.channel, row.fields, d, row.output)
			}
		}
		five := s.client(t, r).Conn()
		defer five.Close()
		if err := five.Select(t.Context(), 5).Err(); err != nil {
			t.Fatal(err)
		}
		if value, err := five.Get(t.Context(), "k").Result(); value != "in five" || err != nil {
			t.Errorf("database 5 holds %q, %v", value, err)
		}
		if s.server == nil {
			return
		}
		expect(t, "exit code", r.stop(t), exitOK)
		r = s.up(t, dir)
		d := r.post(t, "v1", fields("kv-get", "default", "k")).Deliveries
		expect(t, "what the store kept", d[0].Output, "ok kept")
	})
}

// Environment variables and files of a component, which it cannot change.
func TestUpMountsFiles(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		dir := writeApp(t, `spin_manifest_version = 2
[application]
name = "mounts"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "read"
component = "reader"
[component.reader]
source = "reader.wasm"
environment = { COLOUR = "blue" }
files = ["*.txt"]
`)
		writeFile(t, dir+"/note.txt", []byte("noted"))
		writeFile(t, dir+"/secret.key", []byte("hush"))
		r := s.up(t, dir)
		for payload, want := range map[string]string{
			"env": "COLOUR=blue\n", "file note.txt": "noted", "file secret.key": "errno 44", "file ../secret.key": "errno", "write new.txt": "errno",
		} {
			d := r.post(t, "read", []byte(payload)).Deliveries
			if len(d) != 1 || d[0].Outcome != "handled" || !strings.HasPrefix(d[0].Output, want) {
				t.Errorf("%s: got %+v, want %q", payload, d, want)
			}
		}
	})
}

// What a person sees who starts with nothing: the sample, a message, and a channel mistyped.
func TestUpSample(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		dir := t.TempDir()
		r := s.up(t, dir)
		said := tenloom(t, dir, "publish", "--server", r.api, "-o", "table", "greetings", `{"name":"Ada"}`)
		wrong := tenloom(t, dir, "publish", "--server", r.api, "-o", "table", "greetngs", "hi")
		audit := tenloom(t, dir, "publish", "--server", r.api, "-o", "table", "greetings.morning", "hi")
		code := r.stop(t)
		var shown strings.Builder
		for _, part := range []struct {
			what string
			finished
		}{
			{"$ tenloom up", finished{code, r.stdout.String(), ""}},
			{`$ tenloom publish greetings '{"name":"Ada"}'`, said}, {"$ tenloom publish greetngs hi", wrong},
			{"$ tenloom publish greetings.morning hi", audit},
		} {
			fmt.Fprintf(&shown, "%s\n%s%s(exit %d)\n\n", part.what, part.stdout, part.stderr, part.code)
		}
		name := "sample"
		if s.server != nil {
			name = "sample_redis"
		}
		golden(t, name, mask(shown.String(), dir))
	})
}

// A Redis of the guest's own that goes away is the guest's error, and only while it is away.
func TestUpWhereOutboundRedisIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		own := redistest.Start(t)
		manifest := fmt.Sprintf(refusing, `["`+own.URL+`"]`)
		dir := writeApp(t, strings.Replace(manifest, `redis_address = "redis://localhost:6379"`, `redis_address = "`+own.URL+`"`, 1))
		r := s.up(t, dir)
		expect(t, "at first", ran(r.post(t, "echo", []byte("x"))), `echo handled ""`)
		own.Kill()
		d := r.post(t, "echo", []byte("x")).Deliveries
		expect(t, "while it is away", d[0].Outcome, "failed")
		own.Restart()
		expect(t, "when it is back", ran(r.post(t, "echo", []byte("x"))), `echo handled ""`)
		expect(t, "ready all the time", r.ready(), true)
	})
}
