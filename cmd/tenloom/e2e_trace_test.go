package main

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	pb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tenloom/tenloom/telemetry/otlp/otlptest"
)

// relay publishes what it gets on the channel done, where another hears it.
const relay = `spin_manifest_version = 2
application.name = "relay"

[application.trigger.redis]
address = "redis://localhost:6379"

[[trigger.redis]]
channel = "begin"
component = "first"

[[trigger.redis]]
channel = "done"
component = "second"

[component.first]
source = "echo.wasm"
allowed_outbound_hosts = ["redis://localhost:6379"]
variables = { redis_address = "redis://localhost:6379", to = "done" }
tool.tenloom.trace = "cloudevents"

[component.second]
source = "echo-b.wasm"
`

// TestOneTrace: a message that is published with a trace context, a handler that publishes, and a second handler are one trace, over both protocols.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			collector := otlptest.Start(t)
			address := collector.GRPC
			if protocol != "grpc" {
				address = collector.HTTP
			}
			env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + address, "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_BSP_SCHEDULE_DELAY=50"}
			r := stage{}.upWith(t, writeApp(t, relay), env)
			const id = "4bf92f3577b34da6a3ce929d0e0e4736"
			answer, _ := r.publish(t, "begin", `{"order":17}`, "-H", "traceparent=00-"+id+"-00f067aa0ba902b7-01")
			expect(t, "deliveries", len(answer.Deliveries), 1)
			shape := func() string { return tree(collector.Spans(), id, "00f067aa0ba902b7") }
			const want = "publish(process begin(handle first(PUBLISH(process done(handle second instance reset queued))) instance reset queued))"
			collector.Wait(t, func() bool { return len(collector.Spans()) >= 10 })
			expect(t, "the trace", shape(), want)
		})
	}
}

// tree writes the spans of a trace below a parent as name(children ...), by name; other calls of a handler than PUBLISH are left out.
func tree(all []*pb.Span, trace, parent string) string {
	var texts []string
	for _, s := range all {
		if hex.EncodeToString(s.TraceId) != trace || hex.EncodeToString(s.ParentSpanId) != parent {
			continue
		}
		if s.Name == strings.ToUpper(s.Name) && s.Name != "PUBLISH" {
			continue
		}
		text := s.Name
		if below := tree(all, trace, hex.EncodeToString(s.SpanId)); below != "" {
			text += "(" + below + ")"
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}
