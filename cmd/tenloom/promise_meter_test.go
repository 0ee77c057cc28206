package main

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// loop is an exported function of a guest of package rewrite's tests, that does its work n times.
type loop struct {
	name, guest string
	n           uint64
}

// realLoops is what users' guests consist of.
var realLoops = []loop{
	{"json", "work", 20}, {"sha", "work", 10}, {"sort", "work", 5}, {"strings", "work", 100},
	{"sieve", "loops", 30}, {"bytecopy", "loops", 150}, {"mixed", "loops", 60},
}

// meterMean is the geometric mean over the loops of metered code's time over plain code's.
func meterMean(b *testing.B) float64 {
	sum := 0.0
	for _, l := range realLoops {
		sum += math.Log(metered(b, l))
	}
	return math.Exp(sum / float64(len(realLoops)))
}

// meterWorst is the largest of them.
func meterWorst(b *testing.B) float64 {
	worst := 0.0
	for _, l := range realLoops {
		worst = max(worst, metered(b, l))
	}
	return worst
}

// meterEmpty is the same for a loop of nothing but a countdown.
func meterEmpty(b *testing.B) float64 { return metered(b, loop{"empty", "rolled", 500}) }

func metered(b *testing.B, l loop) float64 {
	times := rounds(b, 21, 1, l.metered(b), l.plain(b, wazero.NewRuntimeConfigCompiler()))
	value := ratio(times, func(t []time.Duration) float64 { return float64(t[0]) / float64(t[1]) })
	b.Logf("%s: metered %v, plain %v: %.3f", l.name, middle(times[0]), middle(times[1]), value)
	return value
}

// meterContextDone is wazero's own way to end a guest, WithCloseOnContextDone, over metered code: the smallest ratio of all loops. What it
// takes over plain code is logged beside: no metering can do better than that.
func meterContextDone(b *testing.B) float64 {
	least := math.Inf(1)
	for _, l := range append(slices.Clone(realLoops), loop{"empty", "rolled", 500}) {
		plain := wazero.NewRuntimeConfigCompiler()
		times := rounds(b, 5, 1, l.plain(b, plain.WithCloseOnContextDone(true)), l.metered(b), l.plain(b, plain))
		value := ratio(times, func(t []time.Duration) float64 { return float64(t[0]) / float64(t[1]) })
		b.Logf("%s: %.2f over metered, %.2f over plain", l.name, value,
			ratio(times, func(t []time.Duration) float64 { return float64(t[0]) / float64(t[2]) }))
		least = min(least, value)
	}
	return least
}

func (l loop) wasm(b *testing.B) []byte {
	dir := filepath.Join("..", "..", "sandbox", "rewrite", "testdata")
	if l.guest == "work" {
		return buildGo(b, dir, "./work")
	}
	wasm, err := os.ReadFile(filepath.Join(dir, l.guest+".wasm"))
	if err != nil {
		b.Fatal(err)
	}
	return wasm
}

// metered runs the loop as the sandbox would, with a slice of fuel at a time.
func (l loop) metered(b *testing.B) func() {
	wasm, report, err := rewrite.Module(l.wasm(b), rewrite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return l.caller(b, wazero.NewRuntimeConfigCompiler(), wasm, report.Init)
}

func (l loop) plain(b *testing.B, config wazero.RuntimeConfig) func() {
	return l.caller(b, config, l.wasm(b), "")
}

func (l loop) caller(b *testing.B, config wazero.RuntimeConfig, wasm []byte, init string) func() {
	r := wazero.NewRuntimeWithConfig(background, config)
	b.Cleanup(func() { r.Close(background) })
	wasi_snapshot_preview1.MustInstantiate(background, r)
	_, err := r.NewHostModuleBuilder("tenloom").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(grant), nil, nil).Export("refuel").Instantiate(background)
	if err != nil {
		b.Fatal(err)
	}
	compiled, err := r.CompileModule(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	mod, err := r.InstantiateModule(background, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	ctx := stoppable(b)
	for _, name := range []string{init, "_initialize"} {
		if f := mod.ExportedFunction(name); f != nil {
			if _, err := f.Call(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	f, stack := mod.ExportedFunction(l.name), []uint64{0}
	return func() {
		stack[0] = l.n
		if err := f.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
}

// grant gives a guest its next slice of fuel.
func grant(_ context.Context, mod api.Module, _ []uint64) {
	fuel := mod.ExportedGlobal("__tl_fuel").(api.MutableGlobal)
	fuel.Set(uint64(int64(fuel.Get()) + 200_000))
}
