package telemetry

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Record is what is known of one Delivery when it ended.
type Record struct {
	Trigger    *tenants.Trigger // immutable
	Message    tenants.MessageID
	Invocation tenants.InvocationID // zero where no handler ran
	Channel    []byte               // valid during the call alone
	Bytes      int                  // of payload
	Payload    []byte               // valid during the call alone
	Received   time.Time            // read from the socket
	Waited     time.Duration        // from there to the handler's start, or to the end where none ran
	Ran        time.Duration        // in the handler
	Outcome    tenants.Outcome
	Reason     tenants.Reason // with Dropped
	Err        string         // with Failed and TimedOut
	Awaited    bool           // somebody waits to be told of it
	Output     []byte         // the beginning of what the guest printed; valid during the call alone
	Truncated  int64          // bytes of output that were cut
	Memory     uint64         // peak of linear memory, bytes
	Fuel       uint64         // units that the guest used, about one for each instruction

	Attempt     int           // from 1; 0 is 1
	Instance    Instance      // what the handler ran in
	Started     time.Duration // of Ran, until the instance was there; 0 where it was waiting already
	Settled     time.Duration // after Ran, until the server had taken the acknowledgement; 0 where it wants none
	Calls       []Call        // the first MaxCalls that the handler made out of the sandbox; valid during the call alone
	CallsMade   [Systems]int32
	CallsFailed int32
	Sent        int64 // bytes through calls
	Replied     int64 // bytes in their answers
	Trace       Trace
}

// System is what a handler's calls are for.
type System uint8

const (
	Redis System = iota
	HTTP
	Systems // how many there are
)

var systemNames = [Systems]string{"redis", "http"}

func (s System) String() string { return systemNames[min(s, Systems-1)] }

// Recorder owns all Accounts and the history.
type Recorder struct {
	History *History

	tracer  atomic.Pointer[Tracer]  // nil: nothing is traced
	archive atomic.Pointer[Archive] // nil: History is all

	mu       sync.RWMutex
	accounts map[tenants.ID]*Account // grows with tenants, which the control store bounds
}

// New makes a Recorder that remembers the last history invocations.
func New(history int) *Recorder {
	return &Recorder{History: newHistory(history), accounts: map[tenants.ID]*Account{}}
}

// Trace has deliveries traced from now on; nil ends that.
func (r *Recorder) Trace(t *Tracer) { r.tracer.Store(t) }

// Keep has invocations go to an archive from now on; nil ends that.
func (r *Recorder) Keep(a *Archive) { r.archive.Store(a) }

// Archive is what keeps invocations, or nil.
func (r *Recorder) Archive() *Archive { return r.archive.Load() }

// Tracer is what traces deliveries, or nil.
func (r *Recorder) Tracer() *Tracer { return r.tracer.Load() }

// Begin gives a delivery that begins its place in a trace, below the one that its payload carries; none where nothing is traced.
func (r *Recorder) Begin(payload []byte) Trace {
	if t := r.tracer.Load(); t != nil {
		return t.begin(payload)
	}
	return Trace{}
}

// all lists all accounts.
func (r *Recorder) all() map[tenants.ID]*Account {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return maps.Clone(r.accounts)
}

// Account returns the tenant's account, opening it at first use.
func (r *Recorder) Account(id tenants.ID) *Account {
	r.mu.RLock()
	a := r.accounts[id]
	r.mu.RUnlock()
	if a != nil {
		return a
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a = r.accounts[id]; a == nil {
		a = &Account{recorder: r, history: r.History}
		r.accounts[id] = a
	}
	return a
}

// Account counts one tenant's deliveries. At any time
//
//	received = the sum of outcomes + queued + in flight
//
// because a delivery is counted when it is received, again when it stops waiting, and a third time when it has ended: what was received and
// has not begun is queued, and what has begun and not ended is in flight.
type Account struct {
	recorder *Recorder
	history  *History
	received atomic.Int64
	begun    atomic.Int64
	outcomes [tenants.Outcomes]atomic.Int64
	reasons  [tenants.Reasons]atomic.Int64
	gaps     atomic.Int64
	gapNanos atomic.Int64
	cutLines atomic.Int64
	work     atomic.Pointer[work] // made with the first delivery that ends
}

// Receive counts n deliveries that were read for the tenant, before anything decides about them.
func (a *Account) Receive(n int) { a.received.Add(int64(n)) }

// Begin counts n deliveries that no longer wait: their handlers' turn has come, or they are given up. A negative n lets them wait again.
func (a *Account) Begin(n int) { a.begun.Add(int64(n)) }

// Gap counts one interruption of a subscription of the tenant, and how long it was.
func (a *Account) Gap(d time.Duration) {
	a.gaps.Add(1)
	a.gapNanos.Add(int64(d))
}

// CutLine counts a line of output that the tenant's rate did not let into its log.
func (a *Account) CutLine() { a.cutLines.Add(1) }

// Record ends a Delivery: it is called exactly once for each, here or in a Tally. It counts, keeps it in the history, and has it traced.
func (a *Account) Record(rec *Record) {
	w := a.working()
	w.add(rec)
	a.end(rec, w)
}

// working is the account's work, made at first use.
func (a *Account) working() *work {
	if w := a.work.Load(); w != nil {
		return w
	}
	return a.start()
}

// end does all of Record but count what the delivery came to.
func (a *Account) end(rec *Record, w *work) {
	a.outcomes[rec.Outcome].Add(1)
	if rec.Reason != tenants.NoReason {
		a.reasons[rec.Reason].Add(1)
	}
	if a.history.add(rec) {
		if to := a.recorder.archive.Load(); to != nil {
			to.offer(rec, w)
		}
	}
	if rec.Trace.On() {
		if t := a.recorder.tracer.Load(); t != nil && t.keeps(rec) {
			t.record(rec)
			w.exemplify(rec)
		}
	}
}

// Counts is a reading of an Account.
type Counts struct {
	Received int64            `json:"received"`
	Queued   int64            `json:"queued"`
	InFlight int64            `json:"in_flight"`
	Outcomes map[string]int64 `json:"outcomes"`
	Reasons  map[string]int64 `json:"reasons"`
	Ran      time.Duration    `json:"ran_ns"`
	Fuel     uint64           `json:"fuel"`       // units, of all invocations
	Held     float64          `json:"gb_seconds"` // each invocation's largest memory in GB (1e9 bytes) times its time in seconds
	Gaps     int64            `json:"gaps"`
}

// Ended is the sum of all outcomes.
func (c Counts) Ended() (n int64) {
	for _, v := range c.Outcomes {
		n += v
	}
	return n
}

// Counts reads the account. Its numbers add up at any time, and none is negative: under traffic what has ended is of a slightly earlier
// instant than what is queued.
func (a *Account) Counts() Counts {
	c := Counts{Outcomes: map[string]int64{}, Reasons: map[string]int64{}, Gaps: a.gaps.Load()}
	if w := a.work.Load(); w != nil {
		sum := w.total()
		c.Ran, c.Fuel, c.Held = time.Duration(w.ran.sum.Load()), sum.Fuel, sum.Held
	}
	for o := range tenants.Outcomes {
		c.Outcomes[o.String()] = a.outcomes[o].Load()
	}
	for r := tenants.NoReason + 1; r < tenants.Reasons; r++ {
		c.Reasons[r.String()] = a.reasons[r].Load()
	}
	begun := a.begun.Load() // after what has ended and before what was received, each of which is more than the one before
	c.Received = a.received.Load()
	c.Queued, c.InFlight = c.Received-begun, begun-c.Ended()
	return c
}

// Queued is how many deliveries the account says wait: Counts.Queued alone.
func (a *Account) Queued() int64 {
	begun := a.begun.Load()
	return a.received.Load() - begun
}

// Invocation is a Record kept: it owns all its bytes.
type Invocation struct {
	ID        string              `json:"id"`
	Message   string              `json:"message"`
	Tenant    tenants.ID          `json:"tenant"`
	App       tenants.AppName     `json:"app"`
	Version   tenants.VersionID   `json:"version"`
	Component tenants.ComponentID `json:"component"`
	Channel   string              `json:"channel"`
	Target    string              `json:"target"`
	Kind      string              `json:"kind"`
	Bytes     int                 `json:"bytes"`
	Received  time.Time           `json:"received_at"`
	QueuedMS  float64             `json:"queued_ms"`
	RanMS     float64             `json:"duration_ms"`
	Outcome   tenants.Outcome     `json:"outcome"`
	Reason    tenants.Reason      `json:"reason,omitempty"`
	Error     string              `json:"error,omitempty"`
	Output    string              `json:"output,omitempty"`
	Truncated int64               `json:"truncated,omitempty"`
	Memory    uint64              `json:"memory_bytes,omitempty"`
	Fuel      uint64              `json:"fuel,omitempty"`
	Endpoint  tenants.EndpointID  `json:"endpoint,omitempty"`
	Attempt   int                 `json:"attempt"`
	Trace     string              `json:"trace_id,omitempty"`
	Stages    []Stage             `json:"stages,omitempty"`
	Payload   []byte              `json:"-"` // its beginning, where that is kept
}

// Keep copies a Record into an Invocation.
func (rec *Record) Keep() Invocation {
	t := rec.Trigger
	in := Invocation{
		Message: rec.Message.String(), Tenant: t.Tenant, App: t.App, Version: t.Version, Component: t.Component,
		Channel: strings.ToValidUTF8(string(rec.Channel), "\uFFFD"), Target: t.Target.Name, Kind: t.Target.Kind.String(), Bytes: rec.Bytes, Received: rec.Received,
		QueuedMS: milliseconds(rec.Waited), RanMS: milliseconds(rec.Ran), Outcome: rec.Outcome, Reason: rec.Reason,
		Error: rec.Err, Output: strings.ToValidUTF8(string(rec.Output), "\uFFFD"), Truncated: rec.Truncated, Memory: rec.Memory, Fuel: rec.Fuel,
		Endpoint: t.Endpoint, Attempt: max(rec.Attempt, 1), Stages: rec.stages(),
	}
	if rec.Trace.On() {
		in.Trace = rec.Trace.ID.String()
	}
	if rec.Invocation != (tenants.InvocationID{}) {
		in.ID = rec.Invocation.String()
	}
	return in
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
