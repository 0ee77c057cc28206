package canon_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// dice gives numbers that a fuzzer chooses; 0 at the end.
type dice []byte

func (d *dice) n(below int) int {
	if len(*d) == 0 || below < 2 {
		return 0
	}
	v := int((*d)[0])
	*d = (*d)[1:]
	return v % below
}

func (d *dice) word() uint64 {
	var v uint64
	for range d.n(9) {
		v = v<<8 | uint64(d.n(256))
	}
	return v
}

// some makes a type of at most depth levels; refusals become u8.
func (m maker) some(d *dice, depth int, resource *types.Resource) *types.Type {
	kind := types.Kind(1 + d.n(int(types.Future)))
	if kind < types.ErrorContext {
		return types.Primitive(kind)
	}
	if depth == 0 {
		return u8
	}
	part := func() *types.Type { return m.some(d, depth-1, resource) }
	maybe := func() *types.Type {
		if d.n(4) == 0 {
			return nil
		}
		return part()
	}
	var parts []*types.Type
	for range 1 + d.n(5) {
		parts = append(parts, part())
	}
	var t *types.Type
	var err error
	switch kind {
	case types.Record, types.Tuple:
		t, err = m.Tuple(parts...)
	case types.Variant:
		cases := make([]types.Case, 1+d.n(300))
		for i := range parts {
			if i < len(cases) {
				cases[i].Type = parts[i]
			}
		}
		t, err = m.Variant(cases...)
	case types.Enum:
		t, err = m.Enum(names(1 + d.n(300))...)
	case types.Option:
		t, err = m.Option(parts[0])
	case types.Result:
		t, err = m.Result(maybe(), maybe())
	case types.Flags:
		t, err = m.Flags(names(1 + d.n(32))...)
	case types.FixedList:
		t, err = m.FixedList(parts[0], uint32(1+d.n(40)))
	case types.Map:
		t, err = m.Map(types.Primitive(types.String), parts[0])
	case types.Own:
		t, err = m.Own(resource)
	case types.Borrow:
		t, err = m.Borrow(resource)
	default:
		t, err = m.List(parts[0])
	}
	if err != nil {
		return u8
	}
	return t
}

// onlyTraps fails where something else than a trap comes out.
func onlyTraps(t *testing.T, f func()) {
	t.Helper()
	err := thrown(f)
	if trap := (*canon.Trap)(nil); err != nil && !errors.As(err, &trap) {
		t.Fatalf("%v is not a trap", err)
	}
}

// FuzzLift passes any core values with any memory to the host, and to another component with a realloc that answers anything.
func FuzzLift(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{11, 21, 3, 0, 255, 255, 255, 127, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6})
	f.Add([]byte{21, 21, 21, 12, 1, 2, 4, 16, 0, 0, 4, 255, 255, 255, 255, 8, 0, 0, 0, 16, 0, 0, 0, 1})
	f.Add([]byte{16, 15, 24, 25, 3, 20, 7, 18, 9, 9, 9, 0, 1, 2, 1, 3, 9, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<12 {
			return
		}
		d := dice(in)
		m := newMaker(t)
		identity := types.NewResource("r")
		p := canon.NewProgram(pair, canon.ProgramLimits{Bytes: 1 << 20})
		r := p.Resource(identity, 0, nil)
		fn, err := p.Func(m.fn(nil, m.some(&d, 4, identity)))
		if err != nil {
			return
		}
		s := p.NewStore(canon.Limits{Lifted: 4 * int64(len(in))})
		for range 3 {
			s.Instance(0).ResourceNew(r, 9)
		}
		o := canon.Options{Encoding: canon.Encoding(d.n(3))}
		take := s.NewLift(1, fn, "take", canon.Options{Encoding: canon.Encoding(d.n(3)), Memory: newGuest(256)})
		answers := []uint64{d.word(), d.word(), d.word()}
		take.Options.Realloc = code(func(_ context.Context, s []uint64) { s[0] = answers[0]; answers = append(answers[1:], answers[0]+8) })
		take.SetCore(code(func(context.Context, []uint64) {}), nil)
		core := make([]uint64, 17)
		for i := range core {
			core[i] = d.word()
		}
		o.Memory = &memory{slices.Clone(d)}
		ty := fn.Type().Params()[0].Type
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, lower := range []*canon.Lower{
			s.NewLower(0, fn, "value", o, func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Value(ty) }),
			s.NewLower(0, fn, "skip", o, func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Skip() }),
			s.NewLowerTo(0, "transfer", o, take),
		} {
			onlyTraps(t, func() { lower.Call(ctx, core) })
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20+uint64(3*4*len(in)) {
			t.Errorf("%d bytes were allocated for an input of %d", grown, len(in))
		}
	})
}

// FuzzHandles does anything with handles, and compares the handles of the host's resource with a map.
func FuzzHandles(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 2, 1, 3, 1, 4, 5, 6, 1})
	f.Add([]byte{7, 8, 8, 9, 2, 1, 10, 2, 11, 2, 12, 2, 0, 13, 1, 3})
	f.Add([]byte{8, 7, 9, 1, 2, 14, 1, 10, 1, 2, 15, 9, 1, 0, 12, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<10 {
			return
		}
		d := dice(in)
		x := newShop(t, canon.Limits{Handles: 40, Calls: 8})
		c := x.client
		model := map[uint32]int{} // the host's resource behind each own handle
		next := 0
		var pending []*canon.Pending
		slow := x.store.NewLower(1, compiled(t, x.program, x.typed(true, nil)), "slow", canon.Options{Async: true},
			func(c *canon.Call, _ *canon.Reader, _ *canon.Writer) { pending = append(pending, c.Defer()) })
		give := x.host(x.fn(x.ownHost), func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own(next) })
		take := x.host(x.fn(nil, x.ownHost), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Own() })
		lend := x.host(x.fn(types.Primitive(types.U32), x.lendHost), func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
			out.U32(uint32(canon.Borrow[int](in)))
		})
		one := func(l *canon.Lower, i uint32) (uint32, error) {
			s := []uint64{uint64(i)}
			err := thrown(func() { l.Call(ctx, s) })
			return uint32(s[0]), err
		}
		known := func(i uint32, err error) {
			if _, ok := model[i]; ok != (err == nil) {
				t.Fatalf("handle %d: the model has it: %v; got %v", i, ok, err)
			}
		}
		body := func(context.Context, []uint64) {
			for len(d) > 0 {
				op, i := d.n(16), uint32(d.n(12))
				switch op {
				case 0:
					h, err := one(give, 0)
					if _, ok := model[h]; ok && err == nil {
						t.Fatalf("handle %d is given twice", h)
					}
					if err == nil {
						model[h] = next
					}
					next++
				case 1:
					known(i, thrown(func() { c.ResourceDrop(ctx, x.hosts, i) }))
					delete(model, i)
				case 2:
					_, err := one(take, i)
					known(i, err)
					delete(model, i)
				case 3:
					got, err := one(lend, i)
					known(i, err)
					if err == nil && int(got) != model[i] {
						t.Fatalf("handle %d lends %d, want %d", i, got, model[i])
					}
				case 4:
					onlyTraps(t, func() { c.ResourceNew(x.guests, i) })
				case 5:
					onlyTraps(t, func() { c.ResourceDrop(ctx, x.guests, i) })
				case 6:
					onlyTraps(t, func() { c.ResourceRep(x.guests, i) })
				case 7:
					onlyTraps(t, func() { slow.Call(ctx, make([]uint64, 1)) })
				case 8:
					onlyTraps(t, func() { c.WaitableSetNew() })
				case 9:
					onlyTraps(t, func() { c.WaitableJoin(i, uint32(d.n(12))) })
				case 10:
					onlyTraps(t, func() { c.WaitableSetDrop(i) })
				case 11:
					onlyTraps(t, func() { c.WaitableSetPoll(&memory{make([]byte, 16)}, false, i, uint32(d.n(16))) })
				case 12:
					onlyTraps(t, func() { c.SubtaskDrop(i) })
				case 13:
					onlyTraps(t, func() { c.SubtaskCancel(ctx, true, i) })
				case 14:
					if len(pending) > 0 {
						pending[int(i)%len(pending)].Complete(nil)
					}
				case 15:
					onlyTraps(t, func() { c.ThreadYield(ctx, i == 0) })
				}
			}
		}
		l := x.store.NewLift(1, compiled(t, x.program, x.typed(true, nil)), "run", canon.Options{})
		l.SetCore(code(body), nil)
		if err := l.Call(ctx, nil, nil); err != nil {
			t.Fatal(err)
		}
		x.dropped = nil
		x.store.Reset()
		if len(x.dropped) != len(model) || c.Handles() != 0 {
			t.Errorf("Reset drops %d of %d", len(x.dropped), len(model))
		}
	})
}

// TestLyingLengths checks what a list or string of a wrong length costs: nothing.
func TestLyingLengths(t *testing.T) {
	m := newMaker(t)
	p := canon.NewProgram(alone, canon.ProgramLimits{})
	s := p.NewStore(canon.Limits{})
	for _, ty := range []*types.Type{types.Primitive(types.String), m.must(m.List(types.Primitive(types.U64))), m.must(m.List(m.must(m.List(u8))))} {
		f := compiled(t, p, m.fn(nil, ty))
		lower := s.NewLower(0, f, "f", newGuest(64).options(canon.UTF8), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Value(ty) })
		for _, n := range []uint64{65, 1 << 20, 1<<28 - 1, 1 << 28, 0xffffffff} {
			allocs := testing.AllocsPerRun(5, func() {
				if err := thrown(func() { lower.Call(ctx, []uint64{0, n}) }); err == nil {
					t.Error("no trap")
				}
			})
			if allocs > 40 {
				t.Errorf("%s of %d: %s allocations", ty, n, fmt.Sprint(allocs))
			}
		}
	}
}
