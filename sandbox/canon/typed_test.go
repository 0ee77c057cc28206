package canon_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// TestTyped reads and writes each sort of value by its own method, with strings in each encoding.
func TestTyped(t *testing.T) {
	m := newMaker(t)
	str := types.Primitive(types.String)
	option := m.must(m.Option(str))
	result := m.must(m.Result(u8, str))
	variant := m.must(m.Variant(types.Case{Name: "a"}, types.Case{Name: "b", Type: types.Primitive(types.S64)}))
	all := m.must(m.Tuple(option, option, result, result, variant, m.must(m.Enum("x", "y", "z")), m.must(m.Flags("p", "q", "r")), m.must(m.List(str)), types.Primitive(types.Char)))
	p := canon.NewProgram(alone, canon.ProgramLimits{})
	f := compiled(t, p, m.fn(all, all))
	want := []canon.Value{
		canon.Variant{}, canon.Variant{Case: 1, Payload: "é"}, canon.Variant{Payload: uint8(7)}, canon.Variant{Case: 1, Payload: "no ☃"},
		canon.Variant{Case: 1, Payload: int64(-5)}, canon.Enum(2), canon.Flags(5), []canon.Value{"", "🍰"}, canon.Char('☃'),
	}
	for _, e := range []canon.Encoding{canon.UTF8, canon.UTF16, canon.Latin1UTF16} {
		s := p.NewStore(canon.Limits{})
		g := newGuest(1024)
		echo := s.NewLower(0, f, "echo", g.options(e), func(_ *canon.Call, in *canon.Reader, out *canon.Writer) { echoTyped(in, out) })
		l := s.NewLift(0, f, "f", g.options(e))
		l.SetCore(code(func(ctx context.Context, s []uint64) {
			ret := g.allocate(uint64(all.Size()) + 8)
			ret = (ret + 7) &^ 7
			args := append(append([]uint64{}, s[:1]...), ret)
			echo.Call(ctx, args)
			s[0] = ret
		}), nil)
		if got, err := l.CallValues(ctx, want); err != nil || !same(got, want) {
			t.Errorf("encoding %d: got %v and %v, want %v", e, got, err, want)
		}
	}
}

// echoTyped reads everything, in Go strings, and then writes it.
func echoTyped(in *canon.Reader, out *canon.Writer) {
	if in.Option() {
		canon.Trapf("some")
	}
	in.Option()
	some := string(in.Text())
	ok, n := in.Result(), in.U8()
	failed, why := !in.Result(), in.String()
	which, number := in.Case(), in.S64()
	enum, flags := in.Enum(), in.Flags()
	list := make([]string, in.List())
	for i := range list {
		list[i] = in.String()
	}
	char := in.Char()

	out.None()
	out.Some()
	out.Text([]byte(some))
	if ok {
		out.OK()
		out.U8(n)
	}
	if failed {
		out.Err()
		out.String(why)
	}
	out.Case(which)
	out.S64(number)
	out.Enum(enum)
	out.Flags(flags | 8)
	out.List(len(list))
	for _, s := range list {
		out.String(s)
	}
	out.Char(char)
}

// TestInvalidText replaces what is not UTF-8 in strings of the host.
func TestInvalidText(t *testing.T) {
	m := newMaker(t)
	str := types.Primitive(types.String)
	p := canon.NewProgram(alone, canon.ProgramLimits{})
	f := compiled(t, p, m.fn(str))
	for i, write := range []func(*canon.Writer){
		func(out *canon.Writer) { out.String("a\xffb") },
		func(out *canon.Writer) { out.Text([]byte("a\xffb")) },
	} {
		s := p.NewStore(canon.Limits{})
		g := newGuest(64)
		g.next = 8
		s.NewLower(0, f, "f", g.options(canon.UTF8), func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { write(out) }).Call(ctx, []uint64{0})
		if got := string(g.b[8:g.next]); got != "a\ufffdb" || len(g.reallocs) != 1 {
			t.Errorf("%d: got %q after %d reallocs", i, got, len(g.reallocs))
		}
	}
}

// TestEager calls a function of the host with an async lower, and it is over at once.
func TestEager(t *testing.T) {
	r := newAsyncRig(t)
	g := newGuest(64)
	g.next = 16
	o := g.options(canon.UTF8)
	o.Async = true
	f := r.typed(true, types.Primitive(types.String), types.Primitive(types.U32))
	lower := r.store.NewLower(0, compiled(t, r.program, f), "now", o, func(c *canon.Call, in *canon.Reader, out *canon.Writer) {
		if c.Store() != r.store {
			t.Error("another store")
		}
		out.String(fmt.Sprint(in.U32()))
	})
	stack := []uint64{42, 8}
	lower.Call(ctx, stack)
	if stack[0] != returned || r.store.Instance(0).Handles() != 0 || g.b[12] != 2 || string(g.b[16:18]) != "42" {
		t.Errorf("status %d, memory %v", stack[0], g.b[:20])
	}
}

// TestPatientHost waits for a synchronous function of the host on behalf of a synchronous task, which may not wait for anything else.
func TestPatientHost(t *testing.T) {
	r := newAsyncRig(t)
	u32 := types.Primitive(types.U32)
	f := compiled(t, r.program, r.fn(u32))
	slow := r.store.NewLower(0, f, "slow", canon.Options{}, func(c *canon.Call, _ *canon.Reader, _ *canon.Writer) {
		p := c.Defer()
		go p.Complete(func(out *canon.Writer) { out.U32(9) })
	})
	l := r.store.NewLift(0, f, "f", canon.Options{})
	l.SetCore(code(slow.Call), nil)
	if got, err := l.CallValues(ctx); err != nil || got != uint32(9) {
		t.Errorf("got %v and %v", got, err)
	}
}

// TestYieldInCode lets a component that has yielded go on, from the middle of its caller's code.
func TestYieldInCode(t *testing.T) {
	r := newAsyncRig(t)
	f := r.typed(true, nil)
	callee := r.lift(1, f, func(_ context.Context, s []uint64) { s[0] = yield }, func(_ context.Context, s []uint64) {
		r.note("callee")
		r.store.NewReturn(1, nil, canon.Options{}).Call(ctx, nil)
		s[0] = exit
	})
	lower := r.store.NewLowerTo(0, "call", canon.Options{Async: true}, callee)
	inst := r.store.Instance(0)
	m := &memory{make([]byte, 8)}
	caller := r.lift(0, f, func(ctx context.Context, s []uint64) {
		lower.Call(ctx, s)
		set := inst.WaitableSetNew()
		inst.WaitableJoin(uint32(s[0]>>4), set)
		wantTrap(t, thrown(func() { inst.SubtaskCancel(ctx, false, uint32(s[0]>>4)) }), "waitable cannot be used synchronously while added to a waitable set")
		r.note("yield %d", inst.ThreadYield(ctx, true))
		r.note("yield %d", inst.ThreadYield(ctx, false))
		event := inst.WaitableSetWait(ctx, m, true, set, 0)
		r.note("event %d of state %d", event, m.b[4])
		r.store.NewReturn(0, nil, canon.Options{}).Call(ctx, nil)
		s[0] = exit
	}, func(context.Context, []uint64) {})
	if err := caller.Call(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	r.want("callee", "yield 0", "yield 0", "event 1 of state 2")
}

// TestWaitForever waits in the middle of code for what nobody can bring.
func TestWaitForever(t *testing.T) {
	r := newAsyncRig(t)
	inst := r.store.Instance(0)
	l := r.lift(0, r.typed(true, nil), func(ctx context.Context, _ []uint64) {
		inst.WaitableSetWait(ctx, &memory{make([]byte, 8)}, true, inst.WaitableSetNew(), 0)
	}, nil)
	wantTrap(t, l.Call(ctx, nil, nil), "deadlock detected: event loop cannot make further progress")
}
