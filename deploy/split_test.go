package deploy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// split is one that two versions share, with a guard.
func split(percent int, g *tenants.Guard) *Split {
	s, err := newSplit(tenants.Deployment{Weights: []tenants.Weight{{Version: 2, Percent: percent}, {Version: 1, Percent: 100 - percent}}, Guard: g})
	if err != nil {
		panic(err)
	}
	return s
}

func TestSplitSharesByWeight(t *testing.T) {
	var ids tenants.ULIDs
	for _, percent := range []int{1, 10, 50, 90} {
		s := split(percent, nil)
		const n = 100_000
		first := 0
		for range n {
			if s.Choose(tenants.MessageID(ids.Next(time.Now())), nil) == 0 {
				first++
			}
		}
		if got := float64(first) / n * 100; got < float64(percent)-0.5 || got > float64(percent)+0.5 {
			t.Errorf("a share of %d percent got %.2f", percent, got)
		}
	}
}

func TestGuardJudges(t *testing.T) {
	g := tenants.Guard{Errors: 0.05, Slower: 2, Window: 2 * time.Minute, Least: 20}
	note := func(s *Split, version, n int, o tenants.Outcome, ran time.Duration) {
		for range n {
			s.Note(version, o, ran)
		}
	}
	const ms = time.Millisecond
	for _, row := range []struct {
		name string
		do   func(s *Split)
		want string
	}{
		{"nothing", func(s *Split) {}, ""},
		{"too few", func(s *Split) { note(s, 0, 19, tenants.Failed, ms) }, ""},
		{"enough", func(s *Split) { note(s, 0, 20, tenants.Failed, ms) }, "v2 failed 20 of 20 (100.0 %), more than 5.0 % within 2m0s"},
		{"a share that is allowed", func(s *Split) { note(s, 0, 95, tenants.Handled, ms); note(s, 0, 5, tenants.Failed, ms) }, ""},
		{"time-outs count", func(s *Split) { note(s, 0, 94, tenants.Handled, ms); note(s, 0, 6, tenants.TimedOut, ms) }, "v2 failed 6 of 100 (6.0 %), more than 5.0 % within 2m0s"},
		{"the other's faults", func(s *Split) { note(s, 0, 20, tenants.Handled, ms); note(s, 1, 100, tenants.Failed, ms) }, ""},
		{"slower", func(s *Split) { note(s, 0, 100, tenants.Handled, 4*ms); note(s, 1, 100, tenants.Handled, ms) }, "the 95th percentile of v2 is 3.584ms, more than 2 times the 896µs of v1"},
		{"slower at the very top", func(s *Split) {
			note(s, 0, 96, tenants.Handled, ms)
			note(s, 0, 4, tenants.Handled, time.Second)
			note(s, 1, 100, tenants.Handled, ms)
		}, ""},
		{"slower than too few", func(s *Split) { note(s, 0, 100, tenants.Handled, 4*ms); note(s, 1, 19, tenants.Handled, ms) }, ""},
		{"long ago", func(s *Split) { note(s, 0, 20, tenants.Failed, ms); time.Sleep(2*time.Minute + time.Second) }, ""},
		{"within the window", func(s *Split) {
			note(s, 0, 10, tenants.Failed, ms)
			time.Sleep(100 * time.Second)
			note(s, 0, 10, tenants.Failed, ms)
		}, "v2 failed 20 of 20 (100.0 %), more than 5.0 % within 2m0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := split(50, &g)
			row.do(s)
			if got := s.judge(time.Now(), [2]string{"v2", "v1"}); got != row.want {
				t.Errorf("%s: got %q, want %q", row.name, got, row.want)
			}
		})
	}
}

func TestBuckets(t *testing.T) {
	last := -1
	for us := 1; us < 1<<20; us += 1 + us/64 {
		b := bucket(time.Duration(us) * time.Microsecond)
		if e := edge(b); b < last || time.Duration(us)*time.Microsecond < e || us > 4 && float64(us) > 1.26*float64(e.Microseconds()) {
			t.Fatalf("%d µs is in bucket %d, which begins at %v", us, b, e)
		}
		last = b
	}
	if bucket(1000*time.Hour) != buckets-1 || bucket(-1) != 0 {
		t.Error("the ends are open")
	}
}

func ExampleSplit() {
	s, _ := newSplit(tenants.Deployment{Weights: []tenants.Weight{{Version: 2, Percent: 20}, {Version: 1, Percent: 80}}, Affinity: "customer"})
	a := s.Choose(tenants.MessageID{1}, []byte(`{"customer":"ada","n":1}`))
	b := s.Choose(tenants.MessageID{2}, []byte(`{"n":2,"customer":"ada"}`))
	fmt.Println(a == b)
	// Output: true
}
