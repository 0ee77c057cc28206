package canon

import (
	"context"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Lift is canon lift in one Store: a core function as a function of its component.
type Lift struct {
	Options Options
	name    string
	core    door
	inst    *Instance
	fn      *Func
	params  *block
	slots   int // core parameters
	result  *block
	spilled bool // the result is in memory, at the address that the core function returns
}

// NewLift lifts a function of a component instance. SetCore gives it its code before it is called. The name is for messages.
func (s *Store) NewLift(component int, f *Func, name string, o Options) *Lift {
	l := &Lift{Options: o, name: name, inst: &s.instances[component], fn: f, params: f.params.flat, slots: f.params.slots}
	if l.params == nil || l.slots > types.MaxFlatParams {
		l.params, l.slots = f.params.memory, 1
	}
	most := types.MaxFlatResults
	if o.Async { // results go through task.return, like parameters
		most = types.MaxFlatParams
	}
	l.result = f.result.flat
	if l.result == nil || f.result.slots > most {
		l.result, l.spilled = f.result.memory, true
	}
	return l
}

// SetCore sets the core function. fresh gives another Function for it, for a component that calls itself; nil says that this traps.
func (l *Lift) SetCore(f Function, fresh func() Function) { l.core = door{f: f, fresh: fresh} }

// party is the caller of a lifted function: it writes the arguments when the function begins and reads the result when it returns.
type party interface {
	start(out *Writer)
	resolve(in *Reader)
	cancelled()
}

// outside is the host as a caller.
type outside struct {
	write func(*Writer)
	read  func(*Reader)
}

func (o outside) start(out *Writer) {
	if o.write != nil {
		o.write(out)
	}
}

func (o outside) resolve(in *Reader) {
	if o.read != nil {
		o.read(in)
		return
	}
	in.Skip()
}

func (o outside) cancelled() {}

// Call calls the function from the host, and returns when it is over: for an async one, when its task has ended. write gives the arguments; read
// is given the result before post-return runs, and what it takes from guest memory it must copy. A nil read skips the result. The error
// is, or wraps, a *Trap or what a Function returned, and the end of the Store.
func (l *Lift) Call(ctx context.Context, write func(out *Writer), read func(in *Reader)) (err error) {
	s := l.inst.store
	defer s.end(&err)
	s.now = l.name
	t := l.start(ctx, nil, outside{write, read}, nil)
	if !t.done {
		s.drive(ctx, func() bool { return t.done })
	}
	s.release(t)
	return nil
}

// start begins a task, which may not be over when start returns: see Task.done.
func (l *Lift) start(ctx context.Context, caller *Instance, p party, up *Task) *Task {
	t := l.inst.store.task()
	t.ctx, t.inst, t.lift, t.party, t.up = ctx, l.inst, l, p, up
	l.inst.enter(caller)
	if l.fn.t.Async() && l.inst.crowded() {
		t.park()
	} else {
		t.begin()
	}
	l.inst.setEntered(caller, false)
	return t
}

// begin lowers the arguments and runs the core function.
func (t *Task) begin() {
	l, inst := t.lift, t.inst
	before := inst.task
	inst.task = t
	if l.fn.t.Async() {
		inst.exclusive = t
	}
	t.state = taskStarted
	t.side.begin(t.ctx, inst, &l.Options)
	t.side.task = t
	t.arguments()
	l.core.call(t.ctx, t.stack[:max(l.slots, 1)])
	switch {
	case !l.Options.Async:
		t.returnSync()
		t.exit()
	case l.Options.Callback == nil:
		t.exit()
	default:
		t.follow(uint32(t.stack[0]))
	}
	inst.task = before
}

func (t *Task) arguments() {
	l := t.lift
	clear(t.stack[:])
	if l.params.flat {
		t.out.begin(&t.side, l.params, t.stack[:], 0)
	} else {
		p := t.side.alloc(uint64(l.params.size), l.params.align, "tuple")
		t.stack[0] = uint64(p)
		t.out.begin(&t.side, l.params, nil, p)
	}
	t.party.start(&t.out)
	t.out.finish()
	t.out.over()
}

// returnSync lifts the result of a sync lift, and then runs its post-return with the core result.
func (t *Task) returnSync() {
	l, inst := t.lift, t.inst
	core := t.stack[0]
	t.side.begin(t.ctx, inst, &l.Options)
	t.resolve(t.stack[:])
	if f := l.Options.PostReturn; f != nil {
		inst.sealed = true
		t.stack[0] = core
		call(t.ctx, f, t.stack[:1])
		inst.sealed = false
	}
}

// resolve hands the result in core values to the caller.
func (t *Task) resolve(core []uint64) {
	l := t.lift
	t.checkBorrows()
	if l.spilled {
		p := uint32(core[0])
		t.side.tuple(p, l.result)
		t.side.charge(uint64(l.result.size))
		t.in.begin(&t.side, l.result, nil, p)
	} else {
		t.in.begin(&t.side, l.result, core, 0)
	}
	t.party.resolve(&t.in)
	t.in.finish()
	t.in.over()
	t.state = taskResolved
}

// begin makes the side of a call ready, after guest code ran.
func (s *side) begin(ctx context.Context, inst *Instance, o *Options) {
	s.ctx, s.inst, s.opts, s.left = ctx, inst, o, inst.store.limits.Lifted
	s.refresh()
}
