package host_test

import (
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

func nothing(*canon.Call, *canon.Reader, *canon.Writer) {}

func TestTypesAreReadAsTheyAreWritten(t *testing.T) {
	for _, want := range []string{
		"func()",
		"func() -> u64",
		"async func(message: list<u8>) -> result<_, string>",
		"func(a: bool, b: tuple<s8, u16>, c: char) -> f64",
		"func(self: borrow<input-stream>, len: u64) -> result<list<u8>, variant<last-operation-failed(own<error>), closed>>",
		"func(a: record<x: option<string>, y: enum<one, two>>) -> flags<read, write>",
	} {
		r, err := host.New(host.Interface{Name: "a:b/c", Funcs: map[string]host.Func{"f": {want, nothing}}})
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := r.Offers()[0].Funcs["f"].String(); got != want {
			t.Errorf("read %s, want %s", got, want)
		}
	}
}

func TestNamedTypesStandForTheirDefinitions(t *testing.T) {
	r, err := host.New(host.Interface{
		Name:  "a:b/c",
		Types: map[string]string{"pair": "tuple<code, code>", "code": "enum<one, two>"},
		Funcs: map[string]host.Func{"f": {"func(a: code) -> option<pair>", nothing}, "g": {"func() -> result", nothing}},
	})
	if err != nil {
		t.Fatal(err)
	}
	funcs := r.Offers()[0].Funcs
	if got, want := funcs["f"].String(), "func(a: enum<one, two>) -> option<tuple<enum<one, two>, enum<one, two>>>"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	if got, want := funcs["g"].String(), "func() -> result<_, _>"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

func TestMistakesOfTheHostAreFoundWhenItIsPutTogether(t *testing.T) {
	for _, c := range []struct {
		types map[string]string
		fn    string
		want  string
	}{
		{nil, "function()", "begins with func"},
		{nil, "func(a u8)", "expected :"},
		{nil, "func() -> list<what>", "no type what"},
		{nil, "func() -> enum<>", "expected a name"},
		{nil, "func() -> borrow<r>", "borrow handle"},
		{nil, "func() u8", "more than a type"},
		{map[string]string{"a": "list<b>", "b": "option<a>"}, "func(x: a)", "holds itself"},
	} {
		_, err := host.New(host.Interface{Name: "a:b/c", Types: c.types, Funcs: map[string]host.Func{"f": {c.fn, nothing}}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.fn, err, c.want)
		}
	}
	twice := host.Interface{Name: "a:b/c"}
	if _, err := host.New(twice, twice); err == nil {
		t.Error("an interface can be offered twice")
	}
	if _, err := host.New(host.Interface{Name: "a:b/c", Funcs: map[string]host.Func{"f": {Type: "func()"}}}); err == nil {
		t.Error("a function without code can be offered")
	}
}

func TestFunctionsAndDropsAreFoundByName(t *testing.T) {
	dropped := 0
	r, err := host.New(host.Interface{
		Name:      "a:b/c@0.2.0",
		Funcs:     map[string]host.Func{"f": {"func()", nothing}},
		Resources: map[string]host.Drop{"thing": func(*canon.Store, any) { dropped++ }, "other": nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Func("a:b/c@0.2.0", "f") == nil || r.Func("a:b/c@0.2.0", "g") != nil || r.Func("x", "f") != nil {
		t.Error("functions are not found by interface and name")
	}
	r.Drop("a:b/c@0.2.0", "thing")(nil, nil)
	if dropped != 1 || r.Drop("a:b/c@0.2.0", "other") != nil || r.Drop("x", "thing") != nil {
		t.Error("drops are not found by interface and name")
	}
	if got := strings.Join(r.Offers()[0].Resources, " "); got != "other thing" {
		t.Errorf("offers the resources %s", got)
	}
}
