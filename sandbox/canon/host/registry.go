package host

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Interface is one interface that a host offers.
type Interface struct {
	// Name is with the version, as in wasi:io/streams@0.2.12. A component that asks for another version with the same canonical form, 0.2 for
	// one, gets it too.
	Name string

	// Types gives names to types that the Funcs are written with, as in "error-code": "enum<access, would-block>". They are written like the types
	// of Funcs and may name each other, in any order.
	Types map[string]string

	// Funcs are the functions by the names of the component model: "get-random-u64", "[constructor]fields", "[method]pollable.block",
	// "[static]connection.open". A resource is dropped by Resources, not by a function.
	Funcs map[string]Func

	// Resources are the resource types by name, also those that belong to another interface and that this one uses under their name. The
	// function is called with the object of an own handle that is dropped, by the guest or at the end of its invocation; nil where there is
	// nothing to do.
	Resources map[string]Drop
}

// Func is a function of a host.
type Func struct {
	// Type is the function's type as WIT spells it, with the definitions of types in place of their names, or with names of Interface.Types:
	//
	//	func(self: borrow<input-stream>, len: u64) -> result<list<u8>, variant<last-operation-failed(own<error>), closed>>
	//
	// Types are bool, u8 to u64, s8 to s64, f32, f64, char, string, list<T>, option<T>, tuple<A, B>, result<A, B> with _ for what is not there,
	// record<a: A, b: B>, variant<a, b(B)>, enum<a, b>, flags<a, b>, own<R> and borrow<R>. "async func" is an async one.
	Type string
	Call canon.HostFunc
}

// Drop is what happens to the object of an own handle that is dropped.
type Drop func(s *canon.Store, object any)

// Registry is all that a host offers. It never changes.
type Registry struct {
	interfaces map[string]*Interface
	offers     []component.Offer
}

// New makes the registry of some interfaces. The error names the one that is there twice, and the function whose type cannot be read: mistakes
// of the host.
func New(interfaces ...Interface) (*Registry, error) {
	r := &Registry{interfaces: make(map[string]*Interface, len(interfaces))}
	table := types.NewTable(types.Limits{})
	for _, i := range interfaces {
		if r.interfaces[i.Name] != nil {
			return nil, fmt.Errorf("offer %s: it is offered twice", i.Name)
		}
		o, err := offer(table, &i)
		if err != nil {
			return nil, fmt.Errorf("offer %s: %w", i.Name, err)
		}
		r.interfaces[i.Name] = &i
		r.offers = append(r.offers, o)
	}
	slices.SortFunc(r.offers, func(a, b component.Offer) int { return strings.Compare(a.Interface, b.Interface) })
	return r, nil
}

func offer(table *types.Table, i *Interface) (component.Offer, error) {
	o := component.Offer{Interface: i.Name, Funcs: make(map[string]*types.Func, len(i.Funcs))}
	for name := range i.Resources {
		o.Resources = append(o.Resources, name)
	}
	slices.Sort(o.Resources)
	p := parser{table: table, named: i.Types, resources: map[string]*types.Resource{}, made: map[string]*types.Type{}}
	for name, f := range i.Funcs {
		if f.Call == nil {
			return o, fmt.Errorf("%s: there is no function", name)
		}
		t, err := p.fn(f.Type)
		if err != nil {
			return o, fmt.Errorf("%s: %w", name, err)
		}
		o.Funcs[name] = t
	}
	return o, nil
}

// Offers are what a plan is made with, sorted by name. The slice is not to be changed.
func (r *Registry) Offers() []component.Offer { return r.offers }

// Func is the function of an interface, by HostFunc.Offer and HostFunc.Name of a plan; nil where there is none.
func (r *Registry) Func(offer, name string) canon.HostFunc {
	if i := r.interfaces[offer]; i != nil {
		return i.Funcs[name].Call
	}
	return nil
}

// Drop is what dropping a resource does, by Resource.Offer and Resource.Name of a plan; nil where there is nothing to do.
func (r *Registry) Drop(offer, name string) Drop {
	if i := r.interfaces[offer]; i != nil {
		return i.Resources[name]
	}
	return nil
}
