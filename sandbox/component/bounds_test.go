package component_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/tenloom/tenloom/sandbox/component"
)

// Writing the binary format, for components that no tool writes.

func leb(n int) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func sized(b []byte) []byte { return append(leb(len(b)), b...) }

// section writes n entries; entry may depend on the index.
func section(id byte, n int, entry func(i int) []byte) []byte {
	content := leb(n)
	for i := range n {
		content = append(content, entry(i)...)
	}
	return append([]byte{id}, sized(content)...)
}

func same(b ...byte) func(int) []byte { return func(int) []byte { return b } }

func wrap(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x0d\x00\x01\x00"), bytes.Join(sections, nil)...)
}

func name(s string) []byte { return append([]byte{0}, sized([]byte(s))...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// nested puts a component into another, depth times.
func nested(depth int) []byte {
	c := wrap()
	for range depth {
		c = wrap(append([]byte{4}, sized(c)...))
	}
	return c
}

func nestedTypes(depth int) []byte {
	t := []byte{0x42, 0}
	for range depth {
		t = join([]byte{0x42, 1, 1}, t)
	}
	return wrap(section(7, 1, func(int) []byte { return t }))
}

// doubledTypes are instance types of which each exports the one before twice, and so has twice as many resources.
func doubledTypes(n int) []byte {
	return wrap(section(7, n, func(i int) []byte {
		if i == 0 {
			return join([]byte{0x42, 1, 4}, name("r"), []byte{3, 1})
		}
		outer := join([]byte{2, 3, 2, 1}, leb(i-1))
		export := func(s string) []byte { return join([]byte{4}, name(s), []byte{5, 0}) }
		return join([]byte{0x42, 3}, outer, export("a"), export("b"))
	}))
}

// doubledInstances are components of which each instantiates the one before twice.
func doubledInstances(n int) []byte {
	inner := wrap()
	for range n {
		twice := section(5, 2, same(0, 0, 0))
		inner = wrap(append([]byte{4}, sized(inner)...), twice)
	}
	return inner
}

// TestBounds holds that bytes which are built to cost much are refused, or cost no more than they may.
func TestBounds(t *testing.T) {
	const many = 100_000
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	module := append([]byte{1}, sized([]byte("\x00asm\x01\x00\x00\x00"))...)
	for _, c := range []struct {
		name string
		wasm []byte
		kind component.Kind
	}{
		{"many primitives", wrap(section(7, many, same(0x7f))), component.Limit},
		{"many tuples", wrap(section(7, many, func(i int) []byte {
			return join([]byte{0x6f, 3}, []byte{0x7f - byte(i%13), 0x7f - byte(i/13%13), 0x7f - byte(i/169%13)})
		})), component.Limit},
		{"deep tuples", wrap(section(7, 200, func(i int) []byte {
			if i == 0 {
				return []byte{0x7f}
			}
			return []byte{0x6f, 1, byte(i-1) | 0x80, byte((i - 1) >> 7)}
		})), component.Limit},
		{"wide tuples", wrap(section(7, 60, func(i int) []byte {
			if i == 0 {
				return []byte{0x7f}
			}
			return []byte{0x6f, 2, byte(i - 1), byte(i - 1)}
		})), component.Limit},
		{"an enum of many", wrap(section(7, 1, func(int) []byte {
			return join([]byte{0x6d}, leb(many), bytes.Join(func() (all [][]byte) {
				for i := range many {
					all = append(all, sized(fmt.Appendf(nil, "a%d", i)))
				}
				return all
			}(), nil))
		})), component.Limit},
		{"many functions", wrap(section(7, 1, same(0x40, 0, 1, 0)), section(10, many, func(i int) []byte {
			return join(name(fmt.Sprintf("a%d", i)), []byte{1, 0})
		})), component.Limit},
		{"many aliases", wrap(section(7, 1, same(0x7f)), section(6, many, same(3, 2, 0, 0))), component.Limit},
		{"many bags", wrap(section(5, many, same(1, 0))), component.Limit},
		{"many core bags", wrap(section(2, many, same(1, 0))), component.Limit},
		{"many instance types", wrap(section(7, many, same(0x42, 0))), component.Limit},
		{"many function types", wrap(section(7, many, same(0x40, 0, 1, 0))), component.Limit},
		{"many core types", wrap(section(3, many, same(0x60, 0, 0))), component.Limit},
		{"a core module of many functions", wrap(append([]byte{1}, sized(join([]byte("\x00asm\x01\x00\x00\x00"),
			section(1, 1, same(0x60, 0, 0)), section(3, many, same(0))))...)), component.Limit},
		{"a core module of many imports", wrap(append([]byte{1}, sized(join([]byte("\x00asm\x01\x00\x00\x00"),
			section(2, many, func(i int) []byte { return join(leb(0), sized(fmt.Appendf(nil, "%d", i)), []byte{3, 0x7f, 0}) })))...)), component.Limit},
		{"a core module of many exports", wrap(append([]byte{1}, sized(join([]byte("\x00asm\x01\x00\x00\x00"),
			section(5, 1, same(0, 0)),
			section(7, many, func(i int) []byte { return join(sized(fmt.Appendf(nil, "%d", i)), []byte{2, 0}) })))...)), component.Limit},
		{"a module type of many imports", wrap(section(3, 1, func(int) []byte {
			return append([]byte{0x50}, section(0, many, func(i int) []byte { return join([]byte{0, 0}, sized(fmt.Appendf(nil, "%d", i)), []byte{3, 0x7f, 0}) })[4:]...)
		})), component.Limit},
		{"a bag of many core exports", wrap(module, section(2, 1, same(0, 0, 0)), section(2, 1, func(int) []byte {
			return join([]byte{1}, leb(many), bytes.Repeat([]byte{1, 'a', 0, 0}, many))
		})), component.Invalid},
		{"many core modules", wrap(bytes.Repeat(module, 1000)), component.Limit},
		{"many components", wrap(bytes.Repeat(append([]byte{4}, sized(wrap())...), 20_000)), component.Limit},
		{"many instances of a core module", wrap(module, section(2, 2000, same(0, 0, 0))), component.Limit},
		{"deep components", nested(200), component.Limit},
		{"deep types", nestedTypes(200), component.Limit},
		{"types that double", doubledTypes(60), component.Limit},
		{"instances that double", doubledInstances(30), component.Limit},
		{"a long name", wrap(section(10, 1, func(int) []byte { return join(name(string(bytes.Repeat([]byte("a"), 200_000))), []byte{1, 0}) })), component.Limit},
		{"a lying section", wrap(append([]byte{7}, huge...)), component.Malformed},
		{"a lying vector", wrap(append([]byte{7, 5}, huge...)), component.Malformed},
		{"a lying record", wrap(join([]byte{7, 7, 1, 0x72}, huge)), component.Malformed},
		{"a lying name", wrap(join([]byte{10, 7, 1, 0}, huge)), component.Limit},
		{"lying arguments", wrap(module, join([]byte{2, 8, 1, 0, 0}, huge)), component.Malformed},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		decoded, err := component.Decode(c.wasm, component.Accept{})
		runtime.ReadMemStats(&after)
		if got, allowed := after.TotalAlloc-before.TotalAlloc, uint64(4*len(c.wasm)+fixed); got > allowed {
			t.Errorf("%s: %d bytes allocated for %d, at most %d are", c.name, got, len(c.wasm), allowed)
		}
		if err == nil {
			_, err = decoded.Plan(nil)
		}
		var refusal *component.Error
		if !errors.As(err, &refusal) || refusal.Kind != c.kind {
			t.Errorf("%s: %v, expected %q", c.name, err, c.kind)
		}
	}
}

// TestPrefixes holds that each prefix of a good component is refused, with a place in it, and is never read beyond its end.
func TestPrefixes(t *testing.T) {
	for _, c := range commands(t, "plan") {
		for n := range c.Wasm {
			_, err := component.Decode(c.Wasm[:n:n], component.Accept{})
			var refusal *component.Error
			if err != nil && (!errors.As(err, &refusal) || refusal.Offset > n) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
}

// TestRefusedByName holds that what is gated is called by its name.
func TestRefusedByName(t *testing.T) {
	for _, c := range []struct {
		want string
		wasm []byte
	}{
		{"error-context", wrap(section(7, 1, same(0x64)))},
		{"fixed-length lists", wrap(section(7, 1, same(0x67, 0x7d, 4)))},
		{"values", wrap(section(12, 0, nil))},
		{"start functions", wrap(section(9, 0, nil))},
		{"thread.spawn-ref", wrap(section(8, 1, same(0x40, 0, 0)))},
		{"thread.suspend", wrap(section(8, 1, same(0x29, 0)))},
		{"backpressure.set", wrap(section(8, 1, same(0x08)))},
		{"garbage collection", wrap(section(3, 1, same(0x4e, 0)))},
		{"streams and futures", wrap(section(7, 1, same(0x66, 0)), section(8, 1, same(0x0e, 0)))},
	} {
		decoded, err := component.Decode(c.wasm, component.Accept{})
		if err == nil {
			_, err = decoded.Plan(nil)
		}
		var refusal *component.Error
		if !errors.As(err, &refusal) || refusal.Kind != component.Unsupported || !bytes.Contains([]byte(err.Error()), []byte(c.want)) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}
