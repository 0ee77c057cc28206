package canon_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// shop is a component instance 0 that defines a resource, a host that defines another one, and a client 1 of both.
type shop struct {
	maker
	program            *canon.Program
	store              *canon.Store
	definer, client    *canon.Instance
	guests, hosts      *canon.Resource
	ownGuest, lendHost *types.Type
	lendGuest, ownHost *types.Type
	dropped            []any
}

func newShop(t testing.TB, limits canon.Limits) *shop {
	x := &shop{maker: newMaker(t), program: canon.NewProgram(pair, canon.ProgramLimits{})}
	guests, hosts := types.NewResource("guests"), types.NewResource("hosts")
	x.guests = x.program.Resource(guests, 0, nil)
	x.hosts = x.program.Resource(hosts, canon.Host, func(_ *canon.Store, object any) { x.dropped = append(x.dropped, object) })
	x.ownGuest, x.lendGuest = x.must(x.Own(guests)), x.must(x.Borrow(guests))
	x.ownHost, x.lendHost = x.must(x.Own(hosts)), x.must(x.Borrow(hosts))
	x.store = x.program.NewStore(limits)
	x.definer, x.client = x.store.Instance(0), x.store.Instance(1)
	return x
}

// export lifts code of a component.
func (x *shop) export(component int, f *types.Func, body code) *canon.Lift {
	l := x.store.NewLift(component, compiled(x.t, x.program, f), "export", canon.Options{})
	l.SetCore(body, nil)
	return l
}

func (x *shop) host(f *types.Func, body canon.HostFunc) *canon.Lower {
	return x.store.NewLower(1, compiled(x.t, x.program, f), "import", canon.Options{}, body)
}

func TestHandleTable(t *testing.T) {
	x := newShop(t, canon.Limits{Handles: 5})
	var got []uint32
	add := func(rep uint32) { got = append(got, x.definer.ResourceNew(x.guests, rep)) }
	for rep := range uint32(3) {
		add(100 * rep)
	}
	x.definer.ResourceDrop(ctx, x.guests, 2)
	x.definer.ResourceDrop(ctx, x.guests, 1)
	x.definer.ResourceDrop(ctx, x.guests, 3)
	for rep := range uint32(5) {
		add(rep)
	}
	if want := []uint32{1, 2, 3, 3, 1, 2, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("got indices %v, want %v", got, want)
	}
	if rep := x.definer.ResourceRep(x.guests, 1); rep != 1 {
		t.Errorf("got rep %d", rep)
	}
	for text, f := range map[string]func(){
		"the handle table is full":           func() { add(1) },
		"unknown handle index 0":             func() { x.definer.ResourceRep(x.guests, 0) },
		"unknown handle index 6":             func() { x.definer.ResourceDrop(ctx, x.guests, 6) },
		"unknown handle index 4294967295":    func() { x.definer.ResourceDrop(ctx, x.guests, 0xffffffff) },
		"unknown handle index 1":             func() { x.client.ResourceDrop(ctx, x.guests, 1) },
		"handle index 1 used with the wrong": func() { x.definer.ResourceRep(x.hosts, 1) },
		"expected subtask but found a guest": func() { x.definer.SubtaskDrop(1) },
	} {
		wantTrap(t, thrown(f), text)
	}
	other := x.program.Resource(types.NewResource("other"), 0, nil)
	wantTrap(t, thrown(func() { x.definer.ResourceRep(other, 1) }),
		"handle index 1 used with the wrong type, expected guest-defined resource but found a different guest-defined resource")
}

// TestHandlesBetweenComponents passes an own and a borrow handle to the component that defines the resource.
func TestHandlesBetweenComponents(t *testing.T) {
	x := newShop(t, canon.Limits{})
	x.store.SetDestructor(x.guests, code(func(_ context.Context, s []uint64) { x.dropped = append(x.dropped, s[0]) }), nil)
	make1 := x.store.NewLowerTo(1, "make", canon.Options{}, x.export(0, x.fn(x.ownGuest), func(_ context.Context, s []uint64) {
		s[0] = uint64(x.definer.ResourceNew(x.guests, 0x41))
	}))
	// The definer is given the bare rep of what is lent, and an entry for what it is given.
	both := x.store.NewLowerTo(1, "both", canon.Options{}, x.export(0, x.fn(types.Primitive(types.U32), x.lendGuest, x.ownGuest), func(ctx context.Context, s []uint64) {
		rep := s[0]
		x.definer.ResourceDrop(ctx, x.guests, uint32(s[1]))
		s[0] = rep
	}))
	run := func(same bool) error {
		x.dropped = nil
		return x.export(1, x.fn(nil), func(ctx context.Context, _ []uint64) {
			s := make([]uint64, 2)
			make1.Call(ctx, s)
			h1 := s[0]
			make1.Call(ctx, s)
			h2 := s[0]
			if h1 != 1 || h2 != 2 {
				t.Errorf("got handles %d and %d", h1, h2)
			}
			if same {
				h2 = h1
			}
			s[0], s[1] = h1, h2
			both.Call(ctx, s)
			if s[0] != 0x41 {
				t.Errorf("the definer saw rep %#x", s[0])
			}
			x.client.ResourceDrop(ctx, x.guests, uint32(h1))
		}).Call(ctx, nil, nil)
	}
	if err := run(false); err != nil || len(x.dropped) != 2 || x.definer.Handles()+x.client.Handles() != 0 {
		t.Errorf("got %v, dropped %v, %d and %d handles are left", err, x.dropped, x.definer.Handles(), x.client.Handles())
	}
	wantTrap(t, run(true), "cannot remove owned resource while borrowed")
	wantTrap(t, run(false), "cannot enter component instance") // dead
}

// TestBorrowScope lends a resource of the host to a component that has to drop the handle before it returns.
func TestBorrowScope(t *testing.T) {
	for name, c := range map[string]struct {
		body func(x *shop) code
		trap string
	}{
		"dropped": {func(x *shop) code {
			return func(ctx context.Context, s []uint64) { x.client.ResourceDrop(ctx, x.hosts, uint32(s[0])) }
		}, ""},
		"kept": {func(*shop) code { return func(context.Context, []uint64) {} }, "borrow handles still remain at the end of the call"},
		"given away": {func(x *shop) code {
			return func(ctx context.Context, s []uint64) {
				x.host(x.fn(nil, x.ownHost), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Own() }).Call(ctx, s)
			}
		}, "cannot lift own resource from a borrow"},
		"lent on": {func(x *shop) code {
			return func(ctx context.Context, s []uint64) {
				x.host(x.fn(nil, x.lendHost), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) {
					h := uint32(s[0])
					if got := canon.Borrow[string](in); got != "object" {
						x.t.Errorf("borrowed %v", got)
					}
					x.client.ResourceDrop(ctx, x.hosts, h)
				}).Call(ctx, s)
			}
		}, "cannot remove owned resource while borrowed"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newShop(t, canon.Limits{})
			l := x.export(1, x.fn(nil, x.lendHost), c.body(x))
			err := l.Call(ctx, func(out *canon.Writer) { out.BorrowHandle(canon.Handle{Resource: x.hosts, Object: "object"}) }, nil)
			wantTrap(t, err, c.trap)
			if len(x.dropped) > 0 {
				t.Errorf("a borrowed resource was dropped")
			}
		})
	}
}

// TestLends checks that what is lent to a call comes back, also when the call ends by a panic.
func TestLends(t *testing.T) {
	x := newShop(t, canon.Limits{})
	give := x.host(x.fn(x.ownHost), func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own("object") })
	stack := make([]uint64, 2)
	give.Call(ctx, stack)
	h := uint32(stack[0])
	errHost := errors.New("the host has had enough")
	for _, end := range []func(){func() {}, func() { panic(errHost) }, func() { canon.Trapf("no") }} {
		lend := x.host(x.fn(nil, x.lendHost, x.lendHost), func(c *canon.Call, in *canon.Reader, _ *canon.Writer) {
			in.Borrow()
			in.Borrow()
			wantTrap(t, thrown(func() { x.client.ResourceDrop(c.Context(), x.hosts, h) }), "cannot remove owned resource while borrowed")
			end()
		})
		_ = thrown(func() { lend.Call(ctx, []uint64{uint64(h), uint64(h)}) })
	}
	if err := thrown(func() { x.client.ResourceDrop(ctx, x.hosts, h) }); err != nil || !slices.Equal(x.dropped, []any{"object"}) {
		t.Errorf("got %v, dropped %v", err, x.dropped)
	}
	for text, f := range map[string]func(){
		"unknown handle index 1": func() {
			x.host(x.fn(nil, x.ownHost), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Own() }).Call(ctx, []uint64{uint64(h)})
		},
		"unknown handle index 7": func() {
			x.host(x.fn(nil, x.lendHost), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Borrow() }).Call(ctx, []uint64{7})
		},
	} {
		wantTrap(t, thrown(f), text)
	}
}

// TestReset drops what the guest left open, once.
func TestReset(t *testing.T) {
	x := newShop(t, canon.Limits{})
	give := x.host(x.fn(x.ownHost), func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own("object") })
	for range 3 {
		give.Call(ctx, make([]uint64, 1))
		x.client.WaitableSetNew()
		x.store.Reset()
	}
	if len(x.dropped) != 3 || x.client.Handles() != 0 {
		t.Errorf("dropped %v, %d handles are left", x.dropped, x.client.Handles())
	}
}

// TestDestructorTree drops a resource whose destructor drops another one of its type.
func TestDestructorTree(t *testing.T) {
	for _, again := range []bool{true, false} {
		x := newShop(t, canon.Limits{})
		var dtor code = func(ctx context.Context, s []uint64) {
			x.dropped = append(x.dropped, s[0])
			if s[0] > 0 {
				x.definer.ResourceDrop(ctx, x.guests, uint32(s[0]))
			}
		}
		fresh := func() canon.Function { return dtor }
		if !again {
			fresh = nil
		}
		x.store.SetDestructor(x.guests, dtor, fresh)
		leaf := x.definer.ResourceNew(x.guests, 0)
		root := x.definer.ResourceNew(x.guests, leaf)
		err := x.store.Drop(ctx, canon.Handle{Resource: x.guests, Rep: root})
		if again && (err != nil || len(x.dropped) != 3) {
			t.Errorf("got %v, dropped %v", err, x.dropped)
		}
		if !again {
			wantTrap(t, err, "cannot enter component instance")
		}
	}
}

// TestCallOrder checks what may run when: nothing leaves during realloc and post-return, which sees the core results after they were read.
func TestCallOrder(t *testing.T) {
	x := newShop(t, canon.Limits{})
	g := newGuest(256)
	out := x.host(x.fn(nil), func(*canon.Call, *canon.Reader, *canon.Writer) {})
	var order []string
	leave := func(ctx context.Context) {
		for _, f := range []func(){
			func() { out.Call(ctx, nil) }, func() { x.client.ResourceNew(x.guests, 1) }, func() { x.client.ResourceDrop(ctx, x.guests, 1) },
			func() { x.client.WaitableSetNew() }, func() { x.client.TaskCancel() }, func() { x.client.ThreadYield(ctx, false) },
		} {
			wantTrap(t, thrown(f), "cannot leave component instance")
		}
		if x.client.ContextGet(0) != 0 && len(order) == 0 {
			t.Error("realloc sees the context of the task")
		}
	}
	o := g.options(canon.UTF8)
	o.Realloc = code(func(ctx context.Context, s []uint64) {
		leave(ctx)
		order = append(order, "realloc")
		g.realloc(ctx, s)
	})
	o.PostReturn = code(func(ctx context.Context, s []uint64) {
		leave(ctx)
		if s[0] != 128 {
			t.Errorf("post-return is given %d", s[0])
		}
		clear(g.b)
		order = append(order, "post-return")
	})
	str := types.Primitive(types.String)
	l := x.store.NewLift(1, compiled(t, x.program, x.fn(str, str)), "f", o)
	l.SetCore(code(func(ctx context.Context, s []uint64) {
		x.client.ContextSet(0, 5)
		out.Call(ctx, nil)
		order = append(order, "core")
		g.b[128], g.b[132] = byte(s[0]), byte(s[1])
		s[0] = 128
	}), nil)
	var got string
	err := l.Call(ctx, func(out *canon.Writer) { out.String("hello") }, func(in *canon.Reader) {
		order = append(order, "read")
		got = in.String()
	})
	if err != nil || got != "hello" || !slices.Equal(order, []string{"realloc", "core", "read", "post-return"}) {
		t.Errorf("got %q, %v in the order %v", got, err, order)
	}
}

// TestReentrance calls a component that is running, from a child of it and from outside.
func TestReentrance(t *testing.T) {
	m := newMaker(t)
	p := canon.NewProgram([]int{-1, 0, 0}, canon.ProgramLimits{})
	f := compiled(t, p, m.fn(nil))
	for _, c := range []struct {
		name         string
		outer, inner int
		trap         string
	}{
		{"child calls parent", 1, 0, ""},
		{"parent calls child", 0, 1, ""},
		{"child calls sibling", 1, 2, ""},
		{"itself", 1, 1, "cannot enter component instance"}, // the same core function, without a fresh one
	} {
		s := p.NewStore(canon.Limits{})
		inner := s.NewLift(c.inner, f, "inner", canon.Options{})
		entered := 0
		inner.SetCore(code(func(context.Context, []uint64) { entered++ }), nil)
		call := s.NewLowerTo(c.outer, "call", canon.Options{}, inner)
		outer := inner
		if c.inner != c.outer {
			outer = s.NewLift(c.outer, f, "outer", canon.Options{})
		}
		outer.SetCore(code(func(ctx context.Context, st []uint64) { call.Call(ctx, st) }), nil)
		wantTrap(t, outer.Call(ctx, nil, nil), c.trap)
	}
	// A sibling may not call back into the one that runs.
	s := p.NewStore(canon.Limits{})
	a, b := s.NewLift(1, f, "a", canon.Options{}), s.NewLift(2, f, "b", canon.Options{})
	toA, toB := s.NewLowerTo(2, "a", canon.Options{}, a), s.NewLowerTo(1, "b", canon.Options{}, b)
	a.SetCore(code(toB.Call), nil)
	b.SetCore(code(toA.Call), nil)
	err := a.Call(ctx, nil, nil)
	wantTrap(t, err, "wasm trap: cannot enter component instance")
	if trap := (*canon.Trap)(nil); !errors.As(err, &trap) || trap.Func != "a" {
		t.Errorf("the trap names %q", trap.Func)
	}
}
