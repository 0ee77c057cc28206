package component_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

var (
	suite     = flag.String("suite", "testdata/data", "folder of the data that .ci/wast makes of .wast scripts")
	suiteList = flag.Bool("suite-list", false, "list every command that ends otherwise than the script says")
)

// command is one command of a script, see .ci/wast.mjs.
type command struct {
	Type, Name, Message, Unparsed string
	Wasm                          []byte
	Line                          int
}

// TestSuite holds scripts of the component model's own suite against Decode: a component that a script defines must be valid, and plan; one that it
// calls invalid or malformed must be refused. Without -suite it is our own scripts, in testdata/scripts, and their messages must be ours.
func TestSuite(t *testing.T) {
	counts := map[string]map[string]int{}
	err := filepath.WalkDir(*suite, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".json" {
			return err
		}
		rel, _ := filepath.Rel(*suite, path)
		dir := filepath.Dir(rel)
		if counts[dir] == nil {
			counts[dir] = map[string]int{}
		}
		for k, n := range script(t, path, rel) {
			counts[dir][k] += n
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Sorted(mapKeys(counts)) {
		t.Logf("%s: %v", dir, counts[dir])
	}
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func script(t *testing.T, path, rel string) map[string]int {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Commands []command }
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, c := range s.Commands {
		if c.Wasm == nil && c.Unparsed == "" {
			continue
		}
		outcome := judge(t, c)
		counts[outcome]++
		ours := *suite == flag.Lookup("suite").DefValue
		if strings.HasPrefix(outcome, "differs") || ours && outcome != "passed" {
			t.Errorf("%s:%d: %s: %s", rel, c.Line, c.Type, outcome)
		}
	}
	return counts
}

// judge says how a command ended.
func judge(t *testing.T, c command) string {
	if c.Unparsed != "" {
		return "left to the text parser"
	}
	accept := component.Accept{Features: component.Features{FixedLists: true, Stackful: true}}
	decoded, err := component.Decode(c.Wasm, accept)
	var refusal *component.Error
	if err != nil && !errors.As(err, &refusal) {
		return "differs: no *Error: " + err.Error()
	}
	if *suiteList && err != nil {
		t.Logf("line %d: %s %q: %v", c.Line, c.Type, c.Message, err)
	}
	switch {
	case err != nil && refusal.Kind == component.Unsupported:
		return "refused by name"
	case err != nil && (c.Type == "invalid" || c.Type == "malformed"):
		if !strings.Contains(err.Error(), c.Message) {
			return "passed in other words"
		}
		return "passed"
	case err != nil:
		return "differs: " + err.Error()
	}
	plan, err := decoded.Plan(everything(decoded))
	if err == nil {
		_, err = link(t, plan)
	}
	invalid := c.Type == "invalid" || c.Type == "malformed"
	switch {
	case err == nil && invalid:
		return compiles(t, decoded, c.Message)
	case err == nil:
		return "passed"
	case errors.As(err, &refusal) && strings.Contains(err.Error(), "cannot be imported from the host"):
		return "passed" // what it imports are components or modules, as a definition may
	case errors.As(err, &refusal) && refusal.Kind == component.Unsupported:
		return "refused by name"
	case invalid && strings.Contains(err.Error(), "compile core module"):
		return "passed by the runtime"
	case strings.Contains(err.Error(), "was called"), strings.Contains(err.Error(), "wasm error"), c.Type == "uninstantiable":
		return "passed" // as far as this: a start function calls the host, or traps
	}
	return "differs: " + err.Error()
}

// compiles says whether the runtime refuses the code of a core module, which is what is left to it.
func compiles(t *testing.T, c *component.Component, message string) string {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	for _, m := range c.Modules() {
		if _, err := r.CompileModule(t.Context(), m.Bytes()); err != nil {
			return "passed by the runtime"
		}
	}
	return "differs: accepted, expected " + message
}

// everything offers whatever a component imports.
func everything(c *component.Component) []component.Offer {
	by := map[string]*component.Offer{}
	var offers []*component.Offer
	for _, i := range c.Imports() {
		o := by[i.Interface]
		if o == nil {
			o = &component.Offer{Interface: i.Interface, Funcs: map[string]*types.Func{}}
			by[i.Interface] = o
			offers = append(offers, o)
		}
		switch i.Sort {
		case component.SortFunc:
			o.Funcs[i.Name] = i.Type
		case component.SortType:
			o.Resources = append(o.Resources, i.Name)
		}
	}
	all := make([]component.Offer, len(offers))
	for i, o := range offers {
		all[i] = *o
	}
	return all
}
