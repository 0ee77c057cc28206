package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
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
