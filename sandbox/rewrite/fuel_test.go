package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// The assembler of small modules.
var header = []byte("\x00asm\x01\x00\x00\x00")

func leb(n uint64) []byte { return binary.AppendUvarint(nil, n) }
func section(id byte, b ...byte) []byte {
	return append(append([]byte{id}, leb(uint64(len(b)))...), b...)
}
func module(parts ...[]byte) []byte { return append(slices.Clone(header), bytes.Join(parts, nil)...) }
func body(b ...byte) []byte         { return append(leb(uint64(len(b))), b...) }

// program is a module with a memory, a table that holds function 1, and a function "run" (index 0) of type 0 beside others of type 0.
// Types: 0 () -> (), 1 (i32) -> (i32), 2 (i32, i64) -> (i64, i32), 3 (i32) -> ().
func program(bodies ...[]byte) []byte {
	types := bytes.Repeat([]byte{0}, len(bodies))
	code := append(leb(uint64(len(bodies))), bytes.Join(bodies, nil)...)
	return module(
		section(1, 4, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7e, 2, 0x7e, 0x7f, 0x60, 1, 0x7f, 0),
		section(3, append([]byte{byte(len(bodies))}, types...)...),
		section(4, 1, 0x70, 0, 2),
		section(5, 1, 0, 2),
		section(7, append([]byte{1, 3}, "run\x00\x00"...)...),
		section(9, 1, 0, 0x41, 0, 0x0b, 1, byte(len(bodies)-1)),
		section(10, code...),
	)
}

// Whatever runs for ever comes back to the host at least once for each slice of work, and ends when the host says so.
func TestRunawaysEnd(t *testing.T) {
	for _, row := range []struct {
		name   string
		bodies [][]byte
	}{
		{"loop", [][]byte{body(0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b)}},
		{"loop with a body", [][]byte{body(1, 1, 0x7f, 0x03, 0x40, 0x20, 0, 0x41, 1, 0x6a, 0x21, 0, 0x0c, 0, 0x0b, 0x0b)}},
		{"conditional loop", [][]byte{body(0, 0x03, 0x40, 0x41, 1, 0x0d, 0, 0x0b, 0x0b)}},
		{"nested loops", [][]byte{body(0, 0x03, 0x40, 0x03, 0x40, 0x03, 0x40, 0x41, 1, 0x0d, 1, 0x0b, 0x0b, 0x0b, 0x0b)}},
		{"label across loops", [][]byte{body(0, 0x03, 0x40, 0x02, 0x40, 0x03, 0x40, 0x0c, 2, 0x0b, 0x0b, 0x0b, 0x0b)}},
		{"br_table", [][]byte{body(0, 0x03, 0x40, 0x02, 0x40, 0x03, 0x40, 0x41, 9, 0x0e, 2, 3, 1, 2, 0x0b, 0x0b, 0x0b, 0x0b)}},
		{"loop with parameters", [][]byte{body(0, 0x41, 1, 0x03, 1, 0x0c, 0, 0x0b, 0x1a, 0x0b)}},
		{"loop with several values", [][]byte{body(1, 1, 0x7e, 0x41, 1, 0x42, 2, 0x03, 2, 0x21, 0, 0x20, 0, 0x0c, 0, 0x0b, 0x1a, 0x1a, 0x0b)}},
		{"loop in an if", [][]byte{body(0, 0x41, 1, 0x04, 0x40, 0x03, 0x40, 0x0c, 0, 0x0b, 0x05, 0x0b, 0x0b)}},
		{"loop after dead code", [][]byte{body(0, 0x02, 0x40, 0x0c, 0, 0x6a, 0x1a, 0x03, 0x40, 0x0b, 0x0b, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b)}},
		{"loop behind return", [][]byte{body(0, 0x10, 1, 0x0b), body(0, 0x03, 0x40, 0x41, 0, 0x04, 0x40, 0x0f, 0x0b, 0x0c, 0, 0x0b, 0x0b)}},
		{"loop that calls", [][]byte{body(0, 0x03, 0x40, 0x10, 1, 0x0c, 0, 0x0b, 0x0b), body(0, 0x0b)}},
		{"loop in what a loop calls", [][]byte{body(0, 0x03, 0x40, 0x10, 1, 0x0c, 0, 0x0b, 0x0b), body(0, 0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b, 0x0b)}},
		{"loop that calls through the table", [][]byte{body(0, 0x03, 0x40, 0x41, 0, 0x11, 0, 0, 0x0c, 0, 0x0b, 0x0b), body(0, 0x0b)}},
		{"calls by the doubling", doubling(40)},
		{"tail call", [][]byte{body(0, 0x12, 0, 0x0b)}},
		{"tail calls in turn", [][]byte{body(0, 0x12, 1, 0x0b), body(0, 0x12, 0, 0x0b)}},
		{"tail call through the table", [][]byte{body(0, 0x12, 1, 0x0b), body(0, 0x41, 0, 0x13, 0, 0, 0x0b)}},
		{"tail call behind a loop", [][]byte{body(0, 0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b, 0x12, 0, 0x0b)}},
		{"memory.fill", [][]byte{body(0, 0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0, 0x0c, 0, 0x0b, 0x0b)}},
		{"memory.copy", [][]byte{body(0, 0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 4, 0xfc, 10, 0, 0, 0x0c, 0, 0x0b, 0x0b)}},
		{"memory.grow", [][]byte{body(0, 0x03, 0x40, 0x41, 0, 0x40, 0, 0x1a, 0x0c, 0, 0x0b, 0x0b)}},
		{"table.fill", [][]byte{body(0, 0x03, 0x40, 0x41, 0, 0xd0, 0x70, 0x41, 2, 0xfc, 17, 0, 0x0c, 0, 0x0b, 0x0b)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := &meter{budget: 1_000_000, slice: 1000}
			out, report := rewritten(t, program(row.bodies...))
			mod := start(t, newHost(t, m), out, report.Init)
			_, err := mod.ExportedFunction("run").Call(t.Context())
			if !errors.Is(err, errSpent) {
				t.Fatalf("%v", err)
			}
			if m.calls < 100 { // a fill of 64 KiB is charged in one step, beyond a slice
				t.Errorf("%d calls of refuel for %d units", m.calls, m.given)
			}
			if left := int64(fuelOf(mod).Get()); left < -10_000 || left > 1000 {
				t.Errorf("%d units were left", left)
			}
		})
	}
}

// doubling is a chain of functions that call the next one twice: 2^n calls without a loop and without recursion.
func doubling(n byte) [][]byte {
	var bodies [][]byte
	for i := range n {
		bodies = append(bodies, body(0, 0x10, i+1, 0x10, i+1, 0x0b))
	}
	return append(bodies, body(0, 0x0b))
}

func TestFuelIsExact(t *testing.T) {
	for _, row := range []struct {
		name   string
		bodies [][]byte
		used   int64
	}{
		{"nothing", [][]byte{body(0, 0x0b)}, 0},
		// 10 turns: tee, const 10, lt, br_if cost 1+0+1+1, get, const, add 0+0+1; local.set none
		{"ten turns", [][]byte{body(1, 1, 0x7f, 0x03, 0x40, 0x20, 0, 0x41, 1, 0x6a, 0x22, 0, 0x41, 10, 0x48, 0x0d, 0, 0x0b, 0x0b)}, 10 * 4},
		// both arms are paid: 1 for if, one add each
		{"both arms", [][]byte{body(0, 0x03, 0x40, 0x41, 1, 0x04, 0x40, 0x41, 1, 0x41, 1, 0x6a, 0x1a, 0x05, 0x41, 1, 0x41, 1, 0x6a, 0x1a, 0x0b, 0x0b, 0x0b)}, 3},
		// the call and the callee's add: the callee is free and charged here, where a loop turns once
		{"free callee", [][]byte{body(0, 0x03, 0x40, 0x10, 1, 0x0b, 0x10, 2, 0x0b), body(0, 0x41, 1, 0x41, 1, 0x6a, 0x1a, 0x0b), body(0, 0x0b)}, 2 + 1},
		// 64 KiB at 16 bytes for a unit, and the instruction
		{"fill", [][]byte{body(0, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0, 0x0b)}, 4096 + 1},
		// -1 pages cannot be, and cost the instruction only
		{"grow without hope", [][]byte{body(0, 0x41, 0x7f, 0x40, 0, 0x1a, 0x0b)}, 1},
		{"grow", [][]byte{body(0, 0x41, 1, 0x40, 0, 0x1a, 0x0b)}, 4096 + 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, slice := range []int64{1, 7, 1 << 40} {
				m := &meter{budget: unlimited, slice: slice}
				out, report := rewritten(t, program(row.bodies...))
				mod := start(t, newHost(t, m), out, report.Init)
				if _, err := mod.ExportedFunction("run").Call(t.Context()); err != nil {
					t.Fatal(err)
				}
				if used := m.used(mod); used != row.used {
					t.Errorf("slice %d: %d units, want %d", slice, used, row.used)
				}
			}
		})
	}
}

// A straight line of calls is one region, which is bounded.
func TestLongRegions(t *testing.T) {
	var refused *rewrite.Error
	calls := bytes.Repeat([]byte{0x10, 1}, 100_000)
	wasm := program(body(append(append([]byte{0}, calls...), 0x0b)...), body(append(append([]byte{0}, bytes.Repeat([]byte{0x41, 0, 0x45, 0x1a}, 60)...), 0x0b)...), body(0, 0x0b))
	_, _, err := rewrite.Module(wasm, rewrite.Options{})
	if !errors.As(err, &refused) || refused.Kind != rewrite.Limit {
		t.Fatal(err)
	}
}
