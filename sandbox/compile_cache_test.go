package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox"
)

// variant is a module with a custom section that makes it another one.
func variant(wasm []byte, n int) []byte {
	return append(slices.Clone(wasm), section(0, 1, 'v', byte(n), byte(n>>8))...)
}

// cacheFiles are the files of a cache without the probe's, relative to it.
func cacheFiles(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(dir + "/*/*")
	if err != nil {
		t.Fatal(err)
	}
	probe := t.TempDir()
	newRuntime(t, sandbox.Config{CacheDir: probe})
	probes, err := filepath.Glob(probe + "/*/*")
	if err != nil || len(probes) != 1 {
		t.Fatal(probes, err)
	}
	var files []string
	for _, name := range all {
		if name = strings.TrimPrefix(name, dir+"/"); name != strings.TrimPrefix(probes[0], probe+"/") {
			files = append(files, name)
		}
	}
	return files
}

// startsWithout compiles modules from the cache alone: nothing else can, because the process that would is not there.
func startsWithout(t *testing.T, dir string) *sandbox.Runtime {
	t.Helper()
	return newRuntime(t, sandbox.Config{CacheDir: dir, CompileApart: []string{"/does/not/exist"}})
}

func TestCacheHolds(t *testing.T) {
	dir := t.TempDir()
	wasm := guest(t, "evil")
	first := compile(t, newRuntime(t, sandbox.Config{CacheDir: dir}), wasm)
	r := startsWithout(t, dir)
	second := compile(t, r, wasm)
	if first.Digest() != second.Digest() || first.Shape() != second.Shape() || !slices.Equal(first.Imports(), second.Imports()) {
		t.Error("another program came back")
	}
	for _, payload := range []string{"grow", "trap", "exit3", "x"} {
		a, b := invoke(first.Bind(sandbox.Binding{}), payload), invoke(second.Bind(sandbox.Binding{}), payload)
		if string(a.Output) != string(b.Output) || a.Outcome != b.Outcome || a.Fuel != b.Fuel || text(a.Err) != text(b.Err) {
			t.Errorf("%s: %+v, from the cache %+v", payload, a, b)
		}
	}
	if _, err := r.Compile(context.Background(), variant(wasm, 1)); err == nil {
		t.Error("a module came from the cache that is not in it")
	}
	for _, name := range cacheFiles(t, dir) {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(name, info.Mode(), err)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Debug sections do not survive rewriting: modules that differ in them alone share their code.
func TestCacheSharesCode(t *testing.T) {
	dir := t.TempDir()
	r := newRuntime(t, sandbox.Config{CacheDir: dir})
	wasm := guest(t, "echo-a")
	debug := append(slices.Clone(wasm), section(0, append([]byte{11}, ".debug_infox"...)...)...)
	for _, one := range [][]byte{wasm, debug} {
		compile(t, r, one)
	}
	if files := cacheFiles(t, dir); len(files) != 3 {
		t.Errorf("want two entries and one code: %v", files)
	}
	again := startsWithout(t, dir)
	for _, one := range [][]byte{wasm, debug} {
		if got := invoke(compile(t, again, one).Bind(sandbox.Binding{}), "x"); string(got.Output) != "1 x\n" {
			t.Errorf("%q, %v", got.Output, got.Err)
		}
	}
}

// Whatever happens to a file: the module runs as before, and the next start finds it whole again.
func TestCacheDamaged(t *testing.T) {
	dir := t.TempDir()
	works(t, newRuntime(t, sandbox.Config{CacheDir: dir}))
	files := cacheFiles(t, dir)
	if len(files) != 2 {
		t.Fatal(files)
	}
	whole := map[string][]byte{}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		whole[name] = data
	}
	for _, name := range files {
		data := whole[name]
		damages := map[string][]byte{"empty": {}, "cut": data[:len(data)/2], "cut late": data[:len(data)-1], "longer": append(slices.Clone(data), 0),
			"foreign": []byte("hello"), "other": whole[files[1-slices.Index(files, name)]]}
		for at := 0; at < len(data); at += 1 + len(data)/40 {
			flipped := slices.Clone(data)
			flipped[at] ^= 0x10
			damages["flipped at "+string(rune('0'+at%10))+"/"+time.Duration(at).String()] = flipped
		}
		for what, damage := range damages {
			for file, data := range whole {
				if file == name {
					data = damage
				}
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			works(t, newRuntime(t, sandbox.Config{CacheDir: dir}))
			for file, data := range whole {
				if now, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !bytes.Equal(now, data) {
					t.Errorf("%s of %s: %s is not whole again (%v)", what, name, file, err)
				}
			}
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		works(t, newRuntime(t, sandbox.Config{CacheDir: dir}))
		works(t, startsWithout(t, dir))
	}
}

func TestCacheBound(t *testing.T) {
	dir := t.TempDir()
	wasm := guest(t, "reader")
	add := func(most int64, open bool, n ...int) {
		r := newRuntime(t, sandbox.Config{CacheDir: dir, CacheBytes: most, Log: slog.New(slog.DiscardHandler)})
		for _, n := range n {
			p, err := r.Compile(context.Background(), variant(wasm, n))
			if err != nil {
				t.Fatal(err)
			}
			if !open {
				p.Close()
			}
		}
		if open {
			t.Cleanup(func() { r.Close(context.Background()) })
		} else if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	bytesOf := func() (total int64) {
		for _, name := range cacheFiles(t, dir) {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		return total
	}
	holds := func(n int) bool {
		p, err := startsWithout(t, dir).Compile(context.Background(), variant(wasm, n))
		if err == nil {
			p.Close()
		}
		return err == nil
	}
	add(0, false, 2)
	one, first := bytesOf(), cacheFiles(t, dir)
	add(0, false, 1, 3, 4)
	for _, name := range cacheFiles(t, dir) { // all were used long ago, 2 before the others, ...
		long := time.Now().Add(-48 * time.Hour)
		if slices.Contains(first, name) {
			long = long.Add(-time.Hour)
		}
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	add(0, false, 2) // ... 2 is used now, ...
	if stray := filepath.Join(dir, "programs", "x.1.tmp"); os.WriteFile(stray, nil, 0o600) != nil || os.Chtimes(stray, time.Time{}, time.Unix(1, 0)) != nil {
		t.Fatal("stray file")
	}
	crashed := filepath.Join(dir, "apart-1")
	if os.Mkdir(crashed, 0o700) != nil || os.Chtimes(crashed, time.Time{}, time.Unix(1, 0)) != nil {
		t.Fatal("stray directory")
	}
	add(3*one, false, 5) // ... and there is room for two beside the probe
	if total := bytesOf(); total > 3*one {
		t.Errorf("%d bytes, the bound is %d", total, 3*one)
	}
	if !holds(5) || !holds(2) {
		t.Errorf("what was used last is gone: 5 %v, 2 %v", holds(5), holds(2))
	}
	if holds(1) && holds(3) && holds(4) {
		t.Error("nothing is gone")
	}
	if left := leftovers(t, dir); len(left) != 0 {
		t.Error(left)
	}
	add(1, true, 6, 7) // no room at all: what is open stays
	if !holds(6) || !holds(7) {
		t.Error("a program that is open is gone from the cache")
	}
	if holds(5) || holds(2) {
		t.Error("more is in the cache than what is open")
	}
}

// Several runtimes, as several processes, fill and read one directory whose bound is too small.
func TestCacheHammer(t *testing.T) {
	dir := t.TempDir()
	wasm := guest(t, "echo-a")
	var all sync.WaitGroup
	for i := range 4 {
		r := newRuntime(t, sandbox.Config{CacheDir: dir, CacheBytes: 40 << 10, Log: slog.New(slog.DiscardHandler)})
		all.Go(func() {
			for n := range 40 {
				p, err := r.Compile(context.Background(), variant(wasm, (n*(i+1))%16))
				if err != nil {
					t.Error(err)
					return
				}
				if got := invoke(p.Bind(sandbox.Binding{}), "x"); string(got.Output) != "1 x\n" {
					t.Errorf("%q, %v", got.Output, got.Err)
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// The cache relies on this: in a context that has ended, with two workers, wazero finds code that it has and does not make any.
func TestWazeroFindsWithoutMaking(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ctx = experimental.WithCompilationWorkers(ctx, 2)
	r := wazero.NewRuntime(context.Background())
	defer r.Close(context.Background())
	wasm := function(0, 0x00)
	if _, err := r.CompileModule(ctx, wasm); !errors.Is(err, context.Canceled) {
		t.Errorf("made in a context that has ended: %v", err)
	}
	if _, err := r.CompileModule(context.Background(), wasm); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CompileModule(ctx, wasm); err != nil {
		t.Errorf("not found: %v", err)
	}
}
