package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// accounted is what the message path does for one message's accounts: received, begun, its place in a trace, its record.
type accounted struct {
	recorder *telemetry.Recorder
	account  *telemetry.Account
	trigger  *tenants.Trigger
	ids      tenants.Sequence
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
	a.account.Record(&a.record)
}

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
