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

// TestApplyKeepsWhatIsEqual: what waits for a trigger that stays goes on waiting; what waits for one that is gone is dropped; what runs
// already ends as it would have.
func TestApplyKeepsWhatIsEqual(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		kept, gone := newGate(), newGate()
		one := tenants.Limits{Concurrency: 1}
		b.apply("a", "app", limited(on(channel("kept"), kept), one), limited(on(channel("gone"), gone), one))
		for _, c := range []string{"kept", "gone"} {
			b.publish(c, numbered(5)...)
		}
		b.apply("a", "app", limited(on(channel("kept"), kept), one))
		b.ended("a", map[string]int64{"dropped": 4, "removed": 4})
		if l := b.Load("a"); l.Queued != 4 || l.InFlight != 2 {
			b.t.Errorf("%+v", l)
		}
		if n := b.wire.publish("gone", "x"); n != 0 {
			b.t.Errorf("%d subscriptions of gone", n)
		}
		close(kept.let)
		close(gone.let)
		b.stop()
		b.ended("a", map[string]int64{"handled": 6, "dropped": 4, "removed": 4})
		if !slices.Equal(kept.began(), numbered(5)) || len(gone.began()) != 1 {
			b.t.Errorf("kept %v, gone %v", kept.began(), gone.began())
		}
	})
}

// TestRedeployTakesOver: a new version of a component handles what waited for the old one, in its order, after what the old one has begun
// has ended; nothing is lost and nothing comes twice. Another component on the same channel has nothing of it.
func TestRedeployTakesOver(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		old, fresh, other := newGate(), newGate(), newGate()
		with := func(i scheduler.Invoker, component tenants.ComponentID, version tenants.VersionID) scheduler.Trigger {
			t := limited(on(channel("c"), i), tenants.Limits{Concurrency: 1})
			t.Component, t.Version, t.ID = component, version, string(component)+string(version)
			return t
		}
		b.apply("a", "app", with(old, "c", "1"))
		b.publish("c", "quick")
		b.release(old, 1)
		b.publish("c", numbered(100)...) // a run of 64, and 36 wait
		b.release(old, 10)
		b.apply("a", "app", with(other, "d", "2"), with(fresh, "c", "2"))
		if list := b.Triggers("a"); len(list) != 2 || list[0].Version != "2" || list[1].Version != "2" {
			b.t.Errorf("triggers are %+v", list)
		}
		b.publish("c", "new")
		if l := b.Load("a"); l.Queued+l.InFlight != 92 {
			b.t.Errorf("%+v", l)
		}
		fresh.holds(b.t, 0)
		other.holds(b.t, 1)
		b.release(old, 1)
		fresh.holds(b.t, 1)
		for _, g := range []*gate{old, fresh, other} {
			close(g.let)
		}
		b.stop()
		b.ended("a", map[string]int64{"handled": 103})
		want := append(append([]string{"quick"}, numbered(100)...), "new")
		if got := append(old.began(), fresh.began()...); len(old.began()) != 12 || !slices.Equal(got, want) {
			b.t.Errorf("old %v, then fresh %v", old.began(), fresh.began())
		}
		if !slices.Equal(other.began(), []string{"new"}) {
			b.t.Errorf("other %v", other.began())
		}
	})
}

// TestRedeployChangesLimits: the limits of the new version hold for what waits.
func TestRedeployChangesLimits(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		g := newGate()
		for _, n := range []int{1, 5, 2} {
			b.apply("a", "app", limited(on(channel("c"), g), tenants.Limits{Concurrency: n}))
			b.publish("c", numbered(10)...)
			if n == 2 { // what has begun is not taken back, but what ends is not replaced
				b.release(g, 4)
			}
			g.holds(b.t, n)
		}
		close(g.let)
		b.stop()
		b.ended("a", map[string]int64{"handled": 30})
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

// TestRemovedInARun: the rest of a run goes with its trigger.
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
		b.ended("a", map[string]int64{"handled": 11, "dropped": 89, "removed": 89})
		b.release(g, 1)
		b.ended("a", map[string]int64{"handled": 12, "dropped": 89, "removed": 89})
		b.stop()
	})
}

// TestKindsAreApart: a sharded channel or a stream has its own name space: a message on the channel of the same name is not for it.
func TestKindsAreApart(t *testing.T) {
	inBubble(t, scheduler.Config{}, func(b *bubble) {
		none := does(func(context.Context, *scheduler.Delivery) scheduler.Result {
			t.Error("woken by a message of another kind")
			return scheduler.Result{}
		})
		b.house.apply("a", "app", on(channel("c"), handled),
			on(tenants.Target{Kind: tenants.Sharded, Name: "c"}, none), on(tenants.Target{Kind: tenants.Stream, Name: "c"}, none))
		synctest.Wait()
		for _, t := range b.Triggers("a") {
			if (t.State == scheduler.Active) != (t.Target.Kind != tenants.Stream) {
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
