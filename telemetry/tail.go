package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Kept is a Line in a Tail.
type Kept struct {
	Seq       uint64              `json:"seq"` // 1, 2, 3, ... within the tenant, since the process began
	At        time.Time           `json:"at"`
	App       tenants.AppName     `json:"app"`
	Component tenants.ComponentID `json:"component"`
	Version   tenants.VersionID   `json:"version,omitempty"`
	Invoked   string              `json:"invocation,omitempty"` // id of the invocation that printed it
	Trace     string              `json:"trace_id,omitempty"`   // that it belongs to
	Stream    string              `json:"stream"`               // stdout or stderr
	Level     Level               `json:"level"`                // as the line says it, else by its stream
	Text      string              `json:"text"`                 // what is no UTF-8 is replaced
}

// Bounds of each tenant's lines in a Tail.
const (
	TailLines = 2000
	TailBytes = 512 << 10 // of text and 64 for each line
	lineCost  = 64        // beside which a line costs some 200 that TailLines bounds
)

// Tail keeps the last lines of each tenant's handlers. Beyond the bounds the tenant's own oldest go; those who read later are told how many
// they have missed. It is safe for concurrent use.
type Tail struct {
	lines, bytes int

	mu      sync.RWMutex
	tenants map[tenants.ID]*tailOf // grows with tenants, which the control store bounds; Forget
}

// tailOf is one tenant's.
type tailOf struct {
	mu      sync.Mutex
	kept    []Kept // a ring: the line with number n is at n % len
	first   uint64 // number of the oldest line that is kept
	next    uint64 // number of the next one
	bytes   int
	changed chan struct{} // closed with the next line; nil: nobody waits
}

// NewTail makes a Tail of so many lines and bytes for each tenant; 0 means TailLines and TailBytes.
func NewTail(lines, bytes int) *Tail {
	if lines == 0 {
		lines = TailLines
	}
	if bytes == 0 {
		bytes = TailBytes
	}
	return &Tail{lines: lines, bytes: bytes, tenants: map[tenants.ID]*tailOf{}}
}

func (t *Tail) of(id tenants.ID) *tailOf {
	t.mu.RLock()
	one := t.tenants[id]
	t.mu.RUnlock()
	if one != nil {
		return one
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if one = t.tenants[id]; one == nil {
		one = &tailOf{first: 1, next: 1}
		t.tenants[id] = one
	}
	return one
}

// Forget drops a tenant's lines.
func (t *Tail) Forget(id tenants.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.tenants, id)
}

// Write keeps a line. One that is longer than all that is kept is cut.
func (t *Tail) Write(l Line) {
	text := l.Text
	if most := t.bytes - lineCost; len(text) > most {
		text = text[:most]
	}
	k := Kept{At: l.At, App: l.App, Component: l.Component, Version: l.Version, Stream: l.Stream.String(), Level: levelOf(l.Stream, text),
		Text: strings.ToValidUTF8(string(text), "\uFFFD")}
	if l.Invoked != (tenants.InvocationID{}) {
		k.Invoked = l.Invoked.String()
	}
	if l.Trace.On() {
		k.Trace = l.Trace.ID.String()
	}
	one := t.of(l.Tenant)
	one.mu.Lock()
	defer one.mu.Unlock()
	for int(one.next-one.first) >= t.lines || one.bytes > 0 && one.bytes+len(k.Text)+lineCost > t.bytes {
		one.drop()
	}
	if int(one.next-one.first) == len(one.kept) {
		one.grow(t.lines)
	}
	k.Seq = one.next
	one.kept[k.Seq%uint64(len(one.kept))] = k
	one.bytes += len(k.Text) + lineCost
	one.next++
	if one.changed != nil {
		close(one.changed)
		one.changed = nil
	}
}

func (o *tailOf) drop() {
	at := &o.kept[o.first%uint64(len(o.kept))]
	o.bytes -= len(at.Text) + lineCost
	*at = Kept{}
	o.first++
}

// grow doubles the ring, so that a quiet tenant costs little.
func (o *tailOf) grow(most int) {
	bigger := make([]Kept, min(max(16, 2*len(o.kept)), most))
	for n := o.first; n < o.next; n++ {
		bigger[n%uint64(len(bigger))] = o.kept[n%uint64(len(o.kept))]
	}
	o.kept = bigger
}

// Read returns up to most of a tenant's lines behind number after that want takes, the oldest first, and the number to go on from. missed is how
// many lines behind after are no longer kept; a number that is yet to come counts as 0.
func (t *Tail) Read(id tenants.ID, after uint64, most int, want func(*Kept) bool) (lines []Kept, next, missed uint64) {
	one := t.of(id)
	one.mu.Lock()
	defer one.mu.Unlock()
	if after >= one.next {
		after = 0
	}
	if after+1 < one.first {
		missed, after = one.first-after-1, one.first-1
	}
	for after+1 < one.next && len(lines) < most {
		after++
		if k := &one.kept[after%uint64(len(one.kept))]; want(k) {
			lines = append(lines, *k)
		}
	}
	return lines, after, missed
}

// Last returns the last lines of a tenant that want takes, the oldest first, and the number to go on from.
func (t *Tail) Last(id tenants.ID, most int, want func(*Kept) bool) (lines []Kept, next uint64) {
	one := t.of(id)
	one.mu.Lock()
	defer one.mu.Unlock()
	for n := one.next; n > one.first && len(lines) < most; n-- {
		if k := &one.kept[(n-1)%uint64(len(one.kept))]; want(k) {
			lines = append(lines, *k)
		}
	}
	slices.Reverse(lines)
	return lines, one.next - 1
}

// Wait returns a channel that is closed when there is a line behind number after.
func (t *Tail) Wait(id tenants.ID, after uint64) <-chan struct{} {
	one := t.of(id)
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.next > after+1 {
		now := make(chan struct{})
		close(now)
		return now
	}
	if one.changed == nil {
		one.changed = make(chan struct{})
	}
	return one.changed
}
