package otlp_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/telemetry/otlp"
	"github.com/tenloom/tenloom/telemetry/otlp/otlptest"
	"github.com/tenloom/tenloom/tenants"
)

var ids tenants.ULIDs

// house is a Recorder with its exports.
type house struct {
	recorder *telemetry.Recorder
	*otlp.Exports
}

func open(t *testing.T) *house {
	t.Helper()
	r := telemetry.New(1)
	e, err := otlp.Open(t.Context(), otlp.Config{Recorder: r, Meter: telemetry.NewMeter(r, 0), Version: "v1.2.3", Instance: "one"})
	if err != nil {
		t.Fatal(err)
	}
	return &house{r, e}
}

var began = time.Now()

// deliver records a delivery with all stages, which failed.
func (h *house) deliver() *telemetry.Record {
	rec := &telemetry.Record{
		Trigger: &tenants.Trigger{Tenant: "acme", App: "shop", Version: "sha256:1", ID: "t", Component: "mailer", Endpoint: "default",
			Target: tenants.Target{Kind: tenants.Pattern, Name: "orders:*"}},
		Invocation: tenants.InvocationID(ids.Next(began)), Channel: []byte("orders:eu"), Bytes: 17, Received: began, Waited: time.Millisecond,
		Ran: 5 * time.Millisecond, Started: 2 * time.Millisecond, Instance: telemetry.Cold, Outcome: tenants.Failed, Err: "exit 1", Fuel: 99, Memory: 1 << 16,
		Settled: time.Millisecond, Attempt: 2,
		Calls: []telemetry.Call{
			{System: "redis", Operation: "GET", Server: "cache:6379", Began: began.Add(4 * time.Millisecond), Took: time.Millisecond},
			{System: "redis", Operation: "PUBLISH", Server: "cache:6379", Began: began.Add(4 * time.Millisecond), Took: time.Millisecond, Span: telemetry.SpanID{7: 9}},
			{System: "http", Operation: "POST", Server: "example.com", Began: began.Add(5 * time.Millisecond), Took: time.Millisecond, Failed: true, Status: 503},
		},
		CallsMade: [telemetry.Systems]int32{2, 1}, CallsFailed: 1,
		Trace: h.recorder.Begin([]byte(`{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`)),
	}
	h.recorder.Account("acme").Receive(1)
	h.recorder.Account("acme").Begin(1)
	h.recorder.Account("acme").Record(rec)
	return rec
}

// TestExports: everything that one delivery leaves behind reaches a collector, over both protocols.
func TestExports(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			r := otlptest.Start(t)
			address := r.GRPC
			if protocol != "grpc" {
				address = r.HTTP
			}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			h := open(t)
			rec := h.deliver()
			slog.New(h.Handler()).Warn("the server says", "tenant", "acme")
			h.Line(telemetry.Line{At: began, Tenant: "acme", App: "shop", Component: "mailer", Stream: telemetry.Stdout, Text: []byte("hello\xff"), Invoked: rec.Invocation, Trace: rec.Trace})
			h.Gap(telemetry.TracedGap{Tenant: "acme", Since: began, Until: began.Add(time.Second), Targets: 3, Cause: "EOF"})
			if err := h.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := "GET POST PUBLISH gap handle mailer instance cold process orders:* queued settle orders:*"
			if got := strings.Join(r.Names(), " "); got != want {
				t.Fatalf("spans %s\nwant  %s", got, want)
			}
			checkSpans(t, r)
			checkOthers(t, r)
		})
	}
}

func checkSpans(t *testing.T, r *otlptest.Receiver) {
	spans := map[string]string{}
	var root, handler string
	for _, s := range r.Spans() {
		spans[s.Name] = otlptest.Attributes(s.Attributes)
		if s.Name != "gap" && string(s.TraceId) != "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36" {
			t.Errorf("%s is in trace %x", s.Name, s.TraceId)
		}
		switch s.Name {
		case "process orders:*":
			if root = string(s.SpanId); s.Status.GetMessage() != "exit 1" || s.Status.GetCode() != 2 || string(s.ParentSpanId) != "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7" {
				t.Errorf("root: %v", s)
			}
		case "handle mailer":
			handler = string(s.SpanId)
		case "PUBLISH":
			if string(s.SpanId) != "\x00\x00\x00\x00\x00\x00\x00\x09" {
				t.Errorf("the call's span is %x, not the one that was given on", s.SpanId)
			}
		}
	}
	for _, s := range r.Spans() {
		parent := map[string]string{"queued": root, "instance cold": root, "handle mailer": root, "settle orders:*": root, "GET": handler, "PUBLISH": handler, "POST": handler}[s.Name]
		if parent != "" && string(s.ParentSpanId) != parent {
			t.Errorf("%s is below %x", s.Name, s.ParentSpanId)
		}
	}
	for name, want := range map[string]string{
		"GET":     "db.operation.name=GET db.system.name=redis server.address=cache server.port=6379",
		"PUBLISH": "messaging.operation.name=publish messaging.operation.type=send messaging.system=redis server.address=cache server.port=6379",
		"POST":    "error.type=503 http.request.method=POST http.response.status_code=503 server.address=example.com",
	} {
		if spans[name] != want {
			t.Errorf("%s: %s\nwant %s", name, spans[name], want)
		}
	}
	for _, want := range []string{"messaging.destination.name=orders:eu", "messaging.destination.template=orders:*", "faas.coldstart=true", "tenloom.outcome=failed", "tenloom.attempt=2"} {
		if !strings.Contains(spans["process orders:*"], want) {
			t.Errorf("%s is not among %s", want, spans["process orders:*"])
		}
	}
}

func checkOthers(t *testing.T, r *otlptest.Receiver) {
	for _, want := range []string{"service.name=tenloom", "service.version=v1.2.3", "deployment.environment.name=test"} {
		if !strings.Contains(r.Resource(), want) {
			t.Errorf("%s is not among %s", want, r.Resource())
		}
	}
	found := map[string]bool{}
	for _, m := range r.Metrics() {
		found[m.Name] = true
		if m.Name != "messaging.process.duration" {
			continue
		}
		p := m.GetHistogram().GetDataPoints()
		if len(p) != 1 || p[0].Count != 1 || len(p[0].Exemplars) != 1 || otlptest.Attributes(p[0].Attributes) != "tenloom.tenant=acme" {
			t.Errorf("%v", p)
		}
	}
	for _, name := range []string{"messaging.process.duration", "tenloom.deliveries", "tenloom.spans", "tenloom.log.records"} {
		if !found[name] {
			t.Errorf("metric %s is missing", name)
		}
	}
	var bodies []string
	for _, l := range r.Logs() {
		bodies = append(bodies, l.Body.GetStringValue())
		if strings.HasPrefix(l.Body.GetStringValue(), "hello") && len(l.TraceId) == 0 {
			t.Error("a handler's line has no trace")
		}
	}
	if strings.Join(bodies, "|") != "the server says|hello\uFFFD" {
		t.Errorf("log lines %q", bodies)
	}
}

// TestNothingConfigured: no goroutine, no tracer, no error.
func TestNothingConfigured(t *testing.T) {
	for name, value := range map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_EXPORTER": "none", "OTEL_SDK_DISABLED": "true", "OTEL_METRICS_EXPORTER": "prometheus"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if name == "OTEL_SDK_DISABLED" {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
			}
			before := runtime.NumGoroutine()
			h := open(t)
			if h.Exports != nil || h.recorder.Tracer() != nil || runtime.NumGoroutine() > before {
				t.Errorf("%+v, %d goroutines", h.Exports, runtime.NumGoroutine()-before)
			}
			h.Line(telemetry.Line{})
			h.Gap(telemetry.TracedGap{})
			if err := errors.Join(h.Flush(t.Context()), h.Shutdown(t.Context())); err != nil || h.About() != "" || h.Handler() != nil {
				t.Error(err)
			}
		})
	}
}

// TestEnvErrors: what cannot be used says its name, its value and what would do.
func TestEnvErrors(t *testing.T) {
	for _, c := range [][3]string{
		{"OTEL_TRACES_EXPORTER", "zipkin", "want otlp or none"},
		{"OTEL_METRICS_EXPORTER", "otlp,console", "want otlp or prometheus or none"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "JSON is not offered; want grpc or http/protobuf"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "udp", "want grpc or http/protobuf"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317", "want a URL such as http://localhost:4318, or http://localhost:4317 with OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "want a whole number of milliseconds"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "want gzip or none"},
		{"OTEL_TRACES_SAMPLER", "jaeger", "want always_on or always_off or traceidratio or parentbased_always_on or parentbased_always_off or parentbased_traceidratio"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "many", "want a whole number from 1 to 16777216"},
		{"OTEL_BSP_SCHEDULE_DELAY", "0", "want a whole number from 1 to 16777216"},
	} {
		t.Run(c[0], func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
			t.Setenv(c[0], c[1])
			_, err := otlp.Open(t.Context(), otlp.Config{})
			if want := c[0] + "=\"" + c[1] + "\": " + c[2]; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
	t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "1 %")
	if _, err := otlp.Open(t.Context(), otlp.Config{}); err == nil || err.Error() != `OTEL_TRACES_SAMPLER_ARG="1 %": want a number from 0 to 1` {
		t.Error(err)
	}
}

// TestShutdownEnds: collectors that refuse, that hang and that are not there hold no shutdown beyond its time, and what is lost is told.
func TestShutdownEnds(t *testing.T) {
	refusing := otlptest.Start(t)
	refusing.Refuse(true)
	for name, address := range map[string]string{"refusing": refusing.GRPC, "hanging": otlptest.BlackHole(t), "absent": "127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
			t.Setenv("OTEL_METRICS_EXPORTER", "none")
			t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
			t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
			h := open(t)
			for range 100 {
				h.deliver()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			err := h.Shutdown(ctx)
			if err == nil || !strings.Contains(err.Error(), "traces of deliveries: ") {
				t.Errorf("shutdown: %v", err)
			}
			if sent, lost, waiting := h.recorder.Tracer().Counts(); sent != 0 || lost != 800 || waiting != 0 {
				t.Errorf("sent %d, lost %d, waiting %d; want all 800 spans lost", sent, lost, waiting)
			}
		})
	}
}
