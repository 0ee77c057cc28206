package rewrite_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// The WebAssembly specification's own tests (https://github.com/WebAssembly/spec/tree/main/test/core) lie in wazero's module, compiled: scripts in
// JSON as wast2json writes them, and their modules. Each script is played in two worlds, one with its modules as they are and one with them
// rewritten, and after each step the worlds must be equal.

// specSuites are the folders of tests. All are played with what guests may use; the first holds the specification's version 1 against that.
var specSuites = []string{"v1", "v2", "extended-const", "tail-call"}

// specDifferences are the steps that end differently, and why.
var specDifferences = map[string]string{
	"v2/bulk.json:172": "memory.init after data.drop copies instead of trapping: drops do nothing, so that an instance can be reset",
	"v2/bulk.json:176": "the same",
}

// specOutdated are steps of version 1 whose outcome version 2 defines otherwise: segments are copied one by one, up to the one that does not fit.
var specOutdated = map[string]bool{"v1/linking.json:236": true, "v1/linking.json:248": true, "v1/linking.json:342": true, "v1/linking.json:354": true}

// specRefused are valid modules that are over a limit, and the limit. They are played with a higher one.
var specRefused = map[string]string{
	"v1/br_table.0.wasm": "labels in one br_table",
	"v2/br_table.0.wasm": "labels in one br_table",
}

// specTwin is to the byte the script of version 2, and its overflowing stacks take long under the race detector.
const specTwin = "v1/skip-stack-guard-page.json"

// specScript is one file of tests.
type specScript struct{ Commands []specCommand }

type specCommand struct {
	Type       string
	Line       int
	Name, As   string // of a module; as what it is registered
	Filename   string
	ModuleType string `json:"module_type"` // "text" where it is not compiled
	Text       string // what is wrong with it
	Action     specAction
	Expected   []specValue
}

type specAction struct {
	Type          string // invoke or get
	Module, Field string
	Args          []specValue
}

type specValue struct {
	Type     string
	LaneType string `json:"lane_type"`
	Value    any    // text, or texts of lanes
}

// specCount is what was played.
type specCount struct{ modules, returns, traps, refused, unfit int }

func (c *specCount) add(o specCount) {
	c.modules += o.modules
	c.returns += o.returns
	c.traps += o.traps
	c.refused += o.refused
	c.unfit += o.unfit
}

// TestSpecification holds rewritten modules against the same modules as they are: results, traps, memories and globals are equal, what does not
// fit together still does not, what is not valid is not made valid. The numbers are what wazero 1.12 brings; fewer would mean that part of it is
// no longer played.
func TestSpecification(t *testing.T) {
	dir := specDirectory(t)
	least := specCount{modules: 2397, returns: 61648, traps: 2898, refused: len(specRefused), unfit: 4794}
	var mu sync.Mutex
	var all specCount
	found := map[string]bool{}
	t.Run("scripts", func(t *testing.T) {
		for _, suite := range specSuites {
			files, err := filepath.Glob(filepath.Join(dir, suite, "testdata", "*.json"))
			if err != nil || len(files) == 0 {
				t.Fatal("no scripts in ", suite, ": ", err)
			}
			for _, file := range files {
				name := suite + "/" + filepath.Base(file)
				if name == specTwin {
					continue
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					p := playSpec(t, file, name, filepath.Join(dir, "testdata", "spectest.wasm"))
					mu.Lock()
					defer mu.Unlock()
					all.add(p.count)
					for _, d := range p.different {
						found[d] = true
					}
				})
			}
		}
	})
	t.Logf("%+v; different: %v", all, slices.Sorted(maps.Keys(found)))
	if all.modules < least.modules || all.returns < least.returns || all.traps < least.traps || all.unfit < least.unfit || all.refused != least.refused {
		t.Errorf("%+v, want at least %+v", all, least)
	}
	for name, why := range specDifferences {
		if !found[name] {
			t.Errorf("%s is no longer different (%s): take it off the list", name, why)
		}
	}
}

// specDirectory is where wazero's module lies on this machine.
func specDirectory(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatalf("find wazero's module: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
}

// specPlayer plays one script in two worlds.
type specPlayer struct {
	*testing.T
	name, dir    string
	plain, after *specWorld
	meter        *meter
	count        specCount
	different    []string
}

func playSpec(t *testing.T, file, name, host string) *specPlayer {
	var script specScript
	if err := json.Unmarshal(read(t, file), &script); err != nil {
		t.Fatal(err)
	}
	m := &meter{budget: unlimited, slice: 100} // short ones, so that refuel is called in the middle of everything
	p := &specPlayer{T: t, name: name, dir: filepath.Dir(file), meter: m}
	p.plain, p.after = newSpecWorld(t, &meter{}, host), newSpecWorld(t, m, host)
	for i := range script.Commands {
		p.step(&script.Commands[i])
	}
	return p
}

// step plays one command.
func (p *specPlayer) step(c *specCommand) {
	at := fmt.Sprintf("%s:%d", p.name, c.Line)
	switch c.Type {
	case "module":
		p.load(c, at)
		p.count.modules++
	case "register":
		p.plain.register(c)
		p.after.register(c)
	case "assert_uninstantiable", "assert_unlinkable", "assert_invalid", "assert_malformed":
		if c.ModuleType != "text" {
			p.unfit(c, at)
		}
	case "assert_return", "action", "assert_trap", "assert_exhaustion":
		p.act(c, at)
	default:
		p.Fatalf("%s: unknown command %q", at, c.Type)
	}
}

// load instantiates a module in both worlds.
func (p *specPlayer) load(c *specCommand, at string) {
	wasm := p.wasm(c)
	out, report, err := rewrite.Module(wasm, rewrite.Options{TailCalls: true})
	if err != nil {
		if limit, ok := specRefused[filepath.Dir(p.name)+"/"+c.Filename]; !ok || !strings.Contains(err.Error(), limit) {
			p.Errorf("%s: refused: %v", at, err)
		}
		p.count.refused++
		if out, report, err = rewrite.Module(wasm, rewrite.Options{TailCalls: true, Limits: rewrite.Limits{BranchTable: 1 << 20}}); err != nil {
			p.Fatalf("%s: refused with a higher limit: %v", at, err)
		}
	}
	want, err := p.plain.instantiate(wasm, "")
	if err != nil {
		p.Fatalf("%s: %v", at, err)
	}
	got, err := p.after.instantiate(out, report.Init)
	if err != nil {
		p.Fatalf("%s: rewritten: %v", at, err)
	}
	memory := report.MemoryMax > 0
	p.plain.add(c, &specModule{want, memory})
	p.after.add(c, &specModule{got, memory})
	p.compare(c, at)
}

// unfit holds that what cannot be instantiated cannot be after it was rewritten either, for the same reason where it is one of running.
func (p *specPlayer) unfit(c *specCommand, at string) {
	p.count.unfit++
	wasm := p.wasm(c)
	_, want := p.plain.instantiate(wasm, "")
	out, report, err := rewrite.Module(wasm, rewrite.Options{TailCalls: true})
	if err == nil {
		_, err = p.after.instantiate(out, report.Init)
	}
	running := c.Type == "assert_uninstantiable"
	if (want == nil) != (err == nil) || running && trap(want) != trap(err) {
		p.Errorf("%s: %q\nplain: %v\nrewritten: %v", at, c.Text, want, err)
	}
}

func (p *specPlayer) wasm(c *specCommand) []byte { return read(p, filepath.Join(p.dir, c.Filename)) }

// act calls a function or reads a global in both worlds.
func (p *specPlayer) act(c *specCommand, at string) {
	plain, after := p.plain.find(c.Action.Module), p.after.find(c.Action.Module)
	want, wantErr := plain.do(p.T, c.Action)
	got, err := after.do(p.T, c.Action)
	if should := c.Type == "assert_trap" || c.Type == "assert_exhaustion"; (wantErr != nil) != should && !specOutdated[at] {
		p.Errorf("%s: %v", at, wantErr)
	} else if should {
		p.count.traps++
	} else if c.Type == "assert_return" {
		p.count.returns++
	}
	if !slices.Equal(want, got) || trap(wantErr) != trap(err) {
		p.differ(at, fmt.Sprintf("%v %v\nrewritten: %v %v", want, trap(wantErr), got, trap(err)))
		return
	}
	for i, e := range c.Expected {
		if text, ok := e.Value.(string); ok && wantErr == nil && !specOutdated[at] && (e.Type == "i32" || e.Type == "i64") && len(c.Expected) == len(want) && fmt.Sprint(want[i]) != text {
			p.Errorf("%s: result %d is %d, the specification wants %s", at, i, want[i], text)
		}
	}
	p.compare(c, at)
}

// differ notes a difference that is known and fails for others.
func (p *specPlayer) differ(at, what string) {
	if specDifferences[at] == "" {
		p.Errorf("%s: %s", at, what)
		return
	}
	p.different = append(p.different, at)
}

// specWorld is a runtime and the modules of a script in it.
type specWorld struct {
	wazero.Runtime
	last       *specModule
	named      map[string]*specModule
	registered map[string]*specModule
}

func newSpecWorld(t *testing.T, m *meter, host string) *specWorld {
	w := &specWorld{Runtime: newHost(t, m), named: map[string]*specModule{}, registered: map[string]*specModule{}}
	if _, err := w.InstantiateWithConfig(t.Context(), read(t, host), wazero.NewModuleConfig().WithName("spectest")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *specWorld) add(c *specCommand, m *specModule) {
	if w.last = m; c.Name != "" {
		w.named[c.Name] = m
	}
}

func (w *specWorld) find(name string) *specModule {
	if name == "" {
		return w.last
	}
	return w.named[name]
}

func (w *specWorld) register(c *specCommand) { w.registered[c.As] = w.find(c.Name) }
