package component_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox/component"
)

// link carries a plan out on wazero, with host functions that do nothing but trap, and gives the core instances. What it needs is all that a plan's
// documentation says.
func link(t testing.TB, plan *component.Plan) ([]api.Module, error) {
	ctx := t.Context()
	features := api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExceptionHandling
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithMemoryLimitPages(1024))
	t.Cleanup(func() { r.Close(context.Background()) })

	builder := r.NewHostModuleBuilder("host")
	for i, c := range plan.Canons {
		builder.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) {
			panic(fmt.Errorf("canon %d was called", i))
		}), valueTypes(c.Signature.Params), valueTypes(c.Signature.Results)).Export(component.CanonName(i))
	}
	anonymous := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	compiled, err := builder.Compile(ctx)
	if err != nil {
		return nil, err
	}
	host, err := r.InstantiateModule(ctx, compiled, anonymous)
	if err != nil {
		return nil, err
	}
	modules := make([]wazero.CompiledModule, len(plan.Modules))
	for i, m := range plan.Modules {
		if modules[i], err = r.CompileModule(ctx, m.Bytes()); err != nil {
			return nil, fmt.Errorf("compile core module %d: %w", i, err)
		}
	}
	names := map[string]api.Module{component.HostModule: host}
	var instances []api.Module
	ctx = experimental.WithImportResolver(ctx, func(name string) api.Module { return names[name] })
	for i, in := range plan.Instances {
		m, err := r.InstantiateModule(ctx, modules[in.Module], anonymous)
		if err != nil {
			return nil, fmt.Errorf("instantiate core instance %d: %w", i, err)
		}
		instances = append(instances, m)
		names[component.InstanceName(i)] = m
	}
	return instances, checkRefs(plan, instances)
}

func valueTypes(all []component.CoreType) []api.ValueType {
	types := make([]api.ValueType, len(all))
	for i, t := range all {
		types[i] = api.ValueType(t)
	}
	return types
}

// checkRefs finds everything that a plan refers to in the instances.
func checkRefs(plan *component.Plan, instances []api.Module) error {
	check := func(r *component.Ref) error {
		if r == nil || r.Instance < 0 {
			return nil
		}
		found := true
		switch r.Sort {
		case component.CoreFunc:
			found = instances[r.Instance].ExportedFunction(r.Name) != nil
		case component.CoreMemory:
			found = instances[r.Instance].ExportedMemory(r.Name) != nil
		}
		if !found {
			return fmt.Errorf("%s is not there", r)
		}
		return nil
	}
	var refs []*component.Ref
	options := func(o component.Options) { refs = append(refs, o.Memory, o.Realloc, o.PostReturn, o.Callback) }
	for _, l := range plan.Lifts {
		refs = append(refs, &l.Callee)
		options(l.Options)
	}
	for _, c := range plan.Canons {
		options(c.Options)
	}
	for _, r := range plan.Resources {
		refs = append(refs, r.Dtor)
	}
	for _, r := range refs {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}

// dump writes a plan as text.
func dump(p *component.Plan) string {
	var b strings.Builder
	for i, m := range p.Modules {
		fmt.Fprintf(&b, "module %d: %d bytes, imports %v\n", i, len(m.Module.Bytes()), m.Imports)
	}
	for i, in := range p.Instances {
		fmt.Fprintf(&b, "instance %d: module %d, component %d\n", i, in.Module, in.Component)
	}
	for i, c := range p.Components {
		fmt.Fprintf(&b, "component %d: parent %d, depth %d\n", i, c.Parent, c.Depth)
	}
	for _, r := range p.Resources {
		fmt.Fprintf(&b, "resource %d: component %d, %s %s from %s, destructor %s\n", r.Index, r.Component, r.Interface, r.Name, r.Offer, ref(r.Dtor))
	}
	for _, h := range p.Host {
		fmt.Fprintf(&b, "host %d: %s %s from %s\n", h.Index, h.Interface, h.Name, h.Offer)
	}
	for _, l := range p.Lifts {
		fmt.Fprintf(&b, "lift %d: component %d, %s %s%s\n", l.Index, l.Component, l.Callee, l.Signature, options(l.Options))
	}
	for _, c := range p.Canons {
		fmt.Fprintf(&b, "canon %d: component %d, %s, %s%s\n", c.Index, c.Component, what(c), c.Signature, options(c.Options))
	}
	exports(&b, "", p.Exports)
	return b.String()
}

func what(c *component.Canon) string {
	switch {
	case c.Callee != nil:
		return "lower " + function(c.Callee)
	case c.Resource != nil:
		return fmt.Sprintf("%s %d", c.Builtin, c.Resource.Index)
	}
	return c.Builtin.String()
}

func function(f *component.Func) string {
	if f.Lift != nil {
		return fmt.Sprintf("lift %d: %s", f.Lift.Index, f.Type)
	}
	return fmt.Sprintf("host %d: %s", f.Host.Index, f.Type)
}

func ref(r *component.Ref) string {
	if r == nil {
		return "none"
	}
	return r.String()
}

func options(o component.Options) string {
	s := fmt.Sprintf(", %s", o.Encoding)
	for _, given := range []struct {
		name string
		ref  *component.Ref
	}{{"memory", o.Memory}, {"realloc", o.Realloc}, {"post-return", o.PostReturn}, {"callback", o.Callback}} {
		if given.ref != nil {
			s += fmt.Sprintf(", %s %s", given.name, given.ref)
		}
	}
	return s
}

func exports(b *strings.Builder, indent string, all []component.Export) {
	for _, e := range all {
		fmt.Fprintf(b, "%sexport %s", indent, e.Name)
		if e.Func != nil {
			fmt.Fprintf(b, " = %s", function(e.Func))
		}
		b.WriteByte('\n')
		exports(b, indent+"\t", e.Instance)
	}
}
