package component_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/tenloom/tenloom/sandbox/component"
)

// fixed is what decoding may allocate for any input beside four bytes for each of its own: the limit that Limits.Memory stands for, with room for what
// the runtime itself does meanwhile.
const fixed = 8 << 20

// FuzzDecode holds that no bytes make Decode crash, hang or allocate out of proportion, that what is refused is refused with an *Error whose place is
// in the input, and that what is accepted can be planned within its limits.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"names", "types", "instances", "resources", "abi", "plan"} {
		for _, c := range commands(f, name) {
			f.Add(c.Wasm)
		}
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := component.Decode(wasm, component.Accept{})
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(4*len(wasm)+fixed); got > most {
			t.Fatalf("%d bytes allocated for %d, at most %d are", got, len(wasm), most)
		}
		if err != nil {
			var refusal *component.Error
			if !errors.As(err, &refusal) || refusal.Offset < 0 || refusal.Offset > len(wasm) {
				t.Fatalf("refused with %#v", err)
			}
			return
		}
		plan, err := c.Plan(everything(c))
		if err != nil {
			return
		}
		for _, m := range plan.Modules {
			m.Bytes()
		}
		plan.Handler()
	})
}

// FuzzSelect holds that names of any form are compared without a crash, and that a name serves itself.
func FuzzSelect(f *testing.F) {
	for _, s := range []string{"a:b/c@0.2.0", "a:b/c@0.2", "a:b/c@1.2.3-rc.1+x", "a:b/c", ""} {
		f.Add(s, "a:b/c@0.2.6")
	}
	f.Fuzz(func(t *testing.T, wanted, offered string) {
		if got, ok := component.Select(wanted, []string{offered, wanted}); !ok || got != wanted {
			t.Fatalf("%q among %q and itself: %q", wanted, offered, got)
		}
		if component.Compatible(wanted, offered) != component.Compatible(offered, wanted) {
			t.Fatalf("%q and %q are compatible one way", wanted, offered)
		}
	})
}
