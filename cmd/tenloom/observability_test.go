package main

import (
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// TestDashboardsNameMetrics: the dashboard, the alerts and the documents in examples/observability and README.md name only metrics that there are.
func TestDashboardsNameMetrics(t *testing.T) {
	o, log, err := observe(t.Context(), observing{history: 1}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scheduler.New(scheduler.Config{Recorder: o.recorder, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	o.watch(s)
	o.recorder.Account(tenants.Demo).Receive(1)
	tracer := telemetry.NewTracer(telemetry.TracerConfig{})
	defer tracer.Shutdown(t.Context())
	o.recorder.Trace(tracer)
	known := map[string]bool{}
	for _, f := range o.meter.Read() {
		name := telemetry.PrometheusName(&f)
		known[name] = true
		if f.Kind == telemetry.Distributions {
			known[name+"_bucket"], known[name+"_sum"], known[name+"_count"] = true, true, true
		}
	}
	if err := telemetry.Expose(io.Discard, o.meter.Read(), true); err != nil {
		t.Error(err)
	}
	named := regexp.MustCompile(`\b(tenloom|messaging|faas|go|process)_[a-z_0-9]+`)
	for _, file := range []string{"dashboard.json", "alerts.yaml", "README.md", "../../README.md"} {
		text := string(readFile(t, filepath.Join("..", "..", "examples", "observability", file)))
		found := 0
		for _, name := range named.FindAllString(text, -1) {
			switch {
			case known[name]:
				found++
			case file == "../../README.md" && !strings.HasSuffix(name, "_total"): // variables of guests, and the like
			default:
				t.Errorf("%s names %s, which is no metric", file, name)
			}
		}
		if found == 0 {
			t.Errorf("%s names no metric", file)
		}
	}
}
