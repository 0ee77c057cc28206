package rewrite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// An outline is valid where its module is, says the same of itself, and is no other module's.
func TestOutline(t *testing.T) {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExtendedConst))
	defer r.Close(t.Context())
	seen := map[string]string{}
	for _, name := range prebuilt(t) {
		wasm, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		metered, report, err := rewrite.Module(wasm, rewrite.Options{})
		if err != nil {
			continue
		}
		whole, err := r.CompileModule(t.Context(), metered)
		if err != nil {
			continue
		}
		outline, err := rewrite.Outline(metered)
		if err != nil {
			t.Fatal(name, err)
		}
		hollow, err := r.CompileModule(t.Context(), outline)
		if err != nil {
			t.Fatal(name, err)
		}
		if a, b := describe(whole), describe(hollow); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %v, its outline: %v", name, a, b)
		}
		again, err := rewrite.Outline(metered)
		if err != nil || !bytes.Equal(outline, again) {
			t.Errorf("%s: the second outline differs (%v)", name, err)
		}
		if other, ok := seen[string(outline)]; ok && !sameFile(t, name, other) {
			t.Errorf("%s and %s have the same outline", name, other)
		}
		seen[string(outline)] = name
		text, err := json.Marshal(report)
		var back rewrite.Report
		if err != nil || json.Unmarshal(text, &back) != nil || !reflect.DeepEqual(back, report) {
			t.Errorf("%s: a report does not survive JSON: %+v, %+v", name, report, back)
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d modules", len(seen))
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	return err == nil && bytes.Equal(x, y)
}

// describe is what a host asks of a compiled module.
func describe(c wazero.CompiledModule) []string {
	var all []string
	for _, f := range c.ImportedFunctions() {
		module, name, _ := f.Import()
		all = append(all, "import", module, name, types(f))
	}
	for name, f := range c.ExportedFunctions() {
		all = append(all, "export "+name+" "+types(f)+" "+f.DebugName())
	}
	for name, m := range c.ExportedMemories() {
		most, bounded := m.Max()
		all = append(all, "memory "+name, string(rune(m.Min())), string(rune(most)), map[bool]string{true: "bounded"}[bounded])
	}
	slices.Sort(all)
	return all
}

func types(f api.FunctionDefinition) string {
	return string(f.ParamTypes()) + ">" + string(f.ResultTypes())
}

// A function of an outline must never seem to work.
func TestOutlineTraps(t *testing.T) {
	// (module (func (export "f") (result i32) i32.const 7))
	metered, _, err := rewrite.Module([]byte("\x00asm\x01\x00\x00\x00\x01\x05\x01\x60\x00\x01\x7f\x03\x02\x01\x00\x07\x05\x01\x01f\x00\x00\x0a\x06\x01\x04\x00\x41\x07\x0b"), rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	outline, err := rewrite.Outline(metered)
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntime(t.Context())
	defer r.Close(t.Context())
	compiled, err := r.CompileModule(t.Context(), outline)
	if err != nil {
		t.Fatal(err)
	}
	stub(t, r, compiled)
	m, err := r.InstantiateModule(t.Context(), compiled, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.ExportedFunction("f").Call(context.Background()); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Error(err)
	}
}

func TestOutlineRefuses(t *testing.T) {
	for _, wasm := range []string{"", "\x00asm", "\x00asm\x01\x00\x00\x00\x01", "\x00asm\x01\x00\x00\x00\x01\x7f\x00", "hello, world"} {
		if out, err := rewrite.Outline([]byte(wasm)); err == nil {
			t.Errorf("%q became %q", wasm, out)
		}
	}
}

func TestFingerprint(t *testing.T) {
	plain := rewrite.Options{}.Fingerprint()
	if plain != (rewrite.Options{RefuelModule: "tenloom", RefuelName: "refuel", Limits: rewrite.Limits{Types: 100_000}}).Fingerprint() {
		t.Error("defaults that are spelled out make another fingerprint")
	}
	for _, o := range []rewrite.Options{{RefuelModule: "x"}, {RefuelName: "x"}, {TailCalls: true}, {Limits: rewrite.Limits{Body: 7}}} {
		if o.Fingerprint() == plain {
			t.Errorf("%+v has the fingerprint of the defaults", o)
		}
	}
}
