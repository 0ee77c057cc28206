package canon

import (
	"context"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// HostFunc is a function of the host. It reads its arguments with in, all of them or the rest with Skip, and then writes its result with out;
// views that in has given are not valid any more once out writes a string or list. What the guest does wrong ends it by a panic with a
// *Trap, Trapf; any other error that is thrown as a panic ends it too, and reaches who called the guest.
//
// A function that waits for long may call c.Defer and write its result later, once it has read its arguments.
type HostFunc func(c *Call, in *Reader, out *Writer)

// Lower is canon lower in one Store: a function of the component model as a core function.
type Lower struct {
	Options Options
	name    string
	inst    *Instance
	fn      *Func
	host    HostFunc
	callee  *Lift
	params  *block
	result  *block
	pointer int // the core parameter that is the address of the result; -1 where it is returned
}

// NewLower lowers a function of the host into a component instance. The name is for messages.
func (s *Store) NewLower(component int, f *Func, name string, o Options, host HostFunc) *Lower {
	l := &Lower{Options: o, name: name, inst: &s.instances[component], fn: f, host: host, params: f.params.flat, pointer: -1}
	most, mostResults, slots := types.MaxFlatParams, types.MaxFlatResults, f.params.slots
	if o.Async {
		most, mostResults = types.MaxFlatAsyncParams, 0
	}
	if l.params == nil || slots > most {
		l.params, slots = f.params.memory, 1
	}
	if l.result = f.result.flat; l.result == nil || f.result.slots > mostResults {
		l.result, l.pointer = f.result.memory, slots
	}
	return l
}

// NewLowerTo lowers a function that another component instance of the Store lifts.
func (s *Store) NewLowerTo(component int, name string, o Options, callee *Lift) *Lower {
	l := s.NewLower(component, callee.fn, name, o, nil)
	l.callee = callee
	return l
}

// Call is one call of a lowered function, which the specification calls a subtask.
type Call struct {
	store   *Store
	lower   *Lower
	side    side
	state   callState
	flat    [types.MaxFlat + 1]uint64
	result  [1]uint64
	in      Reader
	out     Writer
	lenders []uint32 // handles that are lent to the call
	task    *Task    // the callee's
	pending *Pending

	index           uint32 // in the table of the caller; 0 while the call is not there
	delivered       bool   // the caller knows that it is over
	cancelRequested bool
	event           bool // the caller is to be told the state
	set             *waitableSet
	syncWaiter      bool
}

type callState uint8

// The states of a call, as the caller is told them.
const (
	callStarting callState = iota
	callStarted
	callReturned
	callCancelledBeforeStarted
	callCancelledBeforeReturned
)

// Context is the context that the guest was called with.
func (c *Call) Context() context.Context { return c.side.ctx }

// Store is what the caller belongs to.
func (c *Call) Store() *Store { return c.store }

// Async tells whether the caller goes on while the call is under way, so that Defer gains it something.
func (c *Call) Async() bool { return c.lower.Options.Async }

func (s *Store) call() *Call {
	if n := len(s.calls); n > 0 {
		c := s.calls[n-1]
		s.calls = s.calls[:n-1]
		return c
	}
	return &Call{store: s}
}

// release keeps a call that is over for the next one.
func (c *Call) release() {
	if s := c.store; len(s.calls) < idleCalls {
		*c = Call{store: s, in: c.in, out: c.out, lenders: c.lenders[:0]}
		s.calls = append(s.calls, c)
	}
}

// Call is what the core function does. What ends the guest is thrown as a panic, for the WebAssembly runtime to pass on.
func (l *Lower) Call(ctx context.Context, stack []uint64) {
	inst := l.inst
	inst.leave()
	s := inst.store
	outer := s.now
	s.now = l.name
	c := s.call()
	if l.fn.lends {
		defer c.unwound()
	}
	c.begin(ctx, l, stack)
	if l.callee != nil {
		up := inst.task
		if l.Options.Async {
			up = nil
		}
		c.task = l.callee.start(ctx, inst, c, up)
	} else {
		c.callHost()
	}
	s.now = outer
	if l.Options.Async {
		stack[0] = uint64(c.status())
		return
	}
	if c.state < callReturned {
		c.await(ctx)
	}
	c.deliver()
	if l.pointer < 0 && l.fn.result.slots > 0 {
		stack[0] = c.result[0]
	}
	c.finish()
}

func (c *Call) begin(ctx context.Context, l *Lower, stack []uint64) {
	c.lower = l
	c.side.lenders = &c.lenders
	c.side.begin(ctx, l.inst, &l.Options)
	copy(c.flat[:], stack[:min(len(stack), len(c.flat))])
	if l.params.flat {
		c.in.begin(&c.side, l.params, c.flat[:], 0)
	} else {
		p := uint32(c.flat[0])
		c.side.tuple(p, l.params)
		c.side.charge(uint64(l.params.size))
		c.in.begin(&c.side, l.params, nil, p)
	}
	if l.pointer < 0 {
		c.out.begin(&c.side, l.result, c.result[:], 0)
	} else {
		p := uint32(c.flat[l.pointer])
		c.side.tuple(p, l.result)
		c.out.begin(&c.side, l.result, nil, p)
	}
}

func (c *Call) callHost() {
	c.state = callStarted
	c.lower.host(c, &c.in, &c.out)
	c.in.finish()
	if c.pending == nil {
		c.out.finish()
		c.state = callReturned
	}
}

// status is the result of an async lowered function: the state, and the call's index in the table unless it is over.
func (c *Call) status() uint32 {
	if c.state >= callReturned {
		c.deliver()
		state := c.state
		c.finish()
		return uint32(state)
	}
	c.index = c.lower.inst.table.add(entry{holds: holdsSubtask, subtask: c})
	return uint32(c.state) | c.index<<4
}

// finish ends a call that its caller has no index of.
func (c *Call) finish() {
	if t := c.task; t != nil && t.done {
		c.store.release(t)
	}
	if c.task == nil || c.task.done {
		c.release()
	}
}

// await waits for the call on behalf of a caller that has to have the result.
func (c *Call) await(ctx context.Context) {
	if c.task == nil && !c.lower.fn.t.Async() { // the host takes its time; nobody is told
		for c.store.collect(); c.state < callReturned; c.store.collect() {
			c.store.wait(ctx)
		}
		return
	}
	c.lower.inst.block(ctx, func() bool { return c.state >= callReturned })
}

// start gives the arguments to the callee, which is a component.
func (c *Call) start(out *Writer) {
	c.state = callStarted
	c.progress()
	c.side.refresh()
	transfer(&c.in, out)
}

// resolve takes the result of the callee.
func (c *Call) resolve(in *Reader) {
	c.side.refresh()
	transfer(in, &c.out)
	c.out.finish()
	c.over(callReturned)
}

func (c *Call) cancelled() {
	if c.state == callStarting {
		c.over(callCancelledBeforeStarted)
		return
	}
	c.over(callCancelledBeforeReturned)
}

func (c *Call) over(state callState) {
	c.state = state
	c.in.over()
	c.out.over()
	c.progress()
}

// progress makes an event of a change that the caller has not seen as a result.
func (c *Call) progress() {
	if c.index != 0 {
		c.event = true
	}
}

// deliver gives the lent handles back, when the caller learns that the call is over.
func (c *Call) deliver() {
	c.delivered = true
	for _, i := range c.lenders {
		c.lower.inst.table.entries[i].lends--
	}
	c.lenders = c.lenders[:0]
}

// unwound gives the lent handles back where the call ends by a panic. One that has ended otherwise has none left, or is in the table.
func (c *Call) unwound() {
	if c.index == 0 && len(c.lenders) > 0 {
		c.deliver()
	}
}
