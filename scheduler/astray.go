package scheduler

import (
	"slices"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// A server that gives a hash slot up drops the sharded channels in it by a push of sunsubscribe, and answers SSUBSCRIBE to them by -MOVED. They
// are taken to another shard's targets then, with their references and the gap that they are in.

// elsewhere tells whether a refusal of SSUBSCRIBE says that this server does not serve the slot, or nobody does for now.
func elsewhere(text string) bool {
	return strings.HasPrefix(text, "MOVED ") || strings.HasPrefix(text, "CLUSTERDOWN ")
}

// dropped takes the server's word that a sharded channel is not subscribed to any more. The caller holds mu.
func (s *subscription) dropped(name []byte, now time.Time) {
	target := tenants.Target{Kind: tenants.Sharded, Name: string(name)}
	x := s.t.all[slotOf(target)][target]
	if x == nil || x.held&s.bit == 0 {
		return
	}
	x.held &^= s.bit
	switch {
	case x.busy&s.bit != 0: // as was asked for
	case x.refs == 0:
		s.t.forget(x)
	default:
		s.t.stray(s, x, "the server has given up the hash slot", now)
	}
}

// surrendered ends a SUNSUBSCRIBE: none of its members is subscribed to any more, because it was given up, or dropped before by the server, or
// refused, so that its messages are discarded. The caller holds mu.
func (s *subscription) surrendered(a *ask) {
	for _, x := range a.members {
		x.busy &^= s.bit
		x.held &^= s.bit
		s.t.forget(x)
		s.mark(x)
	}
}

// stray notes that x is not served by the shard any more. Where there is no other, it is asked for again. The caller holds mu.
func (t *targets) stray(s *subscription, x *target, why string, now time.Time) {
	if x.state == Active {
		t.miss(x, now, pushedWithin, why)
	} else if x.state != Rejected {
		x.reason = why
	}
	if t.shardOf == nil {
		s.mark(x)
	} else {
		x.away = true
		t.news.astray = append(t.news.astray, x.Name)
	}
	t.tell()
}

// A slot's new owner may serve it before its former one has heard of that, and messages published meanwhile are lost, too. So the gap begins as
// much earlier as that takes at most: nodes tell each other what they own once in a second, and somebody looks every two.
const (
	pushedWithin = time.Second
	seenWithin   = 3 * time.Second
)

// miss notes that x, which is active, has been served elsewhere, for so long at most and since it became active. The caller holds mu.
func (t *targets) miss(x *target, now time.Time, within time.Duration, why string) {
	since := time.Unix(0, max(x.since, now.Add(-within).UnixNano()))
	x.set(Reconnecting, why, now)
	t.lose(t.of[x.slot], x, since, why)
	if since.Before(x.gap.Since) {
		x.gap.Since = since
	}
}

// carried is a target on its way from one shard's targets to another's.
type carried struct {
	tenants.Target
	refs   int32
	state  State
	reason string
	since  int64

	lost  bool      // messages for it are lost
	from  time.Time // since when
	cause string
}

// give hands targets over to another shard. Those that are active are lost from now on.
func (t *targets) give(names []tenants.Target, why string, now time.Time) (all []carried) {
	t.mu.Lock()
	defer t.mu.Unlock()
	given, gaps := map[*target]bool{}, map[*interruption]bool{}
	for _, name := range names {
		x := t.all[slotOf(name)][name]
		if x == nil || x.refs == 0 {
			continue
		}
		if x.state == Active {
			t.miss(x, now, seenWithin, why)
		}
		c := carried{Target: name, refs: x.refs, state: x.state, reason: x.reason, since: x.since}
		if g := x.gap; g != nil {
			c.lost, c.from, c.cause = true, g.Since, g.Cause
			given[x], gaps[g] = true, true
			g.open--
		}
		all = append(all, c)
		x.refs, x.gap, x.away = 0, nil, false
		t.sizes[x.slot]--
		t.mark(x)
		t.forget(x)
	}
	for g := range gaps { // it goes on elsewhere for those that are given away
		g.members = slices.DeleteFunc(g.members, func(x *target) bool { return given[x] })
		if g.open == 0 && len(g.members) > 0 {
			g.Until = now
			t.report(g)
		}
	}
	t.tell()
	return all
}

// take receives what another shard has given. Their gap ends when all of them are acknowledged here, refused or given up.
func (t *targets) take(all []carried, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var g *interruption
	for _, c := range all {
		slot := slotOf(c.Target)
		x := t.all[slot][c.Target]
		if x == nil {
			x = t.know(c.Target, slot, now)
		}
		x.refs, x.refused, x.away = c.refs, 0, false
		t.sizes[slot]++
		if x.offered {
			x.state, x.reason, x.since = c.state, c.reason, c.since
			if x.state == Rejected {
				x.set(Pending, "", now)
			}
		}
		if c.lost {
			if g == nil {
				g = &interruption{Gap: Gap{Since: c.from, Cause: c.cause}}
			}
			if c.from.Before(g.Since) {
				g.Since, g.Cause = c.from, c.cause
			}
			g.open++
			g.members = append(g.members, x)
			x.gap = g
		}
		if t.stopped {
			t.found(x, now)
			x.set(Closed, "the endpoint is closed", now)
		}
		t.mark(x)
	}
	t.tell()
}

// retry asks again for targets that were said to be served elsewhere.
func (t *targets) retry(names []tenants.Target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		if x := t.all[slotOf(name)][name]; x != nil && x.away {
			x.away = false
			t.mark(x)
		}
	}
}

// explain says why targets are not subscribed to yet.
func (t *targets) explain(names []tenants.Target, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range names {
		x := t.all[slotOf(name)][name]
		if x != nil && (x.state == Pending || x.state == Reconnecting) && x.reason != why {
			x.reason = why
			t.tell()
		}
	}
}
