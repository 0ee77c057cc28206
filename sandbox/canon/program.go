package canon

import (
	"errors"
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// ErrLimit is in the error about function types that need more memory than ProgramLimits allow.
var ErrLimit = errors.New("limit")

// Host is the component index of resources that no component defines.
const Host = -1

// Program holds what is worked out once for a component, whatever the number of its instances: the tree of component instances, the resources
// and the compiled function types. It is built by one goroutine and read by any number once it is complete.
type Program struct {
	parents   []int
	resources []*Resource
	known     map[*types.Resource]*Resource
	blocks    map[*types.Type]*block // of the elements of lists, which are always in memory
	funcs     map[*types.Func]*Func
	left      int64
}

// ProgramLimits bound a Program. A field of 0 means its default.
type ProgramLimits struct {
	Bytes int64 // of memory for compiled function types: 64 MiB
}

// NewProgram begins a program of component instances. For each one parents holds the index of the one that instantiated it, an earlier one, or
// -1 for the outermost.
func NewProgram(parents []int, limits ProgramLimits) *Program {
	if limits.Bytes == 0 {
		limits.Bytes = 64 << 20
	}
	for i, p := range parents {
		if p >= i || p < -1 {
			misuse("component instance %d has the parent %d, which is not before it", i, p)
		}
	}
	return &Program{
		parents: parents, left: limits.Bytes, known: map[*types.Resource]*Resource{}, blocks: map[*types.Type]*block{},
		funcs: map[*types.Func]*Func{},
	}
}

// Resource is a resource type of a Program.
type Resource struct {
	Type      *types.Resource
	Component int // the index of the component instance that defines it, or Host
	index     int
	drop      func(s *Store, object any)
}

// name is what messages call the type in the place of another one of the same sort.
func (r *Resource) name() string {
	if r.Component == Host {
		return "host-defined resource"
	}
	return "guest-defined resource"
}

// Resource tells the program about a resource type, before the function types that use it. For one of the host, drop is called when an own
// handle is dropped, by the guest or by Store.Reset; nil for nothing to do.
func (p *Program) Resource(t *types.Resource, component int, drop func(s *Store, object any)) *Resource {
	r := &Resource{Type: t, Component: component, index: len(p.resources), drop: drop}
	p.resources = append(p.resources, r)
	p.known[t] = r
	return r
}

// Func is a compiled function type: how its parameters and its result travel flat and in memory.
type Func struct {
	t              *types.Func
	params, result passage
	lends          bool // a parameter can hold a borrow handle
}

// Type is what was compiled.
func (f *Func) Type() *types.Func { return f.t }

// passage is how a tuple of values travels.
type passage struct {
	flat   *block // nil where there are more than MaxFlat values
	memory *block
	slots  int // of the flat form
}

// Func compiles a function type, once; asked again it answers the same. The error wraps ErrLimit, or names a kind of value that is not offered.
func (p *Program) Func(t *types.Func) (*Func, error) {
	if f, ok := p.funcs[t]; ok {
		return f, nil
	}
	if k := t.Gated(); k != 0 {
		return nil, fmt.Errorf("compile %s: values of kind %s are not offered", t, k)
	}
	f := &Func{t: t}
	c := compiler{program: p}
	f.params = c.passage(t.Params(), t.ParamsSize(), t.ParamsAlign())
	if r := t.Result(); r != nil {
		f.result = c.passage([]types.Field{{Type: r}}, r.Size(), r.Align())
	} else {
		f.result = c.passage(nil, 0, 1)
	}
	if c.err != nil {
		return nil, fmt.Errorf("compile %s: %w", t, c.err)
	}
	for _, field := range t.Params() {
		f.lends = f.lends || field.Type.HasBorrow()
	}
	p.funcs[t] = f
	return f, nil
}
