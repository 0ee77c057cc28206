package spin_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"
)

// wantTrap checks that err is the guest's fault and names what is wrong.
func wantTrap(t *testing.T, err error, function, why string) {
	t.Helper()
	var trap *spin.Trap
	if !errors.As(err, &trap) {
		t.Fatalf("got %v, want a trap", err)
	}
	if !strings.Contains(trap.Func, function) || !strings.Contains(trap.Error(), why) {
		t.Errorf("got %s: %v\nwant %s: %s", trap.Func, trap, function, why)
	}
}

// Pointers that the guest gets wrong. The operation is not carried out: the server sees no command.
func TestBadArguments(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr
	h := &spin.Host{Gate: newGate(t, "redis://127.0.0.1:*"), Stores: map[string]spin.Store{"default": spin.NewMemoryStore(1 << 20)}}
	const ok = 1024 // some address in the memory, aligned to 8
	cell := func(op string, values ...uint32) []string { return append([]string{op}, raw(values...)...) }
	conn := func(op string, values ...uint32) []string { return append([]string{op, address}, raw(values...)...) }
	tests := []struct {
		name   string
		g      generation
		fields []string
		where  string
		why    string
	}{
		{"payload", shapeA, cell("raw-publish", ok, 4, ok, 4, 0xfffffff0, 64, ok), "#publish", "payload: 64 bytes at 0xfffffff0"},
		{"address length", shapeA, cell("raw-publish", ok, 0xffffffff, ok, 4, ok, 4, ok), "#publish", "address: 4294967295 bytes"},
		{"ret out of memory", shapeA, cell("raw-publish", ok, 4, ok, 4, ok, 4, 0xfffffffe), "#publish", "result pointer: 2 bytes at 0xfffffffe"},
		{"ret at the very end", shapeA, cell("raw-publish", ok, 0, ok, 0, ok, 0, 0xffffffff), "#publish", "result pointer"},
		{"ret partly beyond", shapeA, cell("raw-get", ok, 4, ok, 4, 2*65536-8), "#get", "result pointer: 12 bytes at 0x1fff8"},
		{"odd ret", shapeA, cell("raw-get", ok, 4, ok, 4, ok+1), "#get", "not aligned to 4"},
		{"ret of an s64 on 4", shapeA, cell("raw-incr", ok, 4, ok, 4, ok+4), "#incr", "not aligned to 8"},
		{"list beyond 32 bits", shapeA, cell("raw-del", ok, 4, ok, 0x20000001, ok), "#del", "keys: list of 536870913 elements"},
		{"list beyond the memory", shapeA, cell("raw-del", ok, 4, ok, 1<<20, ok), "#del", "keys: 8388608 bytes"},
		{"odd list", shapeA, cell("raw-del", ok, 4, ok+2, 1, ok), "#del", "keys: list at 0x402 is not aligned"},
		{"odd parameters", shapeA, cell("raw-execute", ok, 4, ok, 4, ok+4, 1, ok), "#execute", "arguments: list at 0x404 is not aligned to 8"},
		{"method", shapeA, cell("raw-request", 7, 0), "#request", "method: enum has no case 7"},
		{"body option", shapeA, cell("raw-request", 0, 2), "#request", "body: option has no case 2"},
		{"channel", shapeA, []string{"publish", address, "\xff\xfe", "x"}, "#publish", "channel is not valid UTF-8"},
		{"overlong", shapeA, []string{"get", address, "\xc0\x80"}, "#get", "key is not valid UTF-8"},
		{"name", shapeA, []string{"config", "\xed\xa0\x80"}, "#get-config", "key is not valid UTF-8"},

		{"payload", version, conn("raw-publish", ok, 4, 0xfffffff0, 64, ok), "connection.publish", "payload: 64 bytes at 0xfffffff0"},
		{"ret", version, conn("raw-publish", ok, 4, ok, 4, 0xfffffffc), "connection.publish", "result pointer: 16 bytes"},
		{"odd ret", version, conn("raw-get", ok, 4, ok+2), "connection.get", "not aligned to 4"},
		{"ret of an s64 on 4", version, conn("raw-incr", ok, 4, ok+4), "connection.incr", "not aligned to 8"},
		{"list", version, conn("raw-sadd", ok, 4, ok, 0x20000001, ok), "connection.sadd", "values: list of 536870913 elements"},
		{"parameters", version, conn("raw-execute", ok, 4, ok, 0x10000001, ok), "connection.execute", "arguments: list of 268435457"},
		{"channel", version, []string{"publish", address, "\xff\xfe", "x"}, "connection.publish", "channel is not valid UTF-8"},
		{"member", version, []string{"sadd", address, "k", "ok", "\xff"}, "connection.sadd", "values is not valid UTF-8"},
		{"variable", version, []string{"config", "\xff"}, "variables@2.0.0#get", "name is not valid UTF-8"},
		{"dropped handle", version, []string{"use-dropped", address, "k"}, "connection.get", "handle 1 is no open connection"},
		{"dropped twice", version, []string{"drop-twice", address, "k"}, "[resource-drop]connection", "handle 1 is no open connection"},
		{"foreign handle", version, []string{"foreign", address, "k", "default"}, "connection.get", "handle 2 is no open connection"},
		{"dropped store", version, []string{"kv-closed", "default", "k"}, "store.get", "handle 1 is no open store"},
	}
	rigs := map[string]*rig{shapeA.name: newRig(t, shapeA), version.name: newRig(t, version)}
	for _, tt := range tests {
		t.Run(tt.g.name+" "+tt.name, func(t *testing.T) {
			_, err := rigs[tt.g.name].run(t.Context(), h, nil, append([]string{"0"}, tt.fields...)...)
			wantTrap(t, err, tt.where, tt.why)
		})
	}
	if n := server.Client().DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

// Many elements may name the same bytes: what they hold together is bounded before it is copied.
func TestListsAreBounded(t *testing.T) {
	h := &spin.Host{Limits: spin.Limits{ResultBytes: 4096}}
	big := strings.Repeat("x", 1000)
	for _, fields := range [][]string{
		{"del", "redis://h", big, big, big, big, big},
		{"execute", "redis://h", "DEL", bin(big), bin(big), bin(big), bin(big)},
		slices.Concat([]string{"del", "redis://h"}, slices.Repeat([]string{""}, 65)),
	} {
		_, err := newRig(t, shapeA).run(t.Context(), h, nil, append([]string{"0"}, fields...)...)
		wantTrap(t, err, "outbound-redis#", "list exceeds limit of 4096 bytes")
	}
}

// An allocator of the guest that traps, lies, exits, or calls back.
func TestBadAllocators(t *testing.T) {
	tests := []struct{ name, mode, where, why string }{
		{"beyond the memory", "1", "realloc", "returned 0xfffffff0, where 15 bytes do not fit the memory"},
		{"null", "2", "realloc", "returned 0 for 15 bytes"},
		{"partly beyond", "3", "realloc", "where 15 bytes do not fit"},
		{"trap", "4", "realloc", "trapped: wasm error: unreachable"},
		{"calls an import", "5", "get", "called from within the guest's allocator"},
	}
	for _, g := range generations {
		r := newRig(t, g)
		a := message{"tenloom_channel": "fifteen letters"}
		for _, tt := range tests {
			t.Run(g.name+" "+tt.name, func(t *testing.T) {
				_, err := r.run(t.Context(), &spin.Host{}, a, tt.mode, "config", "tenloom_channel")
				wantTrap(t, err, tt.where, tt.why)
			})
		}
		t.Run(g.name+" exit", func(t *testing.T) {
			_, err := r.run(t.Context(), &spin.Host{}, a, "6", "config", "tenloom_channel")
			var exit *sys.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 3 {
				t.Errorf("got %v, want exit code 3", err)
			}
		})
		t.Run(g.name+" grows", func(t *testing.T) {
			store := spin.NewMemoryStore(1 << 20)
			for _, k := range []string{"a", "b", "c"} {
				store.Set(t.Context(), k, []byte(k))
			}
			h := &spin.Host{Stores: map[string]spin.Store{"s": store}}
			if out, err := r.run(t.Context(), h, nil, "9", "kv-keys", "s"); err != nil || out != "ok a,b,c" {
				t.Errorf("got %q, %v", out, err)
			}
			_, err := r.run(t.Context(), h, nil, "7", "kv-keys", "s")
			wantTrap(t, err, "realloc", "not aligned to 4")
		})
	}
}

// A deadline holds across an allocator that loops, and is not taken for the guest's mistake.
func TestAllocatorThatLoops(t *testing.T) {
	for _, g := range generations {
		r := newRigWith(t, g, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := r.run(ctx, &spin.Host{}, message{"tenloom_channel": "c"}, "8", "config", "tenloom_channel")
		var exit *sys.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != sys.ExitCodeDeadlineExceeded {
			t.Errorf("%s: got %v", g.name, err)
		}
	}
}

func TestNoAllocator(t *testing.T) {
	r := newRig(t, generation{file: "noalloc.wasm", handle: "handle-redis-message"})
	_, err := r.run(t.Context(), &spin.Host{}, nil, "0")
	wantTrap(t, err, "realloc", "exports neither canonical_abi_realloc nor cabi_realloc")

	c := spin.NewCall(&spin.Host{}, message{"tenloom_channel": "c"})
	defer c.Close()
	ctx := spin.With(t.Context(), c)
	m, err := r.runtime.InstantiateModule(ctx, r.program, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	if at, err := spin.Alloc(ctx, c, m, 1, 0); at != 1 || err != nil {
		t.Errorf("an empty payload: %d, %v", at, err)
	}
	_, err = m.ExportedFunction("handle-redis-message").Call(ctx, 1, 0)
	wantTrap(t, err, "spin-config#get-config", "exports neither")
	_, err = m.ExportedFunction("handle-redis-message").Call(t.Context(), 1, 0)
	wantTrap(t, err, "spin-config#get-config", "called outside an invocation")
}

// The committed guests are what build.sh makes of their sources, where its tools are installed.
func TestGuestsAreReproducible(t *testing.T) {
	for _, tool := range []string{"clang-14", "wasm-ld-14", "wat2wasm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("guests are not rebuilt: %s is not installed", tool)
			return
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("testdata/build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	committed, err := filepath.Glob("testdata/*.wasm")
	if err != nil || len(committed) != 4 {
		t.Fatalf("guests: %v, %v", committed, err)
	}
	for _, file := range committed {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, filepath.Base(file)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from its source (%v): run testdata/build.sh", file, err)
		}
	}
}
