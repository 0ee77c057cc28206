package rewrite_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// seeds is how many generated modules the differential test runs.
const seeds = 200

// world runs guests that log.
type world struct {
	*meter
	wazero.Runtime
	logged []uint32
}

func newWorld(t testing.TB) *world {
	w := &world{meter: &meter{budget: unlimited}}
	w.Runtime = newHost(t, w.meter)
	_, err := w.NewHostModuleBuilder("env").NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
		w.logged = append(w.logged, uint32(stack[0]))
	}), []api.ValueType{api.ValueTypeI32}, nil).Export("log").Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// history is what can be seen of a guest that is started and whose functions are called, one after the other, with arguments of a seed.
func (w *world) history(t *testing.T, seed uint64, wasm []byte, init string, functions []signature) (lines []string, used int64, trapped bool) {
	ctx := t.Context()
	w.logged = nil
	w.given = 0
	mod, err := tryStart(w, wasm, init)
	if mod == nil && err != nil && init == "" { // instantiating ran the start function; there is no module to look at
		return []string{trap(err), fmt.Sprint(w.logged)}, 0, true
	}
	if mod == nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	defer mod.Close(ctx)
	if err != nil {
		return []string{trap(err), fmt.Sprint(w.logged)}, 0, true
	}
	r := rand.New(rand.NewPCG(seed, 2))
	for i, s := range functions {
		var args []uint64
		for _, p := range s.params {
			arg := r.Uint64() >> r.IntN(64)
			if p == i32 {
				arg = uint64(uint32(arg))
			}
			args = append(args, arg)
		}
		mod.ExportedGlobal("g0").(api.MutableGlobal).Set(3000)
		results, err := mod.ExportedFunction(fmt.Sprint("f", i)).Call(ctx, args...)
		trapped = trapped || err != nil
		for j := range results {
			if s.results[j] == i32 { // the upper half is nobody's
				results[j] = uint64(uint32(results[j]))
			}
		}
		line := fmt.Sprint("f", i, args, results, trap(err), w.logged, mod.Memory().Size())
		for g := range 4 {
			line += fmt.Sprint(" ", mod.ExportedGlobal(fmt.Sprint("g", g)).Get())
		}
		memory, _ := mod.Memory().Read(0, mod.Memory().Size())
		h := fnv.New64a()
		h.Write(memory)
		lines = append(lines, fmt.Sprint(line, " ", h.Sum64()))
	}
	if g := mod.ExportedGlobal("__tl_fuel"); g != nil {
		used = w.used(mod)
	}
	return lines, used, trapped
}

// trap is an error without the stack behind it.
func trap(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	for _, known := range []string{"wasm error", "stack overflow", "out of bounds memory access"} {
		if i := strings.Index(line, known); i >= 0 {
			line = line[i:]
		}
	}
	return line
}

// A generated module does the same before and after; how much fuel it takes depends on nothing but what it does.
func TestDifferential(t *testing.T) {
	traps, ends, refuels, metered, functions := 0, 0, 0, 0, 0
	w := newWorld(t)
	for seed := range uint64(seeds) {
		wasm, signatures := generate(seed)
		compiled, err := w.CompileModule(t.Context(), wasm)
		if err != nil {
			t.Fatalf("seed %d: generated what is not valid: %v", seed, err)
		}
		compiled.Close(t.Context())
		out, report, err := rewrite.Module(wasm, rewrite.Options{TailCalls: true})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, _, _ := w.history(t, seed, wasm, "", signatures)
		w.slice = 500
		before := w.calls
		got, used, trapped := w.history(t, seed, out, report.Init, signatures)
		refuels += w.calls - before
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("seed %d:\n%s\nrewritten:\n%s", seed, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
		_, again, _ := w.history(t, seed, out, report.Init, signatures)
		w.slice = 1 << 30
		_, once, _ := w.history(t, seed, out, report.Init, signatures)
		if again != used || once != used && !trapped {
			t.Fatalf("seed %d: used %d, then %d, in one slice %d", seed, used, again, once)
		}
		if trapped {
			traps++
		} else {
			ends++
		}
		metered += report.Metered
		functions += report.Functions
	}
	t.Logf("%d modules: %d trap somewhere, %d do not; %d of %d functions are metered; %d refuels", seeds, traps, ends, metered, functions, refuels)
	if traps < seeds/20 || ends < seeds/20 || refuels < seeds || metered == functions {
		t.Error("the generator does not reach enough")
	}
}
