package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
)

// What a clean instance costs beside one that is not reset, by the guest's memory: the same calls in runs of 64 that take turns, and the median
// of their ratios.
func BenchmarkClean(b *testing.B) {
	for _, size := range []string{"64k", "1m", "16m"} {
		b.Run(size, func(b *testing.B) {
			wasm, err := os.ReadFile(filepath.Join("..", "cmd", "tenloom", "testdata", "pages", size+".wasm"))
			if err != nil {
				b.Fatal(err)
			}
			p := compile(b, newRuntime(b, sandbox.Config{}), wasm)
			clean, reused := p.Bind(sandbox.Binding{}), p.Bind(sandbox.Binding{Reuse: true})
			var ratios []float64
			for b.Loop() {
				ratios = append(ratios, float64(run(b, clean))/float64(run(b, reused)))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "clean/reused")
		})
	}
}

// run is how long 64 messages take in one session.
func run(b *testing.B, c *sandbox.Component) time.Duration {
	call, began := sandbox.Call{Payload: make([]byte, 64)}, time.Now()
	s := c.Open()
	defer s.Close()
	for range 64 {
		if got := s.Invoke(context.Background(), call); got.Err != nil {
			b.Fatal(got.Err)
		}
	}
	return time.Since(began)
}
