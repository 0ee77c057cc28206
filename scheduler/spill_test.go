package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// spills is a trigger that handles one at a time and spills.
func spills(t scheduler.Trigger) scheduler.Trigger {
	return limited(t, tenants.Limits{Concurrency: 1, Overflow: tenants.Spill})
}

// spilling runs a test in synthetic time with real files; nothing of them may be left.
func spilling(t *testing.T, policy tenants.Policy, test func(b *bubble)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spill")
	inBubble(t, scheduler.Config{Slots: 8, Spill: dir}, func(b *bubble) {
		b.SetPolicy("a", policy)
		test(b)
	})
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

var small = tenants.Policy{QueueCount: 10, QueueBytes: 1 << 20}

// TestSpillKeepsOrder: a burst of a hundred times what the queue holds is handled to the last message, in order, and the depth is told.
func TestSpillKeepsOrder(t *testing.T) {
	spilling(t, small, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", spills(on(channel("c"), g)))
		const n = 1000
		b.publish("c", numbered(n/2)...)
		for i := n / 2; i < n; i++ {
			b.publish("c", fmt.Sprint(i))
		}
		record := int64(12 + 28 + len("c"))
		l, s := b.Load("a"), b.Triggers("a")[0]
		if l.Queued != n-1 || l.InFlight != 1 || l.Spilled < n-12 || l.SpilledBytes < int64(l.Spilled)*record || l.Bytes > 11*(256+4) {
			b.t.Errorf("%+v", l)
		}
		if s.Queued != n-1 || s.Spilled != l.Spilled || s.SpilledBytes != l.SpilledBytes {
			b.t.Errorf("%+v", s)
		}
		for i := range n {
			b.release(g, 1)
			if c := b.counts("a"); c.Received != c.Ended()+c.Queued+c.InFlight || c.Queued != int64(b.Load("a").Queued) || c.Ended() != int64(i+1) {
				b.t.Fatalf("after %d: %+v, %+v", i, c, b.Load("a"))
			}
		}
		b.stop()
		if !slices.Equal(g.began(), numbered(n)) {
			b.t.Errorf("handled out of order: %.300q", g.began())
		}
		b.ended("a", map[string]int64{"handled": n})
	})
}

// TestSpillOfEachKey: with keys, those of one are handled in order, and what surrounds a message comes back with it.
func TestSpillOfEachKey(t *testing.T) {
	spilling(t, small, func(b *bubble) {
		var mu sync.Mutex
		seen := map[string][]string{}
		slow := does(func(ctx context.Context, d *scheduler.Delivery) scheduler.Result {
			after(ctx, time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			key := string(d.Payload()[6:7])
			seen[key] = append(seen[key], string(d.Payload()))
			if d.Channel() != "c:"+key || d.Pattern() != "c:*" || d.ID == (tenants.MessageID{}) || time.Since(d.Received) < 0 || time.Since(d.Received) > time.Minute {
				b.t.Errorf("%s of %q by %q, %v at %v", d.Payload(), d.Channel(), d.Pattern(), d.ID, d.Received)
			}
			return scheduler.Result{}
		})
		b.apply("a", "app", limited(on(pattern("c:*"), slow), tenants.Limits{Concurrency: 4, OrderBy: "/k", Overflow: tenants.Spill}))
		const n = 400
		want := map[string][]string{}
		for i := range n {
			key := fmt.Sprint(i % 7)
			payload := fmt.Sprintf(`{"k":"%s","n":%d}`, key, i)
			want[key] = append(want[key], payload)
			b.wire.publish("c:"+key, payload)
		}
		b.stop()
		for key := range want {
			if !slices.Equal(seen[key], want[key]) {
				b.t.Errorf("%s: %.200q", key, seen[key])
			}
		}
		b.ended("a", map[string]int64{"handled": n})
	})
}

// TestSpillBounds: a trigger and a tenant keep so many bytes on disk and no more, and the reason names which bound it was.
func TestSpillBounds(t *testing.T) {
	const record = 12 + 28 + 1 + 2 // of a payload of two bytes
	payloads := func(n int) []string { return slices.Repeat([]string{"xx"}, n) }
	policy := tenants.Policy{QueueCount: 4, QueueBytes: 1 << 20, SpillBytes: 10 * record, SpillTotal: 15 * record}
	t.Run("of a trigger", func(t *testing.T) {
		spilling(t, policy, func(b *bubble) {
			g := newGate()
			b.apply("a", "app", spills(on(channel("c"), g)))
			b.publish("c", "xx")
			b.publish("c", payloads(100)...)
			b.ended("a", map[string]int64{"dropped": 100 - 4 - 10, "spill_bytes": 100 - 4 - 10})
			close(g.let)
			b.stop()
		})
	})
	t.Run("of a tenant", func(t *testing.T) {
		spilling(t, policy, func(b *bubble) {
			g := newGate()
			b.apply("a", "app", spills(on(channel("c"), g)), spills(on(channel("d"), g)))
			for _, c := range []string{"c", "d"} {
				b.publish(c, "xx")
				b.publish(c, payloads(50)...)
			}
			b.QueueLoads(func(_ tenants.ID, l telemetry.QueueLoad) {
				if l.Spilled != 15 || l.SpilledBytes != 15*record {
					b.t.Errorf("metrics say %+v", l)
				}
			})
			if l := b.Load("a"); l.Spilled != 15 || l.SpilledBytes != 15*record {
				b.t.Errorf("%+v", l)
			}
			b.ended("a", map[string]int64{"dropped": 100 - 4 - 15, "spill_bytes": 50 - 2 - 10, "spill_total": 50 - 2 - 5})
			close(g.let)
			b.stop()
		})
	})
	t.Run("none", func(t *testing.T) {
		policy := policy
		policy.SpillBytes = -1
		spilling(t, policy, func(b *bubble) {
			g := newGate()
			b.apply("a", "app", spills(on(channel("c"), g)))
			b.publish("c", "xx")
			b.publish("c", payloads(5)...)
			b.ended("a", map[string]int64{"dropped": 1, "spill_bytes": 1})
			close(g.let)
			b.stop()
		})
	})
}

// TestSpillLargeMessages: those that are larger than what is read and written at once, and more than a file holds.
func TestSpillLargeMessages(t *testing.T) {
	spilling(t, tenants.Policy{QueueCount: 4, QueueBytes: 1 << 20}, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", spills(on(channel("c"), g)))
		var want []string
		for i := range 40 {
			payload := strings.Repeat(fmt.Sprint(i%10), (i%5)*150_000+i)
			want = append(want, payload)
			b.publish("c", payload)
		}
		close(g.let)
		b.stop()
		if !slices.Equal(g.began(), want) {
			b.t.Errorf("%d of %d, or not the same", len(g.began()), len(want))
		}
		b.ended("a", map[string]int64{"handled": 40})
	})
}

// TestSpillNeighbours: a trigger that spilled goes on although another of its tenant holds all of the queue.
func TestSpillNeighbours(t *testing.T) {
	spilling(t, small, func(b *bubble) {
		hog, slow := newGate(), newGate()
		b.apply("a", "hog", limited(on(channel("hog"), hog), tenants.Limits{Concurrency: 1}))
		b.publish("hog", numbered(100)...) // alone, it takes all
		b.apply("a", "app", spills(on(channel("c"), slow)))
		b.publish("c", numbered(50)...)
		if l := b.Load("a"); l.Spilled < 40 {
			b.t.Errorf("%+v", l)
		}
		b.release(slow, 50)
		if !slices.Equal(slow.began(), numbered(50)) {
			b.t.Errorf("%q", slow.began())
		}
		close(hog.let)
		b.stop()
	})
}

// TestSpillDeploys: a new version takes over what its predecessor spilled, in its order; a removed trigger drops it.
func TestSpillDeploys(t *testing.T) {
	spilling(t, small, func(b *bubble) {
		old, next := newGate(), newGate()
		version := func(g *gate, l tenants.Limits) scheduler.Trigger {
			t := limited(on(channel("c"), g), l)
			t.Version = tenants.VersionID(fmt.Sprintf("%p", g))
			return t
		}
		b.apply("a", "app", spills(version(old, tenants.Limits{Concurrency: 1, Overflow: tenants.Spill})))
		b.publish("c", numbered(100)...)
		b.apply("a", "app", version(next, tenants.Limits{Concurrency: 1, Overflow: tenants.DropOldest})) // spills no more
		b.publish("c", "late", "later")
		b.ended("a", map[string]int64{"dropped": 2, "queue_full": 2})
		close(old.let)
		synctest.Wait()
		b.release(next, 99)
		if seen := append(old.began(), next.began()...); !slices.Equal(seen, numbered(100)) {
			b.t.Errorf("%q", seen)
		}
		b.publish("c", "fits")
		b.release(next, 1)
		b.ended("a", map[string]int64{"handled": 101, "dropped": 2, "queue_full": 2})

		b.apply("a", "app", spills(version(next, tenants.Limits{})))
		b.publish("c", numbered(100)...)
		b.apply("a", "app")
		synctest.Wait()
		b.ended("a", map[string]int64{"handled": 101, "dropped": 101, "queue_full": 2, "removed": 99})
		if l := b.Load("a"); l.Spilled != 0 || l.SpilledBytes != 0 {
			b.t.Errorf("%+v", l)
		}
		close(next.let)
		b.stop()
	})
}

// TestSpillDrains: Shutdown waits for what is spilled, too, and at its deadline says by name what it dropped of it.
func TestSpillDrains(t *testing.T) {
	spilling(t, small, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", spills(on(channel("c"), g)))
		b.publish("c", numbered(500)...)
		close(g.let)
		b.stop()
		b.ended("a", map[string]int64{"handled": 500})
	})
	spilling(t, small, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", spills(on(channel("c"), g)))
		b.publish("c", numbered(500)...)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		left, err := b.Shutdown(ctx)
		if err != nil || left.Dropped != 499 || left.Cancelled != 1 || len(left.Triggers) != 1 || left.Triggers[0].Dropped != 499 {
			b.t.Errorf("%+v, %v", left, err)
		}
		b.ended("a", map[string]int64{"failed": 1, "dropped": 499, "stopping": 499})
		zero := tenants.MessageID{}.String()
		for _, in := range b.recorder.History.Last("a", 100) {
			if in.Channel != "c" || in.Message == zero {
				b.t.Errorf("%+v", in)
			}
		}
	})
}

// TestSpillFollowed: who published a message that was spilled is told how it ended.
func TestSpillFollowed(t *testing.T) {
	spilling(t, small, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", spills(on(channel("c"), g)))
		b.publish("c", numbered(100)...)
		f := b.Follow("e", "c", []byte("followed"))
		b.publish("c", "followed")
		b.publish("c", numbered(100)...)
		answers := make(chan []telemetry.Invocation, 1)
		go func() { answers <- f.Wait(context.Background()) }()
		close(g.let)
		if all := next(b, answers); len(all) != 1 || all[0].Outcome != tenants.Handled || all[0].Message != f.ID.String() {
			b.t.Errorf("%+v", all)
		}
		b.stop()
	})
}

// TestSpillExpires: the time on disk counts as waiting.
func TestSpillExpires(t *testing.T) {
	spilling(t, small, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", limited(on(channel("c"), g), tenants.Limits{Concurrency: 1, Overflow: tenants.Spill, MaxWait: 10 * time.Second}))
		b.publish("c", numbered(100)...)
		after(context.Background(), 9*time.Second)
		b.publish("c", "young")
		after(context.Background(), 2*time.Second)
		b.release(g, 2)
		b.stop()
		b.ended("a", map[string]int64{"handled": 2, "expired": 99})
	})
}

// TestSpillWithoutDisk: where nothing can be written, the newest is refused and told so in one line, and the trigger goes on.
func TestSpillWithoutDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelError}))
	inBubble(t, scheduler.Config{Spill: filepath.Join(file, "spill"), Log: log}, func(b *bubble) {
		b.SetPolicy("a", small)
		g := newGate()
		b.apply("a", "app", spills(on(channel("c"), g)))
		b.publish("c", "first")
		b.publish("c", numbered(10)...)
		for range 50 {
			b.publish("c", "lost")
			after(context.Background(), time.Second/2)
		}
		b.ended("a", map[string]int64{"dropped": 50, "spill_failed": 50})
		close(g.let)
		b.stop()
		b.ended("a", map[string]int64{"handled": 11, "dropped": 50, "spill_failed": 50})
	})
	if n := strings.Count(lines.String(), "\n"); n != 1 || !strings.Contains(lines.String(), "spilled messages were dropped") {
		t.Errorf("%d lines: %s", n, lines.String())
	}
}
