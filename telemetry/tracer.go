package telemetry

import (
	"context"
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Call is one call out of the sandbox that a handler made. It names the server and the operation, never keys or values.
type Call struct {
	System    string // redis or http
	Operation string // PUBLISH, GET, ...; of HTTP the method
	Server    string // host:port
	Began     time.Time
	Took      time.Duration
	Failed    bool
	Status    int    // of HTTP; 0 where no answer came
	Span      SpanID // where it was given on; zero draws one when it is needed
}

// MaxCalls is how many calls of one invocation are kept with it; all are counted.
const MaxCalls = 16

// Instance says what a handler ran in.
type Instance uint8

const (
	NoInstance Instance = iota // none ran, or nothing is known
	Reset                      // one that other messages had used, put back to its beginning
	Warm                       // one that keeps its state between messages
	Cold                       // a new one
	Instances                  // how many there are
)

var instanceNames = [Instances]string{"", "reset", "warm", "cold"}

func (i Instance) String() string { return instanceNames[min(i, Instances-1)] }

// MarshalText gives the name.
func (i Instance) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the name; one that it does not know is NoInstance.
func (i *Instance) UnmarshalText(b []byte) error {
	*i = NoInstance
	for n, name := range instanceNames {
		if name == string(b) {
			*i = Instance(n)
		}
	}
	return nil
}

// Sampler decides which deliveries are traced when they begin. The zero Sampler takes all whose parent is taken, and all without a parent.
type Sampler struct {
	Never       bool    // nothing is traced, not even what fails
	Ratio       float64 // of those without a parent, or of all; 0 means All
	None        bool    // of those without a parent, or of all, none: what fails and what is slow is traced alone
	Independent bool    // parents are not asked
}

// takes decides by the trace's id as the specification's TraceIdRatioBased does, so that all who see a trace agree.
func (s *Sampler) takes(id TraceID) bool {
	switch {
	case s.None:
		return false
	case s.Ratio <= 0 || s.Ratio >= 1:
		return true
	}
	return binary.BigEndian.Uint64(id[8:])>>1 < uint64(s.Ratio*math.MaxInt64)
}

// Traced is one Delivery to be made spans of. It owns all its bytes.
type Traced struct {
	Record         // Channel, Output and Calls are nil
	Channel string // of a message
	Calls   []Call
	Gap     *TracedGap // in place of a delivery
	Publish *TracedPublish
	calls   [MaxCalls]Call
}

// TracedGap is an interruption of a component's subscriptions.
type TracedGap struct {
	Tenant       tenants.ID
	App          tenants.AppName
	Component    tenants.ComponentID
	Endpoint     tenants.EndpointID
	Since, Until time.Time
	Targets      int
	Cause        string
}

// TracedPublish is a message that was published over the API.
type TracedPublish struct {
	Tenant       tenants.ID
	Endpoint     tenants.EndpointID
	Channel      string
	Message      tenants.MessageID
	Bytes        int
	Began, Ended time.Time
	Err          string
}

// spans is how many the record becomes.
func (t *Traced) spans() int64 {
	switch {
	case t.Gap != nil || t.Publish != nil:
		return 1
	case t.Invocation == (tenants.InvocationID{}):
		return 2
	}
	n := 3 + len(t.Calls) // processing, waiting, handler
	if t.Instance != NoInstance {
		n++
	}
	if t.Settled > 0 {
		n++
	}
	return int64(n)
}

// Tracer decides what is traced and hands it over, to be sent.
//
// A delivery's spans are made when it has ended, from the times in its Record, on the goroutine that sends them; only what is traced is copied.
// So the tail can be sampled: what failed and what was slow is traced whatever was decided when it began.
type Tracer struct {
	sampler   Sampler
	slow      time.Duration
	propagate bool
	batch     *Batch[*Traced]
	lost      atomic.Int64 // spans
	sent      atomic.Int64
}

// TracerConfig says how.
type TracerConfig struct {
	Sampler Sampler
	Slow    time.Duration // a handler that takes as long is traced in any case; default 1 s
	Alone   bool          // trace contexts of messages are not looked for
	Batch   BatchConfig[*Traced]
}

// DefaultSlow is how long a handler takes that is traced in any case, where nothing else is said.
const DefaultSlow = time.Second

// NewTracer starts a Tracer, whose goroutine Shutdown ends.
func NewTracer(c TracerConfig) *Tracer {
	t := &Tracer{sampler: c.Sampler, slow: c.Slow, propagate: !c.Alone}
	if t.slow == 0 {
		t.slow = DefaultSlow
	}
	send, failed := c.Batch.Send, c.Batch.Failed
	c.Batch.Send = func(ctx context.Context, all []*Traced) error {
		var spans int64
		for _, one := range all {
			spans += one.spans()
		}
		err := send(ctx, all)
		if err != nil {
			t.lost.Add(spans)
			if failed != nil {
				failed(err, int(spans))
			}
		} else {
			t.sent.Add(spans)
		}
		for _, one := range all {
			recycle(one)
		}
		return err
	}
	c.Batch.Failed = nil
	c.Batch.Dropped = func(one *Traced) { t.lost.Add(one.spans()) }
	t.batch = NewBatch(c.Batch)
	return t
}

// Shutdown sends what waits until ctx ends.
func (t *Tracer) Shutdown(ctx context.Context) error { return t.batch.Shutdown(ctx) }

// Flush sends what waits.
func (t *Tracer) Flush(ctx context.Context) error { return t.batch.Flush(ctx) }

// Counts tells how many spans were sent and how many were lost, and how many deliveries wait to become some.
func (t *Tracer) Counts() (sent, lost, waiting int64) {
	_, _, waiting = t.batch.Counts()
	return t.sent.Load(), t.lost.Load(), waiting
}

// begin gives a delivery its place in a trace.
func (t *Tracer) begin(payload []byte) (trace Trace) {
	var parent Parent
	if t.propagate {
		parent, _ = TraceOf(payload)
	}
	return t.under(parent)
}

// under makes a place below a parent; the zero Parent is none.
func (t *Tracer) under(parent Parent) (trace Trace) {
	trace.Span = NewSpanID()
	if parent.ID == (TraceID{}) {
		trace.ID = newTraceID()
		trace.Sampled = !t.sampler.Never && t.sampler.takes(trace.ID)
		return trace
	}
	trace.ID, trace.Parent, trace.Sampled = parent.ID, parent.Span, parent.Sampled
	if t.sampler.Never || t.sampler.Independent {
		trace.Sampled = !t.sampler.Never && t.sampler.takes(trace.ID)
	}
	return trace
}

// keeps decides at the end.
func (t *Tracer) keeps(rec *Record) bool {
	switch {
	case t.sampler.Never:
		return false
	case rec.Trace.Sampled, rec.Ran >= t.slow:
		return true
	}
	return rec.Outcome == tenants.Failed || rec.Outcome == tenants.TimedOut || rec.Outcome == tenants.DeadLettered
}

var tracedPool = sync.Pool{New: func() any { return new(Traced) }}

func recycle(t *Traced) {
	t.Record, t.Channel, t.Calls, t.Gap, t.Publish = Record{}, "", nil, nil, nil
	clear(t.calls[:])
	tracedPool.Put(t)
}

// record takes what is kept. The caller's bytes are copied.
func (t *Tracer) record(rec *Record) {
	one := tracedPool.Get().(*Traced)
	one.Record = *rec
	one.Record.Output, one.Record.Channel, one.Record.Calls = nil, nil, nil
	one.Channel = Text(rec.Channel[:min(len(rec.Channel), maxSpanText)])
	one.Calls = one.calls[:copy(one.calls[:], rec.Calls)]
	t.put(one)
}

// maxSpanText bounds what guests and publishers choose of a span's texts, in bytes.
const maxSpanText = 256

func (t *Tracer) put(one *Traced) {
	if spans := one.spans(); !t.batch.Put(one) {
		t.lost.Add(spans)
		recycle(one)
	}
}

// Gap has an interruption traced, in a trace of its own.
func (t *Tracer) Gap(g TracedGap) {
	if t.sampler.Never {
		return
	}
	one := tracedPool.Get().(*Traced)
	one.Gap = &g
	t.put(one)
}

// Published has a message traced that was published over the API.
func (t *Tracer) Published(trace Trace, p TracedPublish) {
	if t.sampler.Never || !trace.Sampled {
		return
	}
	one := tracedPool.Get().(*Traced)
	one.Trace, one.Publish = trace, &p
	t.put(one)
}

// Under gives something that begins a place in a trace, below the parent where there is one.
func (t *Tracer) Under(parent Parent) Trace { return t.under(parent) }
