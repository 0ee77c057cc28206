package canon_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// memory is a linear memory.
type memory struct{ b []byte }

func (m *memory) Size() uint32 { return uint32(len(m.b)) }

func (m *memory) Read(offset, n uint32) ([]byte, bool) {
	if uint64(offset)+uint64(n) > uint64(len(m.b)) {
		return nil, false
	}
	return m.b[offset : uint64(offset)+uint64(n)], true
}

// code is the code of a core function, in Go.
type code func(ctx context.Context, stack []uint64)

// CallWithStack gives as an error what the code throws, as a WebAssembly runtime does.
func (f code) CallWithStack(ctx context.Context, stack []uint64) (err error) {
	defer func() {
		if v := recover(); v != nil {
			thrown, ok := v.(error)
			if _, bug := v.(runtime.Error); bug || !ok {
				panic(v)
			}
			err = fmt.Errorf("recovered: %w", thrown)
		}
	}()
	f(ctx, stack)
	return nil
}

// guest is a core instance with a realloc that adds up from next.
type guest struct {
	memory
	next     uint32
	reallocs []string
}

func (g *guest) realloc(_ context.Context, s []uint64) {
	g.reallocs = append(g.reallocs, fmt.Sprint(s[:4]))
	align, size := uint32(s[2]), uint32(s[3])
	g.next = (g.next + align - 1) &^ (align - 1)
	s[0] = uint64(g.next)
	g.next += size
}

func (g *guest) options(e canon.Encoding) canon.Options {
	return canon.Options{Encoding: e, Memory: &g.memory, Realloc: code(g.realloc)}
}

func newGuest(size int) *guest { return &guest{memory: memory{make([]byte, size)}} }

// maker makes types; a refusal fails the test.
type maker struct {
	*types.Table
	t testing.TB
}

func newMaker(t testing.TB) maker { return maker{types.NewTable(types.Limits{}), t} }

func (m maker) must(t *types.Type, err error) *types.Type {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	return t
}

// fn makes a function type whose parameters have no names.
func (m maker) fn(result *types.Type, params ...*types.Type) *types.Func {
	return m.typed(false, result, params...)
}

func (m maker) typed(async bool, result *types.Type, params ...*types.Type) *types.Func {
	m.t.Helper()
	fields := make([]types.Field, len(params))
	for i, p := range params {
		fields[i] = types.Field{Name: fmt.Sprintf("p%d", i), Type: p}
	}
	f, err := m.Func(fields, result, async)
	if err != nil {
		m.t.Fatal(err)
	}
	return f
}

func compiled(t testing.TB, p *canon.Program, f *types.Func) *canon.Func {
	t.Helper()
	c, err := p.Func(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// thrown gives the error that a lowered function throws into the guest that calls it.
func thrown(f func()) (err error) {
	return code(func(context.Context, []uint64) { f() }).CallWithStack(context.Background(), nil)
}

// wantTrap checks that an error is a Trap with the text; "" stands for no error.
func wantTrap(t *testing.T, err error, text string) {
	t.Helper()
	if text == "" {
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return
	}
	if trap := (*canon.Trap)(nil); !errors.As(err, &trap) || !strings.Contains(trap.Error(), text) {
		t.Fatalf("got error %v, want a trap with %q", err, text)
	}
}

var ctx = context.Background()

// What canon asks for is what wazero has.
var (
	_ canon.Memory   = api.Memory(nil)
	_ canon.Function = api.Function(nil)
)

var (
	u8    = types.Primitive(types.U8)
	alone = []int{-1}
	pair  = []int{-1, -1}
)
