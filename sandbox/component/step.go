package component

import "github.com/tenloom/tenloom/sandbox/component/types"

// The steps of a component, each of which is one definition. Decode has validated them: indices and names exist and types fit.

type stepModule struct{ module *Module }

func (s stepModule) perform(f *frame) { f.modules = append(f.modules, s.module) }

type stepCoreInstantiate struct {
	module uint32
	args   []coreArg
}

func (s stepCoreInstantiate) perform(f *frame) {
	if len(f.Instances) >= f.limits.Instances {
		f.refuse(Limit, "the component instantiates more than %d core modules", f.limits.Instances)
		return
	}
	args := make(map[string]coreInstance, len(s.args))
	for _, a := range s.args {
		args[a.name] = f.coreInstances[a.instance]
	}
	m := f.modules[s.module]
	if m.foreign != "" {
		f.refuse(Unsupported, "a core module (bytes %d to %d) uses %s, which is not offered", m.Start, m.End, m.foreign)
		return
	}
	sources := make([]Ref, 0, len(m.ty.imports))
	for _, i := range m.ty.imports {
		if !f.step() {
			return
		}
		sources = append(sources, args[i.module].export(i.extern.sort, i.name))
	}
	f.coreInstances = append(f.coreInstances, coreInstance{index: len(f.Instances)})
	f.Instances = append(f.Instances, Instance{Module: f.planned(m, sources), Component: f.id})
}

// export finds where an export of a core instance comes from.
func (c coreInstance) export(sort CoreSort, name string) Ref {
	if c.index < 0 {
		return c.bag[name]
	}
	return Ref{Sort: sort, Instance: c.index, Name: name}
}

type stepCoreBag struct{ entries []coreEntry }

func (s stepCoreBag) perform(f *frame) {
	bag := make(map[string]Ref, len(s.entries))
	for _, e := range s.entries {
		if !f.step() {
			return
		}
		bag[e.name] = f.core[e.sort][e.index]
	}
	f.coreInstances = append(f.coreInstances, coreInstance{index: -1, bag: bag})
}

type stepComponent struct{ component *Component }

func (s stepComponent) perform(f *frame) {
	f.components = append(f.components, closure{s.component, f})
}

type stepInstantiate struct {
	component uint32
	args      []entry
	made      *typeDef
}

func (s stepInstantiate) perform(f *frame) {
	args := make(map[string]value, len(s.args))
	for _, a := range s.args {
		if !f.step() {
			return
		}
		args[a.name] = f.get(a.sort, a.index, a.def)
	}
	exports := f.instantiate(f.components[s.component], args, f)
	if f.err != nil {
		return
	}
	f.instances = append(f.instances, exports)
	f.bind(extern{sort: SortInstance, def: s.made}, value{instance: exports})
}

type stepBag struct{ entries []entry }

func (s stepBag) perform(f *frame) {
	bag := make(map[string]value, len(s.entries))
	for _, e := range s.entries {
		if !f.step() {
			return
		}
		bag[e.name] = f.get(e.sort, e.index, e.def)
	}
	f.instances = append(f.instances, bag)
}

type stepAlias struct {
	sort     Sort
	instance uint32
	name     string
}

func (s stepAlias) perform(f *frame) { f.define(s.sort, f.instances[s.instance][s.name]) }

type stepAliasCore struct {
	sort     CoreSort
	instance uint32
	name     string
}

func (s stepAliasCore) perform(f *frame) {
	f.core[s.sort] = append(f.core[s.sort], f.coreInstances[s.instance].export(s.sort, s.name))
}

type stepAliasOuter struct {
	sort  Sort
	count uint32
	index uint32
}

func (s stepAliasOuter) perform(f *frame) {
	outer := f
	for range s.count {
		outer = outer.outer
	}
	f.define(s.sort, outer.get(s.sort, s.index, nil))
}

type stepResource struct {
	resource *types.Resource
	dtor     int64
}

func (s stepResource) perform(f *frame) {
	r := &Resource{Type: types.NewResource(s.resource.Name()), Component: f.id}
	if s.dtor >= 0 {
		dtor := f.core[CoreFunc][s.dtor]
		r.Dtor = &dtor
	}
	f.resource(r)
	f.identities[s.resource] = r.Type
}

// resource appends a resource.
func (p *planner) resource(r *Resource) {
	r.Index = len(p.Resources)
	p.Resources = append(p.Resources, r)
	p.resources[r.Type] = r
}

type stepLift struct {
	callee  uint32
	options options
	fn      *types.Func
}

func (s stepLift) perform(f *frame) {
	t, err := f.table.SubstituteFunc(s.fn, f.identities)
	if !f.check(err) {
		return
	}
	f.offered(t, "a lifted function")
	l := &Lift{
		Index: len(f.Lifts), Component: f.id, Callee: f.core[CoreFunc][s.callee], Options: f.options(s.options),
		Signature: t.Lifted(s.options.async, s.options.callback >= 0),
	}
	f.Lifts = append(f.Lifts, l)
	f.funcs = append(f.funcs, &Func{Type: t, Lift: l})
}

type stepLower struct {
	callee  uint32
	options options
}

func (s stepLower) perform(f *frame) {
	callee := f.funcs[s.callee]
	f.offered(callee.Type, "a lowered function")
	f.host(callee)
	f.canon(&Canon{Callee: callee, Options: f.options(s.options), Signature: callee.Type.Lowered(s.options.async)})
}

// host appends a function of the host that is used.
func (p *planner) host(fn *Func) {
	if h := fn.Host; h != nil && h.Index < 0 {
		h.Index = len(p.Host)
		p.Host = append(p.Host, h)
	}
}

type stepBuiltin struct {
	builtin     Builtin
	options     options
	resource    *types.Resource
	result      *types.Type // or the stream or future
	slot        uint32
	async       bool
	cancellable bool
}

func (s stepBuiltin) perform(f *frame) {
	if !s.builtin.offered() {
		f.refuse(Unsupported, "the component uses %s: streams and futures are not offered", s.builtin)
		return
	}
	result, err := f.table.Substitute(s.result, f.identities)
	if !f.check(err) {
		return
	}
	form := builtins[s.builtin]
	c := &Canon{
		Builtin: s.builtin, Options: f.options(s.options), Result: result, Slot: s.slot, Async: s.async, Cancellable: s.cancellable,
		Signature: types.Signature{Params: coreTypes(form.params), Results: coreTypes(form.results)},
	}
	if s.builtin == TaskReturn {
		c.Signature = types.TaskReturn(result)
		if result != nil && result.Gated() != 0 {
			f.refuse(Unsupported, "task.return passes a %s, which is not offered", result.Gated())
		}
	}
	if s.resource != nil {
		c.Resource = f.planner.resources[f.identity(s.resource)]
	}
	f.canon(c)
}

type stepImport struct {
	name   string
	extern extern
}

func (s stepImport) perform(f *frame) {
	v := f.args[s.name]
	f.bind(s.extern, v)
	f.define(s.extern.sort, v)
}

type stepExport struct {
	name     string
	sort     Sort
	index    uint32
	def      *typeDef
	ascribed *typeDef // nil where the export keeps its type
}

func (s stepExport) perform(f *frame) {
	v := f.get(s.sort, s.index, s.def)
	if s.ascribed != nil {
		f.bind(extern{sort: s.sort, def: s.ascribed}, v)
	}
	f.exports[s.name] = v
	f.define(s.sort, v)
}
