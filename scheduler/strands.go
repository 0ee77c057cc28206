package scheduler

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/tenloom/tenloom/tenants"
)

// strand is what waits in one order. A trigger without order_by has one, from which several runs may be on their way at once.
type strand struct {
	ring
	busy  bool    // strands of keys: a run of it is on its way, and there is no other
	ready bool    // it is in the list of those that may run
	next  *strand // in that list
}

// maxStrands is how many keys of a trigger are handled at once at most.
const maxStrands = 64

// strands are a trigger's strands by key: keys are hashed to them, and a strand runs one delivery at a time, so deliveries of one key never run at
// once nor out of order. Two keys may share a strand and then wait for each other.
type strands struct {
	all         [maxStrands]strand
	first, last *strand // those that have something and are not busy, in the order in which they came to that; some may have run empty since
	own         uint32  // for those without a key
}

// open puts a strand among those that may run, if it may.
func (k *strands) open(l *strand) {
	if l.busy || l.ready || l.n == 0 {
		return
	}
	l.ready = true
	if k.first == nil {
		k.first = l
	} else {
		k.last.next = l
	}
	k.last = l
}

// head is the strand that has waited longest of those that may run, or nil.
func (k *strands) head() *strand {
	for k.first != nil && k.first.n == 0 { // what it had was given up
		k.shift()
	}
	return k.first
}

func (k *strands) shift() {
	l := k.first
	k.first, l.next, l.ready = l.next, nil, false
}

// of returns where a message with a hashed key waits. Those that have none are in no order with others: they are spread, and away from strands
// that run where one is near.
func (k *strands) of(key uint64) *strand {
	if key != 0 {
		return &k.all[key%maxStrands]
	}
	for range 7 {
		if k.own++; !k.all[k.own%maxStrands].busy {
			break
		}
	}
	return &k.all[k.own%maxStrands]
}

// keyed hashes the key that a pointer finds in a payload; 0 is that there is none.
func keyed(p *tenants.Pointer, payload []byte) uint64 {
	value, ok := p.Find(payload)
	if !ok {
		return 0
	}
	return maphash.Bytes(seed, value) | 1<<63
}

// oldest is the strand whose first message is the oldest of the trigger, or nil.
func (t *triggerQueue) oldest() *strand {
	if t.strands == nil || t.main.n > 0 { // what is in main came before all that is in strands
		if t.main.n == 0 {
			return nil
		}
		return &t.main
	}
	var found *strand
	for i := range t.strands.all {
		if l := &t.strands.all[i]; l.n > 0 && (found == nil || older(*l.at(0), *found.at(0)) < 0) {
			found = l
		}
	}
	return found
}

func older(a, b *Message) int {
	return cmp.Or(a.Received.Compare(b.Received), slices.Compare(a.ID[:], b.ID[:]))
}

// order makes p what new deliveries are ordered by; nil is by arrival. What waits goes back to one strand in the order of its arrival, and is
// handled one after the other before the strands are; what runs was begun in another order, so it ends first. So a key's order holds over the
// change.
func (t *triggerQueue) order(p *tenants.Pointer) {
	if t.orderBy == p || p != nil && t.orderBy != nil && *p == *t.orderBy {
		return
	}
	var all []*Message
	if t.strands != nil {
		for t.main.n > 0 {
			all = append(all, t.main.pop())
		}
		for i := range t.strands.all {
			for l := &t.strands.all[i]; l.n > 0; {
				all = append(all, l.pop())
			}
		}
		slices.SortStableFunc(all, older)
		for _, m := range all {
			t.main.push(m)
		}
	}
	t.orderBy, t.strands, t.barrier = p, nil, t.running > 0
	if p != nil {
		t.strands = &strands{}
	}
}

// source is the strand that the next run takes from, or nil where nothing may run for the order's sake.
func (t *triggerQueue) source() *strand {
	switch {
	case t.waiting == 0 || t.barrier:
		return nil
	case t.strands == nil:
		return &t.main
	case t.main.n > 0: // from before there were keys
		if t.running > 0 {
			return nil
		}
		return &t.main
	case t.main.busy:
		return nil
	}
	return t.strands.head()
}

// leave marks that a run has taken from a strand.
func (t *triggerQueue) leave(l *strand) {
	if t.strands == nil {
		return
	}
	l.busy = true
	if l == t.strands.first {
		t.strands.shift()
	}
}

// back marks that a run of a strand has ended.
func (t *triggerQueue) back(l *strand) {
	l.busy = false
	if t.running == 0 {
		t.barrier = false
	}
	if t.strands != nil && l != &t.main {
		t.strands.open(l)
	}
}
