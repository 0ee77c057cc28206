package canon_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// What async code returns, and is told.
const (
	exit, yield, wait                    = 0, 1, 2
	starting, started, returned          = 0, 1, 2
	cancelledUnstarted, cancelledStarted = 3, 4
)

// asyncRig is a tree of component instances whose code is Go.
type asyncRig struct {
	maker
	program *canon.Program
	store   *canon.Store
	log     []string
}

func newAsyncRig(t testing.TB) *asyncRig {
	r := &asyncRig{maker: newMaker(t), program: canon.NewProgram(pair, canon.ProgramLimits{})}
	r.store = r.program.NewStore(canon.Limits{Calls: 2})
	return r
}

func (r *asyncRig) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *asyncRig) want(log ...string) {
	r.t.Helper()
	if !slices.Equal(r.log, log) {
		r.t.Errorf("got %q, want %q", r.log, log)
	}
}

// lift makes an async function of code and callback, which is given event, index and payload.
func (r *asyncRig) lift(component int, f *types.Func, core, callback code) *canon.Lift {
	l := r.store.NewLift(component, compiled(r.t, r.program, f), fmt.Sprintf("export of %d", component), canon.Options{Async: true, Callback: callback})
	if callback == nil {
		l.Options.Callback = nil
	}
	l.SetCore(core, nil)
	return l
}

// answer is task.return with a u32.
func (r *asyncRig) answer(component int, v uint64) {
	r.store.NewReturn(component, types.Primitive(types.U32), canon.Options{Async: true}).Call(ctx, []uint64{v})
}

// asks is a host function that is deferred: it hands over what completes it.
func (r *asyncRig) asks(g *guest, async bool) (*canon.Lower, chan *canon.Pending) {
	pending := make(chan *canon.Pending, 8)
	o := g.options(canon.UTF8)
	o.Async = async
	str := types.Primitive(types.String)
	return r.store.NewLower(0, compiled(r.t, r.program, r.typed(true, str, types.Primitive(types.U32))), "ask", o,
		func(c *canon.Call, in *canon.Reader, _ *canon.Writer) {
			in.U32()
			pending <- c.Defer()
		}), pending
}

func text(s string) func(*canon.Writer) { return func(out *canon.Writer) { out.String(s) } }

// TestDeferred fans out two calls of the host and waits for both in a callback; other goroutines complete them.
func TestDeferred(t *testing.T) {
	r := newAsyncRig(t)
	g := newGuest(256)
	g.next = 64
	ask, pending := r.asks(g, true)
	inst := r.store.Instance(0)
	var set uint32
	left := 2
	l := r.lift(0, r.typed(true, types.Primitive(types.U32)), func(ctx context.Context, s []uint64) {
		set = inst.WaitableSetNew()
		for i := range uint64(2) {
			st := []uint64{i, 8 * i}
			ask.Call(ctx, st)
			r.note("state %d of %d", st[0]&15, st[0]>>4)
			wantTrap(t, thrown(func() { inst.SubtaskDrop(uint32(st[0] >> 4)) }), "cannot drop a subtask which has not yet resolved")
			inst.WaitableJoin(uint32(st[0]>>4), set)
		}
		wantTrap(t, thrown(func() { ask.Call(ctx, []uint64{0, 0}) }), "calls are under way at once, which is the limit")
		wantTrap(t, thrown(func() { inst.WaitableSetDrop(set) }), "cannot drop waitable set with members")
		first, second := <-pending, <-pending
		go func() {
			second.Complete(text("two"))
			second.Complete(text("twice"))
			first.Complete(text("one"))
		}()
		s[0] = uint64(wait | set<<4)
	}, func(_ context.Context, s []uint64) {
		r.note("event %d", s[0])
		if s[2] != returned || g.next == 64 {
			t.Errorf("state %d, the result is not lowered before the event", s[2])
		}
		inst.SubtaskDrop(uint32(s[1]))
		if left--; left > 0 {
			s[0] = uint64(wait | set<<4)
			return
		}
		inst.WaitableSetDrop(set)
		r.answer(0, 42)
		s[0] = exit
	})
	got, err := l.CallValues(ctx)
	if err != nil || got != uint32(42) || inst.Handles() != 0 {
		t.Errorf("got %v and %v, %d handles are left", got, err, inst.Handles())
	}
	r.want("state 1 of 2", "state 1 of 3", "event 1", "event 1")
}

// TestBlocking waits for the host in the middle of code: by a synchronous lower, and by waitable-set.wait.
func TestBlocking(t *testing.T) {
	r := newAsyncRig(t)
	g := newGuest(256)
	g.next = 64
	ask, pending := r.asks(g, false)
	later, pendingLater := r.asks(g, true)
	inst := r.store.Instance(0)
	waits := 0
	r.store.OnWait = func(begins bool) { waits++ }
	complete := func(p chan *canon.Pending) { go func() { (<-p).Complete(text("hi")) }() }
	body := func(ctx context.Context, _ []uint64) {
		complete(pending)
		ask.Call(ctx, []uint64{1, 0})
		r.note("%s", g.b[g.b[0]:g.b[0]+g.b[4]])
		set := inst.WaitableSetNew()
		s := []uint64{1, 8}
		later.Call(ctx, s)
		inst.WaitableJoin(uint32(s[0]>>4), set)
		r.note("poll %d", inst.WaitableSetPoll(&g.memory, false, set, 32))
		complete(pendingLater)
		event := inst.WaitableSetWait(ctx, &g.memory, false, set, 32)
		r.note("wait %d: %d is %d", event, g.b[32], g.b[36])
		r.answer(0, 7)
	}
	got, err := r.lift(0, r.typed(true, types.Primitive(types.U32)), body, nil).CallValues(ctx)
	if err != nil || got != uint32(7) || waits%2 != 0 {
		t.Errorf("got %v and %v, %d waits", got, err, waits)
	}
	r.want("hi", "poll 0", "wait 1: 2 is 2")

	sync := r.store.NewLift(0, compiled(t, r.program, r.fn(nil)), "sync", canon.Options{})
	sync.SetCore(code(func(ctx context.Context, _ []uint64) { ask.Call(ctx, []uint64{1, 0}) }), nil)
	wantTrap(t, sync.Call(ctx, nil, nil), "cannot block a synchronous task before returning")
	r.store.Reset()
	if p := <-pending; !closed(p.Done()) {
		t.Error("nobody is told that the call is given up")
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestDeadline ends a call that waits for the host.
func TestDeadline(t *testing.T) {
	r := newAsyncRig(t)
	ask, pending := r.asks(newGuest(64), false)
	ctx, cancel := context.WithCancelCause(ctx)
	errLate := errors.New("late")
	go func() { <-pending; cancel(errLate) }()
	l := r.lift(0, r.typed(true, nil), func(ctx context.Context, _ []uint64) { ask.Call(ctx, []uint64{1, 0}) }, nil)
	if err := l.Call(ctx, nil, nil); !errors.Is(err, errLate) || !errors.Is(r.store.Err(), errLate) {
		t.Errorf("got %v, the store says %v", err, r.store.Err())
	}
}

// TestComponentCallsComponent lowers an async function of another component, which yields before it returns and ends later.
func TestComponentCallsComponent(t *testing.T) {
	for _, async := range []bool{true, false} {
		r := newAsyncRig(t)
		g := newGuest(64)
		f := r.typed(true, types.Primitive(types.U32), types.Primitive(types.U32))
		var arg uint64
		yields := 0
		callee := r.lift(1, f, func(_ context.Context, s []uint64) {
			arg = s[0]
			r.note("callee begins")
			s[0] = yield
		}, func(_ context.Context, s []uint64) {
			if yields++; yields < 3 {
				s[0] = yield
				return
			}
			r.answer(1, arg+1)
			r.note("callee returns")
			s[0] = exit
		})
		o := g.options(canon.UTF8)
		o.Async = async
		lower := r.store.NewLowerTo(0, "add", o, callee)
		inst := r.store.Instance(0)
		var set, sub uint32
		caller := r.lift(0, f, func(ctx context.Context, s []uint64) {
			st := []uint64{s[0], 16}
			lower.Call(ctx, st)
			if !async {
				r.note("result %d", st[0])
				r.answer(0, st[0])
				s[0] = exit
				return
			}
			r.note("state %d", st[0]&15)
			set, sub = inst.WaitableSetNew(), uint32(st[0]>>4)
			inst.WaitableJoin(sub, set)
			s[0] = uint64(wait | set<<4)
		}, func(_ context.Context, s []uint64) {
			r.note("state %d, result %d", s[2], g.b[16])
			inst.SubtaskDrop(sub)
			r.answer(0, uint64(g.b[16]))
			s[0] = exit
		})
		got, err := caller.CallValues(ctx, uint32(5))
		if err != nil || got != uint32(6) {
			t.Errorf("got %v and %v", got, err)
		}
		if async {
			r.want("callee begins", "state 1", "callee returns", "state 2, result 6")
		} else {
			r.want("callee begins", "callee returns", "result 6")
		}
	}
}

// TestBackpressure keeps a second call of a component from beginning.
func TestBackpressure(t *testing.T) {
	r := newAsyncRig(t)
	f := r.typed(true, nil)
	callee := r.lift(1, f, func(_ context.Context, s []uint64) {
		r.store.NewReturn(1, nil, canon.Options{}).Call(ctx, nil)
		s[0] = exit
	}, func(context.Context, []uint64) {})
	lower := r.store.NewLowerTo(0, "call", canon.Options{Async: true}, callee)
	inst, other := r.store.Instance(0), r.store.Instance(1)
	call := func() uint64 {
		s := make([]uint64, 1)
		lower.Call(ctx, s)
		return s[0]
	}
	caller := r.lift(0, f, func(_ context.Context, s []uint64) {
		other.BackpressureInc()
		a, b := call(), call()
		r.note("states %d %d", a&15, b&15)
		r.note("cancelled %d", inst.SubtaskCancel(ctx, false, uint32(b>>4)))
		other.BackpressureDec()
		set := inst.WaitableSetNew()
		inst.WaitableJoin(uint32(a>>4), set)
		s[0] = uint64(wait | set<<4)
	}, func(_ context.Context, s []uint64) {
		r.note("state %d", s[2])
		r.store.NewReturn(0, nil, canon.Options{}).Call(ctx, nil)
		s[0] = exit
	})
	if err := caller.Call(ctx, nil, nil); err != nil {
		t.Error(err)
	}
	r.want(fmt.Sprintf("states %d %d", starting, starting), fmt.Sprintf("cancelled %d", cancelledUnstarted), fmt.Sprintf("state %d", returned))
	wantTrap(t, thrown(func() { other.BackpressureDec() }), "backpressure counter underflow")
}

// TestCancel cancels a call of the host, and one of a component that waits.
func TestCancel(t *testing.T) {
	r := newAsyncRig(t)
	g := newGuest(64)
	ask, pending := r.asks(g, true)
	f := r.typed(true, nil)
	callee := r.lift(1, f, func(_ context.Context, s []uint64) {
		wantTrap(t, thrown(r.store.Instance(1).TaskCancel), "was not told to cancel")
		s[0] = yield
	}, func(_ context.Context, s []uint64) {
		r.note("callee is told %d", s[0])
		r.store.Instance(1).TaskCancel()
		s[0] = exit
	})
	lower := r.store.NewLowerTo(0, "call", canon.Options{Async: true}, callee)
	inst := r.store.Instance(0)
	caller := r.lift(0, f, func(ctx context.Context, s []uint64) {
		st := []uint64{0, 0}
		ask.Call(ctx, st)
		p := <-pending
		r.note("host: %d", inst.SubtaskCancel(ctx, false, uint32(st[0]>>4)))
		if !closed(p.Done()) {
			t.Error("the host is not told")
		}
		p.Complete(text("too late"))
		wantTrap(t, thrown(func() { inst.SubtaskCancel(ctx, true, uint32(st[0]>>4)) }), "after the subtask's end was delivered")
		inst.SubtaskDrop(uint32(st[0] >> 4))
		lower.Call(ctx, st)
		r.note("component: %d", inst.SubtaskCancel(ctx, true, uint32(st[0]>>4)))
		inst.SubtaskDrop(uint32(st[0] >> 4))
		r.store.NewReturn(0, nil, canon.Options{}).Call(ctx, nil)
		s[0] = exit
	}, func(context.Context, []uint64) {})
	if err := caller.Call(ctx, nil, nil); err != nil || inst.Handles() != 0 {
		t.Errorf("got %v, %d handles are left", err, inst.Handles())
	}
	r.want(fmt.Sprintf("host: %d", cancelledStarted), "callee is told 6", fmt.Sprintf("component: %d", cancelledStarted))
}

// TestAsyncTraps returns wrong codes, and returns wrongly.
func TestAsyncTraps(t *testing.T) {
	u32 := types.Primitive(types.U32)
	for name, c := range map[string]struct {
		core func(r *asyncRig) uint64
		trap string
	}{
		"callback code":  {func(*asyncRig) uint64 { return 3 }, "unsupported callback code: 3"},
		"no return":      {func(*asyncRig) uint64 { return exit }, "without a call of task.return"},
		"unknown set":    {func(*asyncRig) uint64 { return wait | 9<<4 }, "unknown handle index 9"},
		"deadlock":       {func(r *asyncRig) uint64 { return wait | uint64(r.store.Instance(0).WaitableSetNew()<<4) }, "wasm trap: deadlock detected: event loop cannot make further progress"},
		"returned twice": {func(r *asyncRig) uint64 { r.answer(0, 1); r.answer(0, 1); return exit }, "a second time"},
		"another type":   {func(r *asyncRig) uint64 { r.store.NewReturn(0, nil, canon.Options{}).Call(ctx, nil); return exit }, "invalid `task.return` signature"},
		"another encoding": {func(r *asyncRig) uint64 {
			r.store.NewReturn(0, u32, canon.Options{Encoding: canon.UTF16}).Call(ctx, []uint64{1})
			return exit
		}, "invalid `task.return` options"},
		"another memory": {func(r *asyncRig) uint64 {
			r.store.NewReturn(0, u32, canon.Options{Memory: &memory{}}).Call(ctx, []uint64{1})
			return exit
		}, "invalid `task.return` options"},
		"unaligned event": {func(r *asyncRig) uint64 {
			i := r.store.Instance(0)
			i.WaitableSetPoll(&memory{make([]byte, 16)}, false, i.WaitableSetNew(), 2)
			return exit
		}, "unaligned pointer"},
		"event outside": {func(r *asyncRig) uint64 {
			i := r.store.Instance(0)
			i.WaitableSetPoll(&memory{make([]byte, 16)}, false, i.WaitableSetNew(), 12)
			return exit
		}, "pointer out of bounds of memory"},
	} {
		r := newAsyncRig(t)
		l := r.lift(0, r.typed(true, u32), func(_ context.Context, s []uint64) { s[0] = c.core(r) }, func(context.Context, []uint64) {})
		t.Run(name, func(t *testing.T) { wantTrap(t, l.Call(ctx, nil, nil), c.trap) })
	}
	r := newAsyncRig(t)
	sync := r.store.NewLift(0, compiled(t, r.program, r.fn(u32)), "sync", canon.Options{})
	sync.SetCore(code(func(context.Context, []uint64) { r.answer(0, 1) }), nil)
	wantTrap(t, sync.Call(ctx, nil, nil), "task.return is called by code that no async lift runs")
}

// TestCompleteHammer completes calls from many goroutines at once, twice each, also after the task and the Store went on without them.
func TestCompleteHammer(t *testing.T) {
	r := newAsyncRig(t)
	r.store = r.program.NewStore(canon.Limits{})
	inst := r.store.Instance(0)
	var all sync.WaitGroup
	slow := r.store.NewLower(0, compiled(t, r.program, r.typed(true, nil)), "slow", canon.Options{Async: true}, func(c *canon.Call, _ *canon.Reader, _ *canon.Writer) {
		p := c.Defer()
		for range 2 {
			all.Go(func() { p.Complete(nil) })
		}
	})
	var set uint32
	left := 0
	l := r.lift(0, r.typed(true, nil), func(ctx context.Context, s []uint64) {
		set = inst.WaitableSetNew()
		for range 64 {
			st := make([]uint64, 1)
			slow.Call(ctx, st)
			inst.WaitableJoin(uint32(st[0]>>4), set)
		}
		left = 48 // the others are left behind
		s[0] = uint64(wait | set<<4)
	}, func(ctx context.Context, s []uint64) {
		inst.SubtaskDrop(uint32(s[1]))
		if left--; left > 0 {
			s[0] = uint64(wait | set<<4)
			return
		}
		r.store.NewReturn(0, nil, canon.Options{}).Call(ctx, nil)
		s[0] = exit
	})
	for range 50 {
		if err := l.Call(ctx, nil, nil); err != nil {
			t.Fatal(err)
		}
		r.store.Reset()
		if n := inst.Handles(); n != 0 {
			t.Fatalf("%d handles are left", n)
		}
	}
	all.Wait()
}
