package scheduler

import (
	"container/heap"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// simulation runs the real queue in virtual time: slots take runs, each message takes its trigger's time.
type simulation struct {
	q    *queue
	now  time.Time
	ends endHeap
	cost func(*triggerQueue) time.Duration
	used map[tenants.ID]time.Duration
}

type ending struct {
	at   time.Time
	r    *run
	took time.Duration
}

type endHeap []ending

func (h endHeap) Len() int           { return len(h) }
func (h endHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h endHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *endHeap) Push(x any)        { *h = append(*h, x.(ending)) }
func (h *endHeap) Pop() any          { old := *h; x := old[len(old)-1]; *h = old[:len(old)-1]; return x }

// saturate keeps every trigger's queue filled for d.
func (s *simulation) saturate(d time.Duration, triggers []*triggerQueue) {
	for end := s.now.Add(d); s.now.Before(end); {
		for _, t := range triggers {
			for t.waiting < 8 {
				s.q.admit([]arrival{{trigger: t, message: waitingMessage("x", 8, s.now)}}, s.now)
			}
		}
		for s.q.busy < s.q.slots {
			r := new(run)
			s.q.busy++
			if !s.q.next(r, s.now) {
				s.q.busy--
				break
			}
			for r.claim() != nil {
			}
			took := time.Duration(len(r.messages)) * s.cost(r.trigger)
			heap.Push(&s.ends, ending{at: s.now.Add(took), r: r, took: took})
		}
		e := heap.Pop(&s.ends).(ending)
		s.now = e.at
		e.r.took = e.took
		s.q.done(e.r, s.now)
		s.q.busy--
		s.used[e.r.trigger.tenant.id] += e.took
	}
}

func newSimulation(slots int, cost func(*triggerQueue) time.Duration) *simulation {
	return &simulation{q: &queue{slots: slots, shared: true}, now: time.Unix(1000, 0), cost: cost, used: map[tenants.ID]time.Duration{}}
}

func tenantWith(id string, weight, triggers int) []*triggerQueue {
	owner := newTenantQueue(tenants.ID(id), tenants.Policy{Weight: weight, QueueCount: 10_000, QueueBytes: 1 << 30}, telemetry.New(1).Account("t"))
	owner.members = triggers
	var all []*triggerQueue
	for range triggers {
		all = append(all, queueOf(Trigger{}, owner))
	}
	return all
}

func TestWeightsShareTime(t *testing.T) {
	s := newSimulation(8, func(q *triggerQueue) time.Duration {
		if q.tenant.id == "w2" { // what counts is time, not messages
			return 7 * time.Millisecond
		}
		return 300 * time.Microsecond
	})
	all := append(append(tenantWith("w1", 1, 1), tenantWith("w2", 2, 1)...), tenantWith("w4", 4, 1)...)
	s.saturate(10*time.Second, all)
	total := s.used["w1"] + s.used["w2"] + s.used["w4"]
	for id, want := range map[tenants.ID]float64{"w1": 1. / 7, "w2": 2. / 7, "w4": 4. / 7} {
		if share := float64(s.used[id]) / float64(total); math.Abs(share-want) > 0.05*want {
			t.Errorf("%s has %.3f of the time, want %.3f", id, share, want)
		}
	}
}

// TestCapHoldsBackSlowHandlers: without a cap, handlers that run for a second would sooner or later hold every slot, because a run is never
// taken back; with it a quiet tenant always finds one.
func TestCapHoldsBackSlowHandlers(t *testing.T) {
	s := newSimulation(8, func(*triggerQueue) time.Duration { return time.Second })
	noisy, quiet := tenantWith("noisy", 1, 1)[0], tenantWith("quiet", 1, 1)[0]
	s.saturate(30*time.Second, []*triggerQueue{noisy})
	if noisy.running < 5 || noisy.running > 6 {
		t.Fatalf("one tenant holds %d of 8 slots that nobody else asks for, want 6", noisy.running)
	}
	s.q.admit([]arrival{{trigger: quiet, message: waitingMessage("q", 8, s.now)}}, s.now)
	s.q.busy++
	if r := new(run); !s.q.next(r, s.now) || r.trigger != quiet {
		t.Fatal("the quiet tenant's message was not run")
	}
	if s.q.busy++; s.q.next(new(run), s.now) {
		t.Fatal("the last slot went to the noisy tenant")
	}
}

func TestEqualTenantsAreEqual(t *testing.T) {
	s := newSimulation(8, func(q *triggerQueue) time.Duration { return time.Duration(100+len(q.tenant.id)) * time.Microsecond })
	var all []*triggerQueue
	for i := range 100 {
		all = append(all, tenantWith(fmt.Sprint(i), 1, 1+i%3)...) // more triggers gain nothing
	}
	s.saturate(5*time.Second, all)
	var sum, squares float64
	for _, d := range s.used {
		sum += d.Seconds()
		squares += d.Seconds() * d.Seconds()
	}
	if jain := sum * sum / (float64(len(s.used)) * squares); len(s.used) != 100 || jain < 0.98 {
		t.Fatalf("Jain index %.3f over %d tenants, want 0.98", jain, len(s.used))
	}
}

// TestDebtsAreSkipped: a lone tenant whose handlers ran for minutes is served at once.
func TestDebtsAreSkipped(t *testing.T) {
	var r round[int]
	one, now := new(int), time.Unix(0, 0)
	m := member[int]{owner: one, weight: 1, credit: -time.Hour, left: now}
	r.add(&m, now)
	if r.pick(false) != one {
		t.Fatal("nobody picked")
	}
	r.remove(&m, now)
	if r.head != nil || r.n != 0 {
		t.Fatal("not empty")
	}
	m.charge(time.Hour)
	r.add(&m, now.Add(2*time.Hour))
	if m.credit < 0 {
		t.Fatalf("a debt of an hour stands at %v after two", m.credit)
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, tenantsN := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint("tenants=", tenantsN), func(b *testing.B) {
			now := time.Unix(1000, 0)
			q := &queue{slots: 64, shared: tenantsN > 1}
			var all []*triggerQueue
			for i := range tenantsN {
				all = append(all, tenantWith(fmt.Sprint(i), 1, 1)...)
			}
			m := waitingMessage("x", 64, now)
			arrivals := make([]arrival, 1)
			active := max(tenantsN/100, 1)
			var r run
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				arrivals[0] = arrival{trigger: all[i%active*(tenantsN/active)], message: m}
				q.admit(arrivals, now)
				if q.next(&r, now) {
					r.claim()
					r.took = time.Microsecond
					q.done(&r, now)
				}
			}
		})
	}
}
