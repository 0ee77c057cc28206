package types_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/tenloom/tenloom/sandbox/component/types"
)

// maker builds types in tests; a refusal fails the test.
type maker struct {
	*Table
	t testing.TB
}

func newMaker(t testing.TB) maker { return maker{NewTable(Limits{}), t} }

func (m maker) must(ty *Type, err error) *Type {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	return ty
}

func (m maker) tuple(e ...*Type) *Type  { m.t.Helper(); return m.must(m.Tuple(e...)) }
func (m maker) list(e *Type) *Type      { m.t.Helper(); return m.must(m.List(e)) }
func (m maker) option(e *Type) *Type    { m.t.Helper(); return m.must(m.Option(e)) }
func (m maker) result(o, e *Type) *Type { m.t.Helper(); return m.must(m.Result(o, e)) }
func (m maker) enum(n int) *Type        { m.t.Helper(); return m.must(m.Enum(labels(n)...)) }
func (m maker) flags(n int) *Type       { m.t.Helper(); return m.must(m.Flags(labels(n)...)) }
func (m maker) variant(payloads ...*Type) *Type {
	m.t.Helper()
	cases := make([]Case, len(payloads))
	for i, p := range payloads {
		cases[i] = Case{Name: fmt.Sprintf("c%d", i), Type: p}
	}
	return m.must(m.Variant(cases...))
}

func labels(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("l%d", i)
	}
	return all
}

var (
	u8, u16, u32, u64 = Primitive(U8), Primitive(U16), Primitive(U32), Primitive(U64)
	s32, s64          = Primitive(S32), Primitive(S64)
	f32, f64          = Primitive(F32), Primitive(F64)
	str, char         = Primitive(String), Primitive(Char)
)

// spell writes core types in letters: i, I, f, F; "-" for what never travels flat.
func spell(flat []CoreType, ok bool) string {
	if !ok {
		return "-"
	}
	var b strings.Builder
	for _, c := range flat {
		b.WriteByte(map[CoreType]byte{CoreI32: 'i', CoreI64: 'I', CoreF32: 'f', CoreF64: 'F'}[c])
	}
	return b.String()
}

func TestLayout(t *testing.T) {
	m := newMaker(t)
	r := NewResource("connection")
	own, borrow := m.must(m.Own(r)), m.must(m.Borrow(r))
	bytes := m.list(u8)
	streamError := m.variant(own, nil)          // wasi:io
	redisError := m.variant(nil, nil, nil, str) // fermyon:spin
	parameter := m.variant(s64, bytes)          // redis-parameter
	for _, c := range []struct {
		name        string
		t           *Type
		size, align uint32
		flat        string
	}{
		{"bool", Primitive(Bool), 1, 1, "i"},
		{"u8", u8, 1, 1, "i"},
		{"u16", u16, 2, 2, "i"},
		{"s32", s32, 4, 4, "i"},
		{"u64", u64, 8, 8, "I"},
		{"f32", f32, 4, 4, "f"},
		{"f64", f64, 8, 8, "F"},
		{"char", char, 4, 4, "i"},
		{"string", str, 8, 4, "ii"},
		{"list<u8>", bytes, 8, 4, "ii"},
		{"map", m.must(m.Map(str, u64)), 8, 4, "ii"},
		{"own", own, 4, 4, "i"},
		{"borrow", borrow, 4, 4, "i"},
		{"stream<string>", m.must(m.Stream(str)), 4, 4, "i"},
		{"future", m.must(m.Future(nil)), 4, 4, "i"},
		{"result<_, enum>", m.result(nil, m.enum(2)), 2, 1, "ii"},
		{"stream-error", streamError, 8, 4, "ii"},
		{"result<u64, stream-error>", m.result(u64, streamError), 16, 8, "iIi"},
		{"result<list<u8>, stream-error>", m.result(bytes, streamError), 12, 4, "iii"},
		{"option<string>", m.option(str), 12, 4, "iii"},
		{"redis error", redisError, 12, 4, "iii"},
		{"result<_, redis error>", m.result(nil, redisError), 16, 4, "iiii"},
		{"tuple<string, string>", m.tuple(str, str), 16, 4, "iiii"},
		{"datetime", m.tuple(u64, u32), 16, 8, "Ii"},
		{"redis-parameter", parameter, 16, 8, "iIi"},
		{"tuple<u8, u16, u8, u32, u8>", m.tuple(u8, u16, u8, u32, u8), 16, 4, "iiiii"},
		{"tuple<u8, u64>", m.tuple(u8, u64), 16, 8, "iI"},
		{"variant i32|f32", m.variant(u32, f32), 8, 4, "ii"},
		{"variant f32|f64", m.variant(f32, f64), 16, 8, "iI"},
		{"variant f32|u64", m.variant(f32, u64), 16, 8, "iI"},
		{"variant f32|f32", m.variant(f32, f32), 8, 4, "if"},
		{"variant f64|none", m.variant(f64, nil), 16, 8, "iF"},
		{"a larger payload of a smaller alignment", m.variant(m.tuple(u8, u8, u8, u8, u8), u32), 12, 4, "iiiiii"},
		{"enum of 256", m.enum(256), 1, 1, "i"},
		{"enum of 257", m.enum(257), 2, 2, "i"},
		{"enum of 65,536", m.enum(65_536), 2, 2, "i"},
		{"enum of 65,537", m.enum(65_537), 4, 4, "i"},
		{"flags of 8", m.flags(8), 1, 1, "i"},
		{"flags of 9", m.flags(9), 2, 2, "i"},
		{"flags of 16", m.flags(16), 2, 2, "i"},
		{"flags of 17", m.flags(17), 4, 4, "i"},
		{"flags of 32", m.flags(32), 4, 4, "i"},
		{"list<u16, 3>", m.must(m.FixedList(u16, 3)), 6, 2, "iii"},
		{"list<u8, 17>", m.must(m.FixedList(u8, 17)), 17, 1, "-"},
		{"16 flat", m.tuple(slices.Repeat([]*Type{u8}, 16)...), 16, 1, strings.Repeat("i", 16)},
		{"17 flat", m.tuple(slices.Repeat([]*Type{u8}, 17)...), 17, 1, "-"},
		{"option of 16 flat", m.option(m.tuple(slices.Repeat([]*Type{u8}, 16)...)), 17, 1, "-"},
	} {
		if c.t.Size() != c.size || c.t.Align() != c.align || spell(c.t.Flat()) != c.flat {
			t.Errorf("%s: size %d align %d flat %s, want %d %d %s", c.name, c.t.Size(), c.t.Align(), spell(c.t.Flat()), c.size, c.align, c.flat)
		}
	}
}

func TestOffsets(t *testing.T) {
	m := newMaker(t)
	record := m.must(m.Record(Field{Name: "a", Type: u8}, Field{Name: "b", Type: u64}, Field{Name: "c", Type: u16}, Field{Name: "d", Type: str}))
	var offsets []uint32
	for _, f := range record.Fields() {
		offsets = append(offsets, f.Offset)
	}
	if want := []uint32{0, 8, 16, 20}; !slices.Equal(offsets, want) {
		t.Errorf("offsets %v, want %v", offsets, want)
	}
	for _, c := range []struct {
		t                     *Type
		payload, discriminant uint32
	}{
		{m.result(u64, m.variant(nil, u8)), 8, 1},
		{m.result(nil, m.variant(nil, str)), 4, 1},
		{m.option(u8), 1, 1},
		{m.variant(nil, nil), 1, 1},
		{m.enum(300), 2, 2},
	} {
		if c.t.Payload() != c.payload || c.t.Discriminant() != c.discriminant {
			t.Errorf("%s: payload at %d, discriminant %d, want %d %d", c.t, c.t.Payload(), c.t.Discriminant(), c.payload, c.discriminant)
		}
	}
	if got := m.option(u8).Cases(); len(got) != 2 || got[0].Name != "none" || got[1].Type != u8 {
		t.Errorf("cases of an option: %v", got)
	}
}

func TestSignatures(t *testing.T) {
	m := newMaker(t)
	params := func(n int, of *Type) []Field {
		all := make([]Field, n)
		for i := range all {
			all[i] = Field{Name: fmt.Sprintf("p%d", i), Type: of}
		}
		return all
	}
	i := func(n int) string { return strings.Repeat("i", n) }
	for _, c := range []struct {
		name                       string
		params                     []Field
		result                     *Type
		lift, liftAsync, lower     string
		lowerAsync                 string
		spills, spillsAsync, taken bool // parameters on lift and lower, on lower async; the result
	}{
		{"nothing", nil, nil, ">", ">i", ">", ">i", false, false, false},
		{"one each", params(1, u64), f32, "I>f", "I>i", "I>f", "Ii>i", false, false, false},
		{"string to string", params(1, str), str, "ii>i", "ii>i", "iii>", "iii>i", false, false, true},
		{"4 flat", params(4, u8), nil, "iiii>", "iiii>i", "iiii>", "iiii>i", false, false, false},
		{"5 flat", params(5, u8), nil, i(5) + ">", i(5) + ">i", i(5) + ">", "i>i", false, true, false},
		{"16 flat", params(16, u8), u8, i(16) + ">i", i(16) + ">i", i(16) + ">i", "ii>i", false, true, false},
		{"17 flat", params(17, u8), str, "i>i", "i>i", "ii>", "ii>i", true, true, true},
	} {
		f, err := m.Func(c.params, c.result, false)
		if err != nil {
			t.Fatal(err)
		}
		show := func(s Signature) string { return spell(s.Params, true) + ">" + spell(s.Results, true) }
		lift, lower, lowerAsync := f.Lifted(false, false), f.Lowered(false), f.Lowered(true)
		got := []string{show(lift), show(f.Lifted(true, true)), show(lower), show(lowerAsync)}
		if want := []string{c.lift, c.liftAsync, c.lower, c.lowerAsync}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		if lift.SpilledParams != c.spills || lower.SpilledParams != c.spills || lowerAsync.SpilledParams != c.spillsAsync {
			t.Errorf("%s: spilled parameters %t %t %t", c.name, lift.SpilledParams, lower.SpilledParams, lowerAsync.SpilledParams)
		}
		if lift.SpilledResult != c.taken || lower.SpilledResult != c.taken || lowerAsync.SpilledResult != (c.result != nil) {
			t.Errorf("%s: spilled results %t %t %t", c.name, lift.SpilledResult, lower.SpilledResult, lowerAsync.SpilledResult)
		}
	}
	if s := TaskReturn(m.tuple(slices.Repeat([]*Type{u8}, 17)...)); !s.SpilledParams || len(s.Params) != 1 {
		t.Errorf("task.return of 17 flat values: %v", s)
	}
	f, _ := m.Func(params(3, u64), nil, false)
	if f.ParamsSize() != 24 || f.ParamsAlign() != 8 || f.Params()[2].Offset != 16 {
		t.Errorf("parameters in memory: %d bytes aligned to %d, the third at %d", f.ParamsSize(), f.ParamsAlign(), f.Params()[2].Offset)
	}
}

func TestShared(t *testing.T) {
	m := newMaker(t)
	r, other := NewResource("r"), NewResource("r")
	build := func(r *Resource) *Type {
		return m.result(m.list(m.tuple(str, m.must(m.Own(r)))), m.variant(nil, m.option(u8)))
	}
	first := build(r)
	if build(r) != first {
		t.Error("the same type made twice has two pointers")
	}
	if build(other) == first {
		t.Error("types of two resources of the same name are one")
	}
	if s, err := m.Substitute(first, map[*Resource]*Resource{r: other}); err != nil || s != build(other) {
		t.Errorf("substituted: %v, %v", s, err)
	}
	if s, _ := m.Substitute(first, map[*Resource]*Resource{other: r}); s != first {
		t.Error("a type changes where nothing is substituted")
	}
	distinct := []*Type{
		m.tuple(u8), m.must(m.Record(Field{Name: "a", Type: u8})), m.must(m.Record(Field{Name: "b", Type: u8})), m.option(u8),
		m.variant(nil, u8), m.list(u8), m.must(m.FixedList(u8, 1)), m.must(m.FixedList(u8, 2)), m.list(m.tuple(str, u8)), m.must(m.Map(str, u8)),
		m.must(m.Own(r)), m.must(m.Borrow(r)), m.must(m.Own(other)), m.enum(2), m.flags(2), m.result(u8, nil), m.result(nil, u8), m.result(nil, nil),
		m.must(m.Enum("ab", "c")), m.must(m.Enum("a", "bc")),
	}
	for i, a := range distinct {
		for j, b := range distinct {
			if (a == b) != (i == j) || Equal(a, b, nil) != (i == j) {
				t.Errorf("%s and %s: same %t, equal %t", a, b, a == b, Equal(a, b, nil))
			}
		}
	}
	f, _ := m.Func([]Field{{Name: "a", Type: first}}, nil, false)
	g, _ := m.Func([]Field{{Name: "a", Type: build(r)}}, nil, false)
	if f != g {
		t.Error("the same function type made twice has two pointers")
	}
	if h, _ := m.SubstituteFunc(f, map[*Resource]*Resource{r: other}); h.Params()[0].Type != build(other) {
		t.Error("a resource in a parameter was not substituted")
	}

	elsewhere := newMaker(t)
	theirs := elsewhere.result(elsewhere.list(elsewhere.tuple(str, elsewhere.must(elsewhere.Own(other)))), elsewhere.variant(nil, elsewhere.option(u8)))
	if Equal(first, theirs, nil) || !Equal(first, theirs, func(a, b *Resource) bool { return a == r && b == other }) {
		t.Error("types of two tables are not compared by their resources")
	}
}

func TestHolds(t *testing.T) {
	m := newMaker(t)
	r := NewResource("r")
	deep := m.option(m.tuple(u8, m.list(m.must(m.Borrow(r)))))
	if !deep.HasBorrow() || !deep.HasHandle() || !deep.HasPointer() || deep.Gated() != 0 {
		t.Errorf("%s: borrow %t, handle %t, pointer %t, gated %v", deep, deep.HasBorrow(), deep.HasHandle(), deep.HasPointer(), deep.Gated())
	}
	if _, err := m.Func(nil, deep, false); err == nil {
		t.Error("a result may hold a borrow handle")
	}
	if s := m.tuple(m.must(m.Stream(m.list(u8)))); s.Gated() != Stream || s.HasPointer() {
		t.Errorf("%s: gated %v, pointer %t", s, s.Gated(), s.HasPointer())
	}
	if got := m.result(m.list(u8), m.must(m.Own(r))).String(); got != "result<list<u8>, own<r>>" {
		t.Error(got)
	}
}

func TestLimits(t *testing.T) {
	m := newMaker(t)
	deep, err := u8, error(nil)
	for n := 2; err == nil; n++ {
		if deep, err = m.Option(deep); err == nil && n > 100 {
			t.Fatal("101 levels are allowed")
		}
	}
	if !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	wide, err := m.tuple(u8, u8), error(nil)
	for range 40 {
		if wide, err = m.Tuple(wide, wide); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrLimit) {
		t.Error("a type that doubles 40 times:", err)
	}
	for _, c := range []struct {
		elem   *Type
		length uint32
		ok     bool
	}{{u8, 268435455, true}, {u8, 268435456, false}, {u64, 33554431, true}, {u64, 33554432, false}, {u64, 536870912, false}, {str, 16777215, true}, {str, 16777216, false}} {
		if _, err := m.FixedList(c.elem, c.length); (err == nil) != c.ok {
			t.Errorf("list<%s, %d>: %v", c.elem, c.length, err)
		}
	}
	half := m.must(m.FixedList(u8, 1<<27))
	if _, err := m.Tuple(half, half); err == nil {
		t.Error("a tuple of 1<<28 bytes is allowed")
	}
	full := m.must(m.FixedList(u8, 1<<28-1))
	if e := m.must(m.Map(u8, full)).Elem(); e.Size() != 1<<28 {
		t.Errorf("entries of a map take %d bytes", e.Size())
	}
	if _, err := m.Tuple(u8, full); err == nil {
		t.Error("a tuple of 1<<28 bytes is allowed after a map of such tuples")
	}
	small := NewTable(Limits{Bytes: 4096})
	for i := range 100 {
		if _, err = small.FixedList(u8, uint32(i+1)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrLimit) {
		t.Error("100 types in 4,096 bytes:", err)
	}
	for name, err := range map[string]error{
		"empty record": second(m.Record()), "empty variant": second(m.Variant()), "empty enum": second(m.Enum()), "no flags": second(m.Flags()),
		"33 flags": second(m.Flags(labels(33)...)), "float keys": second(m.Map(f32, u8)), "empty fixed list": second(m.FixedList(u8, 0)),
	} {
		if err == nil || errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ *Type, err error) error { return err }
