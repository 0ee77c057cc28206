package scheduler_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

// TestPause: a paused application gets nothing and keeps its triggers, others on the same channel get everything, what waits is handled, and
// a redeploy stays paused.
func TestPause(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		b.SetPolicy("b", tenants.DefaultPolicy())
		g := newGate()
		b.apply("a", "app", on(channel("c"), g), on(pattern("p*"), handled))
		b.apply("b", "app", on(channel("c"), handled))
		b.publish("c", "before")
		since := time.Now()
		if err := b.Pause("a", "app", "over its budget"); err != nil {
			b.t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := b.Pause("a", "app", "still over its budget"); err != nil {
			b.t.Fatal(err)
		}
		synctest.Wait()
		for _, s := range b.Triggers("a") {
			if s.State != scheduler.Paused || s.Reason != "still over its budget" || !s.Since.Equal(since) {
				b.t.Errorf("%+v", s)
			}
		}
		b.publish("c", "meanwhile")
		if n := b.wire.publish("p1", "x"); n != 0 {
			b.t.Errorf("the pattern has %d subscribers", n)
		}
		b.release(g, 1)
		b.ended("a", map[string]int64{"handled": 1})
		b.ended("b", map[string]int64{"handled": 2})

		b.house.apply("a", "app", on(channel("c"), handled), on(channel("d"), handled))
		synctest.Wait()
		if n := b.wire.publish("d", "x"); n != 0 {
			b.t.Errorf("a redeploy of a paused application is subscribed %d times", n)
		}
		if all := b.Triggers("a"); len(all) != 2 || all[0].State != scheduler.Paused || all[1].State != scheduler.Paused {
			b.t.Errorf("%+v", all)
		}
		if err := errors.Join(b.Resume("a", "app"), b.Resume("a", "app")); err != nil {
			b.t.Fatal(err)
		}
		synctest.Wait()
		for _, s := range b.Triggers("a") {
			if s.State != scheduler.Active || s.Reason != "" {
				b.t.Errorf("resumed: %+v", s)
			}
		}
		b.publish("c", "after")
		b.publish("d", "after")
		b.ended("a", map[string]int64{"handled": 3})
		if err := b.Pause("a", "none", ""); !errors.Is(err, scheduler.ErrUnknown) {
			b.t.Error(err)
		}
		if err := b.Resume("none", "app"); !errors.Is(err, scheduler.ErrUnknown) {
			b.t.Error(err)
		}
		b.stop()
		for _, s := range b.Triggers("") {
			if s.State != scheduler.Closed || s.Reason == "" {
				b.t.Errorf("after Shutdown: %+v", s)
			}
		}
	})
}
