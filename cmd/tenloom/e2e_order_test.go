package main

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

const ordered = `spin_manifest_version = 2
[application]
name = "ordered"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "c"
component = "sleep"
[component.sleep]
source = "sleep.wasm"
[component.sleep.tool.tenloom]
order_by = "/customer/id"
`

// Messages of one key are handled one after the other, although the handler may run sixteen times at once.
func TestUpOrdersByKey(t *testing.T) {
	onBoth(t, func(t *testing.T, s stage) {
		r := s.up(t, writeApp(t, ordered))
		c := s.client(t, r)
		for range 3 {
			if err := c.Publish(t.Context(), "c", `{"n": [1, 2], "customer": {"name": "\"", "id": "c-17"}}`).Err(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all are handled", func() bool { return r.usage(t).Counts.Outcomes["handled"] == 3 })
		var runs struct {
			Data []struct {
				Received time.Time `json:"received_at"`
				QueuedMS float64   `json:"queued_ms"`
				RanMS    float64   `json:"duration_ms"`
			}
		}
		r.askJSON(t, "/v1/tenants/demo/invocations", &runs)
		type span struct{ from, to time.Time }
		var all []span
		for _, run := range runs.Data {
			from := run.Received.Add(time.Duration(run.QueuedMS * float64(time.Millisecond)))
			all = append(all, span{from, from.Add(time.Duration(run.RanMS * float64(time.Millisecond)))})
		}
		slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from.UnixNano(), b.from.UnixNano()) })
		for i := 1; i < len(all); i++ {
			if all[i].from.Add(time.Millisecond).Before(all[i-1].to) { // the API rounds to microseconds
				t.Errorf("two of one key ran at once: %v", all)
			}
		}
	})
}
