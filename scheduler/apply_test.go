package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
)

func TestApplyRefuses(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		if err := b.Apply("nobody", "app", []scheduler.Trigger{on(channel("c"), handled)}); !errors.Is(err, scheduler.ErrUnknown) {
			b.t.Errorf("a tenant without a policy: %v", err)
		}
		elsewhere := on(channel("c"), handled)
		elsewhere.Endpoint = "nowhere"
		if err := b.Apply("a", "app", []scheduler.Trigger{on(channel("c"), handled), elsewhere}); !errors.Is(err, scheduler.ErrUnknown) {
			b.t.Errorf("an endpoint that was not added: %v", err)
		}
		synctest.Wait()
		if all := b.Triggers(""); len(all) != 0 || len(b.TargetStates("e")) != 0 || b.wire.publish("c", "x") != 0 {
			b.t.Errorf("something was applied: %+v", all)
		}
		if b.TargetStates("nowhere") != nil || b.Load("nobody") != (scheduler.Load{}) {
			b.t.Error("what is unknown has a state")
		}
		b.stop()
	})
}

// TestApplyKeepsWhatIsEqual: what waits for a trigger that stays goes on waiting; what waits for one that changed or is gone is dropped; what
// runs already ends as it would have.
func TestApplyKeepsWhatIsEqual(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		kept, gone, changed := newGate(), newGate(), newGate()
		one := tenants.Limits{Concurrency: 1}
		with := func(i scheduler.Invoker, name string, version tenants.VersionID) scheduler.Trigger {
			t := limited(on(channel(name), i), one)
			t.Version = version
			return t
		}
		b.apply("a", "app", with(kept, "kept", "1"), with(gone, "gone", "1"), with(changed, "changed", "1"))
		for _, c := range []string{"kept", "gone", "changed"} {
			b.publish(c, numbered(5)...)
		}
		next := newGate()
		b.apply("a", "app", with(next, "changed", "2"), with(kept, "kept", "1"))
		b.ended("a", map[string]int64{"dropped": 8, "removed": 8})
		if l := b.Load("a"); l.Queued != 4 || l.InFlight != 3 {
			b.t.Errorf("%+v", l)
		}
		if n := b.wire.publish("gone", "x"); n != 0 {
			b.t.Errorf("%d subscriptions of gone", n)
		}
		b.publish("changed", "new")
		for _, g := range []*gate{kept, gone, changed, next} {
			close(g.let)
		}
		b.stop()
		b.ended("a", map[string]int64{"handled": 8, "dropped": 8, "removed": 8})
		if !slices.Equal(kept.began(), numbered(5)) || !slices.Equal(next.began(), []string{"new"}) || len(changed.began()) != 1 {
			b.t.Errorf("kept %v, next %v, changed %v", kept.began(), next.began(), changed.began())
		}
	})
}

// TestApplyDuplicates: two equal triggers are two triggers; one of them can go.
func TestApplyDuplicates(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		g := newGate()
		trigger := limited(on(channel("c"), g), tenants.Limits{Concurrency: 1})
		b.apply("a", "app", trigger, trigger)
		b.publish("c", "1", "2")
		b.apply("a", "app", trigger, trigger)
		if l := b.Load("a"); l.Queued != 2 || l.InFlight != 2 {
			b.t.Errorf("%+v", l)
		}
		b.apply("a", "app", trigger)
		b.ended("a", map[string]int64{"dropped": 1, "removed": 1})
		close(g.let)
		b.publish("c", "3")
		b.ended("a", map[string]int64{"handled": 4, "dropped": 1, "removed": 1})
		b.apply("a", "app")
		if n := b.wire.publish("c", "4"); n != 0 || len(b.Triggers("")) != 0 {
			b.t.Errorf("%d subscriptions and %v are left", n, b.Triggers(""))
		}
		b.stop()
	})
}

// TestRemovedInARun: the rest of a run goes with its trigger when it would have to wait.
func TestRemovedInARun(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		g := newGate()
		trigger := limited(on(channel("c"), g), tenants.Limits{Concurrency: 1})
		b.apply("a", "app", trigger)
		b.publish("c", "quick")
		b.release(g, 1)
		b.publish("c", numbered(100)...)
		if l := b.Load("a"); l.InFlight != 64 || l.Queued != 36 {
			b.t.Fatalf("no run of 64: %+v", l)
		}
		b.release(g, 10)
		b.apply("a", "app")
		b.ended("a", map[string]int64{"handled": 11, "dropped": 36, "removed": 36})
		after(context.Background(), time.Second)
		b.release(g, 1)
		b.ended("a", map[string]int64{"handled": 12, "dropped": 89, "removed": 89})
		b.stop()
	})
}

// TestKindsThatAreNotOffered: a sharded channel or a stream has its own name space: a message on the channel of the same name is not for it.
func TestKindsThatAreNotOffered(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		none := does(func(context.Context, *scheduler.Delivery) scheduler.Result {
			t.Error("woken by a message of another kind")
			return scheduler.Result{}
		})
		b.house.apply("a", "app", on(channel("c"), handled),
			on(tenants.Target{Kind: tenants.Sharded, Name: "c"}, none), on(tenants.Target{Kind: tenants.Stream, Name: "c"}, none))
		synctest.Wait()
		for _, t := range b.Triggers("a") {
			if (t.State == scheduler.Active) != (t.Target.Kind == tenants.Exact) {
				b.t.Errorf("%v is %v", t.Target, t.State)
			}
		}
		b.publish("c", "x")
		b.ended("a", map[string]int64{"handled": 1})
		b.stop()
	})
}

// TestTriggers lists by application and target, a tenant's own alone.
func TestTriggers(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		b.SetPolicy("b", tenants.DefaultPolicy())
		b.apply("a", "z", on(channel("one"), handled))
		b.apply("a", "y", on(pattern("p*"), handled), on(channel("two"), handled), on(channel("one"), handled))
		b.apply("b", "x", on(channel("one"), handled))
		began := time.Now()
		after(context.Background(), time.Minute)
		list := func(tenant tenants.ID) (all []string) {
			for _, t := range b.Triggers(tenant) {
				if t.State != scheduler.Active || t.Reason != "" || !t.Since.Equal(began) || t.Limits != (tenants.Limits{}).WithDefaults() {
					b.t.Errorf("%+v", t)
				}
				all = append(all, t.String())
			}
			return all
		}
		mine := []string{"a/y one -> c", "a/y two -> c", "a/y p* -> c", "a/z one -> c"}
		if got := list("a"); !slices.Equal(got, mine) {
			b.t.Errorf("a has %v", got)
		}
		if got := list(""); !slices.Equal(got, append(mine, "b/x one -> c")) {
			b.t.Errorf("all are %v", got)
		}
		if n := len(b.TargetStates("e")); n != 3 {
			b.t.Errorf("%d targets", n)
		}
		b.stop()
	})
}
