package component

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// planner carries out what happens between components, and keeps what is left for the run time.
type planner struct {
	*Plan
	root      *Component
	limits    Limits
	table     *types.Table
	modules   map[string]int // by module and sources
	resources map[*types.Resource]*Resource
	steps     int
	err       *Error
}

// frame is one component instance while the plan is made.
type frame struct {
	*planner
	component     *Component
	outer         *frame
	id            int // in Plan.Components
	args          map[string]value
	identities    resourceMap // of the types in the component's text
	modules       []*Module
	coreInstances []coreInstance
	core          [CoreTag + 1][]Ref
	funcs         []*Func
	components    []closure
	instances     []map[string]value
	exports       map[string]value
}

// coreInstance is a core instance of the plan, or a bag.
type coreInstance struct {
	index int // -1 for a bag
	bag   map[string]Ref
}

// closure is a component with the frame in which it was defined, which outer aliases count from.
type closure struct {
	component *Component
	outer     *frame
}

// value is what stands behind a name.
type value struct {
	module    *Module
	fn        *Func
	component closure
	instance  map[string]value
	resource  *types.Resource // where it is a resource type
}

// Plan works out what an instance of the component takes, with what the host offers. The error is an *Error: of kind Unsupported where something
// is missing or not offered, of kind Limit where the plan is too large. Plans are made one at a time and seldom: each takes its types from the account of
// the component's memory.
func (c *Component) Plan(offers []Offer) (*Plan, error) {
	if missing := c.Missing(offers); len(missing) > 0 {
		return nil, &Error{Kind: Unsupported, Detail: describe(missing), Offset: -1}
	}
	d := c.shared
	p := &planner{
		Plan: &Plan{}, root: c, limits: d.limits, table: d.table, modules: map[string]int{}, resources: map[*types.Resource]*Resource{},
	}
	exports := p.instantiate(closure{component: c}, p.hostValues(offers), nil)
	if p.err != nil {
		return nil, p.err
	}
	for _, e := range c.exports {
		if x, ok := p.exported(e.name, exports[e.name], e.extern); ok {
			p.Exports = append(p.Exports, x)
		}
	}
	return p.Plan, nil
}

func (p *planner) refuse(kind Kind, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Kind: kind, Detail: fmt.Sprintf(format, args...), Offset: -1}
	}
}

// step counts work; false where there was too much.
func (p *planner) step() bool {
	if p.steps++; p.steps > p.limits.Effects {
		p.refuse(Limit, "instantiating the component takes more than %d steps", p.limits.Effects)
	}
	return p.err == nil
}

// check refuses with an error of package types.
func (p *planner) check(err error) bool {
	if err != nil {
		p.refuse(Limit, "%v", err)
	}
	return p.err == nil
}

// instantiate carries out a component's definitions.
func (p *planner) instantiate(c closure, args map[string]value, parent *frame) map[string]value {
	if len(p.Components) >= p.limits.Components {
		p.refuse(Limit, "the component instantiates more than %d components", p.limits.Components)
		return nil
	}
	f := &frame{
		planner: p, component: c.component, outer: c.outer, id: len(p.Components), args: args, identities: resourceMap{}, exports: map[string]value{},
	}
	owner := Owner{Parent: -1}
	if parent != nil {
		owner = Owner{Parent: parent.id, Depth: p.Components[parent.id].Depth + 1}
	}
	p.Components = append(p.Components, owner)
	for _, s := range c.component.steps {
		if !p.step() {
			return nil
		}
		s.perform(f)
	}
	return f.exports
}

// bind learns which resources stand behind those that a type in the component's text leaves open.
func (f *frame) bind(e extern, v value) {
	if !e.resources() || !f.step() {
		return
	}
	switch e.sort {
	case SortType:
		if e.def.kind == defResource {
			f.identities[e.def.resource] = v.resource
		}
	case SortInstance:
		for _, name := range e.def.instance.exports.names {
			f.bind(e.def.instance.exports.by[name], v.instance[name])
		}
	}
}

// identity is the resource that stands behind one of the component's text.
func (f *frame) identity(r *types.Resource) *types.Resource { return f.identities[r] }

// get finds what stands at an index; types stand behind their definitions.
func (f *frame) get(sort Sort, i uint32, def *typeDef) value {
	switch sort {
	case SortModule:
		return value{module: f.modules[i]}
	case SortFunc:
		return value{fn: f.funcs[i]}
	case SortComponent:
		return value{component: f.components[i]}
	case SortInstance:
		return value{instance: f.instances[i]}
	}
	if def.kind == defResource {
		return value{resource: f.identity(def.resource)}
	}
	return value{}
}

func (f *frame) define(sort Sort, v value) {
	switch sort {
	case SortModule:
		f.modules = append(f.modules, v.module)
	case SortFunc:
		f.funcs = append(f.funcs, v.fn)
	case SortComponent:
		f.components = append(f.components, v.component)
	case SortInstance:
		f.instances = append(f.instances, v.instance)
	}
}

// options finds what canonical options refer to.
func (f *frame) options(o options) Options {
	ref := func(sort CoreSort, i int64) *Ref {
		if i < 0 {
			return nil
		}
		r := f.core[sort][i]
		return &r
	}
	return Options{
		Encoding: o.encoding, Async: o.async, Memory: ref(CoreMemory, o.memory),
		Realloc: ref(CoreFunc, o.realloc), PostReturn: ref(CoreFunc, o.postReturn), Callback: ref(CoreFunc, o.callback),
	}
}

// offered refuses a type whose values the host cannot pass.
func (f *frame) offered(t *types.Func, what string) {
	if k := t.Gated(); k != 0 {
		f.refuse(Unsupported, "%s passes a %s, which is not offered: %s", what, k, t)
	}
}

// canon appends a canonical function and defines it.
func (f *frame) canon(c *Canon) {
	c.Index, c.Component = len(f.Canons), f.id
	f.Canons = append(f.Canons, c)
	f.core[CoreFunc] = append(f.core[CoreFunc], Ref{Sort: CoreFunc, Instance: -1, Canon: c.Index})
}

// module finds or adds a module whose imports come from the sources.
func (f *frame) planned(m *Module, sources []Ref) int {
	var key strings.Builder
	fmt.Fprintf(&key, "%p", m)
	for _, s := range sources {
		key.WriteByte(0)
		key.WriteString(s.module())
		key.WriteByte(0)
		key.WriteString(s.field())
	}
	i, ok := f.planner.modules[key.String()]
	if !ok {
		i = len(f.Modules)
		f.planner.modules[key.String()] = i
		f.Modules = append(f.Modules, &Core{Module: m, Imports: sources})
	}
	return i
}

// module is the name of a source as modules import it.
func (r Ref) module() string {
	if r.Instance < 0 {
		return HostModule
	}
	return InstanceName(r.Instance)
}

func (r Ref) field() string {
	if r.Instance < 0 {
		return CanonName(r.Canon)
	}
	return r.Name
}

// String gives the source as modules import it: i3.memory, h.c17.
func (r Ref) String() string { return r.module() + "." + strconv.Quote(r.field()) }

// exported gives what can be called of an export.
func (p *planner) exported(name string, v value, e extern) (Export, bool) {
	switch e.sort {
	case SortFunc:
		p.host(v.fn)
		return Export{Name: name, Func: v.fn}, true
	case SortInstance:
		x := Export{Name: name}
		for _, n := range e.def.instance.exports.names {
			if inner, ok := p.exported(n, v.instance[n], e.def.instance.exports.by[n]); ok {
				x.Instance = append(x.Instance, inner)
			}
		}
		return x, true
	}
	return Export{}, false
}
