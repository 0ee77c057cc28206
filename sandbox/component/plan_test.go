package component_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

var update = flag.Bool("update", false, "write golden files anew")

// commands reads the data of one of our own scripts.
func commands(t testing.TB, name string) []command {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/data", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Commands []command }
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s.Commands
}

func decode(t testing.TB, wasm []byte) *component.Component {
	t.Helper()
	c, err := component.Decode(wasm, component.Accept{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not\n%s\nbut\n%s", path, want, got)
	}
}

// TestPlans compares plans with golden files and links them.
func TestPlans(t *testing.T) {
	for i, c := range commands(t, "plan") {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			decoded := decode(t, c.Wasm)
			plan, err := decoded.Plan(everything(decoded))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, fmt.Sprintf("plan.%d.golden", i), dump(plan))
			if _, err := link(t, plan); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGenerative says that what two instances of a component define are two resources, and that types speak of them.
func TestGenerative(t *testing.T) {
	c := decode(t, commands(t, "plan")[1].Wasm)
	plan, err := c.Plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Resources) != 2 || plan.Resources[0].Type == plan.Resources[1].Type {
		t.Fatalf("resources: %v", plan.Resources)
	}
	for i, name := range []string{"one", "two"} {
		f, ok := plan.Export(name, "take")
		if !ok {
			t.Fatalf("no export %s take", name)
		}
		if got := f.Type.Params()[0].Type.Resource(); got != plan.Resources[i].Type {
			t.Errorf("%s takes another resource", name)
		}
	}
}

func TestMissing(t *testing.T) {
	c := decode(t, commands(t, "plan")[0].Wasm)
	full := component.Offer{
		Interface: "ns:kv/store@0.2.9",
		Funcs:     map[string]*types.Func{"[static]connection.open": nil, "[method]connection.get": nil},
		Resources: []string{"connection"},
	}
	less := full
	less.Funcs = map[string]*types.Func{"[static]connection.open": nil}
	less.Resources = nil
	table := types.NewTable(types.Limits{})
	other, _ := table.Func(nil, types.Primitive(types.U8), false)
	odd := full
	odd.Funcs = map[string]*types.Func{"[static]connection.open": other, "[method]connection.get": nil}
	older, newer := full, full
	older.Interface, newer.Interface = "ns:kv/store@0.1.0", "ns:kv/store@0.3.0"
	var b strings.Builder
	for _, c2 := range []struct {
		name   string
		offers []component.Offer
	}{
		{"all, in a higher patch", []component.Offer{full}}, {"nothing", nil}, {"other versions", []component.Offer{older, newer}},
		{"less", []component.Offer{less}}, {"another type", []component.Offer{odd}},
	} {
		_, err := c.Plan(c2.offers)
		fmt.Fprintf(&b, "%s: %v\n", c2.name, err)
	}
	golden(t, "missing.golden", b.String())
}

func TestSelect(t *testing.T) {
	for _, c := range []struct{ wanted, offered, want string }{
		{"wasi:io/streams@0.2.0", "wasi:io/streams@0.2.6", "wasi:io/streams@0.2.6"},
		{"wasi:io/streams@0.2.12", "wasi:io/streams@0.2.6", "wasi:io/streams@0.2.6"},
		{"wasi:io/streams@0.2", "wasi:io/streams@0.2.6", "wasi:io/streams@0.2.6"},
		{"wasi:io/streams@0.2.0", "wasi:io/streams@0.2.6 wasi:io/streams@0.2.11 wasi:io/streams@0.3.0", "wasi:io/streams@0.2.11"},
		{"wasi:io/streams@0.2.6", "wasi:io/streams@0.2.11 wasi:io/streams@0.2.6", "wasi:io/streams@0.2.6"},
		{"wasi:io/streams@0.3.0", "wasi:io/streams@0.2.6", ""},
		{"wasi:io/streams@0.2.0", "wasi:io/poll@0.2.0", ""},
		{"wasi:io/streams", "wasi:io/streams@0.2.0", ""},
		{"wasi:io/streams@0.3.0-rc-2026-03-15", "wasi:io/streams@0.3.0", ""},
		{"wasi:io/streams@0.3.0-rc-2026-03-15", "wasi:io/streams@0.3.0-rc-2026-03-15", "wasi:io/streams@0.3.0-rc-2026-03-15"},
		{"a:b/c@1.2.3", "a:b/c@1.9.0", "a:b/c@1.9.0"},
		{"a:b/c@0.0.1", "a:b/c@0.0.2", ""},
		{"fermyon:spin/redis", "fermyon:spin/redis fermyon:spin/redis@2.0.0", "fermyon:spin/redis"},
	} {
		got, ok := component.Select(c.wanted, strings.Fields(c.offered))
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s among %s: %q", c.wanted, c.offered, got)
		}
	}
}

func TestHandler(t *testing.T) {
	plans := commands(t, "plan")
	handler := func(i int) (string, *component.Func, error) {
		c := decode(t, plans[i].Wasm)
		plan, err := c.Plan(everything(c))
		if err != nil {
			t.Fatal(err)
		}
		return plan.Handler()
	}
	if iface, fn, err := handler(0); err != nil || iface != component.HandlerV1 || fn.Lift == nil {
		t.Errorf("handler of a component that exports it through another: %s %v %v", iface, fn, err)
	}
	if _, _, err := handler(1); !errors.Is(err, component.ErrNoHandler) {
		t.Error(err)
	}
	if _, _, err := handler(3); !errors.Is(err, component.ErrManyHandlers) {
		t.Error(err)
	}
	if _, _, err := handler(4); err == nil || errors.Is(err, component.ErrNoHandler) || errors.Is(err, component.ErrManyHandlers) {
		t.Error("a handler of another type:", err)
	}
}
