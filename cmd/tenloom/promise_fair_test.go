package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// The fairness table by wall clock: eight slots, handlers that sleep, a real redis-server. Nine quiet tenants get twenty messages a second for
// handlers of 2 ms on average; what counts is how long their messages take from PUBLISH to their handler's end.
const (
	fairSlots = 8
	fairLasts = 5 * time.Second
	fairQuiet = 9
)

// sleeper is an Invoker that sleeps, and notes how long its messages took. Payloads are the time of their PUBLISH.
type sleeper struct {
	mu    sync.Mutex
	sleep func() time.Duration
	took  []time.Duration
	ran   time.Duration
}

func (s *sleeper) Open() scheduler.Session { return s }
func (*sleeper) Close()                    {}

func (s *sleeper) Invoke(ctx context.Context, d *scheduler.Delivery) (r scheduler.Result) {
	s.mu.Lock()
	sleep := s.sleep()
	s.mu.Unlock()
	began := time.Now()
	select {
	case <-time.After(sleep):
	case <-ctx.Done():
	}
	if sleep >= time.Second {
		r.Outcome = tenants.TimedOut
	}
	nanos, _ := strconv.ParseInt(string(d.Payload()), 10, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, time.Since(time.Unix(0, nanos)))
	s.ran += time.Since(began)
	return r
}

func sleeping(seed uint64, mean time.Duration) func() time.Duration {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
}

// arena is a Scheduler on a redis-server, and a publisher.
type arena struct {
	*scheduler.Scheduler
	b        *testing.B
	recorder *telemetry.Recorder
	client   *redis.Client
}

func newArena(b *testing.B, server *redistest.Server) *arena {
	options, err := endpoint.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	a := &arena{b: b, recorder: telemetry.New(history), client: server.Client()}
	a.Scheduler, err = scheduler.New(scheduler.Config{Slots: fairSlots, Recorder: a.recorder, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	a.AddEndpoint(scheduler.Endpoint{ID: "e", Name: options.Name(), Dial: options.Subscriber})
	return a
}

// tenant lets a tenant in, with a trigger on each of so many channels that are named after it.
func (a *arena) tenant(id tenants.ID, p tenants.Policy, s *sleeper, channels int) {
	a.SetPolicy(id, p)
	all := make([]scheduler.Trigger, channels)
	for i := range all {
		name := fmt.Sprint(id, ":", i)
		all[i] = scheduler.Trigger{Trigger: tenants.Trigger{
			Tenant: id, App: "app", ID: name, Component: tenants.ComponentID(name), Endpoint: "e", Target: tenants.Target{Name: name},
		}, Invoker: s}
	}
	if err := a.Apply(id, "app", all); err != nil {
		a.b.Fatal(err)
	}
}

func (a *arena) ready() {
	for slices.ContainsFunc(a.TargetStates("e"), func(t scheduler.TargetState) bool { return t.State != scheduler.Active }) {
		time.Sleep(time.Millisecond)
	}
}

// feed publishes rate messages a second, in turn on so many channels of a tenant, until fairLasts is over.
func (a *arena) feed(id tenants.ID, rate float64, channels int, jitter *rand.Rand) {
	began := time.Now()
	next, step := 0.0, max(5*time.Millisecond.Seconds(), 1/rate)
	for n := 0; ; {
		now := time.Since(began)
		if now >= fairLasts {
			return
		}
		pipe := a.client.Pipeline()
		stamp := strconv.FormatInt(time.Now().UnixNano(), 10)
		for ; float64(n) < rate*now.Seconds(); n++ {
			pipe.Publish(background, fmt.Sprint(id, ":", n%channels), stamp)
		}
		if pipe.Len() > 0 {
			if _, err := pipe.Exec(background); err != nil {
				a.b.Error(err)
				return
			}
		}
		next += step
		if jitter != nil {
			next += step * (jitter.Float64() - 0.5)
		}
		time.Sleep(time.Duration(next*float64(time.Second)) - time.Since(began))
	}
}

// close stops at once and checks the accounts.
func (a *arena) close(ids ...tenants.ID) {
	ctx, cancel := context.WithTimeout(background, time.Nanosecond)
	defer cancel()
	if _, err := a.Shutdown(ctx); err != nil {
		a.b.Error(err)
	}
	for _, id := range ids {
		c := a.recorder.Account(id).Counts()
		if c.Received != c.Ended() || c.Queued+c.InFlight != 0 {
			a.b.Errorf("%s: %+v", id, c)
		}
		if id != "noisy" && c.Outcomes["dropped"] > c.Reasons["stopping"] {
			a.b.Errorf("%s lost messages: %v", id, c.Reasons)
		}
	}
}

// noisy is what the noisy tenant does.
type noisy struct {
	rate       float64
	sleep      func() time.Duration
	components int
}

// quiet lets the quiet tenants in.
func (a *arena) quiet() (ids []tenants.ID, watches []*sleeper) {
	for i := range fairQuiet {
		id := tenants.ID(fmt.Sprint("quiet", i))
		s := &sleeper{sleep: sleeping(uint64(i), 2*time.Millisecond)}
		ids, watches = append(ids, id), append(watches, s)
		a.tenant(id, tenants.DefaultPolicy(), s, 1)
	}
	return ids, watches
}

func p99(watches []*sleeper) float64 {
	var took []time.Duration
	for _, s := range watches {
		took = append(took, s.took...)
	}
	slices.Sort(took)
	return took[len(took)*99/100].Seconds() * 1e3
}

// besideNoise is the quiet tenants' p99 beside a noisy one, over theirs alone. Both are measured at the same time, with the same messages, on
// two schedulers: so what else the machine does, and what the noisy tenant's messages cost it, meets both, and what is compared is what the
// scheduler lets a neighbour do.
func besideNoise(n noisy) func(*testing.B) float64 {
	return func(b *testing.B) float64 {
		server := redistest.Start(b)
		return median(b, 5, func() float64 {
			without, with := newArena(b, server), newArena(b, server)
			ids, alone := without.quiet()
			_, both := with.quiet()
			p := tenants.DefaultPolicy()
			p.BreakAfter = -1
			with.tenant("noisy", p, &sleeper{sleep: n.sleep}, max(n.components, 1))
			without.ready()
			with.ready()
			var feeds sync.WaitGroup
			for i, id := range ids {
				feeds.Go(func() { with.feed(id, 20, 1, rand.New(rand.NewPCG(uint64(i), 2))) })
			}
			feeds.Go(func() { with.feed("noisy", n.rate, max(n.components, 1), nil) })
			feeds.Wait()
			without.close(ids...)
			with.close(append(ids, "noisy")...)
			b.Logf("quiet p99 %.1f ms alone, %.1f ms beside; the noisy one %v", p99(alone), p99(both), with.recorder.Account("noisy").Counts().Outcomes)
			return p99(both) / p99(alone)
		})
	}
}

var (
	fairNoisy    = besideNoise(noisy{rate: 2000, sleep: sleeping(7, 2*time.Millisecond)})
	fairOver     = besideNoise(noisy{rate: 20_000, sleep: sleeping(7, 2*time.Millisecond)})
	fairTimeouts = besideNoise(noisy{rate: 20, sleep: func() time.Duration { return time.Second }})
	fairSplit    = besideNoise(noisy{rate: 20_000, sleep: sleeping(7, 2*time.Millisecond), components: 100})
)

// saturated gives each tenant more than it can handle and returns the handler time of each.
func saturated(b *testing.B, weights []int, rate float64) []float64 {
	a := newArena(b, redistest.Start(b))
	var watches []*sleeper
	for i, weight := range weights {
		p := tenants.DefaultPolicy()
		p.Weight, p.QueueCount = weight, 100
		s := &sleeper{sleep: sleeping(uint64(i), 2*time.Millisecond)}
		watches = append(watches, s)
		a.tenant(tenants.ID(fmt.Sprint("t", i)), p, s, 1)
	}
	a.ready()
	var feeds sync.WaitGroup
	for i := range weights {
		feeds.Go(func() { a.feed(tenants.ID(fmt.Sprint("t", i)), rate, 1, nil) })
	}
	feeds.Wait()
	a.close()
	used := make([]float64, len(watches))
	for i, s := range watches {
		used[i] = s.ran.Seconds()
	}
	return used
}

// fairWeights is by how many percent the share of a tenant differs most from its weight.
func fairWeights(b *testing.B) float64 {
	used := saturated(b, []int{1, 2, 4}, 3500)
	total, worst := used[0]+used[1]+used[2], 0.0
	for i, want := range []float64{1. / 7, 2. / 7, 4. / 7} {
		worst = max(worst, 100*math.Abs(used[i]/total/want-1))
	}
	b.Logf("handler time %.2f s", used)
	return worst
}

// fairJain is Jain's index of a hundred equal tenants.
func fairJain(b *testing.B) float64 {
	used := saturated(b, slices.Repeat([]int{1}, 100), 100)
	sum, squares := 0.0, 0.0
	for _, u := range used {
		sum += u
		squares += u * u
	}
	return sum * sum / (float64(len(used)) * squares)
}

// dispatch is the scheduler's own benchmark: a metric of it.
func dispatch(metric string) func(*testing.B) float64 {
	return func(b *testing.B) float64 {
		out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkDispatch$", "-cpu", "1", "-count", "3", "../../scheduler").CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		var all []float64
		words := strings.Fields(string(out))
		for i, word := range words {
			if word == metric {
				v, err := strconv.ParseFloat(words[i-1], 64)
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, v)
			}
		}
		if len(all) == 0 {
			b.Fatalf("no %s in\n%s", metric, out)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
}
