package rewrite_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// workload is one exported function of type (i32) -> something, called with n.
type workload struct {
	name, guest, function string
	n                     uint64
}

var workloads = []workload{
	{"empty", "loops", "empty", 2000}, {"lcg", "loops", "lcg", 1500}, {"xorshift", "loops", "xorshift", 500}, {"sieve", "loops", "sieve", 60},
	{"bytecopy", "loops", "bytecopy", 300}, {"wordcopy", "loops", "wordcopy", 300}, {"sum", "loops", "sum", 400}, {"fib", "loops", "fib", 300}, {"mixed", "loops", "mixed", 300},
	{"rolled/empty", "rolled", "empty", 2000}, {"rolled/lcg", "rolled", "lcg", 1500}, {"rolled/sieve", "rolled", "sieve", 60},
	{"rolled/bytecopy", "rolled", "bytecopy", 300}, {"rolled/wordcopy", "rolled", "wordcopy", 300}, {"rolled/sum", "rolled", "sum", 400}, {"rolled/mixed", "rolled", "mixed", 300},
	{"go/json", "go", "json", 100}, {"go/sha", "go", "sha", 60}, {"go/sort", "go", "sort", 10}, {"go/strings", "go", "strings", 300},
}

// BenchmarkMetering compares metered with plain code: the fastest of rounds that take turns, as one ratio for each workload and the geometric
// mean of those that users' guests consist of.
func BenchmarkMetering(b *testing.B) {
	m := &meter{budget: unlimited}
	r := newHost(b, m)
	mean, members := 0.0, 0
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			ratio := compare(b, w, caller(b, r, w, true), caller(b, r, w, false), 15)
			switch w.name {
			case "go/json", "go/sha", "go/sort", "go/strings", "sieve", "bytecopy", "mixed":
				mean += math.Log(ratio)
				members++
			}
			b.ReportMetric(ratio, "metered/plain")
		})
	}
	b.Run("mean", func(b *testing.B) {
		b.ReportMetric(math.Exp(mean/float64(max(members, 1))), "metered/plain")
	})
}

// BenchmarkAgainstContextDone compares wazero's own way to end a guest with fuel.
func BenchmarkAgainstContextDone(b *testing.B) {
	r, other := newHost(b, &meter{budget: unlimited}), newHostWith(b, &meter{}, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true))
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			b.ReportMetric(compare(b, w, caller(b, other, w, false), caller(b, r, w, true), 3), "contextdone/metered")
		})
	}
}

// BenchmarkModule rewrites a Go guest.
func BenchmarkModule(b *testing.B) {
	wasm, err := goGuest()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		if out, _, err = rewrite.Module(wasm, rewrite.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(out))/float64(len(wasm)), "out/in")
}

func caller(b *testing.B, r wazero.Runtime, w workload, metered bool) func() {
	wasm, err := goGuest()
	if w.guest != "go" {
		wasm = read(b, "testdata/"+w.guest+".wasm")
	} else if err != nil {
		b.Fatal(err)
	}
	init := ""
	if metered {
		var report rewrite.Report
		wasm, report = rewritten(b, wasm)
		init = report.Init
	}
	mod := start(b, r, wasm, init)
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	if f := mod.ExportedFunction("_initialize"); f != nil {
		if _, err := f.Call(ctx); err != nil {
			b.Fatal(err)
		}
	}
	f := mod.ExportedFunction(w.function)
	return func() {
		if err := f.CallWithStack(ctx, []uint64{api.EncodeU32(uint32(w.n))}); err != nil {
			b.Fatal(err)
		}
	}
}

// compare gives the time of one over that of other.
func compare(b *testing.B, w workload, one, other func(), rounds int) float64 {
	least := func(f func(), so time.Duration) time.Duration {
		begin := time.Now()
		f()
		return min(so, time.Since(begin))
	}
	first, second := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for range b.N {
		for range rounds {
			first, second = least(one, first), least(other, second)
		}
	}
	return float64(first) / float64(second)
}
