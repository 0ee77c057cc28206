package scheduler

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// pacer is an Invoker that does nothing, so that what is left is the scheduler's own, and lets as many deliveries in as the queue has room for.
type pacer struct {
	invoked atomic.Int64
	room    chan struct{} // a token for each step deliveries
}

const (
	paceStep   = 1024
	paceWindow = 4 // steps on their way; below the queue's 10,000
)

func newPacer() *pacer {
	p := &pacer{room: make(chan struct{}, paceWindow)}
	for range paceWindow {
		p.room <- struct{}{}
	}
	return p
}

func (p *pacer) Open() Session { return p }

func (p *pacer) Close() {}

func (p *pacer) Invoke(context.Context, *Delivery) Result {
	if p.invoked.Add(1)%paceStep == 0 {
		p.room <- struct{}{}
	}
	return Result{}
}

// BenchmarkPath takes frames from the hub's sink through routes, admit, queue and worker to the record, the way the reader hands them over:
// 64 in one read. Under -cpu 1 its time is all the CPU that a message takes; under -cpu 2 the reader and the workers run beside each other.
func BenchmarkPath(b *testing.B) {
	for _, row := range []struct {
		name     string
		target   tenants.Target
		triggers int
		frame    frame
	}{
		{"channel", tenants.Target{Name: "orders:new"}, 1, frame{kind: 'm', channel: []byte("orders:new")}},
		{"pattern", tenants.Target{Kind: tenants.Pattern, Name: "orders:*"}, 1, frame{kind: 'p', pattern: []byte("orders:*"), channel: []byte("orders:new")}},
		{"triggers=4", tenants.Target{Name: "orders:new"}, 4, frame{kind: 'm', channel: []byte("orders:new")}},
	} {
		b.Run(row.name, func(b *testing.B) {
			row.frame.payload = make([]byte, 64)
			frames := make([]frame, 64)
			for i := range frames {
				frames[i] = row.frame
			}
			p := newPacer()
			s := offline(b, row.target, row.triggers, p)
			account, in := s.config.Recorder.Account("t"), &reader{endpoint: s.endpoints[0]}
			b.ReportAllocs()
			b.ResetTimer()
			for sent := 0; sent < b.N; sent += len(frames) {
				if sent*row.triggers%paceStep == 0 {
					<-p.room
				}
				s.receive(in, time.Now(), frames[:min(len(frames), b.N-sent)])
			}
			for account.Counts().Ended() < int64(b.N*row.triggers) {
				runtime.Gosched()
			}
			b.StopTimer()
			if c := account.Counts(); c.Outcomes["handled"] != int64(b.N*row.triggers) {
				b.Fatalf("of %d deliveries: %v %v", b.N*row.triggers, c.Outcomes, c.Reasons)
			}
		})
	}
}

// offline is a Scheduler whose endpoint never connects, with as many triggers on a target.
func offline(t testing.TB, target tenants.Target, triggers int, i Invoker) *Scheduler {
	s, err := New(Config{Recorder: telemetry.New(1000)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := s.Shutdown(context.Background()); err != nil || !left.Nothing() {
			t.Error(left, err)
		}
	})
	s.AddEndpoint(Endpoint{ID: "e", Name: "nowhere", Dial: func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	s.SetPolicy("t", tenants.DefaultPolicy())
	all := make([]Trigger, triggers)
	for n := range all {
		all[n] = Trigger{Trigger: tenants.Trigger{Tenant: "t", App: "a", ID: fmt.Sprint(n), Endpoint: "e", Target: target}, Invoker: i}
	}
	if err := s.Apply("t", "a", all); err != nil {
		t.Fatal(err)
	}
	return s
}
