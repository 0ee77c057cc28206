package sandbox_test

import (
	"context"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
)

// One message of 64 bytes through a C guest with one page of memory.
func BenchmarkInvoke(b *testing.B) {
	c := bind(b, "reader", sandbox.Binding{})
	call := sandbox.Call{Payload: make([]byte, 64)}
	b.ReportAllocs()
	for b.Loop() {
		if got := c.Invoke(context.Background(), call); got.Err != nil {
			b.Fatal(got.Err)
		}
	}
}

// The same in runs of 64 messages, as the scheduler's workers take them under load.
func BenchmarkSession(b *testing.B) {
	c := bind(b, "reader", sandbox.Binding{})
	call := sandbox.Call{Payload: make([]byte, 64)}
	b.ReportAllocs()
	for b.Loop() {
		s := c.Open()
		for range 64 {
			if got := s.Invoke(context.Background(), call); got.Err != nil {
				b.Fatal(got.Err)
			}
		}
		s.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/message")
}

// The same for a guest in plain Go, whose runtime starts for each message.
func BenchmarkInvokeGo(b *testing.B) {
	c := compile(b, newRuntime(b, sandbox.Config{}), buildGo(b)).Bind(sandbox.Binding{})
	call := sandbox.Call{Payload: make([]byte, 64)}
	b.ReportAllocs()
	for b.Loop() {
		if got := c.Invoke(context.Background(), call); got.Err != nil {
			b.Fatal(got.Err)
		}
	}
}

// A Go guest whose code lies in the cache directory, compiled by a new process: what a warm start pays for each program.
func BenchmarkCompileWarm(b *testing.B) {
	wasm, dir := buildGo(b), b.TempDir()
	compile(b, newRuntime(b, sandbox.Config{CacheDir: dir}), wasm)
	for b.Loop() {
		r, err := sandbox.New(context.Background(), sandbox.Config{CacheDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		p, err := r.Compile(context.Background(), wasm)
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
		r.Close(context.Background())
	}
}
