package tenants_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Names are written into metrics, logs and API answers: other programs read them.
func TestOutcomeNames(t *testing.T) {
	want := map[tenants.Outcome]string{
		tenants.Handled: "handled", tenants.Failed: "failed", tenants.TimedOut: "timed_out", tenants.Throttled: "throttled",
		tenants.Dropped: "dropped", tenants.Expired: "expired", tenants.DeadLettered: "dead_lettered",
	}
	if len(want) != int(tenants.Outcomes) {
		t.Fatalf("%d outcomes, %d names here", tenants.Outcomes, len(want))
	}
	for o, name := range want {
		var back tenants.Outcome
		if err := back.UnmarshalText([]byte(name)); err != nil || back != o || o.String() != name {
			t.Errorf("%d: name %q, and %q reads as %v, %v", o, o, name, back, err)
		}
	}
	if got := tenants.Outcomes.String(); got != "outcome(7)" {
		t.Error(got)
	}
}

func TestReasonNames(t *testing.T) {
	want := map[tenants.Reason]string{
		tenants.NoReason: "", tenants.QueueFull: "queue_full", tenants.QueueBytes: "queue_bytes", tenants.Oldest: "oldest",
		tenants.Coalesced: "coalesced", tenants.Removed: "removed", tenants.Stopping: "stopping", tenants.BreakerOpen: "breaker_open",
		tenants.SpillBytes: "spill_bytes", tenants.SpillTotal: "spill_total", tenants.SpillBehind: "spill_behind", tenants.SpillFailed: "spill_failed",
		tenants.SpillCorrupt: "spill_corrupt",
	}
	if len(want) != int(tenants.Reasons) {
		t.Fatalf("%d reasons, %d names here", tenants.Reasons, len(want))
	}
	for r, name := range want {
		var back tenants.Reason
		if err := back.UnmarshalText([]byte(name)); err != nil || back != r || r.String() != name {
			t.Errorf("%d: name %q, and %q reads as %v, %v", r, r, name, back, err)
		}
	}
	if got := tenants.Reasons.String(); got != "reason(13)" {
		t.Error(got)
	}
}

func TestOutcomeJSON(t *testing.T) {
	type line struct {
		Outcome tenants.Outcome
		Reason  tenants.Reason
	}
	in := line{tenants.Dropped, tenants.QueueFull}
	text, err := json.Marshal(in)
	if err != nil || string(text) != `{"Outcome":"dropped","Reason":"queue_full"}` {
		t.Fatalf("%s, %v", text, err)
	}
	var out line
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("%+v, %v", out, err)
	}
	for _, text := range []string{`{"Outcome":"lost"}`, `{"Reason":"bored"}`, `{"Outcome":""}`} {
		if err := json.Unmarshal([]byte(text), &out); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOverflowNames(t *testing.T) {
	for o, name := range map[tenants.Overflow]string{
		tenants.DropNewest: "drop_newest", tenants.DropOldest: "drop_oldest", tenants.Coalesce: "coalesce", tenants.Spill: "spill",
	} {
		if back, err := tenants.ParseOverflow(name); err != nil || back != o || o.String() != name {
			t.Errorf("%d: name %q, and %q reads as %v, %v", o, o, name, back, err)
		}
	}
	if _, err := tenants.ParseOverflow("drop"); err == nil || !strings.Contains(err.Error(), "drop_newest, drop_oldest, coalesce, spill") {
		t.Error(err)
	}
	if got := (tenants.Spill + 1).String(); got != "overflow(4)" {
		t.Error(got)
	}
}

func TestLimitsWithDefaults(t *testing.T) {
	want := tenants.Limits{Concurrency: 16, Timeout: 30 * time.Second, Memory: 128 << 20,
		HostCalls: 100_000, BytesOut: 256 << 20, BytesIn: 256 << 20, Handles: 1024, Output: 1 << 20, LogRate: 1000}
	if got := (tenants.Limits{}).WithDefaults(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	given := tenants.Limits{Concurrency: 1, Timeout: time.Second, Memory: 1 << 16,
		HostCalls: 1, BytesOut: 2, BytesIn: 3, Handles: 4, Output: 5, LogRate: 6, Overflow: tenants.Coalesce, MaxWait: time.Minute}
	if got := given.WithDefaults(); got != given {
		t.Errorf("%+v, want what was given: %+v", got, given)
	}
	// The default of a limit fits under the default ceiling, or every app without limits would be refused.
	ceiling := tenants.DefaultPolicy().Max
	if want.Concurrency > ceiling.Concurrency || want.Timeout > ceiling.Timeout || want.Memory > ceiling.Memory {
		t.Errorf("defaults %+v exceed the ceilings %+v", want, ceiling)
	}
}

func TestTriggerPrints(t *testing.T) {
	trigger := tenants.Trigger{Tenant: tenants.Demo, App: "hello", Component: "greet", Target: tenants.Target{Kind: tenants.Exact, Name: "greetings"}}
	if got := trigger.String(); got != "demo/hello greetings -> greet" {
		t.Error(got)
	}
	for kind, want := range map[tenants.Kind]string{
		tenants.Exact: "channel", tenants.Pattern: "pattern", tenants.Sharded: "sharded", tenants.Stream: "stream", tenants.Stream + 1: "kind(4)",
	} {
		if got := kind.String(); got != want {
			t.Errorf("%d prints %s, want %s", uint8(kind), got, want)
		}
	}
}
