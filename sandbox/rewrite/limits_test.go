package rewrite_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// function is a module of one function with the given locals, in one group, and body.
func function(locals uint64, code ...byte) []byte {
	code = slices.Concat([]byte{1}, leb(locals), []byte{0x7f}, code, []byte{0x0b})
	return module(section(1, 1, 0x60, 0, 0), section(3, 1, 0), section(10, append([]byte{1}, body(code...)...)...))
}

func nested(n int, open ...byte) []byte {
	return append(bytes.Repeat(open, n), bytes.Repeat([]byte{0x0b}, n)...)
}

// Small modules that declare much are refused before anything of what they declare is made.
func TestBombs(t *testing.T) {
	many := leb(100_000_000)
	for _, row := range []struct {
		name string
		wasm []byte
		kind rewrite.Kind
		text string
	}{
		{"2^32-1 locals", function(1<<32-1, 0x01), rewrite.Limit, "4294967295 locals in one function, at most 10000"},
		{"100M locals", function(100_000_000, 0x01), rewrite.Limit, "locals in one function"},
		{"types", module(section(1, many...)), rewrite.Limit, "100000000 types, at most 100000"},
		{"imports", module(section(2, many...)), rewrite.Limit, "imports"},
		{"functions", module(section(3, many...)), rewrite.Limit, "functions"},
		{"fewer than declared", module(section(3, leb(50_000)...)), rewrite.Malformed, "50000 functions are declared, 0 bytes are left"},
		{"exports", module(section(7, many...)), rewrite.Limit, "exports"},
		{"element segments", module(section(9, many...)), rewrite.Limit, "element segments"},
		{"data segments", module(section(11, many...)), rewrite.Limit, "data segments"},
		{"data count", module(section(12, many...)), rewrite.Limit, "data segments"},
		{"names", module(section(0, append([]byte{4, 'n', 'a', 'm', 'e', 1, 4}, many...)...)), rewrite.Limit, "names"},
		{"memory", module(section(5, append([]byte{1, 0}, many...)...)), rewrite.Limit, "memory pages, at most 65536"},
		{"table", module(section(4, append([]byte{1, 0x70, 0}, leb(1<<27)...)...)), rewrite.Limit, "134217728 table entries"},
		{"nested loops", function(0, nested(20_000, 0x03, 0x40)...), rewrite.Limit, "levels of nested blocks"},
		{"nested blocks", function(0, nested(40_000, 0x02, 0x40)...), rewrite.Limit, "levels of nested blocks"},
		{"ifs in a row", function(0, bytes.Repeat([]byte{0x41, 0, 0x04, 0x40, 0x0b}, 20_000)...), rewrite.Limit, "8193 blocks in one function"},
		{"loops in a row", function(0, bytes.Repeat([]byte{0x03, 0x40, 0x0b}, 3000)...), rewrite.Limit, "blocks in one function"},
		{"fills in a row", function(0, bytes.Repeat([]byte{0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 11, 0}, 10_000)...), rewrite.Limit, "blocks in one function"},
		{"ifs and locals", function(1000, bytes.Repeat([]byte{0x41, 0, 0x04, 0x40, 0x0b}, 2000)...), rewrite.Limit, "blocks times locals"},
		{"br_table", function(0, slices.Concat([]byte{0x41, 0, 0x0e}, leb(300_000), make([]byte, 300_001))...), rewrite.Limit, "labels in one br_table"},
		{"br_table declared", function(0, slices.Concat([]byte{0x41, 0, 0x0e}, leb(1<<32-1))...), rewrite.Malformed, "labels"},
		{"body", function(0, make([]byte, 1<<20)...), rewrite.Limit, "bytes in one function, at most 1048576"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := rewrite.Module(row.wasm, rewrite.Options{})
			runtime.ReadMemStats(&after)
			var refused *rewrite.Error
			if !errors.As(err, &refused) || refused.Kind != row.kind || !strings.Contains(err.Error(), row.text) {
				t.Errorf("%v", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > uint64(4*len(row.wasm)+128<<10) {
				t.Errorf("%d bytes were allocated for a module of %d", took, len(row.wasm))
			}
		})
	}
}

// What is not offered, or would let a module name what is appended, is refused with a reason.
func TestRefused(t *testing.T) {
	export := func(name string) []byte {
		return section(7, slices.Concat([]byte{1, byte(len(name))}, []byte(name), []byte{3, 0})...)
	}
	global := section(6, 1, 0x7f, 1, 0x41, 0, 0x0b)
	for _, row := range []struct {
		name string
		wasm []byte
		kind rewrite.Kind
		text string
	}{
		{"reserved export", module(global, export("__tl_x")), rewrite.Reserved, `export "__tl_x"`},
		{"reserved import", module(section(1, 1, 0x60, 0, 0), section(2, append([]byte{1}, "\x07tenloom\x01x\x00\x00"...)...)), rewrite.Reserved, `module "tenloom"`},
		{"appended global", function(0, 0x23, 0, 0x1a), rewrite.Malformed, "global 0 is used, there are 0"},
		{"appended local", function(0, 0x20, 0, 0x1a), rewrite.Malformed, "local 0 is used, there are 0"},
		{"appended function", function(0, 0x10, 1), rewrite.Malformed, "function 1 is used, there are 1"},
		{"appended type", function(0, 0x02, 1, 0x0b), rewrite.Malformed, "type 1 is used, there are 1"},
		{"appended label", function(0, 0x0c, 1), rewrite.Malformed, "label 1 is used 1 blocks deep"},
		{"missing data count", module(section(1, 1, 0x60, 0, 0), section(3, 1, 0), section(5, 1, 0, 1), section(10, append([]byte{1}, body(0, 0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 8, 0, 0, 0x0b)...)...), section(11, 1, 0, 0x41, 0, 0x0b, 0)), rewrite.Malformed, "no data count"},
		{"data without memory", module(section(11, 1, 0, 0x41, 0, 0x0b, 0)), rewrite.Malformed, "there is no memory"},
		{"offset of two values", module(section(5, 1, 0, 1), section(11, 1, 0, 0x41, 0, 0x41, 0, 0x0b, 0)), rewrite.Malformed, "an offset is not one i32"},
		{"offset by a defined global", module(section(5, 1, 0, 1), global, section(11, 1, 0, 0x23, 0, 0x0b, 0)), rewrite.Malformed, "not an imported i32"},
		{"start with parameters", module(section(1, 1, 0x60, 1, 0x7f, 0), section(3, 1, 0), section(8, 0), section(10, append([]byte{1}, body(0, 0x0b)...)...)), rewrite.Malformed, "start function"},
		{"maximum below minimum", module(section(5, 1, 1, 2, 1)), rewrite.Malformed, "below the minimum"},
		{"maximum beyond 4 GiB", module(section(5, append([]byte{1, 1, 2}, leb(65_537)...)...)), rewrite.Malformed, "above 65536"},
		{"tail call", function(0, 0x12, 0), rewrite.Unsupported, "tail calls"},
		{"exceptions", function(0, 0x1f, 0x40, 0, 0x0b), rewrite.Unsupported, "exceptions"},
		{"shared memory", module(section(5, 1, 3, 1, 1)), rewrite.Unsupported, "threads"},
		{"second memory", function(0, 0x41, 0, 0x28, 0x40, 0, 0, 0x1a), rewrite.Unsupported, "multi-memory"},
		{"library", module(section(0, append([]byte{8}, "dylink.0"...)...)), rewrite.Unsupported, "shared library"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := rewrite.Module(row.wasm, rewrite.Options{})
			var refused *rewrite.Error
			if !errors.As(err, &refused) || refused.Kind != row.kind || !strings.Contains(err.Error(), row.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestReport(t *testing.T) {
	mutable := func(valueType byte, value ...byte) []byte {
		return module(section(6, slices.Concat([]byte{2, 0x7f, 0, 0x41, 0, 0x0b, valueType, 1}, value, []byte{0x0b})...))
	}
	for _, row := range []struct {
		name string
		wasm []byte
		want rewrite.Report
	}{
		{"empty", module(), rewrite.Report{Resettable: true}},
		{"global", mutable(0x7f, 0x41, 0), rewrite.Report{Resettable: true, Globals: []string{"__tl_g0"}}},
		{"vector", mutable(0x7b, append([]byte{0xfd, 12}, make([]byte, 16)...)...), rewrite.Report{Why: "global 1 is mutable and a v128, which cannot be set from outside", Globals: []string{"__tl_g0"}}},
		{"reference", mutable(0x70, 0xd0, 0x70), rewrite.Report{Why: "global 1 is mutable and a reference, which belongs to one instance", Globals: []string{"__tl_g0"}}},
		{"table", program(body(0, 0x41, 0, 0xd0, 0x70, 0x26, 0, 0x0b)), rewrite.Report{Why: "function 0 changes a table (table.set)", MemoryMin: 2, MemoryMax: 65536, Functions: 1, Metered: 1}},
		{"free function", program(body(0, 0x0b), body(0, 0x0b)), rewrite.Report{Resettable: true, MemoryMin: 2, MemoryMax: 65536, Functions: 2, Metered: 1}},
		{"data", module(section(5, 1, 1, 1, 9), section(11, 1, 0, 0x41, 0, 0x0b, 0)), rewrite.Report{Resettable: true, Init: "__tl_init", MemoryMin: 1, MemoryMax: 9}},
		{"start", module(section(1, 1, 0x60, 0, 0), section(3, 1, 0), section(8, 0), section(10, append([]byte{1}, body(0, 0x0b)...)...)), rewrite.Report{Resettable: true, Init: "__tl_init", Start: true, Functions: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, got := rewritten(t, row.wasm)
			got.Tables = nil
			row.want.Version, row.want.Fuel = rewrite.Version, "__tl_fuel"
			row.want.Linked, row.want.WhyLinked = row.want.Resettable, row.want.Why // nothing is imported
			if !slices.Equal(got.Globals, row.want.Globals) {
				t.Errorf("globals %v", got.Globals)
			}
			got.Globals, row.want.Globals = nil, nil
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", row.want) {
				t.Errorf("%+v\nwant %+v", got, row.want)
			}
			again, _ := rewritten(t, row.wasm)
			if !bytes.Equal(out, again) {
				t.Error("the same module was rewritten in two ways")
			}
		})
	}
}

// Maxima are written down, so that neither memory nor tables can grow beyond them; what debuggers read is gone, what tools declare is kept.
func TestClampsAndSections(t *testing.T) {
	custom := func(name string) []byte {
		return section(0, slices.Concat([]byte{byte(len(name))}, []byte(name), []byte{0})...)
	}
	wasm := module(
		section(1, 1, 0x60, 0, 1, 0x7f), section(3, 2, 0, 0), section(4, 1, 0x70, 0, 5), section(5, 1, 0, 1),
		section(7, append([]byte{2}, "\x04grow\x00\x00\x05table\x00\x01"...)...),
		section(10, slices.Concat([]byte{2}, body(0, 0x41, 100, 0x40, 0, 0x0b), body(0, 0xd0, 0x70, 0x41, 8, 0xfc, 15, 0, 0x0b))...),
		custom("producers"), custom(".debug_info"), custom("component-type:x"), custom("sourceMappingURL"), custom("reloc.CODE"), custom("linking"),
	)
	out, report, err := rewrite.Module(wasm, rewrite.Options{Limits: rewrite.Limits{MemoryPages: 50, TableHeadroom: 7}})
	if err != nil {
		t.Fatal(err)
	}
	mod := start(t, newHost(t, &meter{budget: unlimited}), out, report.Init)
	for _, name := range []string{"grow", "table"} {
		if got, err := mod.ExportedFunction(name).Call(t.Context()); err != nil || int32(got[0]) != -1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, kept := range map[string]bool{"producers": true, "component-type:x": true, ".debug_info": false, "sourceMappingURL": false, "reloc.CODE": false, "linking": false} {
		if bytes.Contains(out, []byte(name)) != kept {
			t.Errorf("%s: kept is not %v", name, kept)
		}
	}
	if !report.Tables[0].Grown || report.Resettable {
		t.Errorf("%+v", report)
	}
}

func FuzzModule(f *testing.F) {
	for _, file := range prebuilt(f) {
		if wasm := read(f, file); len(wasm) < 16<<10 {
			f.Add(wasm)
		}
	}
	for seed := range uint64(20) {
		wasm, _ := generate(seed)
		f.Add(wasm)
	}
	runtimes := wazero.NewRuntimeConfigCompiler()
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if len(wasm) > 64<<10 {
			return
		}
		out, _, err := rewrite.Module(wasm, rewrite.Options{TailCalls: true})
		var refused *rewrite.Error
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			return
		}
		r := newHostWith(t, &meter{}, runtimes)
		_, before := r.CompileModule(t.Context(), wasm)
		_, after := r.CompileModule(t.Context(), out)
		if (before == nil) != (after == nil) {
			t.Fatalf("before: %v\nafter: %v", before, after)
		}
	})
}
