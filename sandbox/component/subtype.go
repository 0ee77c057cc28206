package component

import (
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// matcher holds what is there against what is wanted. Resources that the wanted side leaves open are bound to those that stand in their place when
// they are first met: a type is always met before what uses it.
type matcher struct {
	*decoder
	open  map[*types.Resource]bool
	bound resourceMap
}

func (d *decoder) matcher(open []*types.Resource) *matcher {
	m := &matcher{d, make(map[*types.Resource]bool, len(open)), resourceMap{}}
	for _, r := range open {
		m.open[r] = true
	}
	return m
}

// extern says why what is there cannot stand for what is wanted, "" where it can.
func (m *matcher) extern(there, wanted extern) string {
	if !m.charge(stepBytes) {
		return "too much to compare"
	}
	if there.sort != wanted.sort {
		return fmt.Sprintf("expected %s, found %s", wanted.sort, there.sort)
	}
	if wanted.sort == SortModule {
		return there.module.match(wanted.module)
	}
	return m.def(there.def, wanted.def, wanted.sort == SortType)
}

// def compares definitions. exact says that they are types as such, which must be the same rather than subtypes.
func (m *matcher) def(there, wanted *typeDef, exact bool) string {
	if there == wanted && !wanted.resources {
		return ""
	}
	if there.kind != wanted.kind {
		return fmt.Sprintf("expected %s, found %s", wanted.kind, there.kind)
	}
	switch wanted.kind {
	case defResource:
		return m.resource(there.resource, wanted.resource)
	case defValue:
		return m.value(there, wanted)
	case defFunc:
		return m.fn(there, wanted)
	case defInstance:
		if why := m.instance(there.instance, wanted.instance); why != "" || !exact {
			return why
		}
		return m.matcher(there.instance.defined).instance(wanted.instance, there.instance)
	}
	if why := m.component(there.component, wanted.component); why != "" || !exact {
		return why
	}
	return m.matcher(nil).component(wanted.component, there.component)
}

func (m *matcher) resource(there, wanted *types.Resource) string {
	if m.open[wanted] {
		if b, ok := m.bound[wanted]; ok {
			wanted = b
		} else {
			m.bound[wanted] = there
			return ""
		}
	}
	if there != wanted {
		return fmt.Sprintf("resource types are not the same: expected `%s`, found another `%s`", wanted.Name(), there.Name())
	}
	return ""
}

func (m *matcher) value(there, wanted *typeDef) string {
	t, err := m.table.Substitute(wanted.value, m.bound)
	if !m.check(err) || t == there.value {
		return ""
	}
	if types.Equal(t, there.value, func(*types.Resource, *types.Resource) bool { return true }) {
		return "resource types are not the same"
	}
	return fmt.Sprintf("type mismatch: expected %s, found %s", t, there.value)
}

func (m *matcher) fn(there, wanted *typeDef) string {
	f, err := m.table.SubstituteFunc(wanted.fn, m.bound)
	if !m.check(err) || f == there.fn {
		return ""
	}
	if types.EqualFunc(f, there.fn, func(*types.Resource, *types.Resource) bool { return true }) {
		return "resource types are not the same"
	}
	return fmt.Sprintf("type mismatch: expected %s, found %s", f, there.fn)
}

func (m *matcher) instance(there, wanted *instanceType) string {
	for _, r := range wanted.defined {
		m.open[r] = true
	}
	for _, name := range wanted.exports.names {
		e, ok := there.exports.by[name]
		if !ok {
			return fmt.Sprintf("missing expected export `%s`", name)
		}
		if why := m.extern(e, wanted.exports.by[name]); why != "" {
			return fmt.Sprintf("type mismatch in instance export `%s`: %s", name, why)
		}
	}
	return ""
}

// component holds imports the other way round: what the wanted type imports must do for what is there.
func (m *matcher) component(there, wanted *componentType) string {
	inner := m.matcher(there.imported)
	for _, name := range there.imports.names {
		w, ok := wanted.imports.by[name]
		if !ok {
			return fmt.Sprintf("missing expected import `%s`", name)
		}
		w.def = m.substitute(m.bound).def(w.def)
		if why := inner.extern(w, there.imports.by[name]); why != "" {
			return fmt.Sprintf("type mismatch in component import `%s`: %s", name, why)
		}
	}
	for _, r := range wanted.defined {
		m.open[r] = true
	}
	actual := m.substitute(inner.bound)
	for _, name := range wanted.exports.names {
		e, ok := there.exports.by[name]
		if !ok {
			return fmt.Sprintf("missing expected export `%s`", name)
		}
		e.def = actual.def(e.def)
		if why := m.extern(e, wanted.exports.by[name]); why != "" {
			return fmt.Sprintf("type mismatch in component export `%s`: %s", name, why)
		}
	}
	return ""
}

// instantiate gives the type of an instance of a component with the arguments.
func (d *decoder) instantiate(c *componentType, args map[string]extern) *typeDef {
	m := d.matcher(c.imported)
	for _, name := range c.imports.names {
		arg, ok := args[name]
		if !ok {
			d.invalid("missing import named `%s` of the component that is instantiated", name)
			return nil
		}
		if why := m.extern(arg, c.imports.by[name]); why != "" {
			d.invalid("type mismatch for import `%s`: %s", name, why)
			return nil
		}
	}
	to := d.fresh(c.defined)
	for r, b := range m.bound {
		to[r] = b
	}
	s := d.substitute(to)
	for _, name := range c.imports.names {
		s.give(c.imports.by[name], args[name])
	}
	return instanceDef(&instanceType{exports: s.externs(c.exports)})
}

// give puts the types of an argument in the place of those that are imported: what is named for the argument is named for what uses them.
func (s *substitution) give(wanted, there extern) {
	switch wanted.sort {
	case SortType:
		s.done[wanted.def] = there.def
	case SortInstance:
		for _, name := range wanted.def.instance.exports.names {
			if !s.charge(entryBytes) {
				return
			}
			s.give(wanted.def.instance.exports.by[name], there.def.instance.exports.by[name])
		}
	}
}
