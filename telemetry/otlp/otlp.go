package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tenloom/tenloom/telemetry"
)

// scopeName is who made the spans, metrics and log lines.
const scopeName = "github.com/tenloom/tenloom"

// Config says what is sent.
type Config struct {
	Recorder *telemetry.Recorder
	Meter    *telemetry.Meter
	Version  string        // of the program
	Instance string        // of the process, as service.instance.id
	Slow     time.Duration // a handler that takes as long is traced in any case; 0 means telemetry.DefaultSlow
	Log      *slog.Logger  // is told of what was lost; it must not lead to Handler
}

// Exports is what is on its way to collectors. A nil Exports sends nothing.
type Exports struct {
	tracer  *telemetry.Tracer
	client  otlptrace.Client
	metrics *sdkmetric.MeterProvider
	logs    *sdklog.LoggerProvider
	guests  log.Logger
	handler slog.Handler
	about   []string
}

// Open reads the environment and begins to send what it asks for: nil where that is nothing. A collector that is not there is no error: it may
// come. Errors are an *EnvError, or of the exporters.
func Open(ctx context.Context, c Config) (*Exports, error) {
	s, err := read()
	if err != nil {
		return nil, err
	}
	if !s.traces.on && !s.metrics.on && !s.logs.on {
		return nil, nil
	}
	who, err := describe(ctx, c)
	if err != nil {
		return nil, err
	}
	e := &Exports{}
	complain := complaints(c.Log)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { complain(err, 0) }))
	if err = e.open(ctx, c, s, who, complain); err != nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("set up OpenTelemetry: %w", err), e.Shutdown(ctx))
	}
	return e, nil
}

func (e *Exports) open(ctx context.Context, c Config, s settings, who *resource.Resource, complain func(error, int)) error {
	scope := instrumentation.Scope{Name: scopeName, Version: c.Version}
	if s.traces.on {
		if err := e.openTraces(ctx, c, s, who, scope, complain); err != nil {
			return fmt.Errorf("traces: %w", err)
		}
		e.about = append(e.about, "traces"+s.traces.to())
	}
	if s.metrics.on {
		if err := e.openMetrics(ctx, c, s, who, scope); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		e.about = append(e.about, "metrics"+s.metrics.to())
	}
	if s.logs.on {
		if err := e.openLogs(ctx, c, s, who, complain); err != nil {
			return fmt.Errorf("logs: %w", err)
		}
		e.about = append(e.about, "logs"+s.logs.to())
	}
	return nil
}

func (s signal) to() string {
	how := "grpc"
	if s.http {
		how = "http"
	}
	if s.endpoint == "" {
		return " by " + how
	}
	return " to " + s.endpoint + " by " + how
}

// About tells what is sent and where to; "" is nothing.
func (e *Exports) About() string {
	if e == nil {
		return ""
	}
	return strings.Join(e.about, ", ")
}

// Handler takes the server's own log lines; nil where none are sent.
func (e *Exports) Handler() slog.Handler {
	if e == nil {
		return nil
	}
	return e.handler
}

// describe says who sends. Detectors are picked one by one: a command line may hold secrets.
func describe(ctx context.Context, c Config) (*resource.Resource, error) {
	own := []attribute.KeyValue{
		attribute.String("service.name", "tenloom"), attribute.String("service.version", c.Version), attribute.Int("process.pid", os.Getpid()),
		attribute.String("process.runtime.name", "go"), attribute.String("process.runtime.version", runtime.Version()),
	}
	if c.Instance != "" {
		own = append(own, attribute.String("service.instance.id", c.Instance))
	}
	who, err := resource.New(ctx, resource.WithAttributes(own...), resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return who, nil
}

// complaints tells of losses, not more than once in half a minute.
func complaints(log *slog.Logger) func(error, int) {
	var last, lost atomic.Int64
	return func(err error, n int) {
		lost.Add(int64(n))
		now, before := time.Now().UnixNano(), last.Load()
		if log == nil || now-before < int64(30*time.Second) || !last.CompareAndSwap(before, now) {
			return
		}
		log.Warn("OpenTelemetry: not everything reached the collector; messages go on", "lost", lost.Swap(0), "cause", err)
	}
}

func (e *Exports) openTraces(ctx context.Context, c Config, s settings, who *resource.Resource, scope instrumentation.Scope, complain func(error, int)) error {
	e.client = otlptracegrpc.NewClient()
	if s.traces.http {
		e.client = otlptracehttp.NewClient()
	}
	if err := e.client.Start(ctx); err != nil {
		e.client = nil
		return err
	}
	client, from := e.client, resourceOf(who)
	by := &common.InstrumentationScope{Name: scope.Name, Version: scope.Version}
	e.tracer = telemetry.NewTracer(telemetry.TracerConfig{
		Sampler: s.sampler, Alone: s.alone, Slow: c.Slow,
		Batch: telemetry.BatchConfig[*telemetry.Traced]{
			Queue: s.spans.queue, Most: s.spans.most, Delay: s.spans.delay, Timeout: s.spans.timeout, Failed: complain,
			Send: func(ctx context.Context, batch []*telemetry.Traced) error {
				m, all := &maker{}, make([]*pb.Span, 0, 5*len(batch))
				for _, t := range batch {
					all = m.add(all, t)
				}
				return client.UploadTraces(ctx, []*pb.ResourceSpans{{Resource: from, ScopeSpans: []*pb.ScopeSpans{{Scope: by, Spans: all}}}})
			},
		},
	})
	c.Recorder.Trace(e.tracer)
	return nil
}

// resourceOf is a resource as the wire has it.
func resourceOf(who *resource.Resource) *resourcepb.Resource {
	a := (&maker{}).attributes(16)
	for _, kv := range who.Attributes() {
		if kv.Value.Type() == attribute.INT64 {
			a.number(string(kv.Key), kv.Value.AsInt64())
		} else {
			a.text(string(kv.Key), kv.Value.String())
		}
	}
	return &resourcepb.Resource{Attributes: a.all}
}

func (e *Exports) openMetrics(ctx context.Context, c Config, s settings, who *resource.Resource, scope instrumentation.Scope) error {
	var exporter sdkmetric.Exporter
	var err error
	if s.metrics.http {
		exporter, err = otlpmetrichttp.New(ctx)
	} else {
		exporter, err = otlpmetricgrpc.New(ctx)
	}
	if err != nil {
		return err
	}
	options := []sdkmetric.PeriodicReaderOption{sdkmetric.WithProducer(&producer{meter: c.Meter, scope: scope, began: time.Now()})}
	if s.interval > 0 {
		options = append(options, sdkmetric.WithInterval(s.interval))
	}
	if s.timeout > 0 {
		options = append(options, sdkmetric.WithTimeout(s.timeout))
	}
	e.metrics = sdkmetric.NewMeterProvider(sdkmetric.WithResource(who), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter, options...)))
	return nil
}

func (e *Exports) openLogs(ctx context.Context, c Config, s settings, who *resource.Resource, complain func(error, int)) error {
	var exporter sdklog.Exporter
	var err error
	if s.logs.http {
		exporter, err = otlploghttp.New(ctx)
	} else {
		exporter, err = otlploggrpc.New(ctx)
	}
	if err != nil {
		return err
	}
	out := &lines{exporter: exporter, batch: telemetry.NewBatch(telemetry.BatchConfig[sdklog.Record]{
		Queue: s.lines.queue, Most: s.lines.most, Delay: orElse(s.lines.delay, time.Second), Timeout: s.lines.timeout, Failed: complain, Send: exporter.Export,
	})}
	e.logs = sdklog.NewLoggerProvider(sdklog.WithResource(who), sdklog.WithProcessor(out))
	e.guests = e.logs.Logger(scopeName+"/guest", log.WithInstrumentationVersion(c.Version))
	e.handler = otelslog.NewHandler(scopeName, otelslog.WithLoggerProvider(e.logs), otelslog.WithVersion(c.Version))
	c.Meter.Add(out.Source)
	return nil
}

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

// Flush sends what waits, until ctx ends.
func (e *Exports) Flush(ctx context.Context) (err error) {
	if e == nil {
		return nil
	}
	if e.tracer != nil {
		err = errors.Join(err, e.tracer.Flush(ctx))
	}
	if e.metrics != nil {
		err = errors.Join(err, e.metrics.ForceFlush(ctx))
	}
	if e.logs != nil {
		err = errors.Join(err, e.logs.ForceFlush(ctx))
	}
	return err
}

// Shutdown sends what waits until ctx ends, then gives up the rest and ends everything. The error tells what was not sent. Nothing is recorded
// any more when it is called.
func (e *Exports) Shutdown(ctx context.Context) (err error) {
	if e == nil {
		return nil
	}
	if e.tracer != nil {
		if lost := e.tracer.Shutdown(ctx); lost != nil {
			err = errors.Join(err, fmt.Errorf("traces of deliveries: %w", lost))
		}
	}
	if e.client != nil {
		e.client.Stop(ctx)
	}
	if e.metrics != nil {
		if lost := e.metrics.Shutdown(ctx); lost != nil {
			err = errors.Join(err, fmt.Errorf("metrics: %w", lost))
		}
	}
	if e.logs != nil {
		if lost := e.logs.Shutdown(ctx); lost != nil {
			err = errors.Join(err, fmt.Errorf("log lines: %w", lost))
		}
	}
	return err
}

// Gap sends an interruption of a component's subscriptions.
func (e *Exports) Gap(g telemetry.TracedGap) {
	if e != nil && e.tracer != nil {
		e.tracer.Gap(g)
	}
}
