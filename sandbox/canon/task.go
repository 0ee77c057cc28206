package canon

import "context"

// Task is one call of a lifted function, or of a destructor. Source: CanonicalABI.md, Task State.
type Task struct {
	inst    *Instance
	lift    *Lift // nil for a destructor
	party   party
	up      *Task // whose code waits for this one, as a synchronous call
	ctx     context.Context
	state   taskState
	done    bool // its code has ended
	borrows int  // borrow handles that it still has to drop
	slots   [2]uint32
	stack   [16]uint64
	side    side
	in      Reader
	out     Writer

	parked        bool         // in Store.waiting
	set           *waitableSet // that the parked task waits for; nil where it has yielded or has not begun
	interruptible bool         // blocked in the middle of its code, where it takes cancellation
}

type taskState uint8

const (
	taskInitial taskState = iota
	taskStarted
	taskPendingCancel
	taskCancelDelivered
	taskResolved
)

// idleCalls is how many tasks, and calls, a Store keeps for the next ones.
const idleCalls = 16

func (s *Store) task() *Task {
	if n := len(s.tasks); n > 0 {
		t := s.tasks[n-1]
		s.tasks = s.tasks[:n-1]
		return t
	}
	return &Task{}
}

// release keeps a task that is over for the next call. Nothing points to it any more: it has no borrow handles and no caller.
func (s *Store) release(t *Task) {
	if len(s.tasks) < idleCalls {
		*t = Task{in: t.in, out: t.out}
		s.tasks = append(s.tasks, t)
	}
}

func callerTask(caller *Instance) *Task {
	if caller == nil {
		return nil
	}
	return caller.task
}

// checkBorrows traps where borrow handles of the call remain.
func (t *Task) checkBorrows() {
	if t.borrows > 0 {
		trap("borrow handles still remain at the end of the call: %d", t.borrows)
	}
}

// exit ends the task.
func (t *Task) exit() {
	if t.state != taskResolved {
		trap("the task has ended without a call of task.return or task.cancel")
	}
	t.leaveExclusive()
	t.done = true
}

func (t *Task) leaveExclusive() {
	if t.inst.exclusive == t {
		t.inst.exclusive = nil
	}
}

// What a callback, or the core function before it, asks for in the low 4 bits of its result.
const (
	callbackExit = iota
	callbackYield
	callbackWait
)

// Events that a task is told.
const (
	eventNone      = 0
	eventSubtask   = 1
	eventCancelled = 6
)

type event struct{ code, index, payload uint32 }

// follow does what a callback asks for.
func (t *Task) follow(packed uint32) {
	for {
		switch packed & 15 {
		case callbackExit:
			t.exit()
			return
		case callbackYield:
		case callbackWait:
			t.set = t.inst.table.set(packed >> 4)
		default:
			trap("unsupported callback code: %d", packed&15)
		}
		if !t.takeCancel() {
			break
		}
		t.set = nil
		packed = t.callback(event{code: eventCancelled})
	}
	t.leaveExclusive()
	t.park()
}

// takeCancel tells whether the caller asks to cancel, once.
func (t *Task) takeCancel() bool {
	if t.state != taskPendingCancel {
		return false
	}
	t.state = taskCancelDelivered
	return true
}

// park leaves the task to the event loop.
func (t *Task) park() {
	if t.set != nil {
		t.set.waiting++
	}
	t.parked = true
	s := t.inst.store
	s.waiting = append(s.waiting, t)
}

func (t *Task) callback(e event) uint32 {
	t.stack[0], t.stack[1], t.stack[2] = uint64(e.code), uint64(e.index), uint64(e.payload)
	call(t.ctx, t.lift.Options.Callback, t.stack[:3])
	return uint32(t.stack[0])
}

// ready tells whether the event loop can go on with a parked task.
func (t *Task) ready() bool {
	inst := t.inst
	switch {
	case inst.exclusive != nil || !inst.mayEnter(nil):
		return false
	case t.state == taskInitial:
		return inst.backpressure == 0
	}
	return t.set == nil || t.set.pending() != nil
}

// resume goes on with a parked task.
func (t *Task) resume(ctx context.Context, caller *Instance, cancelled bool) {
	t.unpark()
	inst := t.inst
	inst.enter(caller)
	t.ctx = ctx
	inst.store.now = t.lift.name
	if t.state == taskInitial {
		t.begin()
	} else {
		before := inst.task
		inst.task, inst.exclusive = t, t
		e := event{code: eventNone}
		if set := t.set; cancelled {
			e.code = eventCancelled
		} else if set != nil {
			e = set.take()
		}
		t.set = nil
		t.follow(t.callback(e))
		inst.task = before
	}
	inst.setEntered(caller, false)
}

func (t *Task) unpark() {
	s := t.inst.store
	for i, w := range s.waiting {
		if w == t {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			break
		}
	}
	t.parked = false
	if t.set != nil {
		t.set.waiting--
	}
}

// crowded tells whether a new async task has to wait before it begins: behind one that runs, or behind others that wait.
func (i *Instance) crowded() bool {
	if i.backpressure > 0 || i.exclusive != nil {
		return true
	}
	for _, t := range i.store.waiting {
		if t.inst == i && t.state == taskInitial {
			return true
		}
	}
	return false
}

// requestCancel is told by the caller that it does not need the result.
func (t *Task) requestCancel(ctx context.Context, caller *Instance) {
	switch {
	case t.state == taskInitial:
		t.unpark()
		t.state, t.done = taskResolved, true
		t.party.cancelled()
	case t.parked && t.inst.exclusive == nil && t.inst.mayEnter(caller):
		t.state = taskCancelDelivered
		t.resume(ctx, caller, true)
	case t.interruptible && t.state == taskStarted:
		t.state = taskCancelDelivered
	case t.state == taskStarted:
		t.state = taskPendingCancel
	}
}

// async gives the task whose code runs, which must be of an async lift.
func (i *Instance) async(builtin string) *Task {
	i.leave()
	t := i.task
	if t == nil || t.lift == nil || !t.lift.Options.Async {
		trap("%s is called by code that no async lift runs", builtin)
	}
	return t
}

// TaskCancel is canon task.cancel: the task gives no result, because its caller has asked for none.
func (i *Instance) TaskCancel() {
	t := i.async("task.cancel")
	if t.state != taskCancelDelivered {
		trap("task.cancel is called by a task that was not told to cancel")
	}
	t.checkBorrows()
	t.state = taskResolved
	t.party.cancelled()
}

// context gives the context slots of the code that runs.
func (i *Instance) context() *[2]uint32 {
	if i.task == nil {
		return &i.slots
	}
	return &i.task.slots
}

// ContextGet is canon context.get of an i32; slot is 0 or 1.
func (i *Instance) ContextGet(slot uint32) uint32 { return i.context()[slot] }

// ContextSet is canon context.set of an i32; slot is 0 or 1.
func (i *Instance) ContextSet(slot, v uint32) { i.context()[slot] = v }

// BackpressureInc is canon backpressure.inc: no new async task begins until it is undone.
func (i *Instance) BackpressureInc() {
	if i.backpressure++; i.backpressure == 1<<16 {
		trap("backpressure counter overflow")
	}
}

// BackpressureDec is canon backpressure.dec.
func (i *Instance) BackpressureDec() {
	if i.backpressure--; i.backpressure < 0 {
		trap("backpressure counter underflow")
	}
}
