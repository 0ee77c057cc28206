package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// componentClean is a call of a small component with a clean instance over the same call of the same code as a core module, in runs.
func componentClean(b *testing.B) float64 {
	r := newSandbox(b)
	dir := filepath.Join("..", "..", "sandbox", "testdata", "components")
	_, component := invoker(b, r, readFile(b, filepath.Join(dir, "count.wasm")), sandbox.Binding{})
	_, core := invoker(b, r, readFile(b, filepath.Join(dir, "count-core.wasm")), sandbox.Binding{})
	times := rounds(b, 31, 30*runLength, component, core)
	b.Logf("clean call of a component %v, of its core module %v", middle(times[0]), middle(times[1]))
	return ratio(times, func(t []time.Duration) float64 { return float64(t[0]) / float64(t[1]) })
}

// componentFresh is a call of a large component in an instance of its own, which is instantiated, called and closed, over the same call with a clean
// instance, in runs. The new instance is made of the snapshot too, so that neither data nor start functions are in its price.
func componentFresh(name string, turns int) func(b *testing.B) float64 {
	return func(b *testing.B) float64 {
		wasm := largeComponent(b, name)
		host := &spin.Host{Variables: func(_ context.Context, name string) (string, error) { return "value of " + name, nil }}
		r := newSandbox(b)
		_, clean := invoker(b, r, wasm, sandbox.Binding{Host: host, Timeout: time.Minute})
		fresh, _ := invoker(b, r, wasm, sandbox.Binding{Host: host, Timeout: time.Minute, Reuse: true, ReuseMessages: 1})
		times := rounds(b, turns, runLength, clean, fresh)
		b.Logf("clean call %v, in a new instance %v", middle(times[0]), middle(times[1]))
		return ratio(times, func(t []time.Duration) float64 { return float64(t[1]) / float64(t[0]) })
	}
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
