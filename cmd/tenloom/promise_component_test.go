package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox"
	offer "github.com/tenloom/tenloom/sandbox/canon/host"
	plan "github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/component/types"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

// componentClean is a call of a small component with a clean instance over the same call of the same code as a core module, in runs.
func componentClean(b *testing.B) float64 {
	r := newSandbox(b)
	dir := filepath.Join("..", "..", "sandbox", "testdata", "components")
	_, whole := invoker(b, r, readFile(b, filepath.Join(dir, "count.wasm")), sandbox.Binding{})
	_, core := invoker(b, r, readFile(b, filepath.Join(dir, "count-core.wasm")), sandbox.Binding{})
	times := rounds(b, 31, 30*runLength, whole, core)
	b.Logf("clean call of a component %v, of its core module %v", middle(times[0]), middle(times[1]))
	return ratio(times, func(t []time.Duration) float64 { return float64(t[0]) / float64(t[1]) })
}

// componentFresh is instantiating a large component on plain wazero and a call, over a call with a clean instance, in runs.
func componentFresh(name string, turns int) func(b *testing.B) float64 {
	return func(b *testing.B) float64 {
		wasm := largeComponent(b, name)
		host := &spin.Host{Variables: func(_ context.Context, name string) (string, error) { return "value of " + name, nil }}
		_, clean := invoker(b, newSandbox(b), wasm, sandbox.Binding{Host: host, Timeout: time.Minute})
		times := rounds(b, turns, runLength, clean, instantiated(b, wasm))
		b.Logf("clean call %v, a new instance %v without its call", middle(times[0]), middle(times[1]))
		return ratio(times, func(t []time.Duration) float64 { return float64(t[1]+t[0]) / float64(t[0]) })
	}
}

// instantiated makes an instance of a component and closes it: its core modules as they are, linked in the order of the plan, with data and start
// functions. The canonical functions are there, and nothing calls them.
func instantiated(b *testing.B, wasm []byte) func() {
	decoded, err := plan.Decode(wasm, plan.Accept{})
	if err != nil {
		b.Fatal(err)
	}
	offers, err := offer.New(slices.Concat(spin.Interfaces(), wasi.Interfaces())...)
	if err != nil {
		b.Fatal(err)
	}
	planned, err := decoded.Plan(offers.Offers())
	if err != nil {
		b.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(background, wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExtendedConst|experimental.CoreFeaturesTailCall))
	b.Cleanup(func() { r.Close(background) })
	canonical := r.NewHostModuleBuilder(plan.HostModule)
	for i, c := range planned.Canons {
		canonical.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) { panic("called") }), coreTypes(c.Signature.Params), coreTypes(c.Signature.Results)).
			Export(plan.CanonName(i))
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	compiled, err := canonical.Compile(background)
	if err != nil {
		b.Fatal(err)
	}
	functions, err := r.InstantiateModule(background, compiled, config)
	if err != nil {
		b.Fatal(err)
	}
	var cores []wazero.CompiledModule
	for _, m := range planned.Modules {
		core, err := r.CompileModule(background, m.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		cores = append(cores, core)
	}
	return func() {
		known := map[string]api.Module{plan.HostModule: functions}
		ctx := experimental.WithImportResolver(background, func(name string) api.Module { return known[name] })
		var all []api.Module
		for i, in := range planned.Instances {
			m, err := r.InstantiateModule(ctx, cores[in.Module], config)
			if err != nil {
				b.Fatal(err)
			}
			known[plan.InstanceName(i)] = m
			all = append(all, m)
		}
		for _, m := range slices.Backward(all) {
			m.Close(background)
		}
	}
}

func coreTypes(all []types.CoreType) []api.ValueType {
	values := make([]api.ValueType, len(all))
	for i, t := range all {
		values[i] = map[types.CoreType]api.ValueType{
			types.CoreI32: api.ValueTypeI32, types.CoreI64: api.ValueTypeI64, types.CoreF32: api.ValueTypeF32, types.CoreF64: api.ValueTypeF64,
		}[t]
	}
	return values
}

// largeComponent is one of those that .ci/components builds.
func largeComponent(b *testing.B, name string) []byte {
	wasm, err := os.ReadFile(filepath.Join(os.Getenv("TENLOOM_TEST_COMPONENTS"), name+".wasm"))
	if err != nil {
		b.Fatal("left out: ", err)
	}
	return wasm
}

// componentCache is how long compiling the 12 MB JavaScript component takes over how long it takes from the cache.
func componentCache(b *testing.B) float64 {
	wasm, dir := largeComponent(b, "js"), b.TempDir()
	cold := start(b, dir, [][]byte{wasm})
	warm := median(b, 3, func() float64 { return start(b, dir, [][]byte{wasm}).Seconds() })
	b.Logf("compiled in %v, from the cache in %.0f ms", cold, warm*1000)
	return cold.Seconds() / warm
}

// componentCompile is the 99th percentile of another component's messages while the 12 MB JavaScript component compiles, in a process apart as the
// program does it with --compile-apart, over the same before and after it.
func componentCompile(b *testing.B) float64 {
	wasm := largeComponent(b, "js")
	apart, err := sandbox.CompileCommand()
	if err != nil {
		b.Fatal(err)
	}
	r, err := sandbox.New(background, sandbox.Config{Log: slog.New(slog.DiscardHandler), CompileApart: apart})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close(background) })
	single, _ := invoker(b, r, readFile(b, filepath.Join("..", "..", "sandbox", "testdata", "components", "count.wasm")), sandbox.Binding{})
	tail := func() float64 {
		took := make([]float64, 0, 4000)
		for range cap(took) {
			time.Sleep(500 * time.Microsecond) // messages come one by one
			began := time.Now()
			single()
			took = append(took, time.Since(began).Seconds())
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	before := tail()
	ctx, cancel := context.WithCancel(background)
	compiled := make(chan error, 1)
	go func() {
		_, err := r.Compile(ctx, wasm)
		compiled <- err
	}()
	during := tail()
	cancel()
	if err := <-compiled; err == nil {
		b.Fatal("the component was compiled before it was measured")
	}
	after := tail()
	b.Logf("p99 before %.0f us, while it compiles %.0f us, after %.0f us", before*1e6, during*1e6, after*1e6)
	return during / ((before + after) / 2)
}
