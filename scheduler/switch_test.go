package scheduler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// TestHold: what is held is subscribed before any trigger wants it, stays for a trigger that comes meanwhile, and goes without one.
func TestHold(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		release, err := b.Hold(context.Background(), "e", []tenants.Target{channel("c"), pattern("p*")})
		if err != nil {
			b.t.Fatal(err)
		}
		if n := b.wire.publish("c", "nobody's"); n != 1 {
			b.t.Errorf("the channel has %d subscribers, want 1", n)
		}
		b.house.apply("a", "app", on(channel("c"), handled))
		release()
		release()
		synctest.Wait()
		b.publish("c", "x")
		b.ended("a", map[string]int64{"handled": 1})
		if n := b.wire.publish("p1", "x"); n != 0 {
			b.t.Errorf("the pattern has %d subscribers after its release", n)
		}
		_, err = b.Hold(context.Background(), "e", []tenants.Target{channel("d"), channel("__tenloom:x")})
		if err == nil || !strings.Contains(err.Error(), "tenloom's own") {
			b.t.Error(err)
		}
		synctest.Wait()
		if n := b.wire.publish("d", "x"); n != 0 {
			b.t.Errorf("a failed Hold left %d subscribers", n)
		}
		if _, err := b.Hold(context.Background(), "none", nil); !errors.Is(err, scheduler.ErrUnknown) {
			b.t.Error(err)
		}
		b.stop()
	})
}

// TestSettle: it waits for what began before an Apply, and for nothing that began after it.
func TestSettle(t *testing.T) {
	inBubble(t, scheduler.Config{Slots: 4}, func(b *bubble) {
		old, next := newGate(), newGate()
		b.apply("a", "app", on(channel("c"), old))
		b.publish("c", "1")
		b.publish("c", "2")
		b.apply("a", "app", on(channel("c"), next))
		b.publish("c", "3")
		settled := make(chan error, 2)
		for range 2 {
			go func() { settled <- b.Settle(context.Background()) }()
			synctest.Wait()
		}
		b.release(old, 1)
		select {
		case <-settled:
			b.t.Fatal("settled while an invocation of the old one goes on")
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := b.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.t.Error(err)
		}
		b.release(next, 1) // began before Settle, too
		b.release(old, 1)
		for range 2 {
			if err := <-settled; err != nil {
				b.t.Error(err)
			}
		}
		b.publish("c", "4")
		b.release(next, 1)
		if err := b.Settle(context.Background()); err != nil {
			b.t.Error(err)
		}
		b.ended("a", map[string]int64{"handled": 4})
		b.stop()
	})
}
