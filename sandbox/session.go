package sandbox

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Session is a component in use by one goroutine, for messages that it handles one after the other. Each finds an instance that no message
// has touched, as with Component.Invoke, but what surrounds them is paid for once: the way to an instance, the processor's turn, and the
// thread that guests run on, whose fault counter tells which pages they wrote.
//
// Between Open and Close the goroutine is locked to its thread. A session is for runs of messages of a millisecond or so, since others may
// wait for the turn that it holds.
type Session struct {
	component *Component
	instance  *instance // clean; nil before the first message, and after one whose instance was closed
	turn      turn
	locked    bool      // to the thread
	result    Result    // of the last message
	clock     time.Time // since when the guest has computed; for its tenant's Budget, zero where it has none
}

var sessions = sync.Pool{New: func() any { return new(Session) }}

// Open begins a session.
func (c *Component) Open() *Session {
	s := sessions.Get().(*Session)
	s.component = c
	return s
}

// Close ends the session. It must not be used any more.
func (s *Session) Close() {
	c := s.component
	s.leave()
	if i := s.instance; i != nil {
		i.session = nil
		c.keep(i)
	}
	s.component, s.instance, s.result = nil, nil, Result{}
	sessions.Put(s)
}

// enter takes the turn and the thread for a message that begins now. A guest that has used up a slice is not what others should wait for, so
// the message after it queues again.
func (s *Session) enter(now time.Time) {
	if s.turn.held && !s.turn.tired {
		return
	}
	s.leave() // a locked goroutine would wait at the price of a thread
	s.component.program.runtime.turns.begin(&s.turn, now)
	runtime.LockOSThread()
	s.locked = true
}

func (s *Session) leave() {
	s.component.program.runtime.turns.leave(&s.turn)
	if !s.locked {
		return
	}
	if s.instance != nil {
		s.instance.unwatch()
	}
	runtime.UnlockOSThread()
	s.locked = false
}

// pause gives up turn and thread in the middle of a message, while the host waits on the guest's behalf, and resume takes them again.
func (s *Session) pause() {
	s.charge()
	s.component.program.runtime.turns.leave(&s.turn)
	s.instance.moved()
	runtime.UnlockOSThread()
}

func (s *Session) resume() {
	s.component.program.runtime.turns.enter(&s.turn)
	runtime.LockOSThread()
	s.rewind()
}

// yield gives turn and thread up at the end of a slice of fuel, until it is this guest's turn again. A goroutine that is locked to its thread
// would yield and wait at the price of thread switches.
func (s *Session) yield(breathe bool) {
	s.instance.moved()
	runtime.UnlockOSThread()
	if breathe {
		time.Sleep(breathFor)
	} else {
		runtime.Gosched()
	}
	s.component.program.runtime.turns.yield(&s.turn)
	runtime.LockOSThread()
	s.rewind()
}

// Invoke runs the component on one message, as Component.Invoke does. The Result is valid until the session's next Invoke or its Close.
func (s *Session) Invoke(ctx context.Context, call Call) *Result {
	var legacy bool
	r := s.use(ctx, call, func(i *instance) (err error) {
		legacy, err = i.handle(call.Payload)
		return err
	})
	r.LegacySuccess = legacy && r.Err == nil
	return r
}

// use takes an instance, gives it to somebody, and makes it clean again or closes it.
func (s *Session) use(ctx context.Context, call Call, to func(*instance) error) *Result {
	c := s.component
	if s.instance == nil {
		s.instance = c.take()
		s.instance.session = s
	}
	i := s.instance
	i.begin(ctx, call)
	s.afford()
	s.enter(i.used)
	s.rewind()
	err := i.run(to)
	s.charge()
	r := &s.result
	*r = Result{}
	r.Output, r.Truncated, r.Memory, r.Fuel = i.kept.bytes, i.stdout.truncated+i.stderr.truncated, i.quota.peak, i.burnt()
	r.Instance, r.Started = i.how()
	r.Calls, r.Called = i.call.Outcalls()
	sound := err == nil
	if err != nil {
		f := c.failure(ctx, i, err)
		r.Outcome, r.Err = f.outcome(), f
		sound = f.Kind == HandlerError
	}
	if !sound || !c.clean(i) {
		i.close()
		s.instance = nil
	}
	return r
}
