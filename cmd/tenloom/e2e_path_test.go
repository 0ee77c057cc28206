package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

const ordersV2 = `spin_manifest_version = 2
[application]
name = "orders"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "orders"
component = "first"
[[trigger.redis]]
channel = "orders"
component = "second"
[[trigger.redis]]
channel = "orders"
component = "first"
[[trigger.redis]]
channel = "orders.paid"
component = "audit"
[component.first]
source = "echo-a.wasm"
[component.second]
source = "echo-b.wasm"
[component.audit]
source = "echo-b.wasm"
[component.audit.tool.tenloom]
pattern = "orders.*"
`

// A message reaches each trigger of its channel once, a component that is listed twice twice, and patterns beside exact channels, whoever
// published it.
func TestUpHandlesWhatIsPublished(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		dir := writeApp(t, ordersV2)
		r := s.up(t, dir)

		answer, done := r.publish(t, "orders", "one")
		expect(t, "exit code", done.code, exitOK)
		expect(t, "deliveries", ran(answer), `first handled "1 one\n"; first handled "1 one\n"; second handled "1 one\npost\n"`)
		expect(t, "clients of Redis reached", answer.RedisReceivers, 1)
		expect(t, "stdout of first", printed(t, dir, "first", "stdout"), "1 one\n1 one\n")
		expect(t, "stdout of second", printed(t, dir, "second", "stdout"), "1 one\n")
		expect(t, "stderr of second", printed(t, dir, "second", "stderr"), "post\n")

		answer, _ = r.publish(t, "orders.paid", "two")
		expect(t, "exact and pattern", ran(answer), `audit handled "1 two\npost\n"; audit handled "1 two\npost\n"`)
		answer, _ = r.publish(t, "orders.late", "three")
		expect(t, "pattern alone", ran(answer), `audit handled "1 three\npost\n"`)

		for _, payload := range []string{"", "four", "\x00\xff\r\n"} {
			if err := s.client(t, r).Publish(t.Context(), "orders.any", payload).Err(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "what a Redis client published is handled", func() bool { return r.usage(t).Counts.Outcomes["handled"] == 9 })
		expect(t, "stdout of audit", len(printed(t, dir, "audit", "stdout")), len("1 two\n1 two\n1 three\n1 \n1 four\n1 \x00\xff\r\n\n"))
	})
}

// Patterns that overlap each get the message, on one connection that they share.
func TestUpServesOverlappingPatterns(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		r := s.up(t, writeApp(t, `spin_manifest_version = 2
[application]
name = "overlap"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "never.a"
component = "first"
[[trigger.redis]]
channel = "never.b"
component = "second"
[component.first]
source = "echo-a.wasm"
[component.first.tool.tenloom]
pattern = "orders.*"
[component.second]
source = "echo-a.wasm"
[component.second.tool.tenloom]
pattern = "*.paid"
`))
		for range 5 { // a server that chooses one would choose differently each time
			answer, _ := r.publish(t, "orders.paid", "x")
			expect(t, "deliveries", ran(answer), `first handled "1 x\n"; second handled "1 x\n"`)
		}
	})
}

// The manifest of Spin 1, as it stands.
func TestUpRunsSpin1(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		dir := writeApp(t, `spin_version = "1"
name = "old"
version = "0.1.0"
trigger = { type = "redis", address = "redis://127.0.0.1:6379" }
[[component]]
id = "hello_old"
source = "echo-a.wasm"
[component.trigger]
channel = "old"
[[component]]
id = "second"
source = "reader.wasm"
environment = { COLOUR = "blue" }
[component.trigger]
channel = "old"
`)
		r := s.up(t, dir)
		answer, done := r.publish(t, "old", "env")
		expect(t, "exit code", done.code, exitOK)
		expect(t, "deliveries", ran(answer), `hello-old handled "1 env\n"; second handled "COLOUR=blue\n"`)
		expect(t, "log", printed(t, dir, "hello-old", "stdout"), "1 env\n")
	})
}

// One component listens on two servers, of which one is the main's, and a client says which it means.
func TestUpListensOnTwoServers(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		other := redistest.Start(t)
		main := "redis://127.0.0.1:6379" // the main server stands for it
		if s.server != nil {
			main = s.server.URL
		}
		dir := writeApp(t, `spin_manifest_version = 2
[application]
name = "two-servers"
[[trigger.redis]]
address = "`+main+`"
channel = "both"
component = "echo"
[[trigger.redis]]
address = "`+other.URL+`"
channel = "both"
component = "echo"
[[trigger.redis]]
address = "`+other.URL+`/3"
channel = "only.there"
component = "echo"
[component.echo]
source = "echo-b.wasm"
`)
		r := s.up(t, dir)
		answer, _ := r.publish(t, "both", "here", "--endpoint", main)
		expect(t, "on the main server", ran(answer), `echo handled "1 here\npost\n"`)
		answer, _ = r.publish(t, "both", "there", "--endpoint", other.URL)
		expect(t, "on the other server", ran(answer), `echo handled "1 there\npost\n"`)
		answer, _ = r.publish(t, "only.there", "alone")
		expect(t, "on the only server that the channel is heard on", ran(answer), `echo handled "1 alone\npost\n"`)

		_, done := r.publish(t, "both", "which?")
		expect(t, "exit code", done.code, exitUsage)
		for _, want := range []string{"triggers on 2 servers listen to", "as endpoint", other.URL} {
			if !strings.Contains(done.stderr, want) {
				t.Errorf("%q is missing in %s", want, done.stderr)
			}
		}
		_, done = r.publish(t, "both", "elsewhere", "--endpoint", "redis://127.0.0.1:1")
		expect(t, "exit code for a server that no trigger uses", done.code, exitUsage)

		if err := other.Client().Publish(t.Context(), "both", "straight").Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other server's message is handled", func() bool { return r.usage(t).Counts.Outcomes["handled"] == 4 })
		expect(t, "log", printed(t, dir, "echo", "stdout"), "1 here\n1 there\n1 alone\n1 straight\n")
	})
}

const templated = `spin_manifest_version = 2
[application]
name = "templated"
[application.trigger.redis]
address = "redis://{{ host }}:6379"
[variables]
host = { default = "localhost" }
prefix = { default = "default" }
other = { required = true }
secret_word = { required = true, secret = true }
[[trigger.redis]]
channel = "{{ prefix }}.in"
component = "echo"
[[trigger.redis]]
address = "{{ other }}"
channel = "{{ prefix }}.other"
component = "echo"
[component.echo]
source = "echo-a.wasm"
`

// Variables stand in addresses and channels, from --variable, then files, then TENLOOM_VARIABLE_*, then SPIN_VARIABLE_*, then their defaults.
func TestUpRendersVariables(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		other := redistest.Start(t, "--requirepass", "p@ss word")
		dir := writeApp(t, templated)
		writeFile(t, dir+"/word", []byte("hush"))
		writeFile(t, dir+"/values.toml", []byte("prefix = \"file\"\n"))
		writeFile(t, dir+"/later.json", []byte(`{"prefix": "later"}`))
		for _, row := range []struct {
			prefix string
			env    []string
			args   []string
		}{
			{prefix: "default"},
			{prefix: "spin", env: []string{"SPIN_VARIABLE_PREFIX=spin"}},
			{prefix: "tenloom", env: []string{"SPIN_VARIABLE_PREFIX=spin", "TENLOOM_VARIABLE_PREFIX=tenloom"}},
			{prefix: "file", env: []string{"TENLOOM_VARIABLE_PREFIX=tenloom"}, args: []string{"--variables-file", "values.toml", "--variables-file", "later.json"}},
			{prefix: "flag", env: []string{"TENLOOM_VARIABLE_PREFIX=tenloom"}, args: []string{"--variables-file", "values.toml", "--variable", "prefix=flag"}},
		} {
			t.Run(row.prefix, func(t *testing.T) {
				r := s.upWith(t, dir, row.env, append([]string{"--variable", "other=" + other.URL, "--variable", "secret_word=@word"}, row.args...)...)
				for _, channel := range []string{row.prefix + ".in", row.prefix + ".other"} {
					answer, _ := r.publish(t, channel, "x")
					expect(t, channel, ran(answer), `echo handled "1 x\n"`)
				}
				expect(t, "exit code", r.stop(t), exitOK)
				for _, secret := range []string{"p@ss", url.QueryEscape("p@ss"), "hush"} {
					if strings.Contains(r.stdout.String()+r.stderr.String(), secret) {
						t.Errorf("the program printed %s", secret)
					}
				}
			})
		}
	})
}

// A server that wants a password gets it, and nobody else sees it.
func TestUpWithPassword(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "hush")
	r := stage{server, []string{"--redis", server.URL}}.up(t, example(t, "c-echo"))
	expect(t, "address shown", r.redis, "redis://***@"+server.Addr)
	answer, _ := r.publish(t, "echo", "x")
	expect(t, "deliveries", ran(answer), `echo handled ""`)
	expect(t, "exit code", r.stop(t), exitOK)
	if text := r.stdout.String() + r.stderr.String(); strings.Contains(text, "hush") {
		t.Errorf("the password is in the output:\n%s", text)
	}
}
