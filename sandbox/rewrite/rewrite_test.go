package rewrite_test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// meter is the host's side of the fuel, for one runtime.
type meter struct {
	budget int64 // what refuel may still grant; it panics with errSpent instead
	slice  int64 // what refuel adds beside what is owed; 0 means 200,000
	given  int64
	calls  int
}

var errSpent = errors.New("fuel is spent")

func (m *meter) refuel(_ context.Context, mod api.Module, _ []uint64) {
	m.calls++
	fuel := fuelOf(mod)
	left := int64(fuel.Get())
	grant := cmp.Or(m.slice, 200_000) - min(left, 0)
	if m.budget < grant {
		panic(errSpent)
	}
	m.budget -= grant
	m.given += grant
	fuel.Set(uint64(left + grant))
}

func fuelOf(mod api.Module) api.MutableGlobal {
	return mod.ExportedGlobal("__tl_fuel").(api.MutableGlobal)
}

// used is what the guest has used so far.
func (m *meter) used(mod api.Module) int64 { return m.given - int64(fuelOf(mod).Get()) }

const unlimited = 1 << 60

// host is a runtime with WASI, the refuel function, and room for more.
func newHost(t testing.TB, m *meter) wazero.Runtime {
	t.Helper()
	return newHostWith(t, m, wazero.NewRuntimeConfigCompiler())
}

func newHostWith(t testing.TB, m *meter, c wazero.RuntimeConfig) wazero.Runtime {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, c.WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExtendedConst|experimental.CoreFeaturesTailCall))
	t.Cleanup(func() { r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err := r.NewHostModuleBuilder("tenloom").NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(m.refuel), nil, nil).Export("refuel").Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rewritten(t testing.TB, wasm []byte) ([]byte, rewrite.Report) {
	t.Helper()
	out, report, err := rewrite.Module(wasm, rewrite.Options{TailCalls: true})
	if err != nil {
		t.Fatal(err)
	}
	return out, report
}

// start instantiates a module and runs what instantiating the original would have run.
func start(t testing.TB, r wazero.Runtime, wasm []byte, init string) api.Module {
	t.Helper()
	mod, err := tryStart(r, wasm, init)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

func tryStart(r wazero.Runtime, wasm []byte, init string) (api.Module, error) {
	compiled, err := r.CompileModule(context.Background(), wasm)
	if err != nil {
		return nil, err
	}
	return instantiate(r, compiled, init)
}

func instantiate(r wazero.Runtime, compiled wazero.CompiledModule, init string) (api.Module, error) {
	ctx := context.Background()
	mod, err := r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err == nil && init != "" {
		_, err = mod.ExportedFunction(init).Call(ctx)
	}
	return mod, err
}

// goGuest builds the guest in plain Go, once for all tests.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "work")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "work.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-o", file, "./testdata/work")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.New(string(out))
	}
	return os.ReadFile(file)
})

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
