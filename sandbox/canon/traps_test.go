package canon_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// TestLiftTraps passes core values that the ABI does not allow to a function of the host.
func TestLiftTraps(t *testing.T) {
	m := newMaker(t)
	str, u32, char := types.Primitive(types.String), types.Primitive(types.U32), types.Primitive(types.Char)
	bytes, words := m.must(m.List(u8)), m.must(m.List(u32))
	long := m.must(m.FixedList(types.Primitive(types.U64), 17))
	variant := m.must(m.Variant(types.Case{Name: "a", Type: u8}, types.Case{Name: "b"}))
	enum := m.must(m.Enum("a", "b", "c"))
	const size = 64
	for _, c := range []struct {
		name     string
		t        *types.Type
		encoding canon.Encoding
		core     []uint64
		trap     string
	}{
		{"string beyond the end", str, canon.UTF8, []uint64{60, 5}, "string content out-of-bounds"},
		{"string, pointer and length wrap in 32 bits", str, canon.UTF8, []uint64{0xfffffff0, 0x20}, "string pointer/length out of bounds of memory"},
		{"empty string beyond the end", str, canon.UTF8, []uint64{0xdeadbeef, 0}, "string pointer/length out of bounds of memory"},
		{"empty string at the end", str, canon.UTF8, []uint64{size, 0}, ""},
		{"string too long", str, canon.UTF8, []uint64{0, 1 << 28}, "exceed the maximum"},
		{"utf16 too long", str, canon.UTF16, []uint64{0, 1 << 27}, "exceed the maximum"},
		{"utf16 unaligned", str, canon.UTF16, []uint64{1, 0}, "unaligned pointer"},
		{"latin1 unaligned", str, canon.Latin1UTF16, []uint64{1, 1}, "unaligned pointer"},
		{"utf8 invalid", str, canon.UTF8, []uint64{0, 3}, "invalid utf-8"},
		{"utf8 incomplete", str, canon.UTF8, []uint64{2, 2}, "incomplete utf-8 byte sequence"},
		{"utf16 lone surrogate", str, canon.UTF16, []uint64{8, 1}, "invalid utf-16"},
		{"utf16 tagged, lone surrogate", str, canon.Latin1UTF16, []uint64{8, 1<<31 | 2}, "invalid utf-16"},
		{"list beyond the end", bytes, canon.UTF8, []uint64{1, size}, "list content out-of-bounds"},
		{"list size wraps in 32 bits", words, canon.UTF8, []uint64{0, 1 << 30}, "exceed the maximum"},
		{"list unaligned", words, canon.UTF8, []uint64{2, 1}, "unaligned pointer"},
		{"empty list unaligned", words, canon.UTF8, []uint64{2, 0}, "unaligned pointer"},
		{"surrogate", char, canon.UTF8, []uint64{0xd800}, "invalid `char` bit pattern"},
		{"surrogate, last", char, canon.UTF8, []uint64{0xdfff}, "invalid `char` bit pattern"},
		{"char too large", char, canon.UTF8, []uint64{0x110000}, "invalid `char` bit pattern"},
		{"char, high bits", char, canon.UTF8, []uint64{1<<32 | 'x'}, ""},
		{"variant", variant, canon.UTF8, []uint64{2, 0}, "invalid variant discriminant"},
		{"enum", enum, canon.UTF8, []uint64{3}, "invalid variant discriminant"},
		{"spilled, unaligned", long, canon.UTF8, []uint64{4}, "unaligned pointer"},
		{"spilled, beyond the end", long, canon.UTF8, []uint64{8}, "pointer out of bounds of memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := canon.NewProgram(alone, canon.ProgramLimits{})
			s := p.NewStore(canon.Limits{})
			g := newGuest(size)
			copy(g.b, "\xff\xfe\x61\xc3\x00\x00\x00\x00\x00\xd8\x61")
			f := compiled(t, p, m.fn(nil, c.t))
			read := func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Value(c.t) }
			wantTrap(t, thrown(func() { s.NewLower(0, f, "f", g.options(c.encoding), read).Call(ctx, c.core) }), c.trap)
		})
	}
}

// TestReallocTraps lets a realloc answer nonsense.
func TestReallocTraps(t *testing.T) {
	m := newMaker(t)
	words := m.must(m.List(types.Primitive(types.U32)))
	var many []*types.Type
	for range 17 {
		many = append(many, types.Primitive(types.U32))
	}
	for _, c := range []struct {
		name   string
		answer uint64
		n      int
		trap   string
	}{
		{"zero", 0, 2, ""},
		{"high bits", 1 << 40, 2, ""},
		{"beyond the end", 0xfffffffc, 2, "realloc return: beyond end of memory"},
		{"beyond the end, list text", 64, 1, "list content out-of-bounds"},
		{"nothing, at the end", 64, 0, ""},
		{"nothing, beyond the end", 0xfffffffc, 0, "realloc return: beyond end of memory"},
		{"unaligned before out of bounds", 0xffffffff, 2, "realloc return: result not aligned"},
		{"unaligned", 2, 1, "unaligned pointer"},
	} {
		for name, f := range map[string]*types.Func{"list": m.fn(nil, words), "tuple": m.fn(nil, many...)} {
			t.Run(c.name+" "+name, func(t *testing.T) {
				if name == "tuple" && c.n == 0 {
					return
				}
				p := canon.NewProgram(alone, canon.ProgramLimits{})
				s := p.NewStore(canon.Limits{})
				g := newGuest(64)
				if name == "tuple" {
					g = newGuest(68)
				}
				o := g.options(canon.UTF8)
				o.Realloc = code(func(_ context.Context, s []uint64) { s[0] = c.answer })
				lift := s.NewLift(0, compiled(t, p, f), "f", o)
				lift.SetCore(code(func(context.Context, []uint64) {}), nil)
				args := make([]canon.Value, 17)
				for i := range args {
					args[i] = uint32(i)
				}
				if name == "list" {
					args = []canon.Value{args[:c.n]}
				}
				_, err := lift.CallValues(ctx, args...)
				want := c.trap
				if name == "tuple" && strings.Contains(want, "list content") {
					want = "beyond end of memory"
				}
				wantTrap(t, err, want)
				if err != nil && s.Err() == nil {
					t.Error("the store has not ended")
				}
			})
		}
	}
}

// TestReallocGrows lets the memory move while a list of strings is lowered.
func TestReallocGrows(t *testing.T) {
	m := newMaker(t)
	list := m.must(m.List(types.Primitive(types.String)))
	p := canon.NewProgram(alone, canon.ProgramLimits{})
	s := p.NewStore(canon.Limits{})
	g := newGuest(0)
	o := g.options(canon.UTF8)
	o.Realloc = code(func(ctx context.Context, s []uint64) {
		g.realloc(ctx, s)
		g.b = append(make([]byte, 0, g.next), g.b...)[:g.next]
	})
	var got string
	read := s.NewLower(0, compiled(t, p, m.fn(nil, list)), "read", o, func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) {
		for range in.List() {
			got += in.String() + "."
		}
	})
	lift := s.NewLift(0, compiled(t, p, m.fn(nil, list)), "f", o)
	lift.SetCore(code(read.Call), nil)
	_, err := lift.CallValues(ctx, []canon.Value{"one", "", "three", strings.Repeat("x", 100)})
	if want := "one..three." + strings.Repeat("x", 100) + "."; err != nil || got != want {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}

// TestNarrow checks that small integers come from the low bits of flat values, and go there extended.
func TestNarrow(t *testing.T) {
	m := newMaker(t)
	p := canon.NewProgram(alone, canon.ProgramLimits{})
	s := p.NewStore(canon.Limits{})
	for _, c := range []struct {
		kind types.Kind
		core uint64
		want canon.Value
		back uint64
	}{
		{types.Bool, 0x100, true, 1},
		{types.Bool, 1 << 32, false, 0},
		{types.U8, 0x1ff, uint8(0xff), 0xff},
		{types.S8, 0x1ff, int8(-1), 0xffffffff},
		{types.U16, 0x1ffff, uint16(0xffff), 0xffff},
		{types.S16, 0x18000, int16(math.MinInt16), 0xffff8000},
		{types.S32, 0x1ffffffff, int32(-1), 0xffffffff},
		{types.S64, math.MaxUint64, int64(-1), math.MaxUint64},
		{types.F32, 0x7fa00001, math.Float32frombits(0x7fc00000), 0x7fc00000},
		{types.F64, 0xfff0000000000001, math.Float64frombits(0x7ff8000000000000), 0x7ff8000000000000},
	} {
		ty := types.Primitive(c.kind)
		var got canon.Value
		stack := []uint64{c.core}
		s.NewLower(0, compiled(t, p, m.fn(ty, ty)), "f", canon.Options{}, func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
			got = in.Value(ty)
			out.Value(ty, got)
		}).Call(ctx, stack)
		if !same(got, c.want) || stack[0] != c.back {
			t.Errorf("%s of %#x: got %v and %#x, want %v and %#x", c.kind, c.core, got, stack[0], c.want, c.back)
		}
	}
}

// TestLimits checks that a call passes no more than it may, also where a list's elements all point to the same bytes.
func TestLimits(t *testing.T) {
	m := newMaker(t)
	str := types.Primitive(types.String)
	list := m.must(m.List(str))
	p := canon.NewProgram(alone, canon.ProgramLimits{})
	s := p.NewStore(canon.Limits{Lifted: 4096})
	g := newGuest(2048)
	for i := range 128 {
		g.b[8*i+5] = 1 // each element is 256 bytes at 0
	}
	f := compiled(t, p, m.fn(nil, list))
	read := func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Value(list) }
	wantTrap(t, thrown(func() { s.NewLower(0, f, "f", g.options(canon.Latin1UTF16), read).Call(ctx, []uint64{0, 128}) }), "which is the limit")
	lift := s.NewLift(0, compiled(t, p, m.fn(nil, str)), "f", g.options(canon.UTF8))
	lift.SetCore(code(func(context.Context, []uint64) {}), nil)
	_, err := lift.CallValues(ctx, strings.Repeat("x", 5000))
	wantTrap(t, err, "beyond end of memory")

	if _, err := canon.NewProgram(alone, canon.ProgramLimits{Bytes: 1000}).Func(m.fn(nil, m.must(m.Flags("a")), m.several("tuple", slicesOf(u8, 40)))); err == nil ||
		!strings.Contains(err.Error(), "too much memory") {
		t.Errorf("got %v, want an error about memory", err)
	}
}

func slicesOf(ty *types.Type, n int) []*types.Type {
	all := make([]*types.Type, n)
	for i := range all {
		all[i] = ty
	}
	return all
}

// TestMisuse checks that a host function which does not follow its type is found.
func TestMisuse(t *testing.T) {
	m := newMaker(t)
	result := m.must(m.Result(types.Primitive(types.U32), nil))
	p := canon.NewProgram(alone, canon.ProgramLimits{})
	s := p.NewStore(canon.Limits{})
	f := compiled(t, p, m.fn(result, u8, types.Primitive(types.String)))
	g := newGuest(64)
	for name, host := range map[string]canon.HostFunc{
		"a u16 where its type has a u8 next":        func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.U16() },
		"leaves values unread":                      func(_ *canon.Call, in *canon.Reader, out *canon.Writer) { in.U8(); out.Err() },
		"where the values of its type are at their": func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Skip(); in.U8() },
		"leaves values unwritten: its type has a r": func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Skip() },
		"leaves values unwritten: its type has a u": func(_ *canon.Call, in *canon.Reader, out *canon.Writer) { in.Skip(); out.OK() },
		"a u32 where the values":                    func(_ *canon.Call, in *canon.Reader, out *canon.Writer) { in.Skip(); out.Err(); out.U32(1) },
		"of something else":                         func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.U8(); in.Bytes() },
	} {
		func() {
			defer func() {
				if v := fmt.Sprint(recover()); !strings.Contains(v, name) && !(name == "of something else" && strings.Contains(v, "a list where its type has a string")) {
					t.Errorf("got %s, want %s", v, name)
				}
			}()
			s.NewLower(0, f, "f", g.options(canon.UTF8), host).Call(ctx, []uint64{1, 0, 0, 8})
		}()
	}
}
