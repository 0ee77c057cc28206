package otlp

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// lines is the SDK's way out for log records: a bounded batch that counts what it loses.
type lines struct {
	batch    *telemetry.Batch[sdklog.Record]
	exporter sdklog.Exporter
}

// Enabled implements sdklog.Processor.
func (*lines) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// OnEmit implements sdklog.Processor.
func (l *lines) OnEmit(_ context.Context, r *sdklog.Record) error {
	l.batch.Put(r.Clone())
	return nil
}

// ForceFlush implements sdklog.Processor.
func (l *lines) ForceFlush(ctx context.Context) error { return l.batch.Flush(ctx) }

// Shutdown implements sdklog.Processor.
func (l *lines) Shutdown(ctx context.Context) error {
	err := l.batch.Shutdown(ctx)
	l.exporter.Shutdown(ctx)
	return err
}

// Source tells what became of log lines.
func (l *lines) Source(add func(telemetry.Family)) {
	sent, lost, _ := l.batch.Counts()
	f := telemetry.CounterOf("tenloom.log.records", "{record}", "Log lines for the collector, by what became of them.", float64(sent), telemetry.Label{Name: "state", Value: "sent"})
	f.Series = append(f.Series, telemetry.Series{Labels: []telemetry.Label{{Name: "state", Value: "lost"}}, Value: float64(lost)})
	add(f)
}

// Line sends a line that a handler printed, with the trace that it belongs to where there is one. It never waits.
func (e *Exports) Line(l telemetry.Line) {
	if e == nil || e.guests == nil {
		return
	}
	var r log.Record
	r.SetTimestamp(l.At)
	r.SetObservedTimestamp(l.At)
	r.SetSeverity(log.SeverityInfo)
	if l.Stream == telemetry.Stderr {
		r.SetSeverity(log.SeverityWarn)
	}
	r.SetBody(attribute.StringValue(telemetry.Text(l.Text)))
	r.AddAttributes(attribute.String("tenloom.tenant", string(l.Tenant)), attribute.String("tenloom.app", string(l.App)),
		attribute.String("tenloom.component", string(l.Component)), attribute.String("log.iostream", l.Stream.String()))
	if l.Invoked != (tenants.InvocationID{}) {
		r.AddAttributes(attribute.String("faas.invocation_id", l.Invoked.String()), attribute.String("faas.version", string(l.Version)))
	}
	ctx := context.Background()
	if l.Trace.On() {
		flags := trace.TraceFlags(0)
		if l.Trace.Sampled {
			flags = trace.FlagsSampled
		}
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(l.Trace.ID), SpanID: trace.SpanID(l.Trace.Span), TraceFlags: flags,
		}))
	}
	e.guests.Emit(ctx, r)
}
