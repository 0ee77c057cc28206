package component

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Offer is one interface of a host, or, with an empty Interface, the functions that it offers by themselves.
type Offer struct {
	Interface string                 // with the version, wasi:io/streams@0.2.6 for one
	Funcs     map[string]*types.Func // by their names in the component model; nil stands for whatever type the component expects
	Resources []string               // names of resource types
}

// Import is one thing that a component asks its host for.
type Import struct {
	Interface string // as the component names it; "" for what is imported by itself
	Name      string // of the function or resource
	Sort      Sort
	Type      *types.Func // of a function, in terms of the component's own resources
}

// Missing is one thing that a component imports and its host does not have.
type Missing struct {
	Import
	Why string
}

// Imports lists the functions and resources that the component asks for, interface by interface in its order. Other things, as components or
// core modules, stand there with their sort.
func (c *Component) Imports() []Import {
	var all []Import
	for _, i := range c.imports {
		if i.extern.sort != SortInstance {
			all = appendImport(all, "", i.name, i.extern)
			continue
		}
		for _, name := range i.extern.def.instance.exports.names {
			all = appendImport(all, i.name, name, i.extern.def.instance.exports.by[name])
		}
	}
	return all
}

// Interfaces are the instances that the component imports, by name; some export types alone.
func (c *Component) Interfaces() []string {
	var all []string
	for _, i := range c.imports {
		if i.extern.sort == SortInstance {
			all = append(all, i.name)
		}
	}
	return all
}

func appendImport(all []Import, iface, name string, e extern) []Import {
	i := Import{Interface: iface, Name: name, Sort: e.sort}
	switch {
	case e.sort == SortType && e.def.kind != defResource: // the component brings it
		return all
	case e.sort == SortFunc:
		i.Type = e.def.fn
	}
	return append(all, i)
}

// Missing lists what the component imports and the offers do not have, in the component's order. An instance that exports nothing but types need
// not be offered. Interfaces match by name and by the version's canonical form; the highest version serves.
func (c *Component) Missing(offers []Offer) []Missing {
	var all []Missing
	own := c.ownTypes()
	for _, i := range c.Imports() {
		if i.Sort == SortType && own[[2]string{i.Interface, i.Name}] {
			continue
		}
		if why := missing(i, offers); why != "" {
			all = append(all, Missing{i, why})
		}
	}
	return all
}

// ownTypes are resources that the component imports from one interface to name those of another.
func (c *Component) ownTypes() map[[2]string]bool {
	first := map[*types.Resource]bool{}
	again := map[[2]string]bool{}
	each := func(iface, name string, e extern) {
		if e.sort != SortType || e.def.kind != defResource {
			return
		}
		if first[e.def.resource] {
			again[[2]string{iface, name}] = true
		}
		first[e.def.resource] = true
	}
	for _, i := range c.imports {
		if i.extern.sort != SortInstance {
			each("", i.name, i.extern)
			continue
		}
		for _, name := range i.extern.def.instance.exports.names {
			each(i.name, name, i.extern.def.instance.exports.by[name])
		}
	}
	return again
}

func missing(i Import, offers []Offer) string {
	switch i.Sort {
	case SortModule, SortComponent, SortInstance:
		return fmt.Sprintf("a %s cannot be imported from the host", i.Sort)
	}
	o, ok := serving(i.Interface, offers)
	if !ok {
		return notOffered
	}
	if i.Sort == SortType {
		if !slices.Contains(o.Resources, i.Name) {
			return "the interface has no such resource"
		}
		return ""
	}
	t, ok := o.Funcs[i.Name]
	if !ok {
		return "the interface has no such function"
	}
	byName := func(a, b *types.Resource) bool { return a.Name() == b.Name() }
	if t != nil && !types.EqualFunc(t, i.Type, byName) {
		return fmt.Sprintf("the function has another type: %s, the component expects %s", t, i.Type)
	}
	return ""
}

// serving finds the offer that serves an interface.
func serving(iface string, offers []Offer) (Offer, bool) {
	names := make([]string, len(offers))
	for i, o := range offers {
		names[i] = o.Interface
	}
	if name, ok := Select(iface, names); ok {
		return offers[slices.Index(names, name)], true
	}
	return Offer{}, false
}

const notOffered = "the interface is not offered"

// most is the number of lines of a message about what is missing.
const most = 20

// describe makes a message of what is missing, with one line for an interface that is missing as a whole.
func describe(all []Missing) string {
	var lines []string
	for _, m := range all {
		line := m.Name
		switch {
		case m.Why == notOffered && m.Interface != "":
			line = m.Interface
		case m.Interface != "":
			line = m.Interface + " " + m.Name
		}
		if line += ": " + m.Why; len(lines) == 0 || lines[len(lines)-1] != line {
			lines = append(lines, line)
		}
	}
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most], fmt.Sprintf("and %d more", more))
	}
	return "the component imports what is not offered:\n  " + strings.Join(lines, "\n  ")
}

// hostValues makes what the outermost component's imports stand for.
func (p *planner) hostValues(offers []Offer) map[string]value {
	args := make(map[string]value, len(p.root.imports))
	known := resourceMap{} // of the component's text
	host := func(iface, offer, name string, e extern) value {
		switch e.sort {
		case SortType:
			if e.def.kind != defResource {
				return value{}
			}
			if r, ok := known[e.def.resource]; ok {
				return value{resource: r}
			}
			r := &Resource{Type: types.NewResource(name), Interface: iface, Offer: offer, Name: name, Component: -1}
			p.resource(r)
			known[e.def.resource] = r.Type
			return value{resource: r.Type}
		case SortFunc:
			t, err := p.table.SubstituteFunc(e.def.fn, known)
			p.check(err)
			return value{fn: &Func{Type: t, Host: &HostFunc{Index: -1, Interface: iface, Offer: offer, Name: name}}}
		}
		return value{}
	}
	for _, i := range p.root.imports {
		offer, _ := serving(i.name, offers)
		if i.extern.sort != SortInstance {
			args[i.name] = host("", "", i.name, i.extern)
			continue
		}
		instance := map[string]value{}
		for _, name := range i.extern.def.instance.exports.names {
			if !p.step() {
				return nil
			}
			instance[name] = host(i.name, offer.Interface, name, i.extern.def.instance.exports.by[name])
		}
		args[i.name] = value{instance: instance}
	}
	return args
}
