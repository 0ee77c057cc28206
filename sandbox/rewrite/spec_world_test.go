package rewrite_test

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// specModule is an instance in one of the worlds.
type specModule struct {
	api.Module
	memory bool // it has one, imported or its own
}

// instantiate links against what the script has registered before it looks for host modules.
func (w *specWorld) instantiate(wasm []byte, init string) (api.Module, error) {
	ctx := experimental.WithImportResolver(context.Background(), func(name string) api.Module {
		if m := w.registered[name]; m != nil {
			return m.Module
		}
		return nil
	})
	compiled, err := w.CompileModule(ctx, wasm)
	if err != nil {
		return nil, err
	}
	m, err := w.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err == nil && init != "" {
		_, err = m.ExportedFunction(init).Call(ctx)
	}
	return m, err
}

// do calls a function, or reads a global. What does not mean the same in two worlds is taken out of the results: the upper halves of small
// values, and where a function lies.
func (m *specModule) do(t *testing.T, a specAction) ([]uint64, error) {
	if a.Type == "get" {
		g := m.ExportedGlobal(a.Field)
		if g == nil {
			t.Fatalf("no global %q", a.Field)
		}
		return comparable(t, []api.ValueType{g.Type()}, []uint64{g.Get()}), nil
	}
	f := m.ExportedFunction(a.Field)
	if f == nil {
		t.Fatalf("no function %q", a.Field)
	}
	var args []uint64
	for _, v := range a.Args {
		args = append(args, v.words(t)...)
	}
	results, err := f.Call(context.Background(), args...)
	return comparable(t, f.Definition().ResultTypes(), results), err
}

const v128, funcref = 0x7b, 0x70

// comparable makes values equal that mean the same in two instances.
func comparable(t *testing.T, types []api.ValueType, values []uint64) []uint64 {
	at := 0
	for _, kind := range types {
		if at >= len(values) {
			return values // it trapped
		}
		switch kind {
		case api.ValueTypeI32, api.ValueTypeF32:
			values[at] = uint64(uint32(values[at]))
		case funcref:
			if values[at] != 0 {
				values[at] = 1
			}
		case v128:
			at++
		}
		at++
	}
	if at != len(values) {
		t.Fatalf("%d values of %d types", len(values), len(types))
	}
	return values
}

// words are a value as a function takes it. References to the host's things are numbers from 1 on.
func (v specValue) words(t *testing.T) []uint64 {
	if v.Type == "v128" {
		return v.lanes(t)
	}
	text, _ := v.Value.(string)
	if v.Value == nil || text == "null" {
		return []uint64{0}
	}
	n, err := parseBits(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case v.Type == "externref":
		n++
	case strings.HasSuffix(v.Type, "32"):
		n = uint64(uint32(n))
	}
	return []uint64{n}
}

func (v specValue) lanes(t *testing.T) []uint64 {
	width, err := strconv.Atoi(v.LaneType[1:])
	if err != nil {
		t.Fatal(err)
	}
	words := make([]uint64, 2)
	for i, lane := range v.Value.([]any) {
		n, err := parseBits(lane.(string), width)
		if err != nil {
			t.Fatal(err)
		}
		at := i * width
		words[at/64] |= n << (at % 64)
	}
	return words
}

// parseBits reads the bits of a number, which may be written with a sign.
func parseBits(text string, width int) (uint64, error) {
	if strings.HasPrefix(text, "-") {
		n, err := strconv.ParseInt(text, 10, width)
		return uint64(n) & (1<<width - 1), err
	}
	return strconv.ParseUint(text, 10, width)
}

// compare holds memories and globals of the module that was touched against each other: exported or not.
func (p *specPlayer) compare(c *specCommand, at string) {
	plain, after := p.plain.find(c.Action.Module), p.after.find(c.Action.Module)
	want, got := plain.Module.(experimental.InternalModule), after.Module.(experimental.InternalModule)
	if n := want.NumGlobal(); got.NumGlobal() != n+1 { // and the fuel
		p.Fatalf("%s: %d globals, rewritten %d", at, n, got.NumGlobal())
	}
	for i := range want.NumGlobal() {
		a, b := want.Global(i), got.Global(i)
		if kind := []api.ValueType{a.Type()}; kind[0] != v128 && comparable(p.T, kind, []uint64{a.Get()})[0] != comparable(p.T, kind, []uint64{b.Get()})[0] {
			p.differ(at, "global "+strconv.Itoa(i)+" is "+a.String()+", rewritten "+b.String())
		}
	}
	if !plain.memory {
		return
	}
	a, b := plain.Memory(), after.Memory()
	if a.Size() != b.Size() {
		p.differ(at, "memories of two sizes")
		return
	}
	head := min(a.Size(), specCompared)
	tail := min(a.Size()-head, specCompared)
	for _, span := range [][2]uint32{{0, head}, {a.Size() - tail, tail}} {
		one, _ := a.Read(span[0], span[1])
		other, _ := b.Read(span[0], span[1])
		if !bytes.Equal(one, other) {
			p.differ(at, "memories of two contents")
		}
	}
}

// specCompared is how many bytes at each end of a memory are compared: some tests grow theirs to gigabytes.
const specCompared = 64 << 10
