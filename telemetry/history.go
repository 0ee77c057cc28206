package telemetry

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// History remembers the last invocations of all tenants, the newest in place of the oldest.
//
// Above historyRate a second it takes a sample of those that were handled, because a ring that turns in a millisecond serves nobody, and
// filling it would cost more than all other accounts. What failed is always kept, and so is what somebody waits for.
type History struct {
	due atomic.Int64 // generic cell rate algorithm: the time, in Unix nanoseconds, at which the bucket of handled ones is full again

	mu   sync.Mutex
	ring []entry // length is the bound
	next int
	full bool
}

// entry is a Record in the form that costs least to keep; it is made readable when somebody asks. What guests and publishers choose the
// length of is cut.
type entry struct {
	rec     Record
	channel [256]byte
	output  [256]byte
	name    int // bytes of channel
	cut     int // bytes of output
}

func newHistory(n int) *History { return &History{ring: make([]entry, max(n, 1))} }

// historyRate is how many handled invocations a second are kept for as long as that lasts; one second's worth may come at once.
const historyRate = 10_000

// wants takes one from the bucket of handled invocations.
func (h *History) wants(now int64) bool { return takeOne(&h.due, now, historyRate) }

// takeOne takes one from a bucket of so many a second, by the generic cell rate algorithm. due is the time, in Unix nanoseconds, at which it is full
// again.
func takeOne(full *atomic.Int64, now, rate int64) bool {
	each := int64(time.Second) / rate
	for {
		due := full.Load()
		next := max(due, now) + each
		switch ahead := due - now; {
		case ahead >= 2*int64(time.Second): // the clock was set back
			next = now
		case ahead >= int64(time.Second):
			return false
		}
		if full.CompareAndSwap(due, next) {
			return true
		}
	}
}

// add keeps deliveries that reached a handler; the others are counted alone. It tells whether it kept this one.
func (h *History) add(rec *Record) bool {
	if rec.Invocation == (tenants.InvocationID{}) {
		return false
	}
	if rec.Outcome == tenants.Handled && !rec.Awaited && !h.wants(rec.Received.UnixNano()+int64(rec.Waited+rec.Ran)) {
		return false
	}
	h.mu.Lock()
	e := &h.ring[h.next]
	e.rec = *rec
	e.name = copy(e.channel[:], rec.Channel)
	e.cut = copy(e.output[:], rec.Output)
	e.rec.Truncated += int64(len(rec.Output) - e.cut)
	e.rec.Channel, e.rec.Output, e.rec.Payload, e.rec.Calls = nil, nil, nil, slices.Clone(rec.Calls)
	if h.next++; h.next == len(h.ring) {
		h.next, h.full = 0, true
	}
	h.mu.Unlock()
	return true
}

// Last returns up to n invocations of a tenant, newest first.
func (h *History) Last(tenant tenants.ID, n int) []Invocation {
	return h.Select(tenant, "", n, func(*Record) bool { return true })
}

// Select returns up to n invocations of a tenant that want takes, newest first, older than the one with the id after; "" is none. Of a Record it
// is shown what a Record's doc says, with the channel cut.
func (h *History) Select(tenant tenants.ID, after string, n int, want func(*Record) bool) []Invocation {
	var last tenants.ULID
	if after != "" {
		var err error
		if last, err = tenants.ParseULID(strings.TrimPrefix(after, "inv_")); err != nil {
			return nil
		}
	}
	var found []Invocation
	passed := after == ""
	h.each(func(e *entry) bool {
		if len(found) >= n {
			return false
		}
		if e.rec.Trigger.Tenant != tenant {
			return true
		}
		if !passed {
			passed = e.rec.Invocation == tenants.InvocationID(last)
			return true
		}
		rec := e.rec
		rec.Channel, rec.Output = e.channel[:e.name], e.output[:e.cut]
		if want(&rec) {
			found = append(found, rec.Keep())
		}
		return true
	})
	return found
}

// Find returns one invocation of a tenant.
func (h *History) Find(tenant tenants.ID, id string) (in Invocation, ok bool) {
	u, err := tenants.ParseULID(strings.TrimPrefix(id, "inv_"))
	if err != nil {
		return Invocation{}, false
	}
	h.each(func(e *entry) bool {
		if e.rec.Invocation == tenants.InvocationID(u) && e.rec.Trigger.Tenant == tenant {
			in, ok = e.keep(), true
		}
		return !ok
	})
	return in, ok
}

// each visits entries from the newest until visit says no.
func (h *History) each(visit func(*entry) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.next
	if h.full {
		n = len(h.ring)
	}
	for i := range n {
		if !visit(&h.ring[(h.next-1-i+len(h.ring))%len(h.ring)]) {
			return
		}
	}
}

func (e *entry) keep() Invocation {
	rec := e.rec
	rec.Channel, rec.Output = e.channel[:e.name], e.output[:e.cut]
	return rec.Keep()
}
