package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of what is written for subscriptions.
const (
	chunk    = 500       // names in one command
	maxWrite = 256 << 10 // bytes of commands built at once, one command more at most
	maxAsks  = 1024      // commands written and not answered; the writer waits for the reader beyond
)

// subscription is what one connection has been asked and has answered. Its writer takes the next commands, its reader brings the answers; the order
// of commands on the wire is the order of asks. All but the channels is guarded by targets.mu.
type subscription struct {
	t    *targets
	bit  uint32        // in the sets of target; no other subscription that lives has it
	wake chan struct{} // capacity 1: there is something to write
	idle chan struct{} // capacity 1: all that was asked is answered

	slots  uint64 // whose targets it is to hold
	served uint64 // whose targets it was ever to hold
	frozen uint64 // of those, the ones whose targets stay as they are, because another subscription is taking them over
	dirty  []*target
	halves [][]*target
	asks   []*ask   // written and not answered, oldest first
	pings  []func() // PINGs wanted, each with what the reader does at its answer; may be nil

	reasons map[*target]string // refusals of targets that another subscription speaks for; as long as a handover
	ended   bool
	alive   time.Time // last sign of life, when it has ended
	cause   string    // of its end
}

// maxSpares is how many subscriptions may live before no more are begun for handovers. Lanes that make their connection anew add one each at most,
// and there are bits for all.
const maxSpares = 16

// open begins a subscription that is asked for nothing but the control channel. The caller holds mu.
func (t *targets) open() *subscription {
	var used uint32
	for _, s := range t.subscriptions {
		used |= s.bit
	}
	s := &subscription{t: t, bit: 1 << bits.TrailingZeros32(^used), wake: make(chan struct{}, 1), idle: make(chan struct{}, 1)}
	t.subscriptions = append(t.subscriptions, s)
	if t.control != nil {
		s.mark(t.control)
	}
	return s
}

// close takes the subscription out of the list. The caller holds mu.
func (s *subscription) close(alive time.Time, cause string) {
	s.ended, s.alive, s.cause = true, alive, cause
	s.asks, s.halves, s.dirty, s.pings, s.reasons = nil, nil, nil, nil, nil
	for i, o := range s.t.subscriptions {
		if o == s {
			s.t.subscriptions = append(s.t.subscriptions[:i:i], s.t.subscriptions[i+1:]...)
			break
		}
	}
}

// serve adds slots whose targets the subscription is to hold: channels first, then patterns, then what was refused before. The caller holds mu.
func (s *subscription) serve(slots uint64) {
	s.slots |= slots
	s.served |= slots
	var patterns, alone []*target
	for x := range s.t.wired(slots) {
		switch {
		case x.alone:
			alone = append(alone, x)
		case x.Kind == tenants.Pattern:
			patterns = append(patterns, x)
		default:
			s.mark(x)
		}
	}
	for _, x := range append(patterns, alone...) {
		s.mark(x)
	}
	if s.t.shardOf != nil { // those that may be told in one command are neighbours
		slices.SortStableFunc(s.dirty, func(a, b *target) int { return cmp.Compare(a.shard, b.shard) })
	}
	s.signal()
}

// release takes slots from the subscription; their targets are given up. The caller holds mu.
func (s *subscription) release(slots uint64) {
	s.slots &^= slots
	s.frozen &^= slots
	for x := range s.t.wired(slots) {
		s.mark(x)
	}
}

func (s *subscription) signal() { poke(s.wake) }

// poke leaves one token in a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// has tells whether x is subscribed to and will stay so for now. The caller holds mu.
func (s *subscription) has(x *target) bool { return x.held&s.bit != 0 && x.busy&s.bit == 0 }

// wants tells whether x ought to be subscribed to. The caller holds mu.
func (s *subscription) wants(x *target) bool {
	switch {
	case x.refused&s.bit != 0 || x.away:
		return false
	case x == s.t.control:
		return true
	case s.frozen>>x.slot&1 == 1:
		return x.held&s.bit != 0
	}
	if s.slots>>x.slot&1 == 0 {
		return false
	}
	if x.slot == patternSlot {
		if c := s.t.coverOf(x); c != nil {
			return s.needs(c)
		}
		if c := s.t.covering.of[x]; c != nil { // until the cover is there, it stays as it is
			return x.refs > 0 && x.held&s.bit != 0 && !s.has(c.target)
		}
	}
	return x.refs > 0 && x.offered
}

// settled tells whether nothing is to be asked about x now. The caller holds mu.
func (s *subscription) settled(x *target) bool {
	return x.busy&s.bit != 0 || s.wants(x) == (x.held&s.bit != 0)
}

// mark has the writer look at x, if its wish and the server differ and nothing is on its way. The caller holds mu.
func (s *subscription) mark(x *target) {
	if s.ended || x.queued&s.bit != 0 || s.settled(x) {
		return
	}
	x.queued |= s.bit
	s.dirty = append(s.dirty, x)
	s.signal()
}

// quiet tells whether all that is wanted was asked and answered. The caller holds mu.
func (s *subscription) quiet() bool { return len(s.asks)+len(s.dirty)+len(s.halves) == 0 }

// ask is one command that awaits its answers: one ack for each member in order, or one error for all. A SUNSUBSCRIBE is followed by a PING, whose
// answer ends it: the acks before that are not told from the pushes by which a server drops channels of a shard that it gives up.
type ask struct {
	ping      bool
	failed    bool   // a SUNSUBSCRIBE that was refused: the next is the answer to its PING
	then      func() // with ping: done by the reader at the answer; may be nil
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

func (a *ask) name() string {
	if a.ping {
		return "PING"
	}
	return a.verb()
}

// ping has the writer send a PING. then, where not nil, is called by the reader when the answer comes: what was published before the server
// took the PING has been read by then, and nothing that was published after.
func (s *subscription) ping(then func()) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.pings = append(s.pings, then)
	s.signal()
}

// take appends the next commands to b and expects their answers. Nothing means that there is nothing to write for now. The caller writes b
// before it takes again.
func (s *subscription) take(b []byte) []byte {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for _, then := range s.pings {
		b = append(b, ping...)
		s.asks = append(s.asks, &ask{ping: true, then: then})
	}
	s.pings = nil
	for len(b) < maxWrite && len(s.asks) < maxAsks {
		a := s.next()
		if a == nil {
			break
		}
		s.asks = append(s.asks, a)
		b = appendCommand(b, a.verb(), len(a.members))
		for _, x := range a.members {
			b = appendBulk(b, x.Name)
		}
		if a.ping {
			b = append(b, ping...)
		}
	}
	if s.quiet() {
		poke(s.idle)
	}
	return b
}

// next is the next command: half of a refused one, or as many targets of dirty as fit, or nil.
func (s *subscription) next() *ask {
	a := &ask{}
	for len(s.halves) > 0 && len(a.members) == 0 {
		half := s.halves[0]
		s.halves = s.halves[1:]
		for _, x := range half {
			if !s.settled(x) && s.wants(x) {
				s.join(a, x)
			}
		}
	}
	if len(a.members) > 0 {
		return a // alone: with others it could not be told which were refused
	}
	for size := 0; len(a.members) < chunk && len(s.dirty) > 0; {
		x := s.dirty[0]
		if s.settled(x) { // the wish changed back, or came true otherwise
			s.pop()
			continue
		}
		if len(a.members) > 0 && !s.fits(a, x, size) {
			break
		}
		s.pop()
		s.join(a, x)
		size += len(x.Name)
	}
	if len(a.members) == 0 {
		return nil
	}
	return a
}

// fits tells whether x may be told in the same command as the members that are there, which have names of size bytes.
func (s *subscription) fits(a *ask, x *target, size int) bool {
	return x.Kind == a.kind && x.shard == a.members[0].shard && s.wants(x) == a.subscribe && !x.alone && !a.members[0].alone && size+len(x.Name) <= maxWrite
}

func (s *subscription) join(a *ask, x *target) {
	a.kind, a.subscribe = x.Kind, s.wants(x)
	a.ping = a.kind == tenants.Sharded && !a.subscribe
	a.members = append(a.members, x)
	x.busy |= s.bit
}

// pop takes the first of dirty.
func (s *subscription) pop() {
	x := s.dirty[0]
	x.queued &^= s.bit
	s.dirty[0] = nil
	if s.dirty = s.dirty[1:]; len(s.dirty) == 0 {
		s.dirty = nil
	}
	s.t.forget(x)
}

var errUnasked = errors.New("an answer to nothing that was asked")

// answer takes one reply of the server, and returns what the reader is to do at this place of the stream, or nil. An error means that the two
// sides no longer agree, so that the connection must end.
func (s *subscription) answer(r reply, now time.Time) (then func(), err error) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if r.kind == 'x' {
		return nil, nil // a push that is no answer
	}
	if r.kind == 'a' && string(r.verb) == "sunsubscribe" {
		s.dropped(r.name, now)
		return nil, nil
	}
	if len(s.asks) == 0 {
		return nil, fmt.Errorf("%w: %.100q", errUnasked, string(r.verb)+string(r.text))
	}
	a := s.asks[0]
	switch {
	case a.ping && r.kind == '-' && len(a.members) > 0 && !a.failed:
		a.failed = true
		return nil, nil
	case a.ping && r.kind != 'a': // a refused PING is a sign of life as well
		s.surrendered(a)
		s.answered()
		return a.then, nil
	case !a.ping && r.kind == 'a':
		return nil, s.acked(a, r, now)
	case !a.ping && r.kind == '-' && a.next == 0:
		s.refused(a, string(r.text), now)
		s.answered()
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %.100q instead of an answer to %s", errUnasked, string(r.verb)+string(r.text), a.name())
}

// answered pops the oldest ask.
func (s *subscription) answered() {
	s.asks[0] = nil
	s.asks = s.asks[1:]
	if len(s.dirty)+len(s.halves) > 0 {
		s.signal() // the writer may have stopped at maxAsks
	} else if s.quiet() {
		poke(s.idle)
	}
}

func (s *subscription) acked(a *ask, r reply, now time.Time) error {
	x := a.members[a.next]
	if !strings.EqualFold(string(r.verb), a.verb()) || string(r.name) != x.Name {
		return fmt.Errorf("%w: %s of %.100q instead of %s of %.100q", errUnasked, r.verb, r.name, a.verb(), x.Name)
	}
	x.busy &^= s.bit
	if a.subscribe {
		x.held |= s.bit
		s.t.subscribed(s, x, now)
	} else {
		x.held &^= s.bit
		s.t.forget(x)
		if x.slot == patternSlot {
			s.t.settle(now)
		}
	}
	s.mark(x)
	if a.next++; a.next == len(a.members) {
		s.answered()
	}
	return nil
}

// subscribed notes that a subscription holds x. The caller holds mu.
func (t *targets) subscribed(s *subscription, x *target, now time.Time) {
	if x == t.control {
		return
	}
	if c := t.coverOf(x); c != nil {
		t.covered(s, c, now)
		return
	}
	x.alone = false
	if x.slot == patternSlot {
		t.settle(now)
	}
	if t.of[x.slot].subscription == s && x.refs > 0 {
		t.activate(x, now)
	}
}

// activate notes that messages for x come. The caller holds mu.
func (t *targets) activate(x *target, now time.Time) {
	t.found(x, now)
	if x.state != Active {
		x.set(Active, "", now)
		t.tell()
	}
}

// refused takes an error for a whole command. Redis refuses all names because of one and does not say which, so halves are tried until a
// single name stands alone: a bad one among 500 costs about 18 commands more, all of them in flight together with others'.
func (s *subscription) refused(a *ask, text string, now time.Time) {
	text = strings.ToValidUTF8(text[:min(len(text), maxReason)], "?")
	var left []*target // those that were not given up meanwhile
	for _, x := range a.members {
		x.busy &^= s.bit
		if !a.subscribe {
			x.held &^= s.bit // its messages are discarded
			s.t.forget(x)
			s.mark(x)
		} else if s.wants(x) {
			left = append(left, x)
		} else {
			s.t.forget(x)
		}
	}
	switch {
	case !a.subscribe:
		s.t.news.unheeded = text
		s.t.tell()
	case s.t.shardOf != nil && elsewhere(text):
		for _, x := range left {
			s.t.stray(s, x, text, now)
		}
	case len(a.members) == 1 && len(left) == 1:
		s.refuse(left[0], text, now)
	default:
		for half := (len(left) + 1) / 2; len(left) > 0; left = left[min(half, len(left)):] {
			s.halves = append(s.halves, left[:min(half, len(left))])
		}
		s.signal()
	}
}

// refuse notes the server's refusal of x alone. The caller holds mu.
func (s *subscription) refuse(x *target, text string, now time.Time) {
	x.refused |= s.bit
	x.alone = true
	if s.t.againAt.IsZero() {
		s.t.againAt = now.Add(askAgain)
	}
	switch {
	case x == s.t.control:
		s.t.news.control = text
		s.t.tell()
	case s.t.coverOf(x) != nil:
		s.t.disallow(s.t.coverOf(x))
	case s.t.of[x.slot].subscription == s:
		s.t.rejected(x, text, now)
	default:
		if s.reasons == nil {
			s.reasons = map[*target]string{}
		}
		s.reasons[x] = text
	}
}
