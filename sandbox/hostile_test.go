package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/sandbox"
)

// hostile is a guest that is fine but for what a test adds to it. Functions 0 and 1 are its allocator and its handler.
type hostile struct {
	handler   []byte // before it answers ok
	functions int    // more of type () -> (), with an empty body
	memory    []byte // limits; default one page
	exports   [][]byte
	start     bool // function 2 is the start function
	body      []byte
	table     []byte // a table and its elements, as sections
	elements  []byte
	data      []byte
	names     []byte // content of the name section
}

func wasmName(s string) []byte { return append(leb(uint64(len(s))), s...) }

func (h hostile) wasm() []byte {
	code := func(body []byte) []byte {
		entry := slices.Concat([]byte{0}, body, []byte{0x0b})
		return append(leb(uint64(len(entry))), entry...)
	}
	count := uint64(2 + h.functions)
	functions, bodies := []byte{2, 1}, [][]byte{code([]byte{0x41, 0x80, 0x08}), code(append(slices.Clone(h.handler), 0x41, 0xc0, 0))}
	for range h.functions {
		functions, bodies = append(functions, 0), append(bodies, code(h.body))
	}
	exports := append([][]byte{append(wasmName("memory"), 2, 0), append(wasmName("canonical_abi_realloc"), 0, 0), append(wasmName("handle-redis-message"), 0, 1)}, h.exports...)
	if h.memory == nil {
		h.memory = []byte{0, 1}
	}
	parts := [][]byte{
		section(1, 3, 0x60, 0, 0, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f),
		section(3, append(leb(count), functions...)...), h.table, section(5, append([]byte{1}, h.memory...)...),
		section(7, append(leb(uint64(len(exports))), bytes.Join(exports, nil)...)...),
	}
	if h.start {
		parts = append(parts, section(8, 2))
	}
	parts = append(parts, h.elements, section(10, append(leb(count), bytes.Join(bodies, nil)...)...), h.data)
	if h.names != nil {
		parts = append(parts, section(0, append(wasmName("name"), h.names...)...))
	}
	return module(parts...)
}

// segments are n active data segments of so many bytes at address 0.
func segments(n, size int) []byte {
	one := slices.Concat([]byte{0, 0x41, 0, 0x0b}, leb(uint64(size)), make([]byte, size))
	return section(11, append(leb(uint64(n)), bytes.Repeat(one, n)...)...)
}

// named is a name section that gives the handler a name.
func named(name string) []byte {
	entry := slices.Concat([]byte{1, 1}, wasmName(name))
	return append(append([]byte{1}, leb(uint64(len(entry)))...), entry...)
}

// TestHostileModules takes modules that are valid and mean ill through their whole life. Each is refused with the limit's name, or fails by itself,
// or works, within bounds of time and memory; and after each a neighbour is served.
func TestHostileModules(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	neighbour := compile(t, r, guest(t, "echo-a")).Bind(sandbox.Binding{})
	manyExports := make([][]byte, 1000)
	for i := range manyExports {
		manyExports[i] = append(wasmName("export "+strings.Repeat("x", i)), 0, 0)
	}
	trap := []byte{0x00}
	for _, row := range []struct {
		name    string
		wasm    []byte
		refused string              // by Compile
		kind    sandbox.FailureKind // of Check and of a message; "" where it is served
		started bool                // Check finds nothing
		text    string
	}{
		{name: "10,000 functions", wasm: hostile{functions: 10_000}.wasm()},
		{name: "100,001 functions", wasm: hostile{functions: 100_000}.wasm(), refused: "100002 functions, at most 100000"},
		{name: "a br_table of 50,000 entries", wasm: hostile{handler: slices.Concat([]byte{0x02, 0x40, 0x41, 0, 0x0e}, leb(50_000), make([]byte, 50_001), []byte{0x0b})}.wasm(),
			refused: "50000 labels in one br_table, at most 8192"},
		{name: "4 GiB of memory", wasm: hostile{memory: append([]byte{0}, leb(65_536)...)}.wasm(), kind: sandbox.OutOfMemory, text: "needs 4 GiB of memory to start, its cap is 128 MiB"},
		{name: "memory that may grow to 4 GiB", wasm: hostile{memory: append([]byte{1, 1}, leb(65_536)...), handler: []byte{0x41, 0x80, 0x80, 0x04, 0x40, 0, 0x41, 1, 0x6a, 0x04, 0x40, 0x00, 0x0b}}.wasm()},
		{name: "a loop without calls", wasm: hostile{handler: []byte{0x03, 0x40, 0x0c, 0, 0x0b}}.wasm(), kind: sandbox.OutOfTime, started: true, text: "timed out"},
		{name: "deep recursion", wasm: hostile{handler: []byte{0x41, 0, 0x41, 0, 0x10, 1, 0x1a}}.wasm(), kind: sandbox.StackOverflow, started: true, text: "stack overflow"},
		{name: "a start function that never ends", wasm: hostile{functions: 1, start: true, body: []byte{0x03, 0x40, 0x0c, 0, 0x0b}}.wasm(), kind: sandbox.OutOfTime, text: "while it was instantiated"},
		{name: "a start function that recurses", wasm: hostile{functions: 1, start: true, body: []byte{0x10, 2, 0x10, 2}}.wasm(), kind: sandbox.StackOverflow, text: "stack overflow"},
		{name: "many data segments", wasm: hostile{data: segments(20_000, 1)}.wasm()},
		{name: "more data segments than may be", wasm: hostile{data: segments(100_001, 0)}.wasm(), refused: "100001 data segments, at most 100000"},
		{name: "data segments over each other", wasm: hostile{data: segments(256, 65_536)}.wasm()},
		{name: "a data segment beyond the memory", wasm: hostile{data: segments(1, 8<<20)}.wasm(), kind: sandbox.NotStarted, text: "out of bounds memory access"},
		{name: "a name that is not UTF-8", wasm: hostile{handler: trap, names: named("bad \xff\xfe name")}.wasm(), refused: "a name is not UTF-8"},
		{name: "a name of megabytes", wasm: hostile{handler: trap, names: named(strings.Repeat("n", 4<<20))}.wasm(), kind: sandbox.Trapped, started: true, text: "unreachable"},
		{name: "an export that is not UTF-8", wasm: hostile{exports: [][]byte{append(wasmName("bad \xff"), 0, 0)}}.wasm(), refused: "UTF-8"},
		{name: "an export of megabytes", wasm: hostile{exports: [][]byte{append(wasmName(strings.Repeat("e", 4<<20)), 0, 0)}}.wasm()},
		{name: "1,000 exports", wasm: hostile{exports: manyExports}.wasm()},
		{name: "a huge element segment", wasm: hostile{table: section(4, append([]byte{1, 0x70, 0}, leb(1<<20)...)...),
			elements: section(9, slices.Concat([]byte{1, 0, 0x41, 0, 0x0b}, leb(1<<20), make([]byte, 1<<20))...)}.wasm()},
		{name: "more elements than may be", wasm: hostile{table: section(4, append([]byte{1, 0x70, 0}, leb(1<<20)...)...),
			elements: section(9, slices.Concat([]byte{2, 0, 0x41, 0, 0x0b}, leb(1<<20), make([]byte, 1<<20), []byte{0, 0x41, 0, 0x0b, 1, 0})...)}.wasm(), refused: "elements"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			live(t, r, row.wasm, row.refused, row.kind, row.started, row.text)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > uint64(64*len(row.wasm)+384<<20) {
				t.Errorf("%d MiB were allocated for a module of %d bytes", took>>20, len(row.wasm))
			}
			if got := invoke(neighbour, "x"); string(got.Output) != "1 x\n" || got.Err != nil {
				t.Errorf("the neighbour: %q, %v", got.Output, got.Err)
			}
		})
	}
}

// live takes a module from its bytes to its first message.
func live(t *testing.T, r *sandbox.Runtime, wasm []byte, refused string, kind sandbox.FailureKind, started bool, text string) {
	t.Helper()
	p, err := r.Compile(context.Background(), wasm)
	var e *sandbox.CompileError
	if refused != "" {
		if !errors.As(err, &e) || !strings.Contains(err.Error(), refused) {
			t.Errorf("%v, want it refused for %q", err, refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	timeout := time.Minute
	if kind == sandbox.OutOfTime {
		timeout = 100 * time.Millisecond
	}
	c := p.Bind(sandbox.Binding{Timeout: timeout})
	defer c.Close()
	var f *sandbox.Failure
	switch err := c.Check(context.Background()); {
	case kind == "" || started:
		if err != nil {
			t.Fatalf("check: %v", err)
		}
	case !errors.As(err, &f) || f.Kind != kind || !strings.Contains(f.Text, text):
		t.Errorf("check: %v", err)
	}
	got := invoke(c, "x")
	if kind == "" {
		if got.Err != nil {
			t.Errorf("invoke: %v", got.Err)
		}
		return
	}
	if f := failure(t, got); f.Kind != kind || !strings.Contains(f.Text, text) || !utf8.ValidString(f.Text) || len(f.Text) > 5<<10 {
		t.Errorf("invoke: %s, %d bytes: %.200q", f.Kind, len(f.Text), f.Text)
	}
}
