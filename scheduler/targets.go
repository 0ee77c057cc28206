package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of what is written for subscriptions.
const (
	chunk     = 500       // names in one command
	maxWrite  = 256 << 10 // bytes of commands built at once, one command more at most
	maxAsks   = 1024      // commands written and not answered; the writer waits for the reader beyond
	maxName   = 64 << 10  // bytes of a channel or pattern; a longer one is rejected here
	askAgain  = 30 * time.Second
	maxReason = 512 // bytes kept of an error reply
)

// targets is what is wanted of one Endpoint, counted by reference, and what its connection has been told so far. The map is as large as the
// set of targets that triggers and taps name, which the policies of their tenants bound.
//
// Three parties share it: callers of Add, Remove and States; the writer, which takes the next commands; the reader, which brings the
// answers. Each holds mu for a moment and does no I/O under it. The order of commands on the wire is the order of asks.
type targets struct {
	wake  chan struct{} // capacity 1: there is something to write
	fresh atomic.Bool   // there is something to announce; read without mu after every read

	mu      sync.Mutex
	all     map[tenants.Target]*target
	up      bool      // between begin and end
	cause   string    // why there is no connection; "" with one
	dirty   []*target // whose wish and wire differ, each once
	halves  [][]*target
	asks    []*ask // written and not answered, oldest first
	pinging bool   // a PING is wanted
	againAt time.Time

	gap  *Gap // open: lost > 0
	lost int  // targets of the gap that are still neither acknowledged nor refused nor given up
	news news
}

// target is one Target, from its first reference until UNSUBSCRIBE is written; a later reference makes another, whose ack is its own. So a
// target awaits one answer to a SUBSCRIBE at most. Its fields are guarded by targets.mu.
type target struct {
	tenants.Target
	refs    int
	offered bool // the hub can subscribe to it
	state   State
	reason  string
	since   time.Time

	wire   bool // SUBSCRIBE was written for it on this connection, and neither UNSUBSCRIBE since nor refused
	queued bool // it is in dirty
	alone  bool // refused before: asked for in a command of its own, so that it costs no other a second try
	lost   bool // counted in targets.lost
}

// news is what the reader has to tell when it holds no lock.
type news struct {
	changed  bool  // some state
	gaps     []Gap // that have ended
	refused  int   // targets
	example  string
	reason   string // of the example
	unheeded string // the server's refusal of an UNSUBSCRIBE
}

func newTargets() *targets {
	return &targets{wake: make(chan struct{}, 1), all: map[tenants.Target]*target{}, cause: "not connected yet"}
}

func (t *targets) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// notOffered says why the hub cannot subscribe to a target, or "".
func notOffered(name tenants.Target) string {
	if _, ok := verbs[name.Kind]; !ok {
		return fmt.Sprintf("a target of kind %q is not offered by this hub; use a channel or a pattern", name.Kind)
	}
	if len(name.Name) > maxName {
		return fmt.Sprintf("its name has %d bytes, at most %d are subscribed to", len(name.Name), maxName)
	}
	return ""
}

func (t *targets) add(name tenants.Target, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.all[name]
	if x == nil {
		x = &target{Target: name, offered: true, since: now}
		if why := notOffered(name); why != "" {
			x.offered, x.state, x.reason = false, Rejected, why
		}
		t.all[name] = x
	}
	x.refs++
	if x.offered && x.state == Rejected {
		x.set(Pending, "", now)
	}
	t.mark(x)
}

// remove gives up one reference; without one it does nothing.
func (t *targets) remove(name tenants.Target, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.all[name]
	if x == nil || x.refs == 0 {
		return
	}
	if x.refs--; x.refs > 0 {
		return
	}
	t.found(x, now)
	if !t.up || !x.wire {
		delete(t.all, name)
		return
	}
	t.mark(x) // it stays in the map until UNSUBSCRIBE is taken, so that an Add before that finds it and nothing is written
}

// mark has the writer look at x, if its wish and wire differ.
func (t *targets) mark(x *target) {
	if !t.up || x.queued || x.wanted() == x.wire {
		return
	}
	x.queued = true
	t.dirty = append(t.dirty, x)
	t.signal()
}

func (x *target) wanted() bool { return x.refs > 0 && x.offered }

func (x *target) set(s State, reason string, now time.Time) {
	if x.state != s {
		x.since = now
	}
	x.state, x.reason = s, reason
}

// states lists what is referenced.
func (t *targets) states() []TargetState {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]TargetState, 0, len(t.all))
	for _, x := range t.all {
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
	if x := t.all[name]; x != nil && x.refs > 0 {
		return t.stateOf(x), true
	}
	return TargetState{}, false
}

func (t *targets) stateOf(x *target) TargetState {
	s := TargetState{Target: x.Target, State: x.state, Reason: x.reason, Since: x.since}
	if t.cause != "" && (s.State == Pending || s.State == Reconnecting) {
		s.Reason = t.cause
	}
	return s
}

// begin starts over on a new connection, on which nothing is subscribed to: channels first, then patterns, then what was refused before.
func (t *targets) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.up, t.cause, t.pinging, t.againAt = true, "", false, time.Time{}
	var patterns, alone []*target
	for _, x := range t.all {
		x.wire = false
		if x.queued = x.wanted(); !x.queued {
			continue
		}
		switch {
		case x.alone:
			alone = append(alone, x)
		case x.Kind == tenants.Pattern:
			patterns = append(patterns, x)
		default:
			t.dirty = append(t.dirty, x)
		}
	}
	t.dirty = append(append(t.dirty, patterns...), alone...)
	t.tell()
	t.signal()
}

// end notes that the connection is lost. alive is its last sign of life.
func (t *targets) end(alive, now time.Time, cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.up, t.cause = false, cause
	t.asks, t.halves, t.dirty = nil, nil, nil
	lost := 0
	for name, x := range t.all {
		x.wire, x.queued = false, false
		if x.refs == 0 {
			delete(t.all, name)
			continue
		}
		if x.state != Active {
			continue
		}
		x.set(Reconnecting, cause, now)
		x.lost = true
		lost++
	}
	if lost > 0 {
		if t.gap == nil {
			t.gap = &Gap{Since: alive, Cause: cause}
		}
		t.gap.Targets += lost
		t.lost += lost
	}
	t.tell()
}

// unreachable notes why there is still no connection.
func (t *targets) unreachable(cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause != cause {
		t.cause = cause
		t.tell()
	}
}

// close ends an open gap, because the hub ends.
func (t *targets) close(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.all {
		t.found(x, now)
	}
}

// found takes x out of the open gap, and ends the gap with the last one.
func (t *targets) found(x *target, now time.Time) {
	if !x.lost {
		return
	}
	x.lost = false
	if t.lost--; t.lost == 0 {
		t.endGap(now)
	}
}

func (t *targets) endGap(now time.Time) {
	t.gap.Until = now
	t.news.gaps = append(t.news.gaps, *t.gap)
	t.gap = nil
	t.fresh.Store(true)
}

// tell has the next announcement say that some state changed.
func (t *targets) tell() {
	t.news.changed = true
	t.fresh.Store(true)
}

// read takes the news.
func (t *targets) read() news {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh.Store(false)
	n := t.news
	t.news = news{}
	return n
}

// rejected tells x what the server said.
func (t *targets) rejected(x *target, text string, now time.Time) {
	text = strings.ToValidUTF8(text[:min(len(text), maxReason)], "?")
	x.alone = true
	t.found(x, now)
	if x.state == Rejected { // again: no news
		x.reason = text
	} else {
		x.set(Rejected, text, now)
		t.news.refused++
		t.news.example, t.news.reason = x.Name, text
		t.tell()
	}
	if t.againAt.IsZero() {
		t.againAt = now.Add(askAgain)
	}
}

// again asks once more for what was rejected, when it is time.
func (t *targets) again(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.againAt.IsZero() || now.Before(t.againAt) {
		return
	}
	t.againAt = time.Time{}
	for _, x := range t.all {
		if x.state == Rejected {
			t.mark(x)
		}
	}
}

// ask is one command that awaits its answers: one ack for each member in order, or one error for all.
type ask struct {
	ping      bool
	subscribe bool
	kind      tenants.Kind
	members   []*target
	next      int // member whose ack comes next
}

// verb is the command's first word; its acks begin with the same in lower case.
func (a *ask) verb() string {
	if a.subscribe {
		return verbs[a.kind][1]
	}
	return verbs[a.kind][0]
}

// ping has the writer send a PING.
func (t *targets) ping() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pinging = true
	t.signal()
}

// take appends the next commands to b and expects their answers. Nothing means that there is nothing to write for now. The caller writes b
// before it takes again.
func (t *targets) take(b []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pinging {
		t.pinging = false
		b = append(b, ping...)
		t.asks = append(t.asks, &ask{ping: true})
	}
	for len(b) < maxWrite && len(t.asks) < maxAsks {
		a := t.next()
		if a == nil {
			break
		}
		t.asks = append(t.asks, a)
		b = appendCommand(b, a.verb(), len(a.members))
		for _, x := range a.members {
			b = appendBulk(b, x.Name)
		}
	}
	return b
}

// next is the next command: half of a refused one, or as many targets of dirty as fit, or nil. Its members count as told.
func (t *targets) next() *ask {
	a := &ask{}
	for len(t.halves) > 0 && len(a.members) == 0 {
		half := t.halves[0]
		t.halves = t.halves[1:]
		for _, x := range half {
			if x.wanted() && !x.wire {
				t.join(a, x)
			}
		}
	}
	if len(a.members) > 0 {
		return a // alone: with others it could not be told which were refused
	}
	for size := 0; len(a.members) < chunk && len(t.dirty) > 0; {
		x := t.dirty[0]
		if x.wanted() == x.wire { // the wish changed back, or came true otherwise
			t.pop()
			continue
		}
		if len(a.members) > 0 && !a.fits(x, size) {
			break
		}
		t.pop()
		t.join(a, x)
		size += len(x.Name)
	}
	if len(a.members) == 0 {
		return nil
	}
	return a
}

// fits tells whether x may be told in the same command as the members that are there, which have names of size bytes.
func (a *ask) fits(x *target, size int) bool {
	return x.Kind == a.kind && x.wanted() == a.subscribe && !x.alone && !a.members[0].alone && size+len(x.Name) <= maxWrite
}

func (t *targets) join(a *ask, x *target) {
	a.kind, a.subscribe = x.Kind, x.wanted()
	a.members = append(a.members, x)
	x.wire = a.subscribe
	t.forget(x)
}

// pop takes the first of dirty.
func (t *targets) pop() {
	x := t.dirty[0]
	x.queued = false
	t.dirty[0] = nil
	if t.dirty = t.dirty[1:]; len(t.dirty) == 0 {
		t.dirty = nil
	}
	t.forget(x)
}

// forget removes x from the map once nobody wants it and the server has been told.
func (t *targets) forget(x *target) {
	if x.refs == 0 && !x.wire && t.all[x.Target] == x {
		delete(t.all, x.Target)
	}
}

var errUnasked = errors.New("an answer to nothing that was asked")

// answer takes one reply of the server. An error means that the two sides no longer agree, so that the connection must end.
func (t *targets) answer(r reply, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.kind == 'x' {
		return nil // a push that is no answer
	}
	if len(t.asks) == 0 {
		return fmt.Errorf("%w: %.100q", errUnasked, string(r.verb)+string(r.text))
	}
	a := t.asks[0]
	switch {
	case a.ping && r.kind != 'a': // a refused PING is a sign of life as well
		t.answered()
	case !a.ping && r.kind == 'a':
		return t.acked(a, r, now)
	case !a.ping && r.kind == '-' && a.next == 0:
		t.answered()
		t.refused(a, string(r.text), now)
	default:
		return fmt.Errorf("%w: %.100q instead of an answer to %s", errUnasked, string(r.verb)+string(r.text), a.name())
	}
	return nil
}

func (a *ask) name() string {
	if a.ping {
		return "PING"
	}
	return a.verb()
}

// answered pops the oldest ask.
func (t *targets) answered() {
	t.asks[0] = nil
	t.asks = t.asks[1:]
	if len(t.dirty) > 0 || len(t.halves) > 0 {
		t.signal() // the writer may have stopped at maxAsks
	}
}

func (t *targets) acked(a *ask, r reply, now time.Time) error {
	x := a.members[a.next]
	if !strings.EqualFold(string(r.verb), a.verb()) || string(r.name) != x.Name {
		return fmt.Errorf("%w: %s of %.100q instead of %s of %.100q", errUnasked, r.verb, r.name, a.verb(), x.Name)
	}
	if a.next++; a.next == len(a.members) {
		t.answered()
	}
	if !x.wire {
		return nil // given up meanwhile
	}
	x.alone = false
	t.found(x, now)
	if x.state != Active {
		x.set(Active, "", now)
		t.tell()
	}
	return nil
}

// refused takes an error for a whole command. Redis refuses all names because of one and does not say which, so halves are tried until a
// single name stands alone: a bad one among 500 costs about 18 commands more, all of them in flight together with others'.
func (t *targets) refused(a *ask, text string, now time.Time) {
	if !a.subscribe {
		t.news.unheeded = text
		t.fresh.Store(true)
		return
	}
	var left []*target // those that were not given up meanwhile
	for _, x := range a.members {
		if x.wire {
			x.wire = false
			left = append(left, x)
		}
	}
	if len(a.members) == 1 {
		for _, x := range left {
			t.rejected(x, text, now)
		}
		return
	}
	for half := (len(left) + 1) / 2; len(left) > 0; left = left[min(half, len(left)):] {
		t.halves = append(t.halves, left[:min(half, len(left))])
	}
	t.signal()
}
