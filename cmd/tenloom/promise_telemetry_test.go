package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/telemetry/otlp"
	"github.com/tenloom/tenloom/telemetry/otlp/otlptest"
	"github.com/tenloom/tenloom/tenants"
)

// accounted is what the message path does for one message's accounts: received, begun, its place in a trace, its record.
type accounted struct {
	recorder *telemetry.Recorder
	account  *telemetry.Account
	trigger  *tenants.Trigger
	ids      tenants.Sequence
	tally    telemetry.Tally
	counted  int
	record   telemetry.Record
	payload  []byte
}

func newAccounted(r *telemetry.Recorder) *accounted {
	return &accounted{
		recorder: r, account: r.Account("acme"), payload: []byte(`{"order":17,"customer":"c-42","total":"12.30"}`),
		trigger: &tenants.Trigger{Tenant: "acme", App: "shop", Version: "sha256:1", ID: "t", Component: "mailer", Endpoint: "default", Target: tenants.Target{Name: "orders"}},
	}
}

var ordersChannel, helloOutput = []byte("orders"), []byte("Hello, Ada\n")

func (a *accounted) message(now time.Time) {
	a.account.Receive(1)
	a.account.Begin(1)
	a.record = telemetry.Record{
		Trigger: a.trigger, Invocation: tenants.InvocationID(a.ids.Next(now)), Channel: ordersChannel, Bytes: len(a.payload), Received: now,
		Waited: 20 * time.Microsecond, Ran: 30 * time.Microsecond, Outcome: tenants.Handled, Output: helloOutput, Memory: 1 << 20, Fuel: 1234,
		Instance: telemetry.Reset, Trace: a.recorder.Begin(a.payload),
	}
	a.counted++
	a.tally.Record(a.account, &a.record, a.counted%accountedRun != 0)
}

// accountedRun is how many deliveries a run has, as a busy worker's.
const accountedRun = 64

const accountedRounds = 200_000

// otelRecord is the processor time of all accounts of one message, nobody else's: with a Sampler, the sending of what is traced counts too.
func otelRecord(s *telemetry.Sampler) func(b *testing.B) float64 {
	return func(b *testing.B) float64 {
		return median(b, 5, func() float64 {
			r := telemetry.New(history)
			if s != nil {
				t := telemetry.NewTracer(telemetry.TracerConfig{Sampler: *s, Batch: telemetry.BatchConfig[*telemetry.Traced]{
					Send: func(context.Context, []*telemetry.Traced) error { return nil },
				}})
				defer t.Shutdown(background)
				r.Trace(t)
			}
			a, now := newAccounted(r), time.Now()
			began := processTime()
			for range accountedRounds {
				now = now.Add(50 * time.Microsecond) // 20,000 in a second
				a.message(now)
			}
			return float64(processTime()-began) / accountedRounds
		})
	}
}

// otelAllocs is how much of that is allocated where nothing is traced.
func otelAllocs(b *testing.B) float64 {
	a, now := newAccounted(telemetry.New(history)), time.Now()
	a.message(now)
	return testing.AllocsPerRun(10_000, func() { a.message(now) })
}

// manyAccounts are 10,000 tenants who have had deliveries of all kinds.
func manyAccounts() *telemetry.Meter {
	r := telemetry.New(history)
	for n := range manyTenants {
		id := tenants.ID(fmt.Sprintf("tenant-%d", n))
		a := newAccounted(r)
		trigger := *a.trigger
		trigger.Tenant = id
		a.trigger, a.account = &trigger, r.Account(id)
		now := time.Now()
		a.account.Receive(int(tenants.Outcomes))
		a.account.Begin(int(tenants.Outcomes))
		for o := range tenants.Outcomes {
			a.account.Record(&telemetry.Record{Trigger: a.trigger, Invocation: tenants.InvocationID(a.ids.Next(now)), Received: now,
				Ran: time.Duration(n) * time.Microsecond, Waited: time.Millisecond, Outcome: o, Instance: telemetry.Reset, Fuel: 1000, Memory: 1 << 20})
		}
	}
	return telemetry.NewMeter(r, 0)
}

// scrape is what Prometheus gets, and how long the processor is busy with it.
func scrape(m *telemetry.Meter) (size int, took time.Duration) {
	answer := httptest.NewRecorder()
	q := httptest.NewRequest("GET", "/metrics", nil)
	q.Header.Set("Accept", "application/openmetrics-text")
	began := time.Now()
	m.ServeHTTP(answer, q)
	return answer.Body.Len(), time.Since(began)
}

func metricsSize(b *testing.B) float64 {
	size, _ := scrape(manyAccounts())
	return float64(size) / 1e6
}

func metricsTime(b *testing.B) float64 {
	m := manyAccounts()
	return median(b, 5, func() float64 {
		_, took := scrape(m)
		return float64(took.Microseconds()) / 1000
	})
}

// otelOn is the processor time of everything that is done for the trace of a message with all stages, until a collector has it, over that of one
// bare sampled span of OpenTelemetry's SDK with its batch exporter, to the same collector over HTTP and in the same run. The collector takes bytes and
// answers, so that the time of its own is small in both.
func otelOn(b *testing.B) float64 {
	const messages, round = 20_000, 500 // within the queues, so that nothing is lost
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer collector.Close()
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	b.Setenv("OTEL_METRICS_EXPORTER", "none")
	b.Setenv("OTEL_LOGS_EXPORTER", "none")
	r := telemetry.New(history)
	exports, err := otlp.Open(background, otlp.Config{Recorder: r, Meter: telemetry.NewMeter(r, 0)})
	if err != nil {
		b.Fatal(err)
	}
	defer exports.Shutdown(background)
	exporter, err := otlptracehttp.New(background)
	if err != nil {
		b.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	defer provider.Shutdown(background)
	tracer := provider.Tracer("bare")
	a := newAccounted(r)
	all := func(one func(), flush func(context.Context) error) time.Duration {
		began := processTime()
		for range messages / round {
			for range round {
				one()
			}
			if err := flush(background); err != nil {
				b.Fatal(err)
			}
		}
		return processTime() - began
	}
	return median(b, 5, func() float64 {
		bare := all(func() { _, s := tracer.Start(background, "process orders"); s.End() }, provider.ForceFlush)
		ours := all(func() { a.message(time.Now()) }, exports.Flush)
		if _, lost, _ := r.Tracer().Counts(); lost > 0 {
			b.Fatalf("%d spans were lost", lost)
		}
		b.Logf("bare %v, ours %v for each", bare/messages, ours/messages)
		return float64(ours) / float64(bare)
	})
}

// otelAway is the 99th percentile of what accounts and traces of a message take while its collector hangs and every queue is full, over the same
// with a collector that takes all. 200,000 messages come in bursts of 100; a burst's time is what is compared, since a clock costs as much as a message.
func otelAway(b *testing.B) float64 {
	tail := func(address string) float64 {
		b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
		b.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
		b.Setenv("OTEL_METRICS_EXPORTER", "none")
		b.Setenv("OTEL_LOGS_EXPORTER", "none")
		r := telemetry.New(history)
		exports, err := otlp.Open(background, otlp.Config{Recorder: r, Meter: telemetry.NewMeter(r, 0)})
		if err != nil {
			b.Fatal(err)
		}
		a := newAccounted(r)
		var took []time.Duration
		for range 2000 {
			began := time.Now()
			for range 100 {
				a.message(began)
			}
			took = append(took, time.Since(began))
		}
		over, cancel := context.WithTimeout(background, 100*time.Millisecond)
		defer cancel()
		exports.Shutdown(over)
		sent, lost, _ := r.Tracer().Counts()
		b.Logf("%s: %d spans sent, %d lost", address, sent, lost)
		slices.Sort(took)
		return float64(took[len(took)*99/100])
	}
	collector, hole := otlptest.Start(b), otlptest.BlackHole(b)
	return median(b, 5, func() float64 {
		there := tail(collector.GRPC)
		return tail(hole) / there
	})
}
