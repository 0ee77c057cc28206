package main

import (
	"context"
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
