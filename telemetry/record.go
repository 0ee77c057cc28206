package telemetry

import (
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
}

// Recorder owns all Accounts and the history.
type Recorder struct {
	History *History

	mu       sync.RWMutex
	accounts map[tenants.ID]*Account // grows with tenants, which the control store bounds
}

// New makes a Recorder that remembers the last history invocations.
func New(history int) *Recorder {
	return &Recorder{History: newHistory(history), accounts: map[tenants.ID]*Account{}}
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
		a = &Account{history: r.History}
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
	history  *History
	received atomic.Int64
	begun    atomic.Int64
	outcomes [tenants.Outcomes]atomic.Int64
	reasons  [tenants.Reasons]atomic.Int64
	ranNanos atomic.Int64
	fuel     atomic.Uint64
	held     [2]atomic.Uint64 // page-nanoseconds of linear memory, low word first
	gaps     atomic.Int64
}

// Receive counts n deliveries that were read for the tenant, before anything decides about them.
func (a *Account) Receive(n int) { a.received.Add(int64(n)) }

// Begin counts n deliveries that no longer wait: their handlers' turn has come, or they are given up. A negative n lets them wait again.
func (a *Account) Begin(n int) { a.begun.Add(int64(n)) }

// Gap counts one interruption of a subscription of the tenant.
func (a *Account) Gap() { a.gaps.Add(1) }

// Record ends a Delivery: it is called exactly once for each.
func (a *Account) Record(rec *Record) {
	a.outcomes[rec.Outcome].Add(1)
	if rec.Reason != tenants.NoReason {
		a.reasons[rec.Reason].Add(1)
	}
	a.ranNanos.Add(int64(rec.Ran))
	if rec.Fuel > 0 {
		a.fuel.Add(rec.Fuel)
	}
	a.hold(rec.Memory, rec.Ran)
	a.history.add(rec)
}

// page is what linear memory grows by, in bytes.
const page = 64 << 10

// hold counts the memory of one invocation over its time. In pages and nanoseconds one product fits a word; their sum does not for ever.
func (a *Account) hold(memory uint64, ran time.Duration) {
	product := (memory / page) * uint64(max(ran, 0))
	if product == 0 {
		return
	}
	if a.held[0].Add(product) < product {
		a.held[1].Add(1)
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
	c := Counts{Outcomes: map[string]int64{}, Reasons: map[string]int64{}, Ran: time.Duration(a.ranNanos.Load()), Fuel: a.fuel.Load(), Gaps: a.gaps.Load()}
	c.Held = (float64(a.held[1].Load())*(1<<64) + float64(a.held[0].Load())) * (page / 1e9) / 1e9
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
}

// Keep copies a Record into an Invocation.
func (rec *Record) Keep() Invocation {
	t := rec.Trigger
	in := Invocation{
		Message: rec.Message.String(), Tenant: t.Tenant, App: t.App, Version: t.Version, Component: t.Component,
		Channel: strings.ToValidUTF8(string(rec.Channel), "\uFFFD"), Target: t.Target.Name, Kind: t.Target.Kind.String(), Bytes: rec.Bytes, Received: rec.Received,
		QueuedMS: milliseconds(rec.Waited), RanMS: milliseconds(rec.Ran), Outcome: rec.Outcome, Reason: rec.Reason,
		Error: rec.Err, Output: strings.ToValidUTF8(string(rec.Output), "\uFFFD"), Truncated: rec.Truncated, Memory: rec.Memory, Fuel: rec.Fuel,
		Endpoint: t.Endpoint,
	}
	if rec.Invocation != (tenants.InvocationID{}) {
		in.ID = rec.Invocation.String()
	}
	return in
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
