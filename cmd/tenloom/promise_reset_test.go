package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// resetCost is what the reset of a guest that writes 4 pages costs: a call with a clean instance less the same call on one that is not
// reset, in copies of 64 KiB. Both are calls in runs, as the scheduler's workers make them.
func resetCost(size string) func(b *testing.B) float64 {
	return func(b *testing.B) float64 {
		wasm := readPages(b, size)
		r := newSandbox(b)
		_, clean := invoker(b, r, wasm, sandbox.Binding{})
		_, reused := invoker(b, r, wasm, sandbox.Binding{Reuse: true})
		from, to := make([]byte, 64<<10), make([]byte, 64<<10)
		times := rounds(b, 31, 30*runLength, clean, reused, func() { copy(to, from) })
		b.Logf("clean call %v, without reset %v, copy of 64 KiB %v", middle(times[0]), middle(times[1]), middle(times[2]))
		return ratio(times, func(t []time.Duration) float64 { return float64(t[0]-t[1]) / float64(t[2]) })
	}
}

// freshCost is instantiate, call, close on plain wazero over a call with a clean instance, of the same guest.
func freshCost(size string, perRound int) func(b *testing.B) float64 {
	return func(b *testing.B) float64 {
		wasm := readPages(b, size)
		return againstFresh(b, wasm, "", perRound)
	}
}

// freshGo is the same for a guest of the Go SDK, whose runtime starts in each new instance.
func freshGo(b *testing.B) float64 {
	return againstFresh(b, sdkGuest(b), "_initialize", 3)
}

func againstFresh(b *testing.B, wasm []byte, start string, perRound int) float64 {
	single, run := invoker(b, newSandbox(b), wasm, sandbox.Binding{})
	clean := rounds(b, 15, 10*runLength, single, run)
	alone, inRun := middle(clean[0]), middle(clean[1])
	fresh := middle(rounds(b, 15, perRound, freshInstance(b, wasm, start))[0])
	value := func(clean time.Duration) float64 { return float64(fresh) / float64(clean) }
	b.Logf("new instance %v; clean call %v in a run: %.4g; alone %v: %.4g", fresh, inRun, value(inRun), alone, value(alone))
	return value(inRun)
}

// sixtyFour is the message of 64 bytes that the guests get: the SDK's answers its length, the others look at its end.
var sixtyFour = append([]byte("length "), make([]byte, 57)...)

func newSandbox(b *testing.B) *sandbox.Runtime {
	r, err := sandbox.New(background, sandbox.Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close(background) })
	return r
}

// runLength is how many messages a worker of the scheduler handles in one session under load.
const runLength = 64

// invoker gives one message to a component of its own: each by itself, or in runs.
func invoker(b *testing.B, r *sandbox.Runtime, wasm []byte, how sandbox.Binding) (single, inRuns func()) {
	program, err := r.Compile(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	component, ctx := program.Bind(how), stoppable(b)
	b.Cleanup(func() { component.Close(); program.Close() })
	check := func(got sandbox.Result) {
		if got.Err != nil {
			b.Fatal(got.Err)
		}
	}
	var session *sandbox.Session
	left := 0
	single = func() { check(component.Invoke(ctx, sandbox.Call{Payload: sixtyFour})) }
	inRuns = func() {
		if left == 0 {
			session, left = component.Open(), runLength
		}
		check(*session.Invoke(ctx, sandbox.Call{Payload: sixtyFour}))
		if left--; left == 0 {
			session.Close()
		}
	}
	return single, inRuns
}

// stoppable is a context that can end, as a server's can.
func stoppable(b *testing.B) context.Context {
	ctx, cancel := context.WithCancel(background)
	b.Cleanup(cancel)
	return ctx
}

// freshInstance gives one message to a guest as programs without a pool do: instantiate, call, close. The host functions are ready, the code
// is compiled, and nothing is metered.
func freshInstance(b *testing.B, wasm []byte, start string) func() {
	r := wazero.NewRuntime(background)
	b.Cleanup(func() { r.Close(background) })
	wasi_snapshot_preview1.MustInstantiate(background, r)
	if err := spin.Define(background, r); err != nil {
		b.Fatal(err)
	}
	compiled, err := r.CompileModule(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	var starts []string
	if start != "" {
		starts = []string{start}
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions(starts...)
	ctx := spin.With(stoppable(b), spin.NewCall(&spin.Host{}, nil))
	return func() {
		mod, err := r.InstantiateModule(ctx, compiled, config)
		if err != nil {
			b.Fatal(err)
		}
		defer mod.Close(ctx)
		at, err := mod.ExportedFunction("canonical_abi_realloc").Call(ctx, 0, 0, 1, uint64(len(sixtyFour)))
		if err != nil || !mod.Memory().Write(uint32(at[0]), sixtyFour) {
			b.Fatal("no room for the message: ", err)
		}
		answer, err := mod.ExportedFunction("handle-redis-message").Call(ctx, at[0], uint64(len(sixtyFour)))
		if err != nil {
			b.Fatal(err)
		}
		if tag, ok := mod.Memory().ReadByte(uint32(answer[0])); !ok || tag != 0 {
			b.Fatal("not handled")
		}
	}
}

func readPages(b *testing.B, size string) []byte {
	wasm, err := os.ReadFile(filepath.Join("testdata", "pages", size+".wasm"))
	if err != nil {
		b.Fatal(err)
	}
	return wasm
}

// sdkGuest builds the guest that the SDK's own tests run.
func sdkGuest(b *testing.B) []byte {
	return buildGo(b, filepath.Join("..", "..", "sdk"), "./testdata/guest")
}

var built sync.Map // of []byte, by folder and package; a handful

// buildGo builds a Go guest as its users do, once for all measurements.
func buildGo(b *testing.B, dir, pkg string) []byte {
	key := dir + " " + pkg
	if wasm, ok := built.Load(key); ok {
		return wasm.([]byte)
	}
	file := filepath.Join(b.TempDir(), "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", file, pkg)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "PWD=")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	built.Store(key, wasm)
	return wasm
}

// rounds runs each of several things so many times in each of so many rounds, after one to warm up, and gives for each what one time of it
// took the thread in each round. In a round they follow on each other, so that what slows the machine slows them alike.
func rounds(b *testing.B, rounds, times int, things ...func()) [][]time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all := make([][]time.Duration, len(things))
	for round := range rounds + 1 {
		for k, thing := range things {
			began := cpuTime()
			for range times {
				thing()
			}
			if took := cpuTime() - began; round > 0 {
				all[k] = append(all[k], took/time.Duration(times))
			}
		}
	}
	return all
}

// ratio is the median over the rounds of what f makes of each one's times.
func ratio(times [][]time.Duration, f func(round []time.Duration) float64) float64 {
	var all []float64
	for round := range times[0] {
		var one []time.Duration
		for _, t := range times {
			one = append(one, t[round])
		}
		all = append(all, f(one))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func middle(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}
