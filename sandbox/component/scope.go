package component

import (
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// scope is one component, component type or instance type while it is read: its index spaces and the rules about names.
type scope struct {
	kind      scopeKind
	outer     *scope
	core      [CoreTag + 1][]coreExtern
	modules   []*moduleType
	instances []*typeDef
	// coreInstances are what core instances export.
	coreInstances []map[string]coreExtern
	coreTypes     []coreTypeDef
	funcs         []*typeDef
	types         []*typeDef
	components    []*typeDef
	imports       *names
	exports       *names
	imported      []*types.Resource // brought by imports
	defined       []*types.Resource // of a type: its own
	local         map[*types.Resource]bool
	result        *Component // of a component
}

type scopeKind byte

const (
	inComponent scopeKind = iota
	inComponentType
	inInstanceType
)

// coreTypeDef is one core type: of functions or of modules.
type coreTypeDef struct {
	fn     *CoreFuncType
	module *moduleType
}

func newScope(kind scopeKind, outer *scope) *scope {
	s := &scope{kind: kind, outer: outer, imports: newNames("import"), exports: newNames("export"), local: map[*types.Resource]bool{}}
	s.imports.also = s.exports
	return s
}

// names are the imports or exports of one scope.
type names struct {
	*externs
	what      string
	unique    map[string]string   // unique form to name
	visible   map[*typeDef]bool   // what is named
	also      *names              // exports see what imports name
	resources map[*typeDef]string // names of resources, for methods
	labels    map[string]bool     // the same names
}

func newNames(what string) *names {
	return &names{externs: newExterns(), what: what, unique: map[string]string{}, visible: map[*typeDef]bool{}, resources: map[*typeDef]string{}, labels: map[string]bool{}}
}

func (n *names) show(t *typeDef) {
	n.visible[t] = true
	if n.also != nil {
		n.also.visible[t] = true
	}
}

// declare checks a name and what it names, and adds it. Types are copies of what they name.
func (d *decoder) declare(n *names, name externNameAttributes, e extern, visibility bool) {
	parsed, err := parseName(name.name)
	if !d.check(err) {
		return
	}
	if name.implements != "" {
		d.implements(name, parsed, e)
	}
	if !d.charge(4*len(name.name) + 8*entryBytes) {
		return
	}
	key := unique(name.name, parsed)
	if other, taken := n.unique[key]; taken {
		d.invalid("%s name `%s` conflicts with previous name `%s`", n.what, name.name, other)
		return
	}
	n.unique[key] = name.name
	d.annotation(n, name.name, parsed, e)
	if d.err != nil {
		return
	}
	if visibility && !d.named(n, e) {
		d.invalid("%s not valid to be used as %s: `%s` refers to a type that is not itself named by an import or export before", e.sort, n.what, name.name)
		return
	}
	if e.sort == SortType && e.def.kind == defResource && parsed.annotation == "" && !parsed.iface {
		n.resources[e.def] = name.name
		n.labels[name.name] = true
	}
	n.add(name.name, e)
}

func (d *decoder) implements(name externNameAttributes, parsed externName, e extern) {
	switch {
	case e.sort != SortInstance:
		d.invalid("only instances can have an `implements` attribute, `%s` is a %s", name.name, e.sort)
	case parsed.iface || parsed.annotation != "":
		d.invalid("name `%s` is not valid with `implements`: it must be a plain name", name.name)
	}
}

// annotation holds a function of a resource against that resource.
func (d *decoder) annotation(n *names, name string, p externName, e extern) {
	if p.annotation == "" {
		return
	}
	if e.sort != SortFunc {
		d.invalid("`%s` is not a func, which its annotation asks for", name)
		return
	}
	fn, uses := e.def.fn, e.def.uses
	var handle *typeDef
	switch p.annotation {
	case "static":
		if !n.labels[p.resource] {
			d.invalid("static resource name is not known in this context: `%s` in `%s`", p.resource, name)
		}
		return
	case "constructor":
		if fn.Result() == nil {
			d.invalid("function should return one value: `%s` returns none", name)
			return
		}
		if handle = uses[len(uses)-1]; handle != nil && handle.value.Kind() == types.Result {
			handle = handle.uses[0]
		}
		if handle == nil || handle.value.Kind() != types.Own {
			d.invalid("function should return `(own $T)` or `(result (own $T))`: `%s`", name)
			return
		}
	case "method":
		params := fn.Params()
		switch {
		case len(params) == 0:
			d.invalid("function should have at least one argument: `%s`", name)
			return
		case params[0].Name != "self":
			d.invalid("function should have a first argument called `self`: `%s`", name)
			return
		case params[0].Type.Kind() != types.Borrow:
			d.invalid("function should take a first argument of `(borrow $T)`: `%s`", name)
			return
		}
		handle = uses[0]
	}
	known, ok := n.resources[handle.uses[0]]
	switch {
	case !ok:
		d.invalid("resource used in function does not have a name in this context: `%s`", name)
	case known != p.resource:
		d.invalid("function does not match expected resource name `%s`: `%s`", known, name)
	}
}

// named tells whether all types that e refers to have names, and names those that e brings. Explainer.md, External Visibility of Types.
func (d *decoder) named(n *names, e extern) bool {
	if !d.charge(stepBytes) {
		return true
	}
	switch e.sort {
	case SortType:
		if e.def.kind != defResource && !d.firstLayer(n, e.def) {
			return false
		}
		n.show(e.def)
	case SortFunc:
		return d.allVisible(n, e.def.uses)
	case SortInstance:
		for _, name := range e.def.instance.exports.names {
			if !d.named(n, e.def.instance.exports.by[name]) {
				return false
			}
		}
	}
	return true
}

// firstLayer tells whether what a type that is being named is made of has names.
func (d *decoder) firstLayer(n *names, t *typeDef) bool {
	switch t.kind {
	case defInstance: // what it exports is named within it
		within := newNames(n.what)
		for v := range n.visible {
			within.visible[v] = true
		}
		d.charge(16 * len(n.visible))
		return d.named(within, extern{sort: SortInstance, def: t})
	case defComponent:
		return true
	}
	return d.allVisible(n, t.uses)
}

func (d *decoder) allVisible(n *names, uses []*typeDef) bool {
	for _, u := range uses {
		if u == nil {
			continue
		}
		if !d.charge(stepBytes) {
			return true
		}
		if u.nameable() {
			if !n.visible[u] {
				return false
			}
		} else if !d.allVisible(n, u.uses) {
			return false
		}
	}
	return true
}

// index finds an entry of an index space.
func index[T any](d *decoder, space []T, what fmt.Stringer, i uint32) (entry T, ok bool) {
	if d.err != nil {
		return entry, false
	}
	if uint64(i) >= uint64(len(space)) {
		d.invalid("%s index out of bounds: unknown %s %d, there are %d", what, what, i, len(space))
		return entry, false
	}
	return space[i], true
}

// extern finds a definition by sort and index.
func (d *decoder) extern(sort Sort, i uint32) (extern, bool) {
	s := d.scope
	e := extern{sort: sort}
	var ok bool
	switch sort {
	case SortModule:
		e.module, ok = index(d, s.modules, sort, i)
	case SortFunc:
		e.def, ok = index(d, s.funcs, sort, i)
	case SortType:
		e.def, ok = index(d, s.types, sort, i)
	case SortComponent:
		e.def, ok = index(d, s.components, sort, i)
	case SortInstance:
		e.def, ok = index(d, s.instances, sort, i)
	}
	return e, ok
}

// define appends a definition to the index space of its sort.
func (d *decoder) define(e extern) {
	d.count1()
	s := d.scope
	switch e.sort {
	case SortModule:
		s.modules = append(s.modules, e.module)
	case SortFunc:
		s.funcs = append(s.funcs, e.def)
	case SortType:
		s.types = append(s.types, e.def)
	case SortComponent:
		s.components = append(s.components, e.def)
	case SortInstance:
		s.instances = append(s.instances, e.def)
	}
}

func (d *decoder) defineCore(e coreExtern) {
	d.count1()
	d.scope.core[e.sort] = append(d.scope.core[e.sort], e)
}

// count1 counts one more entry of an index space.
func (d *decoder) count1() {
	if d.definitions++; d.definitions > d.limits.Definitions {
		d.limit("more than %d definitions", d.limits.Definitions)
	}
	d.charge(indexBytes)
}

// indexBytes are charged for an entry of an index space, whose list grows by doubling.
const indexBytes = 64
