package scheduler

import (
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of what is remembered of targets.
const (
	maxName   = 64 << 10 // bytes of a channel or pattern; a longer one is rejected here
	maxReason = 512      // bytes kept of an error reply
	askAgain  = 30 * time.Second
)

// slots are equal shares of an endpoint's names, and what moves between connections. A name's slot follows from the name, so that it is
// asked for on one connection alone, however often it comes and goes. All patterns are in one slot of their own, because they share covers.
const (
	slots       = 64
	allSlots    = ^uint64(0)
	patternSlot = 0
)

var slotSeed = maphash.MakeSeed()

func slotOf(t tenants.Target) uint8 {
	if t.Kind == tenants.Pattern {
		return patternSlot
	}
	return 1 + uint8(maphash.String(slotSeed, t.Name)%(slots-1))
}

// slot is where the frame's target is.
func (f *frame) slot() uint8 {
	if f.kind == 'p' {
		return patternSlot
	}
	return 1 + uint8(maphash.Bytes(slotSeed, f.channel)%(slots-1))
}

// targets is what is wanted of one Endpoint, counted by reference, and how it stands. The map is as large as the set of targets that triggers
// and taps name, which the policies of their tenants bound.
//
// It is shared by callers of Add, Remove and States, and by the writers and readers of the endpoint's connections, each through its subscription.
// Each holds mu for a moment and does no I/O under it.
type targets struct {
	fresh   chan struct{}            // capacity 1: there is something to announce
	spreads atomic.Bool              // there are covers; looked at for each message
	shardOf func(channel string) int // the hash slot of a sharded channel; nil where all are on one server

	mu            sync.Mutex
	all           [slots]map[tenants.Target]*target // by slot
	control       *target                           // the hub's own channel, held by every connection; nil where there is none
	subscriptions []*subscription                   // of connections that live; 32 at most, by their bits
	lanes         []*lane                           // by their index
	of            [slots]*lane
	sizes         [slots]int // targets that are referenced
	againAt       time.Time
	covering      covering
	stopped       bool
	news          news
}

// target is one Target. It is forgotten when nobody wants it and no connection has it. Its fields are guarded by targets.mu; the sets of
// subscriptions are sums of their bits. On each subscription one command at most is on its way for it, so that an answer says which one it answers.
type target struct {
	tenants.Target
	gap    *interruption // in which it is lost; nil when it is not
	reason string
	since  int64 // Unix time in ns, of state
	refs   int32

	held    uint32 // subscriptions that have acknowledged a SUBSCRIBE, and no UNSUBSCRIBE since
	busy    uint32 // subscriptions that a command for it awaits its answer on
	queued  uint32 // subscriptions that have it in dirty
	refused uint32 // subscriptions that have refused it since it was last asked for

	state   State
	slot    uint8
	shard   uint16 // hash slot; 0 where all are on one server
	away    bool   // the shard does not serve it; asked for again when it is known who does
	offered bool   // the hub can subscribe to it
	alone   bool   // refused before: asked for in a command of its own, so that it costs no other a second try
}

// news is what the hub has to tell when it holds no lock.
type news struct {
	changed  bool            // some state
	gaps     []*interruption // that have ended
	refused  int             // targets
	example  string
	reason   string   // of the example
	unheeded string   // the server's refusal of an UNSUBSCRIBE
	control  string   // the server's refusal of the control channel
	astray   []string // sharded channels that this shard does not serve any more
}

func newTargets(control string) *targets {
	t := &targets{fresh: make(chan struct{}, 1)}
	if control != "" {
		t.control = &target{Target: tenants.Target{Name: control}, refs: 1, offered: true, alone: true}
	}
	t.covering.covers, t.covering.of, t.covering.refused = map[string]*cover{}, map[*target]*cover{}, map[string]bool{}
	l := t.join()
	l.slots = allSlots
	for i := range t.of {
		t.of[i] = l
		t.all[i] = map[tenants.Target]*target{}
	}
	return t
}

// join makes a lane that has no slots yet. The caller holds mu, where others know t.
func (t *targets) join() *lane {
	l := &lane{cause: "not connected yet", held: make(chan struct{}, 1)}
	t.lanes = append(t.lanes, l)
	return l
}

// ControlPrefix begins the names of channels that hubs use among themselves, which their users on Redis must be allowed. Nobody else is given a
// message of theirs.
const ControlPrefix = "__tenloom:"

// notOffered says why the hub cannot subscribe to a target, or "".
func notOffered(name tenants.Target) string {
	switch _, ok := verbs[name.Kind]; {
	case !ok:
		return fmt.Sprintf("a target of kind %q is not offered by this hub; use a channel, a sharded channel or a pattern", name.Kind)
	case len(name.Name) > maxName:
		return fmt.Sprintf("its name has %d bytes, at most %d are subscribed to", len(name.Name), maxName)
	case strings.HasPrefix(name.Name, ControlPrefix):
		return fmt.Sprintf("names that begin with %q are tenloom's own; use another", ControlPrefix)
	}
	return ""
}

func (t *targets) add(name tenants.Target, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := slotOf(name)
	x := t.all[slot][name]
	if x == nil {
		x = t.know(name, slot, now)
	}
	if x.refs++; x.refs == 1 {
		t.sizes[x.slot]++
		if s := t.of[x.slot].subscription; x.state == Active && (s == nil || !s.has(x)) { // not served by a cover, which it left
			x.set(Pending, "", now) // it is being given up, and asked for again after that
		}
		if t.stopped {
			x.set(Closed, "the endpoint is closed", now)
		}
		t.arrange(x, now)
	}
	if x.offered && x.state == Rejected {
		x.refused = 0
		x.set(Pending, "", now)
	}
	t.mark(x)
}

// know makes a target that was not there. The caller holds mu.
func (t *targets) know(name tenants.Target, slot uint8, now time.Time) *target {
	x := &target{Target: name, slot: slot, offered: true, since: now.UnixNano()}
	if t.shardOf != nil {
		x.shard = uint16(t.shardOf(name.Name))
	}
	if why := notOffered(name); why != "" {
		x.offered, x.state, x.reason = false, Rejected, why
	}
	t.all[slot][name] = x
	return x
}

// remove gives up one reference; without one it does nothing.
func (t *targets) remove(name tenants.Target, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.all[slotOf(name)][name]
	if x == nil || x.refs == 0 {
		return
	}
	if x.refs--; x.refs > 0 {
		return
	}
	t.sizes[x.slot]--
	t.found(x, now)
	if x.Kind == tenants.Pattern {
		t.depart(x, now)
	}
	t.mark(x)
	t.forget(x)
}

// in goes over the targets of slots. The caller holds mu, and may forget those that it is given.
func (t *targets) in(slots uint64) iter.Seq[*target] {
	return func(yield func(*target) bool) {
		for ; slots != 0; slots &= slots - 1 {
			for _, x := range t.all[bits.TrailingZeros64(slots)] {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// mark has the writers look at x, where its wish and the server differ. The caller holds mu.
func (t *targets) mark(x *target) {
	for _, s := range t.subscriptions {
		s.mark(x)
	}
}

// forget removes x from the map once nobody wants it and no server has it. The caller holds mu.
func (t *targets) forget(x *target) {
	if c := t.coverOf(x); c != nil {
		t.dismiss(c)
		return
	}
	if x.refs == 0 && x.held|x.busy == 0 && t.all[x.slot][x.Target] == x {
		delete(t.all[x.slot], x.Target)
	}
}

func (x *target) set(s State, reason string, now time.Time) {
	if x.state != s {
		x.since = now.UnixNano()
	}
	x.state, x.reason = s, reason
}

// states lists what is referenced.
func (t *targets) states() []TargetState {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, size := range t.sizes {
		n += size
	}
	all := make([]TargetState, 0, n)
	for x := range t.in(allSlots) {
		if x.refs == 0 {
			continue
		}
		all = append(all, t.stateOf(x))
	}
	return all
}

// state tells of one target, if it is referenced.
func (t *targets) state(name tenants.Target) (TargetState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.all[slotOf(name)][name]; x != nil && x.refs > 0 {
		return t.stateOf(x), true
	}
	return TargetState{}, false
}

// stateOf tells of x. The caller holds mu.
func (t *targets) stateOf(x *target) TargetState {
	s := TargetState{Target: x.Target, State: x.state, Reason: x.reason, Since: time.Unix(0, x.since)}
	if why := t.of[x.slot].cause; why != "" && (s.State == Pending || s.State == Reconnecting) {
		s.Reason = why
	}
	return s
}

// begin opens a subscription on a new connection of a lane, on which nothing is subscribed to yet, and asks for all that the lane serves.
func (t *targets) begin(l *lane) *subscription {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.open()
	l.subscription, l.cause = s, ""
	s.serve(l.slots)
	t.tell()
	return s
}

// end notes that a subscription's connection is lost. alive is its last sign of life. Where the hub itself ended it, nothing counts as lost.
func (t *targets) end(s *subscription, alive, now time.Time, cause string, wanted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.close(alive, cause)
	for x := range t.wired(s.served) {
		x.leave(s)
		t.forget(x)
	}
	if t.control != nil {
		t.control.leave(s)
	}
	for _, l := range t.lanes {
		if l.subscription == s {
			t.orphan(l, now, !wanted)
		}
	}
	t.tell()
}

// leave takes x off a subscription that has ended.
func (x *target) leave(s *subscription) {
	x.held &^= s.bit
	x.busy &^= s.bit
	x.queued &^= s.bit
	x.refused &^= s.bit
}

// orphan notes that the subscription which speaks for a lane has ended. The caller holds mu.
func (t *targets) orphan(l *lane, now time.Time, lost bool) {
	s := l.subscription
	l.subscription, l.cause = nil, s.cause
	for x := range t.in(l.slots) {
		if x.state != Active || x.refs == 0 {
			continue
		}
		x.set(Reconnecting, s.cause, now)
		if lost {
			t.lose(l, x, s.alive, s.cause)
		}
	}
}

// unreachable notes why a lane still has no connection.
func (t *targets) unreachable(l *lane, cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.cause != cause {
		l.cause = cause
		t.tell()
	}
}

// close ends what is open, because the hub ends.
func (t *targets) close(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for _, l := range t.lanes {
		l.cause = ""
	}
	for x := range t.in(allSlots) {
		t.found(x, now)
		if x.offered {
			x.set(Closed, "the endpoint is closed", now)
		}
	}
	t.tell()
}

// tell has the hub announce what is new. The caller holds mu.
func (t *targets) tell() {
	t.news.changed = true
	select {
	case t.fresh <- struct{}{}:
	default:
	}
}

// read takes the news.
func (t *targets) read() news {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.news
	t.news = news{}
	return n
}

// rejected tells x what the server said. The caller holds mu.
func (t *targets) rejected(x *target, text string, now time.Time) {
	t.found(x, now)
	if x.state == Rejected { // again: no news
		x.reason = text
		return
	}
	x.set(Rejected, text, now)
	t.news.refused++
	t.news.example, t.news.reason = x.Name, text
	t.tell()
}

// again asks once more for what was rejected, when it is time.
func (t *targets) again(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.againAt.IsZero() || now.Before(t.againAt) {
		return
	}
	t.againAt = time.Time{}
	if t.control != nil {
		t.control.refused = 0
		t.mark(t.control)
	}
	clear(t.covering.refused)
	for x := range t.in(allSlots) {
		if x.refused != 0 {
			x.refused = 0
			t.mark(x)
		}
	}
}
