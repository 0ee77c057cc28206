package canon_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// vector is one case of testdata/vectors.json; vectors.py says what it means.
type vector struct {
	Type        any
	Encoding    string
	Value       any
	Flat, Core  []string
	Memory      string
	Size, Align uint32
}

func (v vector) encoding() canon.Encoding {
	return map[string]canon.Encoding{"utf8": canon.UTF8, "utf16": canon.UTF16, "latin1+utf16": canon.Latin1UTF16}[v.Encoding]
}

func (v vector) core() []uint64 {
	core := make([]uint64, 17)
	for i, c := range v.Core {
		core[i], _ = strconv.ParseUint(c, 10, 64)
	}
	return core
}

func (v vector) memory() []byte {
	b, _ := hex.DecodeString(v.Memory)
	return b
}

func vectors(t testing.TB) (all struct{ Lower, Lift []vector }) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// parse makes the type of a vector.
func (m maker) parse(t any) *types.Type {
	if t == nil {
		return nil
	}
	if name, ok := t.(string); ok {
		for k := types.Bool; k <= types.String; k++ {
			if k.String() == name {
				return types.Primitive(k)
			}
		}
		m.t.Fatalf("unknown type %s", name)
	}
	kind, parts := t.([]any)[0].(string), t.([]any)[1:]
	count := func(i int) int { return int(parts[i].(float64)) }
	switch kind {
	case "list":
		return m.must(m.List(m.parse(parts[0])))
	case "fixed":
		return m.must(m.FixedList(m.parse(parts[0]), uint32(count(1))))
	case "map":
		return m.must(m.Map(m.parse(parts[0]), m.parse(parts[1])))
	case "option":
		return m.must(m.Option(m.parse(parts[0])))
	case "result":
		return m.must(m.Result(m.parse(parts[0]), m.parse(parts[1])))
	case "enum":
		return m.must(m.Enum(names(count(0))...))
	case "flags":
		return m.must(m.Flags(names(count(0))...))
	}
	var all []*types.Type
	for _, p := range parts {
		all = append(all, m.parse(p))
	}
	return m.several(kind, all)
}

func (m maker) several(kind string, all []*types.Type) *types.Type {
	switch kind {
	case "tuple":
		return m.must(m.Tuple(all...))
	case "record":
		fields := make([]types.Field, len(all))
		for i, p := range all {
			fields[i] = types.Field{Name: fmt.Sprint("f", i), Type: p}
		}
		return m.must(m.Record(fields...))
	}
	cases := make([]types.Case, len(all))
	for i, p := range all {
		cases[i] = types.Case{Name: fmt.Sprint("c", i), Type: p}
	}
	return m.must(m.Variant(cases...))
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("n", i)
	}
	return all
}

// value makes the Value of a vector.
func value(t *types.Type, v any) canon.Value {
	number := func() int64 {
		if n, err := strconv.ParseInt(v.(string), 10, 64); err == nil {
			return n
		}
		n, _ := strconv.ParseUint(v.(string), 10, 64)
		return int64(n)
	}
	switch t.Kind() {
	case types.Bool:
		return v.(bool)
	case types.U8:
		return uint8(number())
	case types.S8:
		return int8(number())
	case types.U16:
		return uint16(number())
	case types.S16:
		return int16(number())
	case types.U32:
		return uint32(number())
	case types.S32:
		return int32(number())
	case types.U64:
		return uint64(number())
	case types.S64:
		return number()
	case types.F32:
		return math.Float32frombits(uint32(number()))
	case types.F64:
		return math.Float64frombits(uint64(number()))
	case types.Char:
		return canon.Char(number())
	case types.String:
		return v.(string)
	case types.Enum:
		return canon.Enum(number())
	case types.Flags:
		return canon.Flags(number())
	}
	return composite(t, v.([]any))
}

func composite(t *types.Type, parts []any) canon.Value {
	switch t.Kind() {
	case types.Variant, types.Option, types.Result:
		n, _ := strconv.Atoi(parts[0].(string))
		made := canon.Variant{Case: n}
		if p := t.Cases()[n].Type; p != nil {
			made.Payload = value(p, parts[1])
		}
		return made
	case types.List:
		if t.Elem() == u8 {
			b := []byte{}
			for _, p := range parts {
				b = append(b, value(u8, p).(uint8))
			}
			return b
		}
	}
	all := make([]canon.Value, len(parts))
	for i, p := range parts {
		part := t.Elem()
		if part == nil {
			part = t.Fields()[i].Type
		}
		all[i] = value(part, p)
	}
	return all
}

// bits makes values comparable: NaNs are not equal to themselves.
func bits(v canon.Value) any {
	switch v := v.(type) {
	case float32:
		return [2]any{"f32", math.Float32bits(v)}
	case float64:
		return [2]any{"f64", math.Float64bits(v)}
	case canon.Variant:
		return [2]any{v.Case, bits(v.Payload)}
	case []canon.Value:
		all := make([]any, len(v))
		for i, e := range v {
			all[i] = bits(e)
		}
		return all
	}
	return v
}

func same(a, b canon.Value) bool { return reflect.DeepEqual(bits(a), bits(b)) }

// TestLowerVectors passes each value from the host to a guest, compares every byte, and reads it back from where the guest has it.
func TestLowerVectors(t *testing.T) {
	for i, v := range vectors(t).Lower {
		t.Run(fmt.Sprint(i, v.Type), func(t *testing.T) {
			m := newMaker(t)
			ty := m.parse(v.Type)
			if ty.Size() != v.Size || ty.Align() != v.Align {
				t.Fatalf("size %d align %d, want %d and %d", ty.Size(), ty.Align(), v.Size, v.Align)
			}
			p := canon.NewProgram(alone, canon.ProgramLimits{})
			s := p.NewStore(canon.Limits{})
			g := newGuest(1 << 16)
			f := compiled(t, p, m.fn(nil, ty))
			lift := s.NewLift(0, f, "take", g.options(v.encoding()))
			var core []uint64
			lift.SetCore(code(func(_ context.Context, stack []uint64) { core = append(core, stack...) }), nil)
			want := value(ty, v.Value)
			if _, err := lift.CallValues(ctx, want); err != nil {
				t.Fatal(err)
			}
			if got := core[:len(v.Core)]; !reflect.DeepEqual(got, v.core()[:len(v.Core)]) {
				t.Errorf("core values %v, want %v", got, v.Core)
			}
			if got := hex.EncodeToString(g.b[:g.next]); got != v.Memory {
				t.Errorf("memory\n%s, want\n%s", got, v.Memory)
			}
			if got := lifted(t, p, s, f, g, v, v.core()); !same(got, want) {
				t.Errorf("lifted again %v, want %v", got, want)
			}
		})
	}
}

// lifted passes core values to a function of the host and gives what it reads; a trap is thrown.
func lifted(t testing.TB, p *canon.Program, s *canon.Store, f *canon.Func, g *guest, v vector, core []uint64) (got canon.Value) {
	t.Helper()
	lower := s.NewLower(0, f, "give", g.options(v.encoding()), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) {
		got = in.Value(f.Type().Params()[0].Type)
	})
	lower.Call(ctx, core)
	return got
}

func TestLiftVectors(t *testing.T) {
	for i, v := range vectors(t).Lift {
		t.Run(fmt.Sprint(i, v.Type), func(t *testing.T) {
			m := newMaker(t)
			ty := m.parse(v.Type)
			p := canon.NewProgram(alone, canon.ProgramLimits{})
			s := p.NewStore(canon.Limits{})
			g := &guest{memory: memory{v.memory()}}
			f := compiled(t, p, m.fn(nil, ty))
			var got canon.Value
			err := thrown(func() { got = lifted(t, p, s, f, g, v, v.core()) })
			skipped := thrown(func() {
				s.NewLower(0, f, "skip", g.options(v.encoding()), func(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { in.Skip() }).Call(ctx, v.core())
			})
			if (err == nil) != (skipped == nil) {
				t.Errorf("reading gives %v, skipping %v", err, skipped)
			}
			if v.Value == nil {
				wantTrap(t, err, "wasm trap")
				return
			}
			wantTrap(t, err, "")
			if want := value(ty, v.Value); !same(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestTransferVectors passes each value between component instances: once as it is, which has to leave the same bytes in the callee as lowering it
// from the host, and once to and fro in a list, for every pair of encodings.
func TestTransferVectors(t *testing.T) {
	for i, v := range vectors(t).Lower {
		t.Run(fmt.Sprint(i, v.Type), func(t *testing.T) {
			m := newMaker(t)
			ty := m.parse(v.Type)
			p := canon.NewProgram(pair, canon.ProgramLimits{})
			s := p.NewStore(canon.Limits{})
			a, b := &guest{memory: memory{v.memory()}}, newGuest(1<<16)
			take := s.NewLift(1, compiled(t, p, m.fn(nil, ty)), "take", b.options(v.encoding()))
			var core []uint64
			take.SetCore(code(func(_ context.Context, stack []uint64) { core = append(core, stack...) }), nil)
			s.NewLowerTo(0, "call", a.options(v.encoding()), take).Call(ctx, v.core())
			if got := core[:len(v.Core)]; !reflect.DeepEqual(got, v.core()[:len(v.Core)]) {
				t.Errorf("core values %v, want %v", got, v.Core)
			}
			if got := hex.EncodeToString(b.b[:b.next]); got != v.Memory {
				t.Errorf("memory\n%s, want\n%s", got, v.Memory)
			}

			var want canon.Value = []canon.Value{value(ty, v.Value), value(ty, v.Value)}
			if ty == u8 {
				want = []byte{7, 8, 9}
			}
			list := m.must(m.List(ty))
			f := compiled(t, p, m.fn(list, list))
			for _, e := range []canon.Encoding{canon.UTF8, canon.UTF16, canon.Latin1UTF16} {
				got, err := toAndFro(s, f, v.encoding(), e, want)
				if err != nil || !same(got, want) {
					t.Errorf("to encoding %d: got %v and %v, want %v", e, got, err, want)
				}
			}
		})
	}
}

// toAndFro calls an export of instance 0, which passes the list on to instance 1, which gives it back, and then returns it.
func toAndFro(s *canon.Store, f *canon.Func, outer, inner canon.Encoding, v canon.Value) (canon.Value, error) {
	a, b := newGuest(1<<16), newGuest(1<<16)
	identity := s.NewLift(1, f, "identity", b.options(inner))
	identity.SetCore(code(func(ctx context.Context, stack []uint64) {
		ret := b.allocate(8)
		binary.LittleEndian.PutUint32(b.b[ret:], uint32(stack[0]))
		binary.LittleEndian.PutUint32(b.b[ret+4:], uint32(stack[1]))
		stack[0] = ret
	}), nil)
	call := s.NewLowerTo(0, "call", a.options(outer), identity)
	forward := s.NewLift(0, f, "forward", a.options(outer))
	forward.SetCore(code(func(ctx context.Context, stack []uint64) {
		ret := a.allocate(8)
		call.Call(ctx, []uint64{stack[0], stack[1], ret})
		stack[0] = ret
	}), nil)
	return forward.CallValues(ctx, v)
}

func (g *guest) allocate(n uint64) uint64 {
	s := []uint64{0, 0, 4, n}
	g.realloc(ctx, s)
	return s[0]
}
