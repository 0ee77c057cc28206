package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

// TestRoutesAgainstModel changes a table at random and compares it with a map after each change. The tables before stay what they were.
func TestRoutesAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		queues, taps := make([]*triggerQueue, 5), make([]*Tap, 3)
		for i := range queues {
			queues[i] = &triggerQueue{}
		}
		for i := range taps {
			taps[i] = &Tap{}
		}
		type holds struct {
			triggers map[*triggerQueue]int
			taps     map[*Tap]bool
		}
		model, now := map[tenants.Target]*holds{}, &table{}
		var past []*table
		var sizes []int
		for range 2000 {
			target := tenants.Target{Kind: tenants.Kind(r.IntN(2)), Name: fmt.Sprint(r.IntN(300))}
			h := model[target]
			if h == nil {
				h = &holds{map[*triggerQueue]int{}, map[*Tap]bool{}}
				model[target] = h
			}
			e := edit{*now}
			q, tap := queues[r.IntN(len(queues))], taps[r.IntN(len(taps))]
			switch n := r.IntN(8); {
			case n < 3 && h.triggers[q] == 0:
				e.add(target, q)
				h.triggers[q]++
			case n < 6 && h.triggers[q] > 0:
				e.remove(target, q)
				delete(h.triggers, q)
			case n == 6:
				e.tap(target, tap)
				h.taps[tap] = true
			case n == 7:
				e.untap(target, tap)
				delete(h.taps, tap)
			}
			if len(h.triggers)+len(h.taps) == 0 {
				delete(model, target)
			}
			past, sizes = append(past, now), append(sizes, count(now))
			now = &e.table
			if count(now) != len(model) {
				t.Fatalf("%d routes, want %d", count(now), len(model))
			}
			got := now.at(target)
			if (got == nil) != (model[target] == nil) || got != nil && (len(got.triggers) != len(h.triggers) || len(got.taps) != len(h.taps) || now.wakes(target) != (len(h.triggers) > 0)) {
				t.Fatalf("%v is %+v, want %+v", target, got, h)
			}
		}
		for target, h := range model {
			f := &frame{kind: 'm', channel: []byte(target.Name)}
			if target.Kind == tenants.Pattern {
				f = &frame{kind: 'p', pattern: []byte(target.Name), channel: []byte("any")}
			}
			r := now.find(f)
			for q := range h.triggers {
				if !slices.Contains(r.triggers, q) {
					t.Fatalf("%v does not wake its trigger", target)
				}
			}
		}
		for i, old := range past {
			if count(old) != sizes[i] {
				t.Fatalf("a table of the past has %d routes, had %d", count(old), sizes[i])
			}
		}
	}
}

func count(t *table) (n int) {
	for _, root := range []*node{t.exact, t.pattern} {
		root.each(func(*route) { n++ })
	}
	return n
}

// TestRoutesOfOneHash: names whose hashes agree in all bits stay apart.
func TestRoutesOfOneHash(t *testing.T) {
	var root *node
	var all []*route
	for i := range 40 {
		all = append(all, &route{hash: 7, name: fmt.Sprint(i)})
		root = root.with(all[i], 0)
	}
	for i, r := range all {
		if root.find(7, []byte(r.name)) != r {
			t.Fatalf("%q is not found", r.name)
		}
		if root = root.without(r, 0); root.find(7, []byte(r.name)) != nil || i < len(all)-1 && root.find(7, []byte(all[i+1].name)) == nil {
			t.Fatalf("without %q", r.name)
		}
	}
	if root != nil {
		t.Fatal("not empty")
	}
}

func BenchmarkRoutes(b *testing.B) {
	for _, n := range []int{1, 10_000, 100_000} {
		e := edit{}
		var frames []frame
		for i := range n {
			name := fmt.Sprint("tenant-", i, ":orders")
			e.add(tenants.Target{Name: name}, &triggerQueue{})
			frames = append(frames, frame{kind: 'm', channel: []byte(name)})
		}
		b.Run(fmt.Sprint("find/", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if e.find(&frames[i%n]) == nil {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprint("change/", n), func(b *testing.B) {
			q := &triggerQueue{}
			b.ReportAllocs()
			for b.Loop() {
				e.add(tenants.Target{Name: "one"}, q)
				e.remove(tenants.Target{Name: "one"}, q)
			}
		})
	}
}
