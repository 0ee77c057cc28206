package scheduler_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// The fairness table, in synthetic time: the real scheduler with eight slots, handlers that sleep, and nine quiet tenants that get twenty
// messages a second for handlers of 2 ms on average. Arrivals and handler times of the quiet ones are the same in each row, so that rows
// can be compared.
const (
	fairSlots = 8
	fairLasts = 10 * time.Second
	quietOnes = 9
)

// stopwatch is an Invoker that sleeps and notes how long each message took from its arrival to its handler's end.
type stopwatch struct {
	sleep func() time.Duration

	mu   sync.Mutex
	took []time.Duration
	ran  time.Duration
}

func (s *stopwatch) Open() scheduler.Session { return s }
func (s *stopwatch) Close()                  {}

func (s *stopwatch) Invoke(ctx context.Context, d *scheduler.Delivery) (r scheduler.Result) {
	s.mu.Lock()
	sleep := s.sleep()
	s.mu.Unlock()
	after(ctx, sleep)
	if sleep >= hangs {
		r.Outcome = tenants.TimedOut
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, time.Since(d.Received))
	s.ran += sleep
	return r
}

// hangs is a handler time at which the sandbox would say that it timed out.
const hangs = time.Second

func exponential(seed uint64, mean time.Duration) func() time.Duration {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// p99 is the 99th percentile of several stopwatches' messages together.
func p99(all []*stopwatch) time.Duration {
	var took []time.Duration
	for _, s := range all {
		took = append(took, s.took...)
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// noise is what a noisy tenant does.
type noise struct {
	rate       float64 // messages a second
	sleep      func() time.Duration
	components int
	breakAfter int
}

// fairly runs the quiet tenants beside a noisy one and returns how they fared.
func fairly(t *testing.T, n noise) (quiet time.Duration, noisy map[string]int64) {
	inBubble(t, scheduler.Config{Slots: fairSlots}, func(b *bubble) {
		watches := make([]*stopwatch, quietOnes)
		var publishers sync.WaitGroup
		for i := range watches {
			id := tenants.ID(fmt.Sprint("quiet", i))
			watches[i] = &stopwatch{sleep: exponential(uint64(i), 2*time.Millisecond)}
			b.SetPolicy(id, tenants.DefaultPolicy())
			b.apply(id, "app", on(channel(string(id)), watches[i]))
		}
		policy := tenants.DefaultPolicy()
		policy.BreakAfter = n.breakAfter
		b.SetPolicy("noisy", policy)
		if n.rate > 0 {
			var triggers []scheduler.Trigger
			watch := &stopwatch{sleep: n.sleep}
			for i := range max(n.components, 1) {
				one := on(channel(fmt.Sprint("noisy", i)), watch)
				one.Component = tenants.ComponentID(fmt.Sprint("c", i))
				triggers = append(triggers, one)
			}
			b.apply("noisy", "app", triggers...)
			publishers.Go(func() { // ends with fairLasts
				const step = 5 * time.Millisecond
				for sent, elapsed := 0, time.Duration(0); elapsed < fairLasts; elapsed += step {
					due := int(n.rate * elapsed.Seconds())
					if len(triggers) == 1 && due > sent {
						b.wire.publish("noisy0", numbered(due-sent)...)
						sent = due
					}
					for ; sent < due; sent++ {
						b.wire.publish(fmt.Sprint("noisy", sent%len(triggers)), "x")
					}
					time.Sleep(step)
				}
			})
		}
		for i := range watches {
			gap := exponential(uint64(100+i), 50*time.Millisecond)
			publishers.Go(func() { // ends with fairLasts
				for until := time.Now().Add(fairLasts); time.Now().Before(until); {
					time.Sleep(gap())
					b.wire.publish(fmt.Sprint("quiet", i), "x")
				}
			})
		}
		publishers.Wait()
		for i := range watches {
			if c := b.counts(tenants.ID(fmt.Sprint("quiet", i))); c.Outcomes["dropped"] > 0 {
				b.t.Errorf("a quiet tenant's messages were dropped: %v", c.Reasons)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond) // what still waits has no say
		defer cancel()
		b.Shutdown(ctx)
		c := b.counts("noisy")
		if c.Received != c.Ended() {
			b.t.Errorf("the noisy tenant received %d, and %d ended", c.Received, c.Ended())
		}
		quiet, noisy = p99(watches), c.Outcomes
		noisy["received"] = c.Received
	})
	return quiet, noisy
}

func TestFairness(t *testing.T) {
	baseline, _ := fairly(t, noise{})
	t.Logf("nobody: quiet p99 %v", baseline)
	for _, row := range []struct {
		name  string
		noise noise
		most  float64 // times the baseline
	}{
		{"a hundred times the load, within capacity", noise{rate: 2000, sleep: exponential(7, 2*time.Millisecond)}, 1.2},
		{"five times over capacity", noise{rate: 20_000, sleep: exponential(7, 2*time.Millisecond)}, 1.5},
		{"ten times slower, five times over capacity", noise{rate: 1000, sleep: exponential(7, 40*time.Millisecond)}, 1.5},
		{"every call times out", noise{rate: 20, sleep: always(hangs), breakAfter: -1}, 1.5},
		{"every call times out, with a breaker", noise{rate: 20, sleep: always(hangs)}, 1.5},
		{"split over a hundred components", noise{rate: 8000, sleep: exponential(7, 2*time.Millisecond), components: 100}, 1.5},
		{"time-outs split over a hundred components", noise{rate: 100, sleep: always(hangs), components: 100}, 1.5},
	} {
		t.Run(row.name, func(t *testing.T) {
			quiet, noisy := fairly(t, row.noise)
			ratio := float64(quiet) / float64(baseline)
			t.Logf("quiet p99 %v, %.2f times the baseline; noisy %v", quiet, ratio, noisy)
			if ratio > row.most {
				t.Errorf("quiet p99 is %.2f times the baseline, want %.1f at most", ratio, row.most)
			}
		})
	}
}

// saturated keeps tenants' queues filled for a while and returns the handler time of each.
func saturated(t *testing.T, weights []int, components int, lasts time.Duration) (used []time.Duration) {
	inBubble(t, scheduler.Config{Slots: fairSlots}, func(b *bubble) {
		watches := make([]*stopwatch, len(weights))
		for i, weight := range weights {
			id := tenants.ID(fmt.Sprint("t", i))
			watches[i] = &stopwatch{sleep: exponential(uint64(i), time.Duration(1+i%4)*time.Millisecond)}
			policy := tenants.DefaultPolicy()
			policy.Weight, policy.QueueCount = weight, 100*components
			b.SetPolicy(id, policy)
			var triggers []scheduler.Trigger
			for c := range 1 + i%components { // more components gain nothing
				one := on(channel(string(id)), watches[i])
				one.Component = tenants.ComponentID(fmt.Sprint("c", c))
				triggers = append(triggers, one)
			}
			b.house.apply(id, "app", triggers...)
		}
		synctest.Wait()
		for elapsed := time.Duration(0); elapsed < lasts; elapsed += 10 * time.Millisecond {
			for i := range weights {
				id := tenants.ID(fmt.Sprint("t", i))
				for b.Load(id).Queued < 40 {
					b.publish(string(id), numbered(40)...)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, w := range watches {
			w.mu.Lock()
			used = append(used, w.ran)
			w.mu.Unlock()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
		defer cancel()
		b.Shutdown(ctx)
	})
	return used
}

func TestWeights(t *testing.T) {
	used := saturated(t, []int{1, 2, 4}, 1, 10*time.Second)
	total := used[0] + used[1] + used[2]
	for i, want := range []float64{1. / 7, 2. / 7, 4. / 7} {
		if share := float64(used[i]) / float64(total); math.Abs(share-want) > 0.05*want {
			t.Errorf("weight %d has %.3f of the time, want %.3f", 1<<i, share, want)
		}
	}
}

func TestJain(t *testing.T) {
	weights := make([]int, 100)
	var sum, squares float64
	for _, d := range saturated(t, weights, 3, 10*time.Second) {
		sum += d.Seconds()
		squares += d.Seconds() * d.Seconds()
	}
	if jain := sum * sum / (float64(len(weights)) * squares); jain < 0.98 {
		t.Errorf("Jain index %.3f, want 0.98", jain)
	}
}

// TestNewcomer: a tenant's first message starts within one round, however many others have more than they can handle.
func TestNewcomer(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: fairSlots}, func(b *bubble) {
		const others, call = 50, time.Millisecond
		for i := range others {
			id := tenants.ID(fmt.Sprint("t", i))
			b.SetPolicy(id, tenants.DefaultPolicy())
			b.house.apply(id, "app", on(channel("all"), &stopwatch{sleep: always(call)}))
		}
		first := &stopwatch{sleep: always(0)}
		b.SetPolicy("new", tenants.DefaultPolicy())
		b.apply("new", "app", on(channel("new"), first))
		b.publish("all", numbered(1000)...)
		time.Sleep(time.Second)
		b.publish("new", "x")
		time.Sleep(time.Second)
		// One turn of each other tenant is one call here; and one that is on its way.
		if most := (others+fairSlots)*call/fairSlots + call; len(first.took) != 1 || first.took[0] > most {
			b.t.Errorf("the first message waited %v, want %v at most", first.took, most)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
		defer cancel()
		b.Shutdown(ctx)
	})
}
