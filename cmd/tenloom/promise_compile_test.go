package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenloom/tenloom/sandbox"
)

// compileWarm is how long a first start takes to make its programs over how long the second does, with what the first has kept: 100 distinct
// modules, 94 of which are written in C, of 1 to 10 KB, and 6 in Go, of 2 MB, each rewritten and compiled, or found.
func compileWarm(b *testing.B) float64 {
	small, large := manyModules(94, cGuests(b)...), manyModules(6, sdkGuest(b))
	return median(b, 3, func() float64 {
		dir := b.TempDir()
		cold := start(b, dir, append(small, large...))
		warm := median(b, 3, func() float64 { return start(b, dir, append(small, large...)).Seconds() })
		ofSmall := b.TempDir()
		b.Logf("first start %v, second %.0f ms; with those in C alone %v and %v", cold, warm*1000, start(b, ofSmall, small), start(b, ofSmall, small))
		return cold.Seconds() / warm
	})
}

// start is the time from nothing to a Program of each module.
func start(b *testing.B, dir string, modules [][]byte) time.Duration {
	runtime.GC() // what the start before has left is not this one's work
	began := time.Now()
	r, err := sandbox.New(background, sandbox.Config{CacheDir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close(background)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, wasm := range modules {
		g.Go(func() error {
			_, err := r.Compile(background, wasm) // closed with the Runtime
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// manyModules are n distinct modules made of a few.
func manyModules(n int, of ...[]byte) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = distinct(of[i%len(of)], i)
	}
	return all
}

// cGuests are the examples' modules and those of the interfaces' tests.
func cGuests(b *testing.B) (all [][]byte) {
	for _, pattern := range []string{"../../examples/*/*.wasm", "../../sandbox/spin/testdata/v?.wasm"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			b.Fatal(pattern, err)
		}
		for _, name := range names {
			wasm, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, wasm)
		}
	}
	return all
}
