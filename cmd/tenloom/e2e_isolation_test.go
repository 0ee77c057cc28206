package main

import (
	"strings"
	"testing"
)

// counting is an application whose handler answers how many messages its instance has seen.
const counting = `spin_manifest_version = 2
[application]
name = "counting"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "clean"
component = "clean"
[component.clean]
source = "spend.wasm"
key_value_stores = ["default"]
[[trigger.redis]]
channel = "kept"
component = "kept"
[component.kept]
source = "spend.wasm"
key_value_stores = ["default"]
[component.kept.tool.tenloom]
isolation = "reuse"
concurrency = 1
host_calls = 10
[[trigger.redis]]
channel = "new"
component = "new"
[component.new]
source = "table-grow.wasm"
`

// A message finds a clean instance, or with isolation = "reuse" what the messages before it left, until one of them fails.
func TestIsolation(t *testing.T) {
	t.Parallel()
	dir := writeApp(t, counting)
	done := tenloom(t, dir, "check")
	expect(t, "check", done.code, exitOK)
	if !strings.Contains(done.stderr, "Note: spin.toml:25: component.new: each message gets a fresh instance") {
		t.Errorf("check says %q", done.stderr)
	}
	r := stage{}.up(t, dir)
	count, calls := []byte("n\x00\x00\x00\x00"), []byte("h\xff\x00\x00\x00")
	for _, row := range []struct {
		channel string
		payload []byte
		want    string
	}{
		{"clean", count, `clean handled "1"`}, {"clean", count, `clean handled "1"`},
		{"kept", count, `kept handled "1"`}, {"kept", count, `kept handled "2"`}, {"kept", count, `kept handled "3"`},
		{"kept", calls, `kept failed ""`}, {"kept", count, `kept handled "1"`},
		{"new", count, `new handled ""`},
	} {
		a := r.post(t, row.channel, row.payload)
		expect(t, "after a message on "+row.channel, ran(a), row.want)
		if d := a.Deliveries[0]; d.Fuel == 0 || d.Memory == 0 {
			t.Errorf("%+v", d)
		}
		if d := a.Deliveries[0]; d.Outcome == "failed" && !strings.Contains(d.Error, "host_calls = ... in [component.kept.tool.tenloom]") {
			t.Errorf("%q", d.Error)
		}
	}
	var triggers struct {
		Data []struct {
			Component, Isolation string
			Why                  string `json:"isolation_reason"`
		}
	}
	r.askJSON(t, "/v1/tenants/demo/triggers", &triggers)
	want := map[string]string{"clean": "reset", "kept": "reuse", "new": "fresh"}
	for _, one := range triggers.Data {
		expect(t, one.Component, one.Isolation, want[one.Component])
		expect(t, one.Component+" has a reason", one.Why != "", one.Component == "new")
	}
	expect(t, "triggers", len(triggers.Data), 3)
}
