package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// kept is a receiver of traces, which owns what it keeps.
type kept struct {
	mu  sync.Mutex
	all []telemetry.Record
}

func (k *kept) send(_ context.Context, batch []*telemetry.Traced) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range batch {
		k.all = append(k.all, one.Record)
	}
	return nil
}

func TestTracerSamples(t *testing.T) {
	plain, parented := []byte("hello"), []byte(`{"traceparent":"`+parentText+`"}`)
	unsampled := []byte(`{"traceparent":"` + parentText[:54] + `0"}`)
	for _, c := range []struct {
		name    string
		config  telemetry.TracerConfig
		payload []byte
		outcome tenants.Outcome
		ran     time.Duration
		want    bool
	}{
		{"all", telemetry.TracerConfig{}, plain, tenants.Handled, 0, true},
		{"none", telemetry.TracerConfig{Sampler: telemetry.Sampler{None: true}}, plain, tenants.Handled, 0, false},
		{"none, failed", telemetry.TracerConfig{Sampler: telemetry.Sampler{None: true}}, plain, tenants.Failed, 0, true},
		{"none, timed out", telemetry.TracerConfig{Sampler: telemetry.Sampler{None: true}}, plain, tenants.TimedOut, 0, true},
		{"none, slow", telemetry.TracerConfig{Sampler: telemetry.Sampler{None: true}}, plain, tenants.Handled, telemetry.DefaultSlow, true},
		{"none, slow for another limit", telemetry.TracerConfig{Sampler: telemetry.Sampler{None: true}, Slow: time.Minute}, plain, tenants.Handled, time.Second, false},
		{"none, parent sampled", telemetry.TracerConfig{Sampler: telemetry.Sampler{None: true}}, parented, tenants.Handled, 0, true},
		{"all, parent not sampled", telemetry.TracerConfig{}, unsampled, tenants.Handled, 0, false},
		{"parents not asked", telemetry.TracerConfig{Sampler: telemetry.Sampler{None: true, Independent: true}}, parented, tenants.Handled, 0, false},
		{"never, failed", telemetry.TracerConfig{Sampler: telemetry.Sampler{Never: true}}, parented, tenants.Failed, 0, false},
	} {
		var got kept
		c.config.Batch.Send = got.send
		tracer := telemetry.NewTracer(c.config)
		r := telemetry.New(1)
		r.Trace(tracer)
		rec := &telemetry.Record{
			Trigger: trigger("acme", "orders"), Invocation: tenants.InvocationID(ids.Next(epoch)), Outcome: c.outcome, Ran: c.ran, Trace: r.Begin(c.payload),
		}
		r.Account("acme").Record(rec)
		if err := tracer.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if (len(got.all) == 1) != c.want {
			t.Errorf("%s: traced %v", c.name, got.all)
		}
		if parent, ok := telemetry.TraceOf(c.payload); ok && (rec.Trace.ID != parent.ID || rec.Trace.Parent != parent.Span) {
			t.Errorf("%s: %+v is not below %+v", c.name, rec.Trace, parent)
		}
	}
}

// TestTracerRatio: about one in a hundred, and the same for all who see the trace.
func TestTracerRatio(t *testing.T) {
	tracer := telemetry.NewTracer(telemetry.TracerConfig{Sampler: telemetry.Sampler{Ratio: 0.01}, Batch: telemetry.BatchConfig[*telemetry.Traced]{Send: (&kept{}).send}})
	defer tracer.Shutdown(t.Context())
	r := telemetry.New(1)
	r.Trace(tracer)
	n := 0
	for range 100_000 {
		if trace := r.Begin(nil); trace.Sampled {
			n++
		}
	}
	if n < 800 || n > 1200 {
		t.Errorf("%d of 100,000", n)
	}
}

// TestBatchLoses: a receiver that hangs delays nobody, and everything is counted.
func TestBatchLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		b := telemetry.NewBatch(telemetry.BatchConfig[int]{Queue: 10, Most: 5, Delay: time.Second, Timeout: time.Minute, Send: func(ctx context.Context, _ []int) error {
			select {
			case <-hung:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		taken := 0
		for i := range 100 {
			if b.Put(i) {
				taken++
			}
			synctest.Wait()
		}
		if taken != 15 { // five on their way and ten that wait
			t.Errorf("%d were taken", taken)
		}
		time.Sleep(time.Minute) // the first batch times out
		synctest.Wait()
		if sent, lost, waiting := b.Counts(); sent != 0 || lost != 85+5 || waiting != 5 {
			t.Errorf("sent %d, lost %d, waiting %d", sent, lost, waiting)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if err := b.Shutdown(ctx); err == nil || err.Error() != "10 were not sent before the end" {
			t.Errorf("shutdown: %v", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("shutdown took %v", took)
		}
		if sent, lost, waiting := b.Counts(); sent+lost+waiting != 100 {
			t.Errorf("sent %d, lost %d, waiting %d", sent, lost, waiting)
		}
	})
}

func TestBatchDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		refuse := false
		var told error
		b := telemetry.NewBatch(telemetry.BatchConfig[int]{Queue: 100, Most: 8, Delay: 5 * time.Second,
			Send: func(_ context.Context, batch []int) error {
				if refuse {
					return errors.New("unavailable")
				}
				sizes = append(sizes, len(batch))
				return nil
			},
			Failed: func(err error, lost int) { told = fmt.Errorf("%d: %w", lost, err) },
		})
		for i := range 20 {
			b.Put(i)
		}
		synctest.Wait()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if fmt.Sprint(sizes) != "[8 8 4]" {
			t.Errorf("batches of %v", sizes)
		}
		b.Put(1)
		if err := b.Flush(t.Context()); err != nil || fmt.Sprint(sizes) != "[8 8 4 1]" {
			t.Errorf("%v, batches of %v", err, sizes)
		}
		refuse = true
		b.Put(1)
		if err := b.Shutdown(t.Context()); err == nil || fmt.Sprint(told) != "1: unavailable" {
			t.Errorf("%v, %v", err, told)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}
