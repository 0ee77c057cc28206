package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// orders is an Invoker that holds the order of each key: payloads are {"k":"key","n":number}.
type orders struct {
	t *testing.T

	mu      sync.Mutex
	sleep   func() time.Duration
	running map[string]bool
	last    map[string]int
	now     int
	most    int
}

func (o *orders) Open() scheduler.Session { return o }
func (o *orders) Close()                  {}

func (o *orders) Invoke(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
	var key string
	var n int
	fmt.Sscanf(strings.NewReplacer(`{"k":"`, "", `","n":`, " ", "}", "").Replace(string(d.Payload())), "%s %d", &key, &n)
	o.mu.Lock()
	if o.running[key] {
		o.t.Errorf("%s: two run at once", key)
	}
	if o.last[key] >= n {
		o.t.Errorf("%s: %d after %d", key, n, o.last[key])
	}
	o.running[key], o.last[key] = true, n
	o.now++
	o.most = max(o.most, o.now)
	sleep := o.sleep()
	o.mu.Unlock()
	after(ctx, sleep)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running[key] = false
	o.now--
	return scheduler.Result{}
}

func newOrders(t *testing.T) *orders {
	r := rand.New(rand.NewPCG(3, 4))
	return &orders{t: t, running: map[string]bool{}, last: map[string]int{}, sleep: func() time.Duration {
		if n := r.IntN(100); n > 10 {
			return 0
		}
		return time.Duration(r.IntN(30)) * time.Millisecond
	}}
}

// TestOrderByKey: deliveries of one key run one at a time and in order, others beside them; also when handlers are slow now and then, so that
// runs are cut, and over redeploys that change the order, the concurrency, or neither.
func TestOrderByKey(t *testing.T) {
	for name, limits := range map[string][]tenants.Limits{
		"always":              {{OrderBy: "/k"}},
		"redeployed":          {{OrderBy: "/k"}, {OrderBy: "/k", Concurrency: 8}, {OrderBy: "/k", Concurrency: 3}},
		"one at a time":       {{OrderBy: "/k"}, {Concurrency: 1}, {OrderBy: "/k"}, {OrderBy: "/k", Concurrency: 1}},
		"by something else":   {{OrderBy: "/k"}, {OrderBy: "/k/0"}, {OrderBy: "/k"}},
		"the oldest give way": {{OrderBy: "/k", Overflow: tenants.DropOldest}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, scheduler.Config{Slots: 16}, func(b *bubble) {
				o := newOrders(t)
				policy := tenants.DefaultPolicy()
				if limits[0].Overflow == tenants.DropOldest {
					policy.QueueCount = 50
				}
				b.SetPolicy("a", policy)
				keys := rand.New(rand.NewPCG(1, 2))
				for i := range 1200 {
					if i%100 == 0 {
						l := limits[i/100%len(limits)]
						if name == "by something else" && l.OrderBy != "/k" {
							l.Concurrency = 1 // or there would be no order to hold
						}
						b.house.apply("a", "app", limited(on(channel("c"), o), l))
						if i == 0 {
							b.apply("a", "app", limited(on(channel("c"), o), l))
						}
					}
					b.wire.publish("c", fmt.Sprintf(`{"k":"%d","n":%d}`, keys.IntN(40), i+1))
					if i%7 == 0 {
						after(context.Background(), time.Millisecond)
					}
				}
				b.stop()
				if o.most < 2 {
					b.t.Error("nothing ran beside another")
				}
				c := b.counts("a")
				if c.Outcomes["handled"]+c.Reasons["oldest"] != 1200 {
					b.t.Errorf("%v %v", c.Outcomes, c.Reasons)
				}
			})
		})
	}
}

// TestOrderByHoldsOneKey: a key whose call hangs holds its own followers and no others'; what has no key is in no order.
func TestOrderByHoldsOneKey(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 16}, func(b *bubble) {
		g := newGate()
		h := does(func(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
			if strings.Contains(string(d.Payload()), `"slow"`) {
				return g.Invoke(ctx, d)
			}
			return scheduler.Result{}
		})
		b.apply("a", "app", limited(on(channel("c"), h), tenants.Limits{OrderBy: "/k", Concurrency: 8}))
		b.publish("c", `{"k":"slow","n":1}`, `{"k":"slow","n":2}`, `{"k":"slow","n":3}`)
		var none []string
		for range 200 {
			none = append(none, "no json", `{"other":1}`, "{}")
		}
		b.publish("c", none...)
		after(context.Background(), 10*time.Millisecond)
		g.holds(b.t, 1)
		c := b.counts("a")
		// Those without a key are spread over the strands, so a few wait behind the slow one.
		if done := c.Outcomes["handled"]; done < 570 {
			b.t.Errorf("%d of 600 are handled beside a key that hangs", done)
		}
		close(g.let)
		b.stop()
		if got := g.began(); !slices.IsSorted(got) || len(got) != 3 {
			b.t.Errorf("%v", got)
		}
	})
}

// TestOrderByRefusesAPointer that is none.
func TestOrderByRefusesAPointer(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		bad := limited(on(channel("c"), handled), tenants.Limits{OrderBy: "k"})
		if err := b.Apply("a", "app", []scheduler.Trigger{bad}); err == nil || err.Error() != `apply triggers: order_by of trigger "on-c": a JSON pointer begins with "/"; got "k"` {
			b.t.Error(err)
		}
		b.stop()
	})
}
