package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// TestOverflow fills a queue of four behind one handler that does not end, and says which messages are handled and what became of the others.
func TestOverflow(t *testing.T) {
	const overhead = 256 // of each waiting delivery
	big := strings.Repeat("x", 300)
	for _, row := range []struct {
		name     string
		overflow tenants.Overflow
		policy   tenants.Policy
		messages []string // "channel payload"
		seen     []string
		ended    map[string]int64
	}{
		{
			"the newest is refused", tenants.DropNewest, tenants.Policy{QueueCount: 4, QueueBytes: 1 << 20},
			[]string{"c 0", "c 1", "c 2", "c 3", "c 4", "c 5", "c 6"},
			[]string{"0", "1", "2", "3", "4"}, map[string]int64{"handled": 5, "dropped": 2, "queue_full": 2},
		},
		{
			"the oldest gives way", tenants.DropOldest, tenants.Policy{QueueCount: 4, QueueBytes: 1 << 20},
			[]string{"c 0", "c 1", "c 2", "c 3", "c 4", "c 5", "c 6"},
			[]string{"0", "3", "4", "5", "6"}, map[string]int64{"handled": 5, "dropped": 2, "oldest": 2},
		},
		{
			"the newest of each channel takes its place", tenants.Coalesce, tenants.Policy{QueueCount: 4, QueueBytes: 1 << 20},
			[]string{"c 0", "c 1", "d 2", "c 3", "e 4", "d 5", "c 6", "f 7"},
			[]string{"0", "1", "5", "6", "4"}, map[string]int64{"handled": 5, "dropped": 3, "coalesced": 2, "queue_full": 1},
		},
		{
			"spilling is refused", tenants.Spill, tenants.Policy{QueueCount: 1, QueueBytes: 1 << 20},
			[]string{"c 0", "c 1", "c 2"},
			[]string{"0", "1"}, map[string]int64{"handled": 2, "dropped": 1, "queue_full": 1},
		},
		{
			"bytes count", tenants.DropNewest, tenants.Policy{QueueCount: 100, QueueBytes: 2 * (overhead + 2)},
			[]string{"c 0", "c 1", "c " + big, "c 2", "c 3"},
			[]string{"0", "1", "2"}, map[string]int64{"handled": 3, "dropped": 2, "queue_bytes": 2},
		},
		{
			"the oldest gives way for bytes, but not for more than it had", tenants.DropOldest, tenants.Policy{QueueCount: 100, QueueBytes: 2 * (overhead + 2)},
			[]string{"c 0", "c 1", "c 2", "c " + big, "c 3"},
			[]string{"0", "2", "3"}, map[string]int64{"handled": 3, "dropped": 2, "queue_bytes": 1, "oldest": 1},
		},
		{
			"the oldest gives way in count, but not for more bytes than there are", tenants.DropOldest, tenants.Policy{QueueCount: 2, QueueBytes: 2 * (overhead + 2)},
			[]string{"c 0", "c 1", "c 2", "c " + big, "c 3"},
			[]string{"0", "2", "3"}, map[string]int64{"handled": 3, "dropped": 2, "queue_bytes": 1, "oldest": 1},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, scheduler.Config{}, func(b *bubble) {
				b.SetPolicy("a", row.policy)
				g := newGate()
				b.apply("a", "app", limited(on(pattern("?"), g), tenants.Limits{Concurrency: 1, Overflow: row.overflow}))
				for _, m := range row.messages {
					channel, payload, _ := strings.Cut(m, " ")
					b.publish(channel, payload)
				}
				if l := b.Load("a"); l.InFlight != 1 || l.Queued != len(row.seen)-1 || l.Bytes > row.policy.QueueBytes {
					b.t.Errorf("%+v", l)
				}
				close(g.let)
				b.stop()
				if !slices.Equal(g.began(), row.seen) {
					b.t.Errorf("handled %.20q, want %q", g.began(), row.seen)
				}
				b.ended("a", row.ended)
			})
		})
	}
}

// TestOneTriggerLeavesRoom: a tenant's slow component does not take the whole queue from its neighbours, and has it when it is alone again.
func TestOneTriggerLeavesRoom(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		b.SetPolicy("a", tenants.Policy{QueueCount: 10, QueueBytes: 1 << 20})
		slow, other := newGate(), newGate()
		limits := tenants.Limits{Concurrency: 1}
		b.apply("a", "app", limited(on(channel("slow"), slow), limits))
		b.apply("a", "other", limited(on(channel("other"), other), limits))
		for _, c := range []string{"slow", "other"} {
			b.publish(c, "first")
			b.publish(c, numbered(10)...)
		}
		if l := b.Load("a"); l.Queued != 10 || l.InFlight != 2 {
			b.t.Errorf("%+v", l)
		}
		b.ended("a", map[string]int64{"dropped": 10, "queue_full": 10})
		b.apply("a", "other")
		b.publish("slow", numbered(10)...)
		if l := b.Load("a"); l.Queued != 10 {
			b.t.Errorf("%+v", l)
		}
		close(slow.let)
		close(other.let)
		b.stop()
		b.ended("a", map[string]int64{"handled": 12, "dropped": 20, "queue_full": 15, "removed": 5})
	})
}

// TestRate: the burst at once, then what the rate lets in, and a rate is a tenant's, over all its servers.
func TestRate(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		b.SetPolicy("a", tenants.Policy{QueueCount: 1000, QueueBytes: 1 << 20, Rate: 10, Burst: 5})
		b.SetPolicy("b", tenants.DefaultPolicy())
		var second wire
		b.AddEndpoint(scheduler.Endpoint{ID: "second", Name: "wire", Dial: second.dial})
		elsewhere := on(channel("c"), handled)
		elsewhere.Endpoint = "second"
		b.apply("a", "app", on(channel("c"), handled), elsewhere)
		b.apply("b", "app", on(channel("c"), handled))
		count := func(handled, throttled int64) {
			b.t.Helper()
			synctest.Wait()
			b.ended("a", map[string]int64{"handled": handled, "throttled": throttled})
		}
		b.publish("c", numbered(20)...)
		count(5, 15)
		after(context.Background(), time.Second)
		b.publish("c", numbered(4)...)
		second.publish("c", numbered(4)...)
		count(10, 18) // never more than the burst
		for range 100 {
			after(context.Background(), 50*time.Millisecond)
			b.publish("c", "x")
		}
		count(60, 68) // ten a second
		b.stop()
		b.ended("b", map[string]int64{"handled": 124})
	})
}

// TestExpired: what has waited too long is not run, however much of it there is, and what is young enough is.
func TestExpired(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		g := newGate()
		b.apply("a", "app", limited(on(channel("c"), g), tenants.Limits{Concurrency: 1, MaxWait: 10 * time.Second}))
		b.publish("c", "first")
		b.publish("c", numbered(500)...)
		after(context.Background(), 5*time.Second)
		b.publish("c", "young")
		after(context.Background(), 5*time.Second+time.Nanosecond)
		b.release(g, 1)
		b.ended("a", map[string]int64{"handled": 1, "expired": 500})
		close(g.let)
		b.stop()
		b.ended("a", map[string]int64{"handled": 2, "expired": 500})
		if seen := fmt.Sprint(g.began()); seen != "[first young]" {
			b.t.Error(seen)
		}
	})
}
