package scheduler

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// maxPatterns is how many patterns an endpoint's server is given to match, while none is refused. It matches each message that anybody publishes
// against each of them: 1,000 divide its rate by twenty. Beyond, those that begin alike are covered by a pattern for what they have in common,
// and matched in process.
const maxPatterns = 32

// cover is a pattern that the server is asked for in place of others. A member is served by it on a connection from the cover's ack on, or where
// the member is subscribed to there by itself, from the ack of giving that up on. Acks and messages have one order on a connection, and one
// server sends a message for all its patterns at once, so there is no moment at which a message comes for both or for none.
type cover struct {
	*target            // what the server is asked for; refs is the number of members
	prefix  string     // what all members begin with, literally
	members patternSet // whose cover it is
	left    patternSet // that it serves until something else does; nothing can leave a second cover meanwhile
}

// covering is the plan of an endpoint's patterns. It is part of targets, under its lock.
type covering struct {
	off     bool               // each pattern is asked for by itself
	covers  map[string]*cover  // by name; empty while patterns are few
	of      map[*target]*cover // of those that have one
	refused map[string]bool    // names that the server does not allow; those of one plan each, forgotten every 30 s
	due     int                // patterns asked for by themselves at which a plan is made
}

// serves tells whether messages for x come on this connection, and will for now. The caller holds mu.
func (s *subscription) serves(x *target) bool {
	c := s.t.covering.of[x]
	return s.has(x) || c != nil && s.has(c.target)
}

// needs tells whether a cover ought to be subscribed to. The caller holds mu.
func (s *subscription) needs(c *cover) bool { return c.refs > 0 || s.needed(c) }

// needed tells whether a cover is needed for patterns that have left it. The caller holds mu.
func (s *subscription) needed(c *cover) bool {
	for x := range c.left.all() {
		if x.refs > 0 && x.refused&s.bit == 0 && !s.serves(x) {
			return true
		}
	}
	return false
}

// wired goes over the targets of slots as the server is asked for them. The caller holds mu.
func (t *targets) wired(slots uint64) iter.Seq[*target] {
	return func(yield func(*target) bool) {
		if slots>>patternSlot&1 == 1 {
			for _, c := range t.covering.covers {
				if !yield(c.target) {
					return
				}
			}
		}
		for x := range t.in(slots) {
			if !yield(x) {
				return
			}
		}
	}
}

// coverOf is the cover that x itself is what the server is asked for, or nil. The caller holds mu.
func (t *targets) coverOf(x *target) *cover {
	if c := t.covering.covers[x.Name]; c != nil && c.target == x {
		return c
	}
	return nil
}

// arrange finds a cover for a pattern that has just been asked for, or makes a plan where there are too many without. The caller holds mu.
func (t *targets) arrange(x *target, now time.Time) {
	if x.Kind != tenants.Pattern || !x.offered || t.covering.off {
		return
	}
	begins := literal(x.Name)
	for _, c := range t.covering.covers {
		if c.refs > 0 && strings.HasPrefix(begins, c.prefix) {
			t.enter(c, x, now)
			return
		}
	}
	t.plan(now)
}

// enter makes x a member of a cover. The caller holds mu.
func (t *targets) enter(c *cover, x *target, now time.Time) {
	t.covering.of[x] = c
	c.members.add(x)
	if c.refs++; c.refs == 1 {
		t.mark(c.target)
	}
	t.mark(x) // it is given up where it is asked for by itself and the cover is there already
	if s := t.of[patternSlot].subscription; s != nil && s.serves(x) {
		t.activate(x, now)
	}
}

// quit takes x out of its cover. The caller holds mu.
func (t *targets) quit(x *target) (c *cover) {
	if c = t.covering.of[x]; c == nil {
		return nil
	}
	delete(t.covering.of, x)
	c.members.remove(x)
	c.refs--
	return c
}

// depart takes a pattern that nobody wants any more out of the plan. The caller holds mu.
func (t *targets) depart(x *target, now time.Time) {
	if c := t.quit(x); c != nil && c.refs == 0 {
		t.retire(c)
	}
	if len(t.covering.covers) > 0 && t.sizes[patternSlot] <= maxPatterns/2 && t.still() {
		t.uncover(now)
	}
}

// retire gives a cover up where it is not needed any more. The caller holds mu.
func (t *targets) retire(c *cover) {
	t.mark(c.target)
	t.dismiss(c)
}

// dismiss forgets a cover that has no members and that no server has. The caller holds mu.
func (t *targets) dismiss(c *cover) {
	if c.refs == 0 && c.held|c.busy == 0 {
		delete(t.covering.covers, c.Name)
		t.spreads.Store(len(t.covering.covers) > 0)
	}
}

// still tells whether no plan is under way: no cover serves patterns that have left it. So none has left two. The caller holds mu.
func (t *targets) still() bool {
	for _, c := range t.covering.covers {
		if !c.left.empty() {
			return false
		}
	}
	return true
}

// plan covers patterns anew, if there are too many that have no cover. While another plan is under way it waits for that. The caller holds mu.
func (t *targets) plan(now time.Time) {
	single := t.sizes[patternSlot] - len(t.covering.of)
	if t.covering.off || single+len(t.covering.covers) <= max(maxPatterns, t.covering.due) || !t.still() {
		return
	}
	var all []*target
	for x := range t.in(1 << patternSlot) {
		if x.refs > 0 && x.offered {
			all = append(all, x)
		}
	}
	for prefix, members := range clusters(all, maxPatterns/2) {
		c := t.coverFor(prefix)
		if c == nil {
			continue
		}
		for _, x := range members {
			if t.covering.of[x] == c {
				continue
			}
			if old := t.quit(x); old != nil && old.held != 0 {
				old.left.add(x)
			}
			t.enter(c, x, now)
		}
	}
	for _, c := range t.covering.covers {
		if c.refs == 0 {
			t.retire(c)
		}
	}
	// Those that could not be covered are asked for by themselves; half as many more make the next plan.
	t.covering.due = t.sizes[patternSlot] - len(t.covering.of) + len(t.covering.covers) + maxPatterns/2
}

// coverFor is the cover for a prefix, there already or new; nil where the server does not allow it. Its name is nobody's pattern: giving that up
// would give up the cover. The caller holds mu.
func (t *targets) coverFor(prefix string) *cover {
	for _, c := range t.covering.covers {
		if c.prefix == prefix {
			return c
		}
	}
	name := quote(prefix) + "*"
	for t.all[patternSlot][tenants.Target{Kind: tenants.Pattern, Name: name}] != nil {
		name += "*"
	}
	if len(name) > maxName || t.covering.refused[name] {
		return nil
	}
	c := &cover{prefix: prefix, target: &target{Target: tenants.Target{Kind: tenants.Pattern, Name: name}, offered: true, alone: true}}
	t.covering.covers[name] = c
	t.spreads.Store(true)
	return c
}

// uncover asks for each pattern by itself again, because they are few. The caller holds mu.
func (t *targets) uncover(now time.Time) {
	for name := range t.covering.covers {
		if t.all[patternSlot][tenants.Target{Kind: tenants.Pattern, Name: name}] != nil {
			return // both would be one subscription
		}
	}
	for _, c := range t.covering.covers {
		t.disband(c)
	}
	t.covering.due = 0
}

// disband asks for the members of a cover by themselves. The caller holds mu.
func (t *targets) disband(c *cover) {
	for x := range c.members.all() {
		delete(t.covering.of, x)
		if c.held != 0 {
			c.left.add(x)
		}
		t.mark(x)
	}
	c.members, c.refs = patternSet{}, 0
	t.retire(c)
}

// covered notes that a subscription holds a cover, whose members it therefore serves. The caller holds mu.
func (t *targets) covered(s *subscription, c *cover, now time.Time) {
	for x := range c.members.all() {
		s.mark(x) // it is given up where it was asked for by itself
		if t.of[patternSlot].subscription == s {
			t.activate(x, now)
		}
	}
	t.settle(now)
}

// settle looks, after something has become subscribed to or given up, whether the patterns that have left a cover are served by something else
// everywhere; then that cover is given up, or serves its members alone, and a plan may be made that waited for that. The caller holds mu.
func (t *targets) settle(now time.Time) {
	for _, c := range t.covering.covers {
		if c.left.empty() {
			continue
		}
		for _, s := range t.subscriptions {
			s.mark(c.target)
		}
		if !slices.ContainsFunc(t.subscriptions, func(s *subscription) bool { return c.held&s.bit != 0 && s.needed(c) }) {
			c.left = patternSet{}
		}
		t.dismiss(c)
	}
	t.plan(now)
}

// disallow takes the server's refusal of a cover. The caller holds mu.
func (t *targets) disallow(c *cover) {
	t.covering.refused[c.Name] = true
	t.disband(c)
}

// expand finds the patterns that a message which came for one serves, and whether that one is a cover. It is called by the reader.
func (s *subscription) expand(f *frame, into [][]byte) (all [][]byte, covered bool) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	c := s.t.covering.covers[string(f.pattern)]
	if c == nil {
		return into, false
	}
	into = c.members.match(f.channel, into, func(x *target) bool { return x.held&s.bit == 0 && x.refs > 0 })
	into = c.left.match(f.channel, into, func(x *target) bool {
		now := s.t.covering.of[x]
		return x.held&s.bit == 0 && x.refs > 0 && (now == nil || now.held&s.bit == 0)
	})
	return into, true
}

// clusters puts patterns that begin alike together, at most so many groups, and leaves out who stays alone. Sorted by what they begin with, those
// that have the most in common are neighbours: the closest are joined first.
func clusters(all []*target, most int) map[string][]*target {
	slices.SortFunc(all, func(a, b *target) int { return cmp.Compare(literal(a.Name), literal(b.Name)) })
	links := make([]int, 0, len(all)) // i links all[i] and all[i+1]
	common := make([]int, len(all))
	for i := range len(all) - 1 {
		common[i] = shared(literal(all[i].Name), literal(all[i+1].Name))
		links = append(links, i)
	}
	slices.SortStableFunc(links, func(a, b int) int { return cmp.Compare(common[b], common[a]) })
	joined := make([]bool, len(all))
	for _, i := range links[:max(0, len(all)-most)] {
		joined[i] = true
	}
	groups := map[string][]*target{}
	for i := 0; i < len(all); {
		prefix, end := literal(all[i].Name), i
		for joined[end] {
			prefix = prefix[:min(len(prefix), common[end])]
			end++
		}
		if end > i {
			groups[prefix] = append(groups[prefix], all[i:end+1]...)
		}
		i = end + 1
	}
	return widest(groups)
}

// widest joins a group to one whose prefix begins its own.
func widest(groups map[string][]*target) map[string][]*target {
	for prefix, members := range groups {
		for n := range len(prefix) {
			if _, ok := groups[prefix[:n]]; ok {
				groups[prefix[:n]] = append(groups[prefix[:n]], members...)
				delete(groups, prefix)
				break
			}
		}
	}
	return groups
}

func shared(a, b string) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// literal is what every channel that a pattern matches begins with.
func literal(pattern string) string {
	i := strings.IndexAny(pattern, `*?[\`)
	if i < 0 {
		return pattern
	}
	b := []byte(pattern[:i])
	for ; i < len(pattern) && !strings.ContainsRune("*?[", rune(pattern[i])); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		b = append(b, pattern[i])
	}
	return string(b)
}

// quote makes a pattern that matches a text alone.
func quote(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if strings.IndexByte(`*?[\`, text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
