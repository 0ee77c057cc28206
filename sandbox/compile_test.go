package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
)

// The assembler of bombs: modules that are small and declare much.
var header = []byte("\x00asm\x01\x00\x00\x00")

func leb(n uint64) []byte { return binary.AppendUvarint(nil, n) }
func section(id byte, b ...byte) []byte {
	return append(append([]byte{id}, leb(uint64(len(b)))...), b...)
}
func module(parts ...[]byte) []byte { return append(slices.Clone(header), bytes.Join(parts, nil)...) }

// function is a module of one function with the given locals and body, in one group.
func function(locals uint64, body ...byte) []byte {
	code := append(append([]byte{1}, leb(locals)...), 0x7f)
	code = append(append(code, body...), 0x0b)
	entry := append(append([]byte{1}, leb(uint64(len(code)))...), code...)
	return module(section(1, 1, 0x60, 0, 0), section(3, 1, 0), section(10, entry...))
}

func nested(n int, open ...byte) []byte {
	return append(bytes.Repeat(open, n), bytes.Repeat([]byte{0x0b}, n)...)
}

func TestCompileRefuses(t *testing.T) {
	r := newRuntime(t, sandbox.Config{MaxModule: 2 << 20})
	many := leb(100_000_000)
	echo := guest(t, "echo-a")
	for _, row := range []struct {
		name string
		wasm []byte
		kind sandbox.CompileKind
		text []string
	}{
		{"empty", nil, sandbox.NotWasm, []string{"empty"}},
		{"elf", []byte("\x7fELF\x02\x01\x01\x00\x00"), sandbox.NotWasm, []string{"starts with 7f 45 4c 46", "not a WebAssembly module"}},
		{"html", []byte("<!doctype html>"), sandbox.NotWasm, []string{`starts with "<!doctyp": not a WebAssembly module`}},
		{"text", []byte("\n (module (memory 1))"), sandbox.NotWasm, []string{`starts with "(module"`, "wat2wasm"}},
		{"header", header[:5], sandbox.Malformed, []string{"ends after 5 bytes"}},
		{"version", []byte("\x00asm\x02\x00\x00\x00"), sandbox.NotWasm, []string{"version 02 00 00 00"}},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), sandbox.NoHandler, []string{"component does not export a Redis interface"}},
		{"too large", make([]byte, 2<<20+1), sandbox.TooLarge, []string{"2097153 bytes, at most 2097152"}},
		{"no sections", header, sandbox.NoHandler, []string{"component does not export a Redis interface", "exports nothing"}},
		{"truncated", echo[:len(echo)/2], sandbox.Malformed, []string{"truncated"}},

		{"no handler", guest(t, "no-handler"), sandbox.NoHandler, []string{"component does not export a Redis interface; it exports handle-http-request"}},
		{"two handlers", guest(t, "two-handlers"), sandbox.ManyHandlers, []string{"component exports multiple Redis interfaces", "handle-redis-message", "fermyon:spin/inbound-redis#handle-message"}},
		{"handler's type", guest(t, "bad-handler"), sandbox.BadExport, []string{`"handle-redis-message" has the type (i64) -> (i32), it must be (i32, i32) -> (i32)`}},
		{"no memory", guest(t, "no-memory"), sandbox.BadExport, []string{"exports no memory"}},
		{"no allocator", guest(t, "no-allocator"), sandbox.BadExport, []string{"exports no allocator", "canonical_abi_realloc"}},
		{"import module", guest(t, "import-module"), sandbox.BadImport, []string{`function "x" of module "env"`, "not offered", "wasi_snapshot_preview1", "spin-config"}},
		{"import function", guest(t, "import-function"), sandbox.BadImport, []string{`function "fd_rite" of module "wasi_snapshot_preview1"`, "offers", "fd_write"}},
		{"import type", guest(t, "import-type"), sandbox.BadImport, []string{`"proc_exit"`, "(i64) -> ()", "offered as (i32) -> ()"}},
		{"import global", guest(t, "import-global"), sandbox.BadImport, []string{`global "__stack_pointer" of module "env"`}},

		{"2^32-1 locals", function(1<<32-1, 0x01), sandbox.OverLimit, []string{"4294967295 locals in one function, at most 10000"}},
		{"100M locals", function(100_000_000, 0x01), sandbox.OverLimit, []string{"locals in one function"}},
		{"many groups", module(section(1, 1, 0x60, 0, 0), section(3, 1, 0), section(10, append([]byte{1, 10}, many...)...)), sandbox.Malformed, []string{"declares 10 bytes"}},
		{"types", module(section(1, many...)), sandbox.OverLimit, []string{"100000000 types, at most 100000"}},
		{"parameters", module(section(1, append([]byte{1, 0x60}, many...)...)), sandbox.OverLimit, []string{"parameters of a function"}},
		{"imports", module(section(2, many...)), sandbox.OverLimit, []string{"imports"}},
		{"functions", module(section(3, many...)), sandbox.OverLimit, []string{"functions"}},
		{"fewer functions than declared", module(section(3, leb(50_000)...)), sandbox.Malformed, []string{"50000 functions are declared", "0 bytes are left"}},
		{"globals", module(section(6, many...)), sandbox.OverLimit, []string{"globals"}},
		{"exports", module(section(7, many...)), sandbox.OverLimit, []string{"exports"}},
		{"element segments", module(section(9, many...)), sandbox.OverLimit, []string{"element segments"}},
		{"elements", module(section(9, append([]byte{1, 1, 0}, many...)...)), sandbox.OverLimit, []string{"elements of a segment"}},
		{"data segments", module(section(11, many...)), sandbox.OverLimit, []string{"data segments"}},
		{"data", module(section(11, append([]byte{1, 1}, many...)...)), sandbox.Malformed, []string{"truncated"}},
		{"name", module(section(7, append([]byte{1}, many...)...)), sandbox.Malformed, []string{"a name"}},
		{"custom name", module(section(0, many...)), sandbox.Malformed, []string{"a name"}},
		{"function names", module(section(0, append([]byte{4, 'n', 'a', 'm', 'e', 1, 4}, many...)...)), sandbox.OverLimit, []string{"names"}},
		{"two memories", module(section(5, 2, 0, 1, 0, 1)), sandbox.OverLimit, []string{"memories"}},
		{"memory beyond 4 GiB", module(section(5, append([]byte{1, 0}, many...)...)), sandbox.OverLimit, []string{"memory pages, at most 65536"}},
		{"huge table", guest(t, "table-huge"), sandbox.OverLimit, []string{"134217728 table entries, at most 1048576"}},
		{"nested loops", function(0, nested(20_000, 0x03, 0x40)...), sandbox.OverLimit, []string{"levels of nested blocks"}},
		{"nested blocks", function(0, nested(40_000, 0x02, 0x40)...), sandbox.OverLimit, []string{"levels of nested blocks"}},
		{"ifs in a row", function(0, bytes.Repeat([]byte{0x41, 0, 0x04, 0x40, 0x0b}, 20_000)...), sandbox.OverLimit, []string{"8193 blocks in one function, at most 8192"}},
		{"ifs and locals", function(1000, bytes.Repeat([]byte{0x41, 0, 0x04, 0x40, 0x0b}, 2000)...), sandbox.OverLimit, []string{"blocks times locals"}},
		{"br_table", function(0, append([]byte{0x41, 0, 0x0e}, append(leb(300_000), make([]byte, 300_001)...)...)...), sandbox.OverLimit, []string{"labels in one br_table"}},

		{"repeated section", module(section(1, 0), section(1, 0)), sandbox.Malformed, []string{"repeated or out of order"}},
		{"section too long", module(section(1, 0, 0)), sandbox.Malformed, []string{"more than its content"}},
		{"section too short", module([]byte{1, 100, 0}), sandbox.Malformed, []string{"declares 100 bytes, 1 are left"}},
		{"not valid", function(0, 0x6a, 0x1a), sandbox.Malformed, nil},

		{"atomics", function(0, 0xfe, 3, 0), sandbox.Unsupported, []string{"threads"}},
		{"gc", module(section(1, 1, 0x5f, 0, 0)), sandbox.Unsupported, []string{"garbage-collected"}},
		{"exceptions", module(section(13, 1, 0, 0)), sandbox.Unsupported, []string{"exceptions"}},
		{"memory64", module(section(5, 1, 4, 1)), sandbox.Unsupported, []string{"memory64"}},
		{"shared memory", module(section(5, 1, 3, 1, 1)), sandbox.Unsupported, []string{"threads"}},
		{"relaxed simd", function(0, 0xfd, 0x80, 0x02), sandbox.Unsupported, []string{"relaxed SIMD"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, err := r.Compile(context.Background(), row.wasm)
			var refused *sandbox.CompileError
			if !errors.As(err, &refused) {
				t.Fatalf("%v, %v: want a *CompileError", p, err)
			}
			if refused.Kind != row.kind {
				t.Errorf("kind %s, want %s: %v", refused.Kind, row.kind, err)
			}
			for _, part := range row.text {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// Every beginning of a good module is an error, never a panic and never a Program.
func TestCompilePrefixes(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	wasm := guest(t, "echo-b")
	whole := len(wasm) - len("...") // the last section is custom, so some of the last prefixes are modules too
	for n := range whole {
		var refused *sandbox.CompileError
		if p, err := r.Compile(context.Background(), wasm[:n]); err == nil {
			p.Close()
		} else if !errors.As(err, &refused) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	names, err := filepath.Glob("testdata/guests/*.wasm")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		wasm, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wasm)
	}
	r := newRuntime(f, sandbox.Config{MaxModule: 64 << 10})
	f.Fuzz(func(t *testing.T, wasm []byte) {
		var refused *sandbox.CompileError
		p, err := r.Compile(t.Context(), wasm)
		if err == nil {
			p.Close()
		} else if !errors.As(err, &refused) {
			t.Fatal(err)
		}
	})
}

func TestCompileOnce(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	wasm := guest(t, "evil")
	programs := make([]*sandbox.Program, 8)
	var all sync.WaitGroup
	for i := range programs {
		all.Go(func() {
			var err error
			if programs[i], err = r.Compile(context.Background(), wasm); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, p := range programs {
		if p != programs[0] {
			t.Fatal("the same bytes became two programs")
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if i < len(programs)-1 && p.Bind(sandbox.Binding{}).Check(context.Background()) != nil {
			t.Errorf("closed with %d references left", len(programs)-1-i)
		}
	}
	if p := compile(t, r, guest(t, "echo-a")); p == programs[0] || len(p.Digest()) != len("sha256:")+64 {
		t.Errorf("digest %q", p.Digest())
	}
}

func TestCompileCancelled(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var refused *sandbox.CompileError
	if _, err := r.Compile(ctx, guest(t, "evil")); !errors.Is(err, context.Canceled) || errors.As(err, &refused) {
		t.Fatalf("%v", err)
	}
	compile(t, r, guest(t, "evil")) // the next caller is not told of it
}

func TestCacheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "cache")
	for range 2 {
		r := newRuntime(t, sandbox.Config{CacheDir: dir})
		c := compile(t, r, guest(t, "echo-a")).Bind(sandbox.Binding{})
		if got := invoke(c, "x"); string(got.Output) != "1 x\n" {
			t.Errorf("%q, %v", got.Output, got.Err)
		}
	}
	closed := newRuntime(t, sandbox.Config{CacheDir: dir})
	for range 2 {
		if err := closed.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	var refused *sandbox.CompileError
	if _, err := closed.Compile(context.Background(), guest(t, "echo-a")); err == nil || errors.As(err, &refused) {
		t.Errorf("compile after close: %v", err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	entries := 0
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			entries++
		}
		return err
	})
	if entries != 3 { // the entry, its code, and that of the probe
		t.Errorf("%d files in the cache, want 3", entries)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.New(context.Background(), sandbox.Config{CacheDir: dir}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a cache that others may write: %v", err)
	}
}

// TestCompileKnown: a module that was compiled by its digest is the one that was compiled by its bytes.
func TestCompileKnown(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	wasm := guest(t, "evil")
	first := compile(t, r, wasm)
	second, err := r.CompileKnown(t.Context(), sha256.Sum256(wasm), wasm)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Error("it was compiled twice")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
