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
}

// worker is a slot: one goroutine of the pool uses it at a time, from the moment there is work until there is none for it.
type worker struct {
	s        *Scheduler
	run      run
	delivery Delivery
	record   telemetry.Record
	ids      tenants.Sequence
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
	if s.waking || s.queue.busy == s.queue.slots || s.queue.tenants.n == 0 {
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
		next := s.wake()
		q.mu.Unlock()
		s.submit(next)

		took := w.handle()

		q.mu.Lock()
		q.done(&w.run, took, w.now)
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
}

// handle ends the deliveries of the run and returns the handlers' time. A handler that turns slow is not waited for by the rest of its run.
func (w *worker) handle() (took time.Duration) {
	t := w.run.trigger
	w.now = time.Now()
	for _, m := range w.run.expired {
		w.s.refuse(&w.record, arrival{trigger: t, message: m, outcome: tenants.Expired}, w.now)
		t.tenant.landed()
	}
	for i, m := range w.run.messages {
		took += w.invoke(t, m)
		cancelled := w.s.work.Err() != nil
		if cancelled {
			w.s.cancelled.Add(1)
		}
		if (cancelled || took > overrun) && i+1 < len(w.run.messages) {
			w.leave(i + 1)
			break
		}
	}
	w.close()
	return took
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

// invoke runs the handler on one message and returns its time.
func (w *worker) invoke(t *triggerQueue, m *Message) time.Duration {
	began := w.now
	v, d := t.version.Load(), &w.delivery
	*d = Delivery{Message: m, Trigger: v.public, Invocation: tenants.InvocationID(w.ids.Next(began)), Began: began, KeepOutput: keepHistory}
	if m.follow != nil {
		d.KeepOutput = keepFollowed
	}
	result := w.open(v).Invoke(w.s.work, d)
	ran := time.Since(began)
	w.now = began.Add(ran)
	w.record = telemetry.Record{
		Trigger: d.Trigger, Message: m.ID, Invocation: d.Invocation, Bytes: len(m.Payload()), Received: m.Received,
		Waited: began.Sub(m.Received), Ran: ran, Outcome: result.Outcome, Err: result.Err, Awaited: m.follow != nil,
		Output: result.Output, Truncated: result.Truncated, Memory: result.Memory, Fuel: result.Fuel,
	}
	w.s.end(&w.record, t, m)
	t.tenant.landed()
	return ran
}

// leave ends the run before its i-th delivery: the rest waits again, or is dropped where nothing may wait for the trigger any more.
func (w *worker) leave(i int) {
	s, t, left := w.s, w.run.trigger, w.run.messages[i:]
	s.queue.mu.Lock()
	why := s.queue.giveBack(&w.run, i, w.now)
	next := s.wake()
	s.queue.mu.Unlock()
	s.submit(next)
	if why == tenants.NoReason {
		return
	}
	for _, m := range left {
		s.refuse(&w.record, arrival{trigger: t, message: m, outcome: tenants.Dropped, reason: why}, w.now)
		t.tenant.landed()
	}
	if why == tenants.Stopping {
		s.dropped.Add(int64(len(left)))
	}
}

// What is kept of a guest's output for those who ask later: a little in the history, more where somebody waits for the answer.
const (
	keepHistory  = 256
	keepFollowed = 4 << 10
)

// refuse ends a delivery that never reached a handler.
func (s *Scheduler) refuse(rec *telemetry.Record, a arrival, now time.Time) {
	*rec = telemetry.Record{
		Trigger: a.trigger.version.Load().public, Message: a.message.ID, Bytes: len(a.message.Payload()), Received: a.message.Received,
		Waited: now.Sub(a.message.Received), Outcome: a.outcome, Reason: a.reason,
	}
	s.end(rec, a.trigger, a.message)
}

// end is where every Delivery ends, once.
func (s *Scheduler) end(rec *telemetry.Record, t *triggerQueue, m *Message) {
	rec.Channel = m.buf[:m.at]
	t.tenant.account.Record(rec)
	if m.follow != nil {
		m.follow.end(rec)
	}
	m.release()
}
