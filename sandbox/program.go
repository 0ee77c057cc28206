package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// Shape is a generation of the ABI between guest and host.
type Shape byte

const (
	ShapeA Shape = 'A' // wit-bindgen 0.2: handle-redis-message, canonical_abi_realloc
	ShapeB Shape = 'B' // fermyon:spin's interfaces at core level: fermyon:spin/inbound-redis#handle-message, cabi_realloc
	ShapeC Shape = 'C' // a component that exports fermyon:spin/inbound-redis
	ShapeD Shape = 'D' // a component that exports the asynchronous spin:redis/inbound-redis@3.0.0
)

func (s Shape) String() string { return string(rune(s)) }

// abi is what a guest of one shape exports beside its memory.
type abi struct {
	shape              Shape
	handler, allocator string
}

var abis = []abi{
	{ShapeA, "handle-redis-message", "canonical_abi_realloc"},
	{ShapeB, "fermyon:spin/inbound-redis#handle-message", "cabi_realloc"},
}

const (
	initialize = "_initialize"
	postReturn = "cabi_post_"
)

// listed is how many names an error message lists before it says how many more there are.
const listed = 32

// Program is a compiled module or component. It belongs to no tenant, is immutable, and is safe for concurrent use.
type Program struct {
	runtime    *Runtime
	digest     [sha256.Size]byte
	filed      func() (wazero.CompiledModule, error) // the code of a core module for components with files, from the first use on
	cores      []*code                               // of a component as Plan.Modules, else one
	assembly   *assembly                             // nil for a core module
	abi        abi
	post       string // name of the handler's post-return function, "" where there is none
	starts     string // "_initialize" where it is exported
	resettable bool   // memories and mutable globals are all that an invocation changes in an instance
	why        string // it is not
	imports    []string
	memory     uint64 // bytes that an instance needs at least

	references int // guarded by Runtime.mu

	mu        sync.Mutex
	snapshots map[snapshotKey]*snapshot // that components share; as many as there are components at most
	other     wazero.CompiledModule     // filed's, nil where it was not used; guarded by Runtime.mu
}

// code is a core module, rewritten and compiled.
type code struct {
	wasm     []byte // what compiled was made of: the rewritten module or its outline
	report   rewrite.Report
	compiled wazero.CompiledModule
	files    []string // that hold it in the cache
}

// ownMemory is how many bytes of memory an instance needs at least; 0 where it imports its memory.
func (c *code) ownMemory() uint64 {
	if slices.ContainsFunc(c.report.Foreign, func(i rewrite.Import) bool { return i.Kind == "memory" }) {
		return 0
	}
	return c.report.MemoryMin << 16
}

// close gives the code up.
func (c *code) close(r *Runtime) error {
	r.cache.release(c.files)
	return c.compiled.Close(context.Background())
}

// newProgram holds a compiled core module against what a guest must export and may import.
func newProgram(r *Runtime, digest [sha256.Size]byte, c *code) (*Program, error) {
	p := &Program{runtime: r, digest: digest, cores: []*code{c}, memory: c.report.MemoryMin << 16, resettable: c.report.Resettable, why: c.report.Why}
	p.filed = sync.OnceValues(func() (wazero.CompiledModule, error) {
		c, err := r.filed.CompileModule(onlyCached, c.wasm) // as long as compiled is open, the code is in wazero's memory
		r.mu.Lock()
		defer r.mu.Unlock()
		p.other = c
		return c, err
	})
	if err := p.findHandler(); err != nil {
		return nil, err
	}
	if err := p.checkExports(); err != nil {
		return nil, err
	}
	if err := p.checkImports(); err != nil {
		return nil, err
	}
	return p, nil
}

// findHandler picks the shape. The texts of the first two errors are Spin's (crates/trigger-redis).
func (p *Program) findHandler() error {
	exports := p.cores[0].compiled.ExportedFunctions()
	var found []abi
	for _, a := range abis {
		if exports[a.handler] != nil {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return &CompileError{NoHandler, "component does not export a Redis interface; it exports " + list(exports),
			fmt.Sprintf("export the function %q or %q, as Spin's SDKs do for a Redis trigger", abis[0].handler, abis[1].handler)}
	case 1:
		p.abi = found[0]
		return nil
	}
	return &CompileError{ManyHandlers, fmt.Sprintf("component exports multiple Redis interfaces: %q and %q", found[0].handler, found[1].handler),
		"keep the one of the SDK in use"}
}

var (
	i32         = api.ValueTypeI32
	handlerType = funcType{[]api.ValueType{i32, i32}, []api.ValueType{i32}}
	reallocType = funcType{[]api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}}
	postType    = funcType{[]api.ValueType{i32}, nil}
)

func (p *Program) checkExports() error {
	exports := p.cores[0].compiled.ExportedFunctions()
	if p.cores[0].compiled.ExportedMemories()["memory"] == nil {
		return &CompileError{BadExport, "component exports no memory", `export its memory as "memory", as every toolchain does by default`}
	}
	if exports[p.abi.allocator] == nil {
		return &CompileError{BadExport, fmt.Sprintf("component exports no allocator: %q comes with %q", p.abi.allocator, p.abi.handler),
			fmt.Sprintf("export %q of type %s", p.abi.allocator, reallocType)}
	}
	if exports[postReturn+p.abi.handler] != nil {
		p.post = postReturn + p.abi.handler
	}
	if exports[initialize] != nil {
		p.starts = initialize
	}
	for _, want := range []struct {
		name string
		funcType
	}{{p.abi.handler, handlerType}, {p.abi.allocator, reallocType}, {postReturn + p.abi.handler, postType}, {initialize, funcType{}}} {
		if def := exports[want.name]; def != nil && !typeOf(def).equal(want.funcType) {
			return &CompileError{BadExport, fmt.Sprintf("export %q has the type %s, it must be %s", want.name, typeOf(def), want.funcType),
				"build with the SDK of one Spin generation only"}
		}
	}
	return nil
}

// checkImports refuses what nobody offers, by module and name.
func (p *Program) checkImports() error {
	if foreign := p.cores[0].report.Foreign; len(foreign) > 0 { // nobody offers but functions
		f := foreign[0]
		return p.notOffered(f.Module, f.Name, fmt.Sprintf("the %s %q of module %q", f.Kind, f.Name, f.Module))
	}
	for _, def := range p.cores[0].compiled.ImportedFunctions() {
		module, name, _ := def.Import()
		if module == fuelModule { // the rewriter's; no guest's own may name it
			continue
		}
		offer := p.runtime.offered[module][name]
		if offer == nil {
			return p.notOffered(module, name, fmt.Sprintf("the function %q of module %q", name, module))
		}
		if !typeOf(def).equal(typeOf(offer)) {
			return &CompileError{BadImport, fmt.Sprintf("component imports the function %q of module %q with the type %s, it is offered as %s", name, module, typeOf(def), typeOf(offer)),
				"build against the interface's published definition"}
		}
		if !slices.Contains(p.imports, module) {
			p.imports = append(p.imports, module)
		}
	}
	slices.Sort(p.imports)
	return nil
}

func (p *Program) notOffered(module, name, what string) error {
	detail, next := "component imports "+what+", which is not offered", "offered are "+list(p.runtime.offered)
	if defs := p.runtime.offered[module]; defs != nil {
		next = fmt.Sprintf("%s offers %s", module, list(defs))
	}
	return &CompileError{BadImport, detail, next}
}

// Digest names the module's bytes: "sha256:" and 64 hex digits.
func (p *Program) Digest() string { return "sha256:" + hex.EncodeToString(p.digest[:]) }

// Shape tells the ABI in use.
func (p *Program) Shape() Shape { return p.abi.shape }

// Imports lists the modules or, of a component, the interfaces that the guest imports, sorted.
func (p *Program) Imports() []string { return slices.Clone(p.imports) }

// Close gives one reference back; the last one frees the code. No component of the Program may be invoked after that.
func (p *Program) Close() error {
	r := p.runtime
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.references == 0 {
		return nil
	}
	if p.references--; p.references > 0 {
		return nil
	}
	delete(r.programs, p.digest)
	var err error
	if p.assembly != nil {
		err = p.assembly.host.Close(context.Background())
	}
	for _, c := range p.cores {
		err = errors.Join(err, c.close(r))
	}
	if p.other != nil {
		err = errors.Join(err, p.other.Close(context.Background()))
	}
	if err != nil {
		return fmt.Errorf("close program: %w", err)
	}
	return nil
}

type funcType struct{ params, results []api.ValueType }

func typeOf(d api.FunctionDefinition) funcType { return funcType{d.ParamTypes(), d.ResultTypes()} }

func (t funcType) equal(o funcType) bool {
	return slices.Equal(t.params, o.params) && slices.Equal(t.results, o.results)
}

func (t funcType) String() string {
	names := func(types []api.ValueType) string {
		var out []string
		for _, v := range types {
			out = append(out, api.ValueTypeName(v))
		}
		return "(" + strings.Join(out, ", ") + ")"
	}
	return names(t.params) + " -> " + names(t.results)
}

// list names what a map holds, sorted and bounded.
func list[V any](m map[string]V) string {
	if len(m) == 0 {
		return "nothing"
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	more := ""
	if len(names) > listed {
		more = fmt.Sprintf(" and %d more", len(names)-listed)
		names = names[:listed]
	}
	return bounded(strings.Join(names, ", ")) + more
}
