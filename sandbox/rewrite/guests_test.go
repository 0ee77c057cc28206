package rewrite_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// prebuilt finds every module in the repository.
func prebuilt(t testing.TB) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if err == nil && d.IsDir() && d.Name() == "components" { // taken apart before they are rewritten
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".wasm") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal("no modules: ", err)
	}
	return files
}

// stub offers whatever a module imports: functions that give zeros.
func stub(t testing.TB, r wazero.Runtime, compiled wazero.CompiledModule) {
	t.Helper()
	hosts := map[string]wazero.HostModuleBuilder{}
	for _, f := range compiled.ImportedFunctions() {
		from, name, _ := f.Import()
		if r.Module(from) != nil {
			continue
		}
		if hosts[from] == nil {
			hosts[from] = r.NewHostModuleBuilder(from)
		}
		results := len(f.ResultTypes())
		hosts[from].NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) { clear(stack[:results]) }), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, h := range hosts {
		if _, err := h.Instantiate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

const spent = "the budget is spent"

// conduct starts a guest and calls its functions, at most so many, and tells what came of it; the last line of one whose budget ends is spent.
func conduct(t testing.TB, wasm []byte, init string, calls int, m *meter) (lines []string) {
	t.Helper()
	ctx := t.Context()
	r := newHost(t, m)
	compiled, err := r.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	stub(t, r, compiled)
	mod, err := instantiate(r, compiled, init)
	if errors.Is(err, errSpent) {
		return []string{spent}
	}
	if err != nil {
		return []string{trap(err)}
	}
	var names []string
	for name := range compiled.ExportedFunctions() {
		if !strings.HasPrefix(name, "__tl_") {
			names = append(names, name)
		}
	}
	slices.Sort(names) // "_initialize" comes first
	for _, name := range names {
		if len(lines) == calls {
			return lines
		}
		f := mod.ExportedFunction(name)
		args := make([]uint64, len(f.Definition().ParamTypes()))
		for i := range args {
			args[i] = 3
		}
		results, err := f.Call(ctx, args...)
		if errors.Is(err, errSpent) {
			return append(lines, spent)
		}
		line := fmt.Sprint(name, results, trap(err))
		if memory := mod.Memory(); memory != nil {
			content, _ := memory.Read(0, memory.Size())
			h := fnv.New64a()
			h.Write(content)
			line += fmt.Sprint(" ", memory.Size(), " ", h.Sum64())
		}
		lines = append(lines, line)
	}
	return lines
}

// Every guest of the repository does the same before and after; those that never end are followed as long as they do something.
func TestGuests(t *testing.T) {
	files := prebuilt(t)
	work, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "go") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			wasm, budget := work, int64(5_000_000_000)
			if file != "go" {
				wasm, budget = read(t, file), 50_000_000
			}
			out, report, err := rewrite.Module(wasm, rewrite.Options{})
			var refused *rewrite.Error
			if errors.As(err, &refused) && refused.Kind != rewrite.Malformed {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Foreign) > 0 {
				t.Logf("imports %v", report.Foreign)
				return
			}
			got := conduct(t, out, report.Init, 1<<30, &meter{budget: budget})
			if len(got) > 0 && got[len(got)-1] == spent {
				if got = got[:len(got)-1]; len(got) == 0 { // the original would never end
					return
				}
			}
			if filepath.Base(file) == "table-grow.wasm" { // the original would grow its table until the machine has no memory left
				if want := "handle-redis-message[0] "; !strings.HasPrefix(got[len(got)-1], want) {
					t.Errorf("%q, want %q", got[len(got)-1], want)
				}
				return
			}
			want := conduct(t, wasm, "", len(got), &meter{})
			if !slices.Equal(got, want) {
				t.Errorf("%s\nrewritten:\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
			}
		})
	}
}

// A trap's stack names the functions that it went through.
func TestNames(t *testing.T) {
	name := func(i byte, s string) []byte { return append([]byte{i, byte(len(s))}, s...) }
	names := append([]byte{1, 0}, append([]byte{2}, append(name(0, "outer"), name(1, "culprit")...)...)...)
	names[1] = byte(len(names) - 2)
	wasm := append(program(body(0, 0x10, 1, 0x0b), body(0, 0x03, 0x40, 0x0b, 0x00, 0x0b)), section(0, append([]byte("\x04name"), names...)...)...)
	out, report := rewritten(t, wasm)
	mod := start(t, newHost(t, &meter{budget: unlimited}), out, report.Init)
	_, err := mod.ExportedFunction("run").Call(t.Context())
	if err == nil || !strings.Contains(err.Error(), ".culprit()") || !strings.Contains(err.Error(), ".outer()") {
		t.Errorf("%v", err)
	}
}
