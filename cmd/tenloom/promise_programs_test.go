package main

import (
	"encoding/binary"
	"log/slog"
	"runtime"
	"strconv"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// programsHeap is what one of 10,000 components of 100 distinct modules takes of Go's heap while no message has come for it, in bytes: what
// is there after all were deployed less what the compiled modules take.
func programsHeap(b *testing.B) float64 {
	const modules, components = 100, 10_000
	r, err := sandbox.New(background, sandbox.Config{Log: slog.New(slog.DiscardHandler), MaxIdle: 1}) // no instance stays, as after a quiet minute
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close(background) })
	base := readPages(b, "64k")
	programs := make([]*sandbox.Program, modules)
	for i := range programs {
		programs[i] = open(b, r, distinct(base, i))
	}
	all := make([]*sandbox.Component, components)
	before := heap()
	for i := range all {
		program := open(b, r, distinct(base, i%modules)) // as each deployment does
		all[i] = program.Bind(sandbox.Binding{Host: &spin.Host{}, Owner: strconv.Itoa(i), Env: map[string]string{"NAME": "value"}})
		if err := all[i].Check(background); err != nil {
			b.Fatal(err)
		}
	}
	value := float64(heap()-before) / components
	for i, c := range all {
		c.Close()
		programs[i%modules].Close()
	}
	return value
}

func open(b *testing.B, r *sandbox.Runtime, wasm []byte) *sandbox.Program {
	p, err := r.Compile(background, wasm)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// distinct is a module with a section of its own at the end, which means nothing.
func distinct(wasm []byte, n int) []byte {
	section := append([]byte{0, 9, 4}, "note"...)
	return append(append([]byte(nil), wasm...), binary.LittleEndian.AppendUint32(section, uint32(n))...)
}

// heap is what Go's heap holds once everything that nobody needs is gone; what only finalizers free takes a second collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
