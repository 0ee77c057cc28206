package component

import "github.com/tenloom/tenloom/sandbox/component/types"

// alias reads one alias, of a component or, as a declaration, of a type.
func (d *decoder) alias() {
	sort, core, isCore := d.sort("an alias")
	b := d.byte()
	if d.err != nil {
		return
	}
	switch b {
	case 0:
		if isCore {
			d.wrong(b, "an alias of a "+core.String())
			return
		}
		d.aliasExport(sort)
	case 1:
		if !isCore || core > CoreTag {
			d.wrong(b, "an alias of a "+aliasName(sort, core, isCore))
			return
		}
		d.aliasCoreExport(core)
	case 2:
		d.aliasOuter(sort, core, isCore)
	default:
		d.wrong(b, "an alias")
	}
}

func aliasName(sort Sort, core CoreSort, isCore bool) string {
	if isCore {
		return core.String()
	}
	return sort.String()
}

func (d *decoder) aliasExport(sort Sort) {
	i := d.index()
	name := d.string("the name of an export")
	if d.scope.kind != inComponent && sort != SortInstance && sort != SortType && d.err == nil {
		d.invalid("only types and instances can be aliased in a type: `%s` is a %s", name, sort)
	}
	t, ok := index(d, d.scope.instances, SortInstance, i)
	if !ok || d.err != nil || !d.charge(len(name)) {
		return
	}
	e, ok := t.instance.exports.by[name]
	switch {
	case !ok:
		d.invalid("instance %d has no export named `%s`", i, name)
	case e.sort != sort && sort == SortModule:
		d.invalid("export `%s` for instance %d is not a module", name, i)
	case e.sort != sort:
		d.invalid("export `%s` for instance %d is not a %s", name, i, sort)
	default:
		d.define(e)
		d.add(stepAlias{sort, i, name})
	}
}

func (d *decoder) aliasCoreExport(sort CoreSort) {
	i := d.index()
	name := d.string("the name of a core export")
	if d.scope.kind != inComponent && d.err == nil {
		d.invalid("core exports cannot be aliased in a type: `%s`", name)
	}
	exports, ok := index(d, d.scope.coreInstances, coreSortInstance, i)
	if !ok || d.err != nil || !d.charge(len(name)) {
		return
	}
	e, ok := exports[name]
	switch {
	case !ok:
		d.invalid("core instance %d has no export named `%s`", i, name)
	case e.sort != sort:
		d.invalid("export `%s` for core instance %d is not a %s", name, i, sort)
	default:
		d.defineCore(e)
		d.add(stepAliasCore{sort, i, name})
	}
}

// scopeAt gives the scope that an outer alias counts to.
func (d *decoder) scopeAt(count uint32) *scope {
	s := d.scope
	for n := uint32(0); n < count && s != nil; n++ {
		s = s.outer
	}
	if s == nil {
		d.invalid("invalid outer alias count of %d: there are not so many scopes around", count)
	}
	return s
}

func (d *decoder) aliasOuter(sort Sort, core CoreSort, isCore bool) {
	count, i := d.u32(), d.index()
	if d.err != nil {
		return
	}
	s := d.scopeAt(count)
	if s == nil {
		return
	}
	if d.scope.kind != inComponent && !(isCore && core == coreSortType) && (isCore || sort != SortType) {
		d.invalid("only types and core types can be aliased in a type, not a %s", aliasName(sort, core, isCore))
		return
	}
	switch {
	case isCore && core == coreSortType:
		if t, ok := index(d, s.coreTypes, core, i); ok {
			d.defineCoreType(t)
		}
	case isCore:
		d.refuse(Malformed, d.item, "a definition of sort %s cannot be aliased from an outer scope", core)
	case sort == SortModule:
		if m, ok := index(d, s.modules, sort, i); ok {
			d.define(extern{sort: sort, module: m})
			d.add(stepAliasOuter{sort, count, i})
		}
	case sort == SortComponent:
		if c, ok := index(d, s.components, sort, i); ok {
			d.closed(c, s)
			d.define(extern{sort: sort, def: c})
			d.add(stepAliasOuter{sort, count, i})
		}
	case sort == SortType:
		if t, ok := index(d, s.types, sort, i); ok {
			d.closed(t, s)
			d.define(extern{sort: sort, def: t})
		}
	default:
		d.refuse(Malformed, d.item, "a definition of sort %s cannot be aliased from an outer scope", sort)
	}
}

// closed refuses a definition that takes a resource across the boundary of a component.
func (d *decoder) closed(t *typeDef, target *scope) {
	crosses := false
	for s := d.scope; s != target; s = s.outer {
		crosses = crosses || s.kind == inComponent
	}
	if !crosses {
		return
	}
	d.free(t, func(r *types.Resource) {
		if d.err == nil {
			d.invalid("cannot alias outer type which transitively refers to resources not defined in the current component: `%s`", r.Name())
		}
	})
}
