package scheduler

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// hasty is an Invoker that is slow now and then, for longer than a run may last.
type hasty struct{}

func (h *hasty) Open() Session { return h }
func (*hasty) Close()          {}

func (*hasty) Invoke(ctx context.Context, _ *Delivery) (r Result) {
	if rand.IntN(300) == 0 {
		select {
		case <-time.After(2 * overrun):
		case <-ctx.Done():
		}
		r.Outcome = tenants.TimedOut
	}
	return r
}

// balanced looks at one instant: what the account says is queued is what waits, and what it says is in flight is no more than what slots and
// readers can have on their way.
func (s *Scheduler) balanced(t *testing.T, readers int) {
	t.Helper()
	s.QueueLoads(func(id tenants.ID, l telemetry.QueueLoad) {
		if l.Unaccounted != 0 {
			t.Errorf("%s: its account is off by %d from what waits", id, l.Unaccounted)
		}
	})
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	waiting := 0
	for id, tenant := range s.tenants {
		c, held := tenant.account.Counts(), 0
		for _, app := range tenant.apps {
			for _, q := range app.triggers {
				n := q.main.n
				if q.strands != nil {
					for i := range q.strands.all {
						n += q.strands.all[i].n
					}
				}
				if n != q.waiting {
					t.Errorf("%s: a trigger holds %d, and counts %d", id, n, q.waiting)
				}
				held += n
			}
		}
		waiting += held
		if c.Received != c.Ended()+c.Queued+c.InFlight || c.Queued != int64(tenant.count) || held != tenant.count {
			t.Errorf("%s: %+v; %d wait, and %d are counted", id, c, held, tenant.count)
		}
		most := int64(s.queue.slots*2*maxRun + readers*maxArrivals)
		if c.InFlight < 0 || c.InFlight > most {
			t.Errorf("%s: %d in flight", id, c.InFlight)
		}
	}
	if waiting != s.queue.waiting {
		t.Errorf("%d wait, and %d are counted", waiting, s.queue.waiting)
	}
}

// TestBalance: at each instant of a storm of messages, redeploys and slow handlers received = outcomes + queued + in flight, and afterwards
// nothing is queued or in flight.
func TestBalance(t *testing.T) {
	const readers, reads = 3, 400
	s := offline(t, tenants.Target{Name: "c"}, 1, &hasty{})
	s.SetPolicy("u", tenants.Policy{QueueCount: 300, QueueBytes: 1 << 20, Rate: 50_000, Burst: 200})
	s.SetPolicy("v", tenants.Policy{QueueCount: 500, QueueBytes: 1 << 20, BreakAfter: 1})
	deploy := func(round int) {
		for _, id := range []tenants.ID{"u", "v"} {
			var all []Trigger
			for n := range round % 4 {
				l := tenants.Limits{Concurrency: 1 + round%3, Overflow: tenants.Overflow(n), OrderBy: []string{"", "/k"}[round/4%2], MaxWait: time.Second}
				all = append(all, Trigger{Trigger: tenants.Trigger{
					Tenant: id, App: "a", ID: fmt.Sprint(n), Version: tenants.VersionID(fmt.Sprint(round)), Component: tenants.ComponentID(fmt.Sprint(n)),
					Endpoint: "e", Target: tenants.Target{Name: "c"}, Limits: l,
				}, Invoker: &hasty{}})
			}
			if err := s.Apply(id, "a", all); err != nil {
				t.Error(err)
			}
		}
	}
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			in := &reader{endpoint: s.endpoints[0]}
			frames := make([]frame, 40)
			for range reads {
				for i := range frames {
					frames[i] = frame{kind: 'm', channel: []byte("c"), payload: fmt.Appendf(nil, `{"k":%d}`, rand.IntN(9))}
				}
				s.receive(in, time.Now(), frames)
			}
		})
	}
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { // ends with stop
		for round := 0; ; round++ {
			select {
			case <-stop:
				return
			default:
			}
			s.balanced(t, readers)
			if round%5 == 0 {
				deploy(round / 5)
			}
		}
	})
	wg.Wait()
	close(stop)
	watching.Wait()
	if left, err := s.Shutdown(t.Context()); err != nil || !left.Nothing() {
		t.Fatal(left, err)
	}
	s.balanced(t, 0)
	for id, tenant := range s.tenants {
		if c := tenant.account.Counts(); c.Queued != 0 || c.InFlight != 0 || c.Received != c.Ended() || c.Received == 0 {
			t.Errorf("%s: %+v", id, c)
		}
	}
}

// TestImbalanceIsOurFault: a delivery that was received and is nowhere is logged at the end.
func TestImbalanceIsOurFault(t *testing.T) {
	var log bytes.Buffer
	s, err := New(Config{Recorder: telemetry.New(1), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.SetPolicy("fine", tenants.DefaultPolicy())
	s.SetPolicy("lost", tenants.DefaultPolicy())
	s.config.Recorder.Account("lost").Receive(1)
	var told []string
	s.QueueLoads(func(id tenants.ID, l telemetry.QueueLoad) { told = append(told, fmt.Sprint(id, " ", l.Unaccounted)) })
	if fmt.Sprint(told) != "[lost 1]" {
		t.Errorf("told while it runs: %q", told)
	}
	if _, err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = `level=ERROR msg="deliveries were lost or counted twice: this is a fault of tenloom, please report it" tenant=lost received=1 ended=0 queued=1 in_flight=0`
	if text := log.String(); strings.Count(text, "ERROR") != 1 || !strings.Contains(text, want) {
		t.Errorf("logged %s", text)
	}
}
