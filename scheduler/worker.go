package scheduler

import (
	"context"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Invoker runs a trigger's component. It is opened by many workers at once. Apply compares Invokers, so it is a pointer, or something else
// that can be compared.
type Invoker interface {
	Open() Session
}

// Session runs a component on deliveries, one after the other on one goroutine, which closes it soon: what surrounds a handler's call can be
// paid once for a run of them. Invoke returns when the handler has ended, and must return soon after ctx has ended. It keeps what a guest does
// wrong to itself: a panic ends the process.
type Session interface {
	Invoke(ctx context.Context, d *Delivery) Result
	Close()
}

// Result is how an invocation ended.
type Result struct {
	Outcome   tenants.Outcome // Handled, Failed or TimedOut
	Err       string          // what the tenant is told
	Output    []byte          // up to Delivery.KeepOutput bytes of what the guest printed
	Truncated int64           // bytes of output that were cut
	Memory    uint64          // peak of linear memory, bytes
	Fuel      uint64          // units of fuel that the guest used

	Instance    telemetry.Instance // what the handler ran in
	Started     time.Duration      // until a new one was there
	Calls       []telemetry.Call   // the first that it made out of the sandbox; valid until the next Invoke
	CallsMade   [telemetry.Systems]int32
	CallsFailed int32
	Sent        int64 // bytes through them
	Replied     int64 // bytes of their answers
}

// worker is a slot: one goroutine of the pool uses it at a time, from the moment there is work until there is none for it.
type worker struct {
	s        *Scheduler
	run      run
	delivery Delivery
	record   telemetry.Record
	tally    telemetry.Tally // of the run
	ids      tenants.Sequence
	stock    stock
	session  Session  // of the run; nil before its first delivery
	opened   *version // what session belongs to
	task     func()   // w.work, made once so that a submit allocates nothing
	now      time.Time
}

// wake takes a free slot, if work waits that may run. The caller holds the queue's lock and submits the returned worker after releasing it.
//
// One worker at most is on its way between a wake and its first look at the queue; when it finds a run and there is more, it wakes the next.
// So a burst wakes as many as it needs, and a single message one.
func (s *Scheduler) wake() *worker {
	if s.waking || !s.queue.ready() {
		return nil
	}
	s.waking = true
	s.queue.busy++
	if n := len(s.idle); n > 0 {
		w := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return w
	}
	w := &worker{s: s}
	w.task = w.work
	return w
}

// submit hands a worker to the pool, which takes as many as there are slots without waiting, and refuses none before it is released, which
// happens when all slots are free.
func (s *Scheduler) submit(w *worker) {
	if w == nil {
		return
	}
	if err := s.pool.Submit(w.task); err != nil {
		panic("scheduler: worker pool refused a slot that is free: " + err.Error())
	}
}

// work runs what the queue gives until it gives nothing.
func (w *worker) work() {
	s, q := w.s, &w.s.queue
	q.mu.Lock()
	s.waking = false
	for w.now = time.Now(); q.next(&w.run, w.now); {
		s.watch()
		next := s.wake()
		q.mu.Unlock()
		s.submit(next)

		w.handle()

		q.mu.Lock()
		q.done(&w.run, w.now)
	}
	w.forget()
	q.busy--
	s.idle = append(s.idle, w) // from the unlock on another goroutine may use it
	s.quiet()
	q.mu.Unlock()
}

// forget keeps an idle worker from keeping anything else alive.
func (w *worker) forget() {
	clear(w.run.messages[:cap(w.run.messages)])
	clear(w.run.expired[:cap(w.run.expired)])
	w.delivery, w.record = Delivery{}, telemetry.Record{}
	w.stock.empty()
}

// handle ends the deliveries of the run, until its handler turns slow or somebody else takes the rest.
func (w *worker) handle() {
	r := &w.run
	w.now = time.Now()
	for _, m := range r.expired {
		w.s.refuse(&w.record, &w.stock, arrival{trigger: r.trigger, message: m, outcome: tenants.Expired}, w.now)
	}
	for r.took <= overrun && !r.timedOut {
		m := r.claim()
		if m == nil {
			break
		}
		w.invoke(r.trigger, m)
	}
	w.tally.Flush()
	w.close()
}

// open gives the session for a version. A deploy may bring another in the middle of a run.
func (w *worker) open(v *version) Session {
	if w.opened != v {
		w.close()
		w.session, w.opened = v.invoker.Open(), v
	}
	return w.session
}

func (w *worker) close() {
	if w.opened == nil {
		return
	}
	w.session.Close()
	w.session, w.opened = nil, nil
}

// invoke runs the handler on one message, in the version that is deployed at this moment.
func (w *worker) invoke(t *triggerQueue, m *Message) {
	began := w.now
	v, d := t.version.Load(), &w.delivery
	d.Message, d.Trigger, d.Invocation, d.Began, d.KeepOutput = m, v.public, tenants.InvocationID(w.ids.Next(began)), began, keepHistory
	if m.follow != nil {
		d.KeepOutput = keepFollowed
	}
	d.Trace = w.s.config.Recorder.Begin(m.Payload())
	result := w.open(v).Invoke(w.s.work, d)
	ran := time.Since(began)
	w.now = began.Add(ran)
	w.run.took += ran
	w.run.timedOut = result.Outcome == tenants.TimedOut
	rec := &w.record // field by field: a literal would be made on the stack first, and then copied
	*rec = telemetry.Record{}
	rec.Trigger, rec.Message, rec.Invocation, rec.Channel, rec.Bytes, rec.Payload = d.Trigger, m.ID, d.Invocation, m.named(), len(m.Payload()), m.Payload()
	rec.Received, rec.Waited, rec.Ran, rec.Awaited, rec.Trace = m.Received, began.Sub(m.Received), ran, m.follow != nil, d.Trace
	rec.Outcome, rec.Err, rec.Output, rec.Truncated = result.Outcome, result.Err, result.Output, result.Truncated
	rec.Memory, rec.Fuel, rec.Instance, rec.Started = result.Memory, result.Fuel, result.Instance, result.Started
	rec.Calls, rec.CallsMade, rec.CallsFailed, rec.Sent, rec.Replied = result.Calls, result.CallsMade, result.CallsFailed, result.Sent, result.Replied
	w.tally.Record(t.tenant.account, rec, w.run.begun < len(w.run.messages))
	part(rec, &w.stock, m)
}

// watch has the watchdog look once a run that is on its way has lasted too long. The caller holds the queue's lock. A worker that looks for
// work sees such runs by itself; the watchdog is for the time when none does.
func (s *Scheduler) watch() {
	if s.watching || s.queue.runs.several == 0 {
		return
	}
	s.watching = true
	wait := max(time.Until(s.queue.runs.first.began)+overrun, 0) + time.Microsecond
	if s.watchdog == nil {
		s.watchdog = time.AfterFunc(wait, s.look)
	} else {
		s.watchdog.Reset(wait)
	}
}

// look lets others have what runs that last too long have not begun.
func (s *Scheduler) look() {
	s.queue.mu.Lock()
	s.watching = false
	s.queue.overdue(time.Now())
	s.watch()
	w := s.wake()
	s.queue.mu.Unlock()
	s.submit(w)
}

// later calls f under the queue's lock, and wakes a worker for what it brought.
func (s *Scheduler) later(d time.Duration, f func(time.Time)) *time.Timer {
	return time.AfterFunc(d, func() {
		s.queue.mu.Lock()
		f(time.Now())
		w := s.wake()
		s.queue.mu.Unlock()
		s.submit(w)
	})
}

// What is kept of a guest's output for those who ask later: a little in the history, more where somebody waits for the answer.
const (
	keepHistory  = 256
	keepFollowed = 4 << 10
)

// refuse ends a delivery that never reached a handler.
func (s *Scheduler) refuse(rec *telemetry.Record, to *stock, a arrival, now time.Time) {
	*rec = telemetry.Record{
		Trigger: a.trigger.version.Load().public, Message: a.message.ID, Bytes: len(a.message.Payload()), Received: a.message.Received,
		Waited: now.Sub(a.message.Received), Outcome: a.outcome, Reason: a.reason,
		Trace: s.config.Recorder.Begin(a.message.Payload()), Channel: a.message.named(),
	}
	a.trigger.tenant.account.Record(rec)
	part(rec, to, a.message)
}

// part is the end of a Delivery, after its Record, for whoever follows the message and for the message itself.
func part(rec *telemetry.Record, to *stock, m *Message) {
	if m.follow != nil {
		m.follow.end(rec)
	}
	m.release(to)
}
