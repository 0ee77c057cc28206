package canon_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// bench makes a component instance that passes 1 MB, at the same address again and again.
func bench(b *testing.B, t *types.Type) (p *canon.Program, s *canon.Store, g *guest, o canon.Options, f *canon.Func) {
	p = canon.NewProgram(pair, canon.ProgramLimits{})
	s = p.NewStore(canon.Limits{})
	g = newGuest(2 << 20)
	for i := range g.b {
		g.b[i] = 'x'
	}
	o = g.options(canon.UTF8)
	o.Realloc = code(func(_ context.Context, s []uint64) { s[0] = 1 << 20 })
	return p, s, g, o, compiled(b, p, newMaker(b).fn(nil, t))
}

// against times f and a memcpy of as many bytes in turns, and reports the ratio of their medians.
func against(b *testing.B, size int, f func()) {
	from, to := bytes.Repeat([]byte("x"), size), make([]byte, size) // written, since pages that are not are the same one of zeros
	var mine, plain []time.Duration
	b.SetBytes(int64(size))
	for b.Loop() {
		began := time.Now()
		copy(to, from)
		between := time.Now()
		f()
		mine, plain = append(mine, time.Since(between)), append(plain, between.Sub(began))
	}
	slices.Sort(mine)
	slices.Sort(plain)
	b.ReportMetric(float64(mine[len(mine)/2])/float64(plain[len(plain)/2]), "x-memcpy")
}

// BenchmarkMegabyte passes 1 MB; x-memcpy is the time for it by that for one memcpy.
func BenchmarkMegabyte(b *testing.B) {
	const size = 1 << 20
	list := newMaker(b).must(newMaker(b).List(u8))
	b.Run("lift list<u8>", func(b *testing.B) {
		_, s, _, o, f := bench(b, list)
		buf := make([]byte, size)
		l := s.NewLower(0, f, "f", o, func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { copy(buf, in.Bytes()) })
		stack := []uint64{0, size}
		against(b, size, func() { l.Call(ctx, stack) })
	})
	b.Run("lower list<u8>", func(b *testing.B) {
		_, s, _, o, f := bench(b, list)
		payload := bytes.Repeat([]byte("x"), size)
		l := s.NewLift(0, f, "f", o)
		l.SetCore(code(func(context.Context, []uint64) {}), nil)
		against(b, size, func() { _ = l.Call(ctx, func(out *canon.Writer) { out.Bytes(payload) }, nil) })
	})
	for name, t := range map[string]*types.Type{"transfer list<u8>": list, "transfer string": types.Primitive(types.String)} {
		b.Run(name, func(b *testing.B) {
			_, s, _, o, f := bench(b, t)
			l := s.NewLift(1, f, "f", o)
			l.Options.Memory = newGuest(2 << 20)
			l.SetCore(code(func(context.Context, []uint64) {}), nil)
			call := s.NewLowerTo(0, "f", o, l)
			stack := []uint64{0, size}
			against(b, size, func() { call.Call(ctx, stack) })
		})
	}
	b.Run("lift string", func(b *testing.B) {
		_, s, _, o, f := bench(b, types.Primitive(types.String))
		l := s.NewLower(0, f, "f", o, func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Text() })
		stack := []uint64{0, size}
		against(b, size, func() { l.Call(ctx, stack) })
	})
}

// BenchmarkCall is one call of a small import, and of a small export.
func BenchmarkCall(b *testing.B) {
	m := newMaker(b)
	result := m.must(m.Result(nil, m.must(m.Variant(types.Case{Name: "a"}, types.Case{Name: "other", Type: types.Primitive(types.String)}))))
	b.Run("import", func(b *testing.B) {
		x := newShop(b, canon.Limits{})
		g := newGuest(256)
		f := compiled(b, x.program, m.fn(result, types.Primitive(types.String), m.must(m.List(u8))))
		l := x.store.NewLower(1, f, "publish", g.options(canon.UTF8), func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
			in.Text()
			in.Bytes()
			out.OK()
		})
		stack := []uint64{0, 8, 16, 32, 64}
		b.ReportAllocs()
		for b.Loop() {
			l.Call(ctx, stack)
		}
	})
	b.Run("import that lends", func(b *testing.B) {
		x := newShop(b, canon.Limits{})
		x.host(x.fn(x.ownHost), func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own("object") }).Call(ctx, make([]uint64, 1))
		l := x.host(x.fn(nil, x.lendHost), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { canon.Borrow[string](in) })
		stack := []uint64{1}
		b.ReportAllocs()
		for b.Loop() {
			l.Call(ctx, stack)
		}
	})
	b.Run("export", func(b *testing.B) {
		_, s, _, o, f := bench(b, m.must(m.List(u8)))
		l := s.NewLift(0, f, "handle", o)
		l.SetCore(code(func(context.Context, []uint64) {}), nil)
		payload := []byte("hello")
		b.ReportAllocs()
		for b.Loop() {
			_ = l.Call(ctx, func(out *canon.Writer) { out.Bytes(payload) }, nil)
		}
	})
}
