package sandbox

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component"
)

// parts is what an instance of a component has: its core instances, and what the canonical ABI keeps for it.
type parts struct {
	assembly *assembly
	modules  []api.Module // as Plan.Instances
	store    *canon.Store
	lifts    []*canon.Lift                               // as Plan.Lifts
	canons   []func(ctx context.Context, stack []uint64) // as Plan.Canons; what stands behind each is in one of the next three
	lowers   []*canon.Lower
	returns  []*canon.Return
	memories []canon.Memory
	known    map[component.Ref]definition // of what is there

	payload []byte
	answer  error // what the handler answered in the call under way
	legacy  bool
	write   func(*canon.Writer)
	read    func(*canon.Reader)
}

func (i *instance) newParts() *parts {
	a := i.component.program.assembly
	n := len(a.plan.Canons)
	p := &parts{
		assembly: a, store: a.program.NewStore(canon.Limits{}), modules: make([]api.Module, 0, len(a.plan.Instances)), lifts: make([]*canon.Lift, len(a.plan.Lifts)),
		canons: make([]func(context.Context, []uint64), n), lowers: make([]*canon.Lower, n), returns: make([]*canon.Return, n), memories: make([]canon.Memory, n),
		known: map[component.Ref]definition{},
	}
	p.store.OnWait = i.wait
	p.write, p.read = p.writePayload, p.readAnswer
	for k, l := range a.plan.Lifts {
		if f := a.lifts[k]; f != nil {
			p.lifts[k] = p.store.NewLift(l.Component, f, l.Callee.Name, encoded(&l.Options))
		}
	}
	for k, c := range a.plan.Canons {
		if c.Callee == nil {
			p.canons[k] = p.builtin(c)
			continue
		}
		if h := c.Callee.Host; h != nil {
			p.lowers[k] = p.store.NewLower(c.Component, a.lowers[k], h.Interface+"#"+h.Name, encoded(&c.Options), a.hosts[h.Index])
		} else {
			l := c.Callee.Lift
			p.lowers[k] = p.store.NewLowerTo(c.Component, l.Callee.Name, encoded(&c.Options), p.lifts[l.Index])
		}
		p.canons[k] = p.lowers[k].Call
	}
	return p
}

// encoded are the options that are known before the core instances are there.
func encoded(o *component.Options) canon.Options {
	return canon.Options{Encoding: canon.Encoding(o.Encoding), Async: o.Async}
}

// assemble instantiates the component's core modules in the plan's order. With boot each runs what it runs at start before the next one is there:
// its data and its start function, which the rewriter has put into a function of their own. Without, nothing of the guest runs.
func (i *instance) assemble(boot bool) error {
	program := i.component.program
	p := i.newParts()
	i.parts, i.given, i.yielded = p, 0, 0
	ctx := experimental.WithImportResolver(i.ctx, p.resolve)
	for k, in := range p.assembly.plan.Instances {
		c := program.cores[in.Module]
		if err := i.add(ctx, c); err != nil {
			return err
		}
		if err := p.fill(k); err != nil {
			return err
		}
		if name := c.report.Init; name != "" && boot {
			i.stage = starting
			if err := p.modules[k].ExportedFunction(name).CallWithStack(i.ctx, nil); err != nil {
				return err
			}
			i.stage = linking
		}
	}
	return nil
}

// add instantiates one core module. wazero panics where a memory cannot have its first size, so that is held against the quota before.
func (i *instance) add(ctx context.Context, c *code) error {
	if need := i.quota.used + c.ownMemory(); need > i.quota.cap {
		return &Failure{Kind: OutOfMemory, Text: fmt.Sprintf("the component needs %s of memory to start, its cap is %s; %s", bytesText(need), bytesText(i.quota.cap), memoryKnob)}
	}
	m, err := i.instantiate(ctx, i.component.program.runtime.wazero, c.compiled, i.parts.assembly.config)
	if err != nil {
		return err
	}
	i.parts.modules = append(i.parts.modules, m)
	return i.findGlobals(m, &c.report)
}

// resolve finds what core modules import: the plan leaves no other names.
func (p *parts) resolve(name string) api.Module {
	switch name {
	case component.HostModule:
		return p.assembly.host
	case fuelModule:
		return p.assembly.refuel
	}
	if k, ok := p.assembly.names[name]; ok && k < len(p.modules) {
		return p.modules[k]
	}
	return nil
}

// fill puts what a core instance exports where it is used.
func (p *parts) fill(instance int) error {
	for _, f := range p.assembly.fills[instance] {
		d, ok := p.known[f.ref]
		if !ok {
			d = p.find(f.ref)
			if d.memory == nil && d.function == nil {
				return fmt.Errorf("%s is not there", f.ref)
			}
			p.known[f.ref] = d
		}
		f.set(p, d)
	}
	return nil
}

// find looks an export up. A function is found once for all who use it, because it is not entered while it runs; who does that asks for a fresh one.
func (p *parts) find(ref component.Ref) (d definition) {
	from, name := p.assembly.host, component.CanonName(ref.Canon)
	if ref.Instance >= 0 {
		from, name = p.modules[ref.Instance], ref.Name
	}
	if ref.Sort == component.CoreMemory {
		d.memory = from.ExportedMemory(name)
		return d
	}
	d.function = from.ExportedFunction(name)
	return d
}

// fresh gives further functions for one that is entered while it runs.
func (p *parts) fresh(ref component.Ref) func() canon.Function {
	return func() canon.Function { return p.find(ref).function }
}

// fuelOf finds the fuel of a module, as an index of instance.fuels.
func (p *parts) fuelOf(m api.Module) int {
	for k, known := range p.modules {
		if known == m {
			return k
		}
	}
	panic(fmt.Errorf("fuel is asked for by a module that is not the instance's"))
}

// close ends what the host holds, and then the core instances, the last one first.
func (p *parts) close() {
	p.store.Reset()
	for k := len(p.modules) - 1; k >= 0; k-- {
		p.modules[k].Close(context.Background()) // nothing in it can fail: there are no files
	}
}
