//go:build unix

package scheduler

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// held is an Invoker that does nothing, once it is let.
type held chan struct{}

func (h held) Open() Session { return h }

func (h held) Close() {}

func (h held) Invoke(context.Context, *Delivery) Result {
	<-h
	return Result{}
}

// BenchmarkSpill is what a message of 64 bytes takes from the reader to its record where all wait before any is handled: in memory, and beyond
// a queue of a thousand. What counts is the CPU time of the process, files included, and that of one over the other.
func BenchmarkSpill(b *testing.B) {
	var memory float64
	for _, row := range []struct {
		name     string
		overflow tenants.Overflow
		policy   tenants.Policy
	}{
		{"memory", tenants.DropNewest, tenants.Policy{QueueCount: 1 << 30, QueueBytes: 1 << 40}},
		{"disk", tenants.Spill, tenants.Policy{QueueCount: 1000, QueueBytes: 1 << 20, SpillBytes: 1 << 40, SpillTotal: 1 << 40}},
	} {
		b.Run(row.name, func(b *testing.B) {
			s, err := New(Config{Recorder: telemetry.New(1000), Spill: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			s.AddEndpoint(Endpoint{ID: "e", Name: "nowhere", Dial: nowhere})
			s.SetPolicy("t", row.policy)
			h := make(held)
			target := tenants.Target{Name: "orders:new"}
			trigger := Trigger{Trigger: tenants.Trigger{Tenant: "t", App: "a", Endpoint: "e", Target: target, Limits: tenants.Limits{Concurrency: 1, Overflow: row.overflow}}, Invoker: h}
			if err := s.Apply("t", "a", []Trigger{trigger}); err != nil {
				b.Fatal(err)
			}
			frames := make([]frame, 64)
			for i := range frames {
				frames[i] = frame{kind: 'm', channel: []byte("orders:new"), payload: make([]byte, 64)}
			}
			in := &reader{endpoint: s.endpoints[0]}
			began := cpuTime(b)
			b.ResetTimer()
			for sent := 0; sent < b.N; sent += len(frames) {
				for sent%(1<<14) == 0 && s.behind() {
					runtime.Gosched()
				}
				s.receive(in, time.Now(), frames[:min(len(frames), b.N-sent)])
			}
			close(h)
			if left, err := s.Shutdown(context.Background()); err != nil || !left.Nothing() {
				b.Fatal(left, err)
			}
			b.StopTimer()
			cpu := float64(cpuTime(b)-began) / float64(b.N)
			b.ReportMetric(cpu, "cpu-ns/op")
			if row.overflow == tenants.Spill && memory > 0 {
				b.ReportMetric(cpu/memory, "of-memory")
			} else {
				memory = cpu
			}
			if c := s.config.Recorder.Account("t").Counts(); c.Outcomes["handled"] != int64(b.N) {
				b.Fatalf("%+v", c)
			}
		})
	}
}

// behind tells whether the disk has a quarter of what may wait for it before it.
func (s *Scheduler) behind() bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.queue.spiller.cost > maxUnwritten/4
}
