package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
	redisendpoint "github.com/tenloom/tenloom/tenants/endpoint"
)

// TestShardAnswers holds the answers of a server that gives up a slot while it is asked about it, in the orders that there are.
func TestShardAnswers(t *testing.T) {
	w := &wire{t: t, targets: newTargets(""), redis: &redisModel{}}
	w.targets.shardOf = redisendpoint.Slot
	w.reconnect()
	now := epoch
	answer := func(r reply) {
		t.Helper()
		now = now.Add(time.Second)
		if _, err := w.subscription.answer(r, now); err != nil {
			t.Fatal(err)
		}
	}
	ack := func(verb, name string) {
		t.Helper()
		answer(reply{kind: 'a', verb: []byte(verb), name: []byte(name)})
	}
	wrote := func(want ...[]string) {
		t.Helper()
		w.sent = nil
		w.write()
		if !slices.EqualFunc(w.sent, want, slices.Equal[[]string]) {
			t.Errorf("wrote %q, want %q", w.sent, want)
		}
	}
	stands := func(name string, want State) {
		t.Helper()
		if s, _ := w.targets.state(sharded(name)); s.State != want {
			t.Errorf("%s is %v (%s), want %v", name, s.State, s.Reason, want)
		}
	}
	astray := func(want ...string) {
		t.Helper()
		if got := w.targets.read().astray; !slices.Equal(got, want) {
			t.Errorf("astray are %q, want %q", got, want)
		}
	}
	for _, name := range []string{"{a}1", "{a}2", "b"} {
		w.targets.add(sharded(name), now)
	}
	wrote([]string{"SSUBSCRIBE", "{a}1", "{a}2"}, []string{"SSUBSCRIBE", "b"})
	for _, name := range []string{"{a}1", "{a}2", "b"} {
		ack("ssubscribe", name)
	}
	// The server gives the slot up before it reads the command: it drops both, refuses the command, and answers the PING.
	w.targets.remove(sharded("{a}1"), now)
	wrote([]string{"SUNSUBSCRIBE", "{a}1"}, []string{"PING"})
	ack("sunsubscribe", "{a}1")
	ack("sunsubscribe", "{a}2")
	answer(reply{kind: '-', text: []byte("MOVED 1 127.0.0.1:1")})
	if w.subscription.quiet() {
		t.Error("the PING is not waited for")
	}
	answer(reply{kind: 'p'})
	stands("{a}2", Reconnecting)
	stands("b", Active)
	astray("{a}2")
	wrote()
	// It is this server's again.
	w.targets.retry([]tenants.Target{sharded("{a}1"), sharded("{a}2"), sharded("nobody's")})
	wrote([]string{"SSUBSCRIBE", "{a}2"})
	answer(reply{kind: '-', text: []byte("CLUSTERDOWN Hash slot not served")})
	stands("{a}2", Reconnecting)
	astray("{a}2")
	w.targets.retry([]tenants.Target{sharded("{a}2")})
	wrote([]string{"SSUBSCRIBE", "{a}2"})
	ack("ssubscribe", "{a}2")
	gaps := w.targets.read().gaps
	if len(gaps) != 1 || gaps[0].Targets != 1 || !gaps[0].Until.Equal(now) {
		t.Errorf("gaps %+v", gaps)
	}
	// Given up in peace, and asked for again before that is answered.
	w.targets.remove(sharded("b"), now)
	wrote([]string{"SUNSUBSCRIBE", "b"}, []string{"PING"})
	w.targets.add(sharded("b"), now)
	wrote()
	ack("sunsubscribe", "b")
	wrote()
	answer(reply{kind: 'p'})
	wrote([]string{"SSUBSCRIBE", "b"})
	ack("ssubscribe", "b")
	stands("b", Active)
	ack("sunsubscribe", "nobody's")
	// Another shard takes both over, with their gap.
	other := newTargets("")
	other.shardOf = redisendpoint.Slot
	ack("sunsubscribe", "{a}2")
	given := w.targets.give([]tenants.Target{sharded("{a}2"), sharded("b")}, "moved", now)
	other.take(given, now)
	if n := w.targets.read(); len(n.gaps) != 0 {
		t.Errorf("a gap ended by a move: %+v", n.gaps)
	}
	wrote([]string{"SUNSUBSCRIBE", "b"}, []string{"PING"})
	ack("sunsubscribe", "b")
	answer(reply{kind: 'p'})
	if n := w.targets.remembered(); n != 0 {
		t.Errorf("%d targets are left", n)
	}
	w.targets = other
	w.reconnect()
	stands("b", Reconnecting)
	w.write()
	for _, x := range w.sent {
		ack("ssubscribe", x[1])
	}
	if gaps := other.read().gaps; len(gaps) != 1 || gaps[0].Targets != 2 {
		t.Errorf("gaps %+v", gaps)
	}
	stands("b", Active)
	stands("{a}2", Active)
}
