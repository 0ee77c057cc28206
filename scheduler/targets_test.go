package scheduler

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// redisModel is pub/sub as Redis does it: a set of subscriptions and an ACL that refuses a whole command for one name.
type redisModel struct {
	held     map[tenants.Target]bool
	refused  func(name string) bool
	answered strings.Builder
}

func (m *redisModel) execute(words []string) {
	verb := strings.ToLower(words[0])
	kind := tenants.Exact
	switch {
	case verb == "ping":
		m.answered.WriteString("+PONG\r\n")
		return
	case verb[0] == 'p':
		kind = tenants.Pattern
	}
	on := strings.HasSuffix(verb, "subscribe") && !strings.Contains(verb, "un")
	if on && slices.ContainsFunc(words[1:], m.refused) {
		m.answered.WriteString("-NOPERM no permissions to access a channel\r\n")
		return
	}
	for _, name := range words[1:] {
		if delete(m.held, tenants.Target{Kind: kind, Name: name}); on {
			m.held[tenants.Target{Kind: kind, Name: name}] = true
		}
		fmt.Fprintf(&m.answered, ">3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:%d\r\n", len(verb), verb, len(name), name, len(m.held))
	}
}

// commands reads what a client wrote.
func commands(t *testing.T, written []byte) (all [][]string) {
	in := bufio.NewReader(strings.NewReader(string(written)))
	number := func(prefix byte) int {
		line, err := in.ReadString('\n')
		if err == nil && line[0] != prefix {
			err = fmt.Errorf("%q does not begin with %c", line, prefix)
		}
		n, nerr := strconv.Atoi(strings.TrimSpace(line[1:]))
		if err = errors.Join(err, nerr); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for {
		if _, err := in.Peek(1); err != nil {
			return all
		}
		words := make([]string, number('*'))
		for i := range words {
			b := make([]byte, number('$')+2)
			if _, err := io.ReadFull(in, b); err != nil {
				t.Fatal(err)
			}
			words[i] = string(b[:len(b)-2])
		}
		all = append(all, words)
	}
}

// wire is a connection between targets and the model whose two directions a test moves forward by hand.
type wire struct {
	t            *testing.T
	targets      *targets
	subscription *subscription
	redis        *redisModel
	sent         [][]string // not executed yet
	in           *frameReader
	unread       string
}

func (w *wire) reconnect() {
	w.subscription = w.targets.begin(w.targets.lanes[0])
	w.redis.held = map[tenants.Target]bool{}
	w.redis.answered.Reset()
	w.sent, w.unread, w.in = nil, "", newFrameReader(1<<10, maxFrame)
}

func (w *wire) end(alive, now time.Time) { w.targets.end(w.subscription, alive, now, "cut", false) }

func (w *wire) write() bool {
	b := w.subscription.take(nil)
	w.sent = append(w.sent, commands(w.t, b)...)
	return len(b) > 0
}

func (w *wire) execute() bool {
	if len(w.sent) == 0 {
		return false
	}
	w.redis.execute(w.sent[0])
	w.sent = w.sent[1:]
	return true
}

// read brings the next answer.
func (w *wire) read(now time.Time) bool {
	w.unread += w.redis.answered.String()
	w.redis.answered.Reset()
	src := strings.NewReader(w.unread)
	for {
		var f frame
		raw, err := w.in.next(&f)
		if err != nil {
			w.t.Fatal(err)
		}
		if raw == nil {
			n, err := w.in.fill(src)
			if w.unread = w.unread[n:]; err != nil {
				return false
			}
			continue
		}
		r, err := readReply(raw)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.subscription.answer(r, now); err != nil {
			w.t.Fatal(err)
		}
		return true
	}
}

// TestTargetsAgainstModel does random operations and lets commands and answers lag behind at random; when both sides have come to rest, the
// server holds what is wanted and not refused, each target says so, and the map holds nothing else.
func TestTargetsAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		now := epoch
		forbidden := map[string]bool{}
		w := &wire{t: t, targets: newTargets(""), redis: &redisModel{refused: func(name string) bool { return forbidden[name] }}}
		refs := map[tenants.Target]int{}
		up := false
		names := 1 + r.IntN(40)
		some := func() tenants.Target {
			return tenants.Target{Kind: tenants.Kind(r.IntN(2)), Name: fmt.Sprint("n", r.IntN(names))}
		}
		for range 300 {
			now = now.Add(time.Second)
			switch r.IntN(12) {
			case 0, 1, 2:
				x := some()
				refs[x]++
				w.targets.add(x, now)
			case 3, 4:
				x := some()
				refs[x] = max(0, refs[x]-1)
				w.targets.remove(x, now)
			case 5:
				if up = !up; up {
					w.reconnect()
				} else {
					w.end(now.Add(-time.Second), now)
				}
			case 6:
				if n := some().Name; r.IntN(2) == 0 {
					forbidden[n] = !forbidden[n]
				}
			case 7, 8:
				if up {
					w.write()
				}
			case 9:
				if up {
					w.execute()
				}
			default:
				if up {
					w.read(now)
				}
			}
		}
		// Names refused by now are refused for what is subscribed to already, as by Redis, which ends such a connection.
		if up {
			w.end(now, now)
		}
		w.reconnect()
		for range 2 {
			for w.write() || w.execute() || w.read(now) {
			}
			now = now.Add(askAgain)
			w.targets.again(now)
		}
		states := map[tenants.Target]TargetState{}
		for _, s := range w.targets.states() {
			states[s.Target] = s
		}
		for x, n := range refs {
			s, listed := states[x]
			want := Active
			if forbidden[x.Name] {
				want = Rejected
			}
			if n > 0 != listed || w.redis.held[x] != (n > 0 && want == Active) || listed && (s.State != want || (s.Reason != "") != (want == Rejected)) {
				t.Fatalf("seed %d: %v, %d references: %+v, held %v", seed, x, n, s, w.redis.held[x])
			}
		}
		open := 0
		if g := w.targets.lanes[0].gap; g != nil {
			open = g.open
		}
		if w.targets.remembered() != len(states) || open != 0 || len(w.subscription.asks) > 0 {
			t.Fatalf("seed %d: %d targets for %d states, a gap open for %d, %d asks", seed,
				w.targets.remembered(), len(states), open, len(w.subscription.asks))
		}
		for _, g := range w.targets.read().gaps {
			if g.Targets < 1 || g.Until.Before(g.Since) || g.Cause != "cut" {
				t.Fatalf("seed %d: %+v", seed, g)
			}
		}
	}
}

// TestChunks counts the commands for many targets: full chunks, and for one that is refused the halves alone.
func TestChunks(t *testing.T) {
	w := &wire{t: t, targets: newTargets(""), redis: &redisModel{refused: func(name string) bool { return name == "n777" }}}
	for i := range 10_000 {
		w.targets.add(tenants.Target{Name: fmt.Sprint("n", i)}, epoch)
	}
	w.reconnect()
	count := 0
	for {
		for w.write() {
		}
		if !w.execute() {
			break
		}
		count++
		for w.read(epoch) {
		}
	}
	if count < 20 || count > 20+18 { // 2*log2(500)
		t.Errorf("%d commands for 10,000 channels of which one is refused", count)
	}
	if len(w.redis.held) != 9_999 {
		t.Errorf("%d held", len(w.redis.held))
	}
	// What was refused before costs the others nothing the next time.
	w.end(epoch, epoch)
	w.reconnect()
	for count = 0; w.write() || w.execute() || w.read(epoch); {
		count = max(count, len(w.sent))
	}
	if count != 21 {
		t.Errorf("%d commands after a reconnect, want 20 chunks and 1 alone", count)
	}
}

// TestHalvesStayAlone lets more targets come while a refused command is taken apart: they must not fill its halves up again.
func TestHalvesStayAlone(t *testing.T) {
	w := &wire{t: t, targets: newTargets(""), redis: &redisModel{refused: func(name string) bool { return name == "bad" }}}
	w.reconnect()
	w.targets.add(tenants.Target{Name: "bad"}, epoch)
	for i := range chunk - 1 {
		w.targets.add(tenants.Target{Name: fmt.Sprint("n", i)}, epoch)
	}
	w.write()
	rejected := func() bool {
		return slices.ContainsFunc(w.targets.states(), func(s TargetState) bool { return s.State == Rejected })
	}
	rounds := 0
	for next := chunk; !rejected() && rounds < 100; rounds++ {
		for w.execute() {
		}
		for w.read(epoch) {
		}
		for range chunk {
			w.targets.add(tenants.Target{Name: fmt.Sprint("n", next)}, epoch)
			next++
		}
		w.write()
	}
	if rounds > 10 { // 1 + log2(500)
		t.Errorf("the bad name was found in %d round trips", rounds)
	}
}

// TestActiveAfterItsOwnAck gives a channel up and asks for it again at every moment of its way: one command at most is on its way for it, and it
// is active only by the answer to the last SUBSCRIBE.
func TestActiveAfterItsOwnAck(t *testing.T) {
	x := tenants.Target{Name: "a"}
	setup := func(refuse bool) *wire {
		first := refuse
		w := &wire{t: t, targets: newTargets(""), redis: &redisModel{refused: func(string) bool {
			no := first
			first = false
			return no
		}}}
		w.reconnect()
		w.targets.add(x, epoch)
		w.write()
		return w
	}
	is := func(w *wire, step string, want State) {
		t.Helper()
		if s := w.targets.states(); len(s) != 1 || s[0].State != want {
			t.Errorf("%s: %v, want %v", step, s, want)
		}
	}
	silent := func(w *wire) {
		t.Helper()
		if w.write() {
			t.Errorf("wrote %v while an answer is awaited", w.sent)
		}
	}
	turn := func(w *wire) bool { return w.write() || w.execute() || w.read(epoch) }

	w := setup(false)
	w.targets.remove(x, epoch)
	silent(w)
	w.targets.add(x, epoch)
	silent(w)
	is(w, "asked again while the first command is on its way", Pending)
	w.execute()
	w.read(epoch)
	is(w, "acknowledged", Active)

	w.targets.remove(x, epoch)
	w.write()
	w.targets.add(x, epoch)
	silent(w)
	is(w, "asked for while it is given up", Pending)
	w.execute()
	w.read(epoch)
	is(w, "given up, to be asked for", Pending)
	for turn(w) {
	}
	is(w, "asked for anew", Active)

	w = setup(true)
	w.targets.remove(x, epoch)
	w.targets.add(x, epoch)
	w.execute()
	w.read(epoch)
	is(w, "refused", Rejected)
	w.targets.add(x, epoch)
	for turn(w) {
	}
	is(w, "asked for again", Active)

	w = setup(true)
	w.targets.remove(x, epoch)
	w.execute()
	w.read(epoch)
	if n := w.targets.remembered(); n != 0 {
		t.Errorf("%d targets are remembered", n)
	}
}

// TestAsksAreBounded lets a server execute nothing.
func TestAsksAreBounded(t *testing.T) {
	w := &wire{t: t, targets: newTargets(""), redis: &redisModel{}}
	w.targets.covering.off = true
	w.reconnect()
	for i := range 2 * maxAsks { // channels and patterns in turn, so that each needs a command
		w.targets.add(tenants.Target{Kind: tenants.Kind(i % 2), Name: fmt.Sprint("n", i)}, epoch)
	}
	for w.write() {
	}
	if len(w.sent) != maxAsks {
		t.Errorf("%d commands in flight, want %d", len(w.sent), maxAsks)
	}
	<-w.subscription.wake
	w.redis.refused = func(string) bool { return false }
	w.execute()
	w.read(epoch)
	select {
	case <-w.subscription.wake:
	default:
		t.Error("an answer does not wake the writer that waits for it")
	}
}

// TestWhatIsNotOffered is rejected with the reason, and never written.
func TestWhatIsNotOffered(t *testing.T) {
	w := &wire{t: t, targets: newTargets(""), redis: &redisModel{}}
	w.reconnect()
	for target, want := range map[tenants.Target]string{
		{Kind: tenants.Stream, Name: "s"}:      "not offered by this hub",
		{Name: strings.Repeat("x", maxName+1)}: "65537 bytes",
	} {
		for range 2 {
			w.targets.add(target, epoch)
		}
		s := w.targets.states()
		if len(s) != 1 || s[0].State != Rejected || !strings.Contains(s[0].Reason, want) || w.write() {
			t.Errorf("%.40v: %.200v, want %q", target, s, want)
		}
		w.targets.again(epoch.Add(time.Hour))
		for range 2 {
			w.targets.remove(target, epoch)
		}
		if w.targets.remembered() != 0 || w.write() {
			t.Errorf("%.40v is left or was written", target)
		}
	}
}

// TestAnswersThatWereNotAsked end the connection: the two sides no longer agree on what is subscribed to.
func TestAnswersThatWereNotAsked(t *testing.T) {
	ack := func(verb, name string) reply { return reply{kind: 'a', verb: []byte(verb), name: []byte(name)} }
	for name, r := range map[string]reply{
		"ack of another name": ack("subscribe", "b"),
		"ack of another kind": ack("psubscribe", "a"),
		"ack of the contrary": ack("unsubscribe", "a"),
		"pong":                {kind: 'p'},
	} {
		w := &wire{t: t, targets: newTargets(""), redis: &redisModel{}}
		w.targets.add(tenants.Target{Name: "a"}, epoch)
		w.reconnect()
		w.write()
		if _, err := w.subscription.answer(r, epoch); !errors.Is(err, errUnasked) {
			t.Errorf("%s: %v", name, err)
		}
		if s := w.targets.states(); s[0].State != Pending {
			t.Errorf("%s: %v", name, s)
		}
	}
	idle := newTargets("")
	quiet := idle.begin(idle.lanes[0])
	for _, r := range []reply{ack("subscribe", "a"), {kind: 'p'}, {kind: '-', text: []byte("ERR x")}} {
		if _, err := quiet.answer(r, epoch); !errors.Is(err, errUnasked) {
			t.Errorf("%v: %v", r, err)
		}
	}
	if _, err := quiet.answer(reply{kind: 'x'}, epoch); err != nil {
		t.Errorf("a push: %v", err)
	}
}

func BenchmarkStates(b *testing.B) {
	all := newTargets("")
	for i := range 10_000 {
		all.add(tenants.Target{Name: fmt.Sprint("n", i)}, epoch)
	}
	for b.Loop() {
		if len(all.states()) != 10_000 {
			b.Fatal("wrong")
		}
	}
}

// remembered counts the targets that are in the map.
func (t *targets) remembered() (n int) {
	for range t.in(allSlots) {
		n++
	}
	return n
}
