package component

import (
	"strconv"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Plan is what an instance of a component takes, once all is worked out that can be known without running it: nested components are instantiated,
// aliases followed and bags of exports taken apart when the plan is made, so that none of them is left.
//
// A runner makes an instance of the program so:
//
//  1. Once per program, it compiles Modules, in the form that Core.Bytes gives, and a host module with a function for each entry of Canons,
//     named CanonName(index), with its Signature.
//  2. For each instance of the program it instantiates Instances in their order. Every import of a module names its true source: the host
//     module as HostModule, or an earlier core instance by InstanceName(index). No other names occur.
//  3. It calls a Func of Exports through its Lift.
//
// The memories and functions that Options, Lifts and Resources refer to are exports of core instances, or host functions. They are there once the
// instance of that index is; what needs one before that, from a start function, is a trap.
//
// Each entry of Components is one component instance at run time, with a handle table, a may-leave and a may-enter flag of its own. The identities
// of resources are those in Resources; no type in a plan names another.
//
// A Plan never changes and knows no instance: all instances of a program share it.
type Plan struct {
	Modules    []*Core     // distinct core modules, by their bytes and what their imports are bound to
	Instances  []Instance  // in the order in which they are instantiated
	Components []Owner     // 0 is the outermost
	Canons     []*Canon    // core functions that the host provides
	Lifts      []*Lift     // functions that core functions are lifted to
	Host       []*HostFunc // functions of the host that are lowered or exported
	Resources  []*Resource // those of the host that are imported, and those that components define
	Exports    []Export    // of the outermost component, in their order
}

// HostModule is the module name under which planned modules import canonical functions.
const HostModule = "h"

// CanonName is the name under which planned modules import an entry of Plan.Canons from HostModule.
func CanonName(index int) string { return "c" + strconv.Itoa(index) }

// InstanceName is the module name under which planned modules import from an entry of Plan.Instances.
func InstanceName(index int) string { return "i" + strconv.Itoa(index) }

// Core is a core module with the sources of its imports.
type Core struct {
	Module  *Module
	Imports []Ref // one for each import, in their order
}

// Instance is one core instance.
type Instance struct {
	Module    int // in Plan.Modules
	Component int // in Plan.Components, the one that it belongs to
}

// Owner is one component instance.
type Owner struct {
	Parent int // the one that instantiated it; -1 for the outermost
	Depth  int // steps to the outermost
}

// Ref names a core definition: an export of a core instance, or a canonical function.
type Ref struct {
	Sort     CoreSort
	Instance int    // in Plan.Instances; -1 for a canonical function
	Name     string // of the export
	Canon    int    // in Plan.Canons, where Instance is -1
}

// Options are canonical options; a nil Ref says that one is not given.
type Options struct {
	Encoding   Encoding
	Memory     *Ref
	Realloc    *Ref // ([i32 i32 i32 i32]) -> i32
	PostReturn *Ref // of a lift: takes the core results
	Callback   *Ref // of an async lift: (i32 i32 i32) -> i32
	Async      bool
}

// Canon is a core function that the host provides: a lowered function or, where Callee is nil, a built-in.
type Canon struct {
	Index     int
	Component int // whose handle table and flags it works on
	Signature types.Signature
	Options   Options

	Callee *Func // of a lowered function; its type is that of the callee

	Builtin     Builtin
	Resource    *Resource   // of resource.new, resource.drop and resource.rep
	Result      *types.Type // of task.return; nil where there is none
	Slot        uint32      // of context.get and context.set
	Async       bool        // of subtask.cancel
	Cancellable bool        // of thread.yield, waitable-set.wait and waitable-set.poll
}

// Lift is a core function as a function of its component.
type Lift struct {
	Index     int
	Component int
	Callee    Ref
	Signature types.Signature
	Options   Options
}

// HostFunc is a function that the host offers.
type HostFunc struct {
	Index     int
	Interface string // as the component imports it, with its version; "" for a function imported by itself
	Offer     string // the interface of the host that serves it, with the host's version
	Name      string // as the component model names it, "[method]connection.get" for one
}

// Func is a function of the component model: lifted by a component, or of the host. One of Lift and Host is set.
type Func struct {
	Type *types.Func
	Lift *Lift
	Host *HostFunc
}

// Resource is a resource type with where it comes from.
type Resource struct {
	Index     int
	Type      *types.Resource // the identity
	Interface string          // of the host, as HostFunc.Interface
	Offer     string
	Name      string
	Component int  // that defines it; -1 for the host's
	Dtor      *Ref // (i32) -> (), of those that components define; may be nil
}

// Export is an export of the outermost component: a function, or an instance with exports of its own. What can not be called is left out.
type Export struct {
	Name     string
	Func     *Func
	Instance []Export
}

// Export finds the function of an exported interface, or an exported function where the interface is "".
func (p *Plan) Export(iface, name string) (*Func, bool) {
	exports := p.Exports
	if iface != "" {
		exports = nil
		for _, e := range p.Exports {
			if e.Name == iface && e.Func == nil {
				exports = e.Instance
			}
		}
	}
	for _, e := range exports {
		if e.Name == name && e.Func != nil {
			return e.Func, true
		}
	}
	return nil, false
}
