package telemetry_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// handled records one delivery of a tenant.
func handled(r *telemetry.Recorder, id tenants.ID, trace telemetry.Trace) {
	a := r.Account(id)
	a.Receive(1)
	a.Begin(1)
	a.Record(&telemetry.Record{
		Trigger: trigger(id, "orders"), Invocation: tenants.InvocationID(ids.Next(epoch)), Received: epoch, Waited: time.Millisecond, Ran: 3 * time.Millisecond,
		Bytes: 10, Fuel: 7, Instance: telemetry.Reset, CallsMade: [telemetry.Systems]int32{2, 1}, CallsFailed: 1, Trace: trace,
	})
}

// TestExposition: both forms of Prometheus, to the letter.
func TestExposition(t *testing.T) {
	d := telemetry.Distribution{Count: 3, Sum: 150 * time.Millisecond}
	d.Counts[8], d.Counts[19] = 2, 1
	examples := make([]*telemetry.Exemplar, 20)
	examples[8] = &telemetry.Exemplar{Trace: telemetry.TraceID{1}, Span: telemetry.SpanID{2}, Value: 20 * time.Millisecond, At: time.Unix(1, 5e8)}
	all := []telemetry.Family{
		telemetry.CounterOf("tenloom.some.size", "By", "Some\nbytes.", 12, telemetry.Label{Name: "tenant", Value: "a\"\\\n\xff"}),
		telemetry.GaugeOf("tenloom.age", "s", "Age.", 1.5),
		{Name: "tenloom.took", Unit: "s", Help: "Time.", Kind: telemetry.Distributions, Series: []telemetry.Series{{Labels: []telemetry.Label{{Name: "x", Value: "y"}}, Distribution: &d, Exemplars: examples}}},
	}
	for _, open := range []bool{false, true} {
		var b bytes.Buffer
		if err := telemetry.Expose(&b, all, open); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for _, want := range []string{
			"# HELP tenloom_some_size_bytes" + map[bool]string{false: "_total"}[open] + " Some\\nbytes.\n", "tenloom_some_size_bytes_total{tenant=\"a\\\"\\\\\\n\uFFFD\"} 12\n",
			"tenloom_age_seconds 1.5\n", "tenloom_took_seconds_bucket{x=\"y\",le=\"0.025\"} 2", "tenloom_took_seconds_bucket{x=\"y\",le=\"+Inf\"} 3\n",
			"tenloom_took_seconds_sum{x=\"y\"} 0.15\n", "tenloom_took_seconds_count{x=\"y\"} 3\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("open %v: %q is not in\n%s", open, want, text)
			}
		}
		const example = `le="0.025"} 2 # {trace_id="01000000000000000000000000000000",span_id="0200000000000000"} 0.02 1.500`
		if strings.Contains(text, example) != open || strings.HasSuffix(text, "# EOF\n") != open {
			t.Errorf("open %v:\n%s", open, text)
		}
	}
}

// TestMeterCaps: so many tenants have series of their own and keep them, the others are one, and the sums are those of all.
func TestMeterCaps(t *testing.T) {
	r := telemetry.New(1)
	m := telemetry.NewMeter(r, 2)
	for n, id := range []tenants.ID{"a", "b", "c", "d"} {
		for range n + 1 {
			handled(r, id, telemetry.Trace{})
		}
	}
	series := func() string {
		for _, f := range m.Read() {
			if f.Name != "messaging.client.consumed.messages" {
				continue
			}
			var text []string
			for _, s := range f.Series {
				text = append(text, fmt.Sprint(s.Labels[0].Value, "=", s.Value))
			}
			return strings.Join(text, " ")
		}
		return ""
	}
	if got := series(); got != "c=3 d=4 _other=3" {
		t.Errorf("%s", got)
	}
	for range 10 {
		handled(r, "a", telemetry.Trace{})
	}
	handled(r, "e", telemetry.Trace{})
	if got := series(); got != "c=3 d=4 _other=14" {
		t.Errorf("%s", got)
	}
}

// TestMeterCounts: what a delivery leaves in metrics.
func TestMeterCounts(t *testing.T) {
	r := telemetry.New(1)
	m := telemetry.NewMeter(r, 0)
	m.Loads(func(tell func(tenants.ID, telemetry.QueueLoad)) {
		tell("acme", telemetry.QueueLoad{Bytes: 99, Oldest: 2 * time.Second})
	})
	m.Add(func(add func(telemetry.Family)) {
		add(telemetry.GaugeOf("tenloom.vault.leases", "{lease}", "Leases.", 3))
	})
	tracer := telemetry.NewTracer(telemetry.TracerConfig{Batch: telemetry.BatchConfig[*telemetry.Traced]{Send: (&kept{}).send}})
	defer tracer.Shutdown(t.Context())
	r.Trace(tracer)
	handled(r, "acme", r.Begin(nil))
	a := r.Account("acme")
	a.Receive(2)
	a.Begin(1)
	a.Record(&telemetry.Record{Trigger: trigger("acme", "orders"), Outcome: tenants.Dropped, Reason: tenants.QueueFull})
	a.Gap(time.Second)
	answer := httptest.NewRecorder()
	q := httptest.NewRequest("GET", "/metrics", nil)
	q.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	m.ServeHTTP(answer, q)
	text := answer.Body.String()
	for _, want := range []string{
		`messaging_client_consumed_messages_total{tenant="acme"} 3`, `tenloom_deliveries_total{tenant="acme",outcome="handled"} 1`,
		`tenloom_refusals_total{tenant="acme",reason="queue_full"} 1`, `tenloom_queue_depth{tenant="acme"} 1`, `tenloom_queue_size_bytes{tenant="acme"} 99`,
		`tenloom_queue_lag_seconds{tenant="acme"} 2`, `tenloom_in_flight{tenant="acme"} 0`, `tenloom_instances_total{tenant="acme",kind="reset"} 1`,
		`tenloom_fuel_total{tenant="acme"} 7`, `tenloom_outbound_calls_total{tenant="acme",system="redis"} 2`, `tenloom_outbound_errors_total{tenant="acme"} 1`,
		`tenloom_gaps_total{tenant="acme"} 1`, `tenloom_gap_duration_seconds_total{tenant="acme"} 1`, `tenloom_vault_leases 3`,
		`messaging_process_duration_seconds_count{tenant="acme"} 1`, `tenloom_queue_wait_seconds_sum{tenant="acme"} 0.001`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if !regexp.MustCompile(`messaging_process_duration_seconds_bucket\{tenant="acme",le="0.005"\} 1 # \{trace_id="[0-9a-f]{32}",span_id="[0-9a-f]{16}"\} 0.003 `).MatchString(text) {
		t.Errorf("no exemplar in\n%s", text)
	}
}

// TestMeterHammer reads while deliveries come.
func TestMeterHammer(t *testing.T) {
	r := telemetry.New(10)
	m := telemetry.NewMeter(r, 3)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				handled(r, tenants.ID(fmt.Sprint("t", (w+i)%8)), telemetry.Trace{})
			}
		})
	}
	last := 0.0
	for range 50 {
		sum := 0.0
		for _, f := range m.Read() {
			for _, s := range f.Series {
				if f.Name == "tenloom.deliveries" {
					sum += s.Value
				}
				if s.Value < 0 {
					t.Errorf("%s %v is %v", f.Name, s.Labels, s.Value)
				}
			}
		}
		if sum < last {
			t.Errorf("the sum fell from %v to %v", last, sum)
		}
		last = sum
	}
	wg.Wait()
}
