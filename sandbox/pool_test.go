package sandbox

import (
	"context"
	"sync"
	"testing"
	"time"
)

// held is what the pools of components hold; what the runtime counts for it must be the sum.
func held(t *testing.T, r *Runtime) (n int) {
	t.Helper()
	var ages []age
	for _, c := range r.all() {
		ages = c.pool.ages(ages)
	}
	sum := int64(0)
	for _, a := range ages {
		sum += a.cost
	}
	if got := r.idleBytes.Load(); got != sum {
		t.Errorf("%d bytes are counted, %d wait", got, sum)
	}
	return len(ages)
}

// together has the component handle so many messages at once, so that as many instances wait afterwards.
func together(t *testing.T, c *Component, n int) {
	t.Helper()
	var instances []*instance
	for range n { // hold what waits, so that each message needs another
		c.Invoke(context.Background(), Call{Payload: []byte{0, 200, 0, 1}})
		i := c.pool.get()
		if i == nil {
			t.Fatal("no instance was kept")
		}
		instances = append(instances, i)
	}
	for _, i := range instances {
		c.pool.put(i)
	}
}

func TestWarmInstances(t *testing.T) {
	p := scribbler(t)
	for warm, want := range map[int]int{0: 0, 1: 1, 3: 3} {
		c := p.Bind(Binding{Warm: warm})
		if err := c.Check(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := c.pool.size(); n != max(want, 1) { // the one that Check has started may stay until it is trimmed
			t.Errorf("Warm %d: %d instances after Check", warm, n)
		}
		together(t, c, 5)
		c.trim(time.Now())
		if n := c.pool.size(); n != 5 {
			t.Errorf("Warm %d: trim has closed what was just used, %d are left", warm, n)
		}
		c.trim(time.Now().Add(2 * idleFor))
		if n := c.pool.size(); n != want {
			t.Errorf("Warm %d: %d instances stay", warm, n)
		}
		held(t, p.runtime)
		for _, i := range c.pool.idle {
			compareToSnapshot(t, i, c.snapshot.Load())
		}
		c.Close()
	}
}

// An idle instance gives back its pages before it is closed, and the next message finds the snapshot all the same.
func TestIdleInstancesRest(t *testing.T) {
	p := scribbler(t)
	c := p.Bind(Binding{Warm: 2})
	together(t, c, 2)
	heavy := p.runtime.idleBytes.Load()
	c.trim(time.Now().Add(2 * restAfter))
	if n := held(t, p.runtime); n != 2 {
		t.Fatalf("%d instances wait", n)
	}
	light := p.runtime.idleBytes.Load()
	if how, _ := p.runtime.Reset(); how != ResetByCopy && (light >= heavy || light != 2*moduleCost) {
		t.Errorf("%d bytes wait, %d before", light, heavy)
	}
	for _, i := range c.pool.idle {
		compareToSnapshot(t, i, c.snapshot.Load())
	}
	together(t, c, 2)
	for _, i := range c.pool.idle {
		compareToSnapshot(t, i, c.snapshot.Load())
	}
}

// At the bound instances are closed instead of kept, and whoever was not used for longest makes room.
func TestBudgetOfWaitingInstances(t *testing.T) {
	const room = 4
	r, err := New(context.Background(), Config{MaxIdle: room * moduleCost})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(context.Background()) })
	p := programOn(t, r, "scribble")
	var all []*Component
	for range 3 * room {
		c := p.Bind(Binding{})
		all = append(all, c)
		if err := c.Check(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := held(t, r); n > room+1 {
			t.Fatalf("%d instances wait, the budget is for %d", n, room)
		}
	}
	last := all[len(all)-1]
	r.squeeze()
	for range 2 { // the first finds room or makes it, the second is kept
		last.Invoke(context.Background(), Call{})
		if r.idleBytes.Load() >= r.maxIdle {
			r.squeeze()
		}
	}
	if last.pool.size() != 1 || all[0].pool.size() != 0 {
		t.Errorf("the last one used holds %d, the first %d", last.pool.size(), all[0].pool.size())
	}
	held(t, r)
}

// Messages, trimming, squeezing and closing at once: nothing is counted twice, nothing is lost, nobody sees another's traces.
func TestPoolHammer(t *testing.T) {
	r, err := New(context.Background(), Config{MaxIdle: 6 * moduleCost})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(context.Background()) })
	p := programOn(t, r, "scribble")
	var components []*Component
	for range 3 {
		components = append(components, p.Bind(Binding{Warm: 2}))
	}
	done := make(chan struct{})
	var trimming, all sync.WaitGroup
	trimming.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			for _, c := range components {
				c.trim(time.Now().Add(time.Duration(n%3) * 30 * time.Second))
			}
			if n%5 == 0 {
				r.squeeze()
			}
		}
	})
	for _, c := range components {
		for seed := range 3 {
			all.Go(func() {
				for k := range 300 {
					got := c.Invoke(context.Background(), Call{Payload: []byte{byte(k % 3), 100, byte(k % 5 * 2), byte(seed)}})
					if got.Err != nil && k%5 != 1 { // 2 traps
						t.Errorf("message %d: %v", k, got.Err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	close(done)
	trimming.Wait()
	held(t, r)
	for _, c := range components {
		c.Close()
	}
	if n := r.idleBytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted when all is closed", n)
	}
}
