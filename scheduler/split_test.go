package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// counted is an Invoker that counts its sessions.
type counted struct {
	version tenants.VersionID
	ran     atomic.Int64
	open    atomic.Int64
	outcome tenants.Outcome
}

func (c *counted) Open() scheduler.Session {
	c.open.Add(1)
	return c
}

func (c *counted) Close() { c.open.Add(-1) }

func (c *counted) Invoke(_ context.Context, d *scheduler.Delivery) scheduler.Result {
	if d.Trigger.Version != c.version {
		panic("a delivery has another version's trigger")
	}
	c.ran.Add(1)
	return scheduler.Result{Outcome: c.outcome}
}

// TestSplit shares a channel between two versions by the first byte of the payload.
func TestSplit(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		one, two := &counted{version: "sha256:1"}, &counted{version: "sha256:2", outcome: tenants.Failed}
		first, second := on(channel("orders"), one), on(channel("orders"), two)
		first.Version, second.Version = one.version, two.version
		var noted [2]atomic.Int64
		whole := first
		whole.Invoker = &scheduler.Split{
			Of:     [2]scheduler.Trigger{first, second},
			Choose: func(_ tenants.MessageID, payload []byte) int { return int(payload[0] - '0') },
			Note: func(version int, o tenants.Outcome, _ time.Duration) {
				if (o == tenants.Failed) == (version == 1) {
					noted[version].Add(1)
				}
			},
		}
		b.apply("a", "app", whole)
		b.publish("orders", "0", "0", "1", "0", "1", "1", "0")
		b.stop()
		b.ended("a", map[string]int64{"handled": 4, "failed": 3})
		if one.ran.Load() != 4 || two.ran.Load() != 3 || noted[0].Load() != 4 || noted[1].Load() != 3 {
			b.t.Errorf("ran %d and %d, noted %d and %d", one.ran.Load(), two.ran.Load(), noted[0].Load(), noted[1].Load())
		}
		if one.open.Load()+two.open.Load() != 0 {
			b.t.Errorf("sessions are left open")
		}
	})
}
