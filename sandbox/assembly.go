package sandbox

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
	"github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// assembly is what all instances of a component's Program share: the plan, the compiled types of its functions, and the host module of its canonical
// functions, which find their instance in the context that they are called with.
type assembly struct {
	plan      *component.Plan
	program   *canon.Program
	resources []*canon.Resource // as Plan.Resources
	lifts     []*canon.Func     // types of Plan.Lifts
	lowers    []*canon.Func     // types of Plan.Canons' callees; nil for built-ins
	hosts     []canon.HostFunc  // Plan.Host
	handler   *component.Lift
	failure   *types.Type // what the handler answers where it fails
	lead      int         // core instance of the handler
	host      api.Module  // of the canonical functions
	refuel    api.Module
	config    wazero.ModuleConfig // of core instances
	names     map[string]int      // of core instances, as modules import them
	fills     [][]fill            // by core instance: what is there once it is
}

// fill is one use of a core instance's export.
type fill struct {
	ref component.Ref
	set func(p *parts, d definition)
}

// definition is what a fill finds; one of the fields is set.
type definition struct {
	memory   api.Memory
	function api.Function
}

// newAssembly works out what can be known before an instance is there.
func (r *Runtime) newAssembly(ctx context.Context, plan *component.Plan, handler *component.Func) (*assembly, error) {
	a := &assembly{
		plan: plan, handler: handler.Lift, failure: handler.Type.Result().Cases()[1].Type, lead: max(handler.Lift.Callee.Instance, 0),
		config: wazero.NewModuleConfig().WithName("").WithStartFunctions(), refuel: r.refuel,
		names: make(map[string]int, len(plan.Instances)), fills: make([][]fill, len(plan.Instances)),
	}
	parents := make([]int, len(plan.Components))
	for i, c := range plan.Components {
		parents[i] = c.Parent
	}
	for i := range plan.Instances {
		a.names[component.InstanceName(i)] = i
	}
	a.program = canon.NewProgram(parents, canon.ProgramLimits{})
	for _, res := range plan.Resources {
		where := res.Component
		var drop host.Drop
		if where < 0 {
			where, drop = canon.Host, r.registry.Drop(res.Offer, res.Name)
		}
		a.resources = append(a.resources, a.program.Resource(res.Type, where, drop))
	}
	for _, h := range plan.Host {
		f := r.registry.Func(h.Offer, h.Name)
		if f == nil {
			return nil, &CompileError{BadImport, fmt.Sprintf("component imports %s of %q, which is not offered", h.Name, h.Interface), ""}
		}
		a.hosts = append(a.hosts, f)
	}
	if err := a.compileTypes(); err != nil {
		return nil, &CompileError{OverLimit, bounded(err.Error()), "make the types of its functions smaller"}
	}
	a.findFills()
	return a, a.define(ctx, r.wazero)
}

// compileTypes compiles the function types.
func (a *assembly) compileTypes() error {
	liftTypes := make([]*types.Func, len(a.plan.Lifts))
	note := func(f *component.Func) {
		if f != nil && f.Lift != nil {
			liftTypes[f.Lift.Index] = f.Type
		}
	}
	a.lowers = make([]*canon.Func, len(a.plan.Canons))
	for i, c := range a.plan.Canons {
		if c.Callee == nil {
			continue
		}
		note(c.Callee)
		var err error
		if a.lowers[i], err = a.program.Func(c.Callee.Type); err != nil {
			return err
		}
	}
	noteExports(a.plan.Exports, note)
	a.lifts = make([]*canon.Func, len(a.plan.Lifts))
	for i, t := range liftTypes {
		if t == nil { // nobody calls it
			continue
		}
		var err error
		if a.lifts[i], err = a.program.Func(t); err != nil {
			return err
		}
	}
	return nil
}

func noteExports(all []component.Export, note func(*component.Func)) {
	for _, e := range all {
		note(e.Func)
		noteExports(e.Instance, note)
	}
}

// findFills notes which options and functions each core instance brings.
func (a *assembly) findFills() {
	add := func(ref *component.Ref, set func(*parts, definition)) {
		if ref == nil {
			return
		}
		a.fills[max(ref.Instance, 0)] = append(a.fills[max(ref.Instance, 0)], fill{*ref, set})
	}
	options := func(o *component.Options, of func(*parts) *canon.Options) {
		add(o.Memory, func(p *parts, d definition) { of(p).Memory = d.memory })
		add(o.Realloc, func(p *parts, d definition) { of(p).Realloc = d.function })
		add(o.PostReturn, func(p *parts, d definition) { of(p).PostReturn = d.function })
		add(o.Callback, func(p *parts, d definition) { of(p).Callback = d.function })
	}
	for i, l := range a.plan.Lifts {
		if a.lifts[i] == nil {
			continue
		}
		options(&l.Options, func(p *parts) *canon.Options { return &p.lifts[i].Options })
		add(&l.Callee, func(p *parts, d definition) { p.lifts[i].SetCore(d.function, p.fresh(l.Callee)) })
	}
	for i, c := range a.plan.Canons {
		switch {
		case c.Callee != nil:
			options(&c.Options, func(p *parts) *canon.Options { return &p.lowers[i].Options })
		case c.Builtin == component.TaskReturn:
			options(&c.Options, func(p *parts) *canon.Options { return &p.returns[i].Options })
		case c.Builtin == component.WaitableSetWait, c.Builtin == component.WaitableSetPoll:
			add(c.Options.Memory, func(p *parts, d definition) { p.memories[i] = d.memory })
		}
	}
	for i, res := range a.plan.Resources {
		add(res.Dtor, func(p *parts, d definition) { p.store.SetDestructor(a.resources[i], d.function, p.fresh(*res.Dtor)) })
	}
}

// define makes the host module.
func (a *assembly) define(ctx context.Context, w wazero.Runtime) error {
	b := w.NewHostModuleBuilder(component.HostModule)
	for i, c := range a.plan.Canons {
		b.NewFunctionBuilder().WithGoModuleFunction(canonical(i), coreTypes(c.Signature.Params), coreTypes(c.Signature.Results)).Export(component.CanonName(i))
	}
	compiled, err := b.Compile(ctx)
	if err != nil {
		return fmt.Errorf("define canonical functions: %w", err)
	}
	if a.host, err = w.InstantiateModule(ctx, compiled, a.config); err != nil {
		return fmt.Errorf("define canonical functions: %w", err)
	}
	return nil
}

// canonical is a core function of the host, by its index in Plan.Canons.
type canonical int

// Call implements api.GoModuleFunction.
func (c canonical) Call(ctx context.Context, _ api.Module, stack []uint64) {
	v, _ := ctx.Value(invocationKey{}).(*invocation)
	v.instance.parts.canons[c](ctx, stack)
}

var coreValues = map[types.CoreType]api.ValueType{
	types.CoreI32: api.ValueTypeI32, types.CoreI64: api.ValueTypeI64, types.CoreF32: api.ValueTypeF32, types.CoreF64: api.ValueTypeF64,
}

func coreTypes(all []types.CoreType) []api.ValueType {
	values := make([]api.ValueType, len(all))
	for i, t := range all {
		values[i] = coreValues[t]
	}
	return values
}
