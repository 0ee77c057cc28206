package main

import (
	"strings"
	"testing"
)

// relaying is an application whose guests are components of the component model, one for each generation of Spin's handler.
const relaying = `spin_manifest_version = 2
[application]
name = "relaying"
[application.trigger.redis]
address = "{{ redis_address }}"
[variables]
redis_address = { default = "redis://localhost:6379" }
[[trigger.redis]]
channel = "relay"
component = "relay"
[component.relay]
source = "relay.wasm"
allowed_outbound_hosts = ["{{ redis_address }}"]
[component.relay.variables]
redis_address = "{{ redis_address }}"
[[trigger.redis]]
channel = "later"
component = "later"
[component.later]
source = "later.wasm"
`

// A component comes up from a manifest like a core module, handles messages, reaches Redis, prints lines and says why it failed.
func TestUpRunsComponents(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		dir := writeApp(t, relaying)
		done := tenloom(t, dir, "check")
		expect(t, "check", done.code, exitOK)
		if strings.Contains(done.stderr, "Note:") {
			t.Errorf("check says %q", done.stderr)
		}
		r := s.up(t, dir)
		relayed := s.client(t, r).Subscribe(t.Context(), "relayed")
		defer relayed.Close()
		if _, err := relayed.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, payload := range []string{"one", "two"} {
			answer, _ := r.publish(t, "relay", payload)
			expect(t, "deliveries", ran(answer), `relay handled "`+payload+`"`)
			m, err := relayed.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			expect(t, "what was relayed", m.Payload, payload)
		}
		answer, _ := r.publish(t, "later", "yield")
		expect(t, "deliveries of the asynchronous handler", ran(answer), `later handled ""`)
		answer, _ = r.publish(t, "later", "error")
		expect(t, "deliveries", ran(answer), `later failed ""`)
		expect(t, "its error", answer.Deliveries[0].Error, "handler returned an error: other: no such thing")
	})
}
