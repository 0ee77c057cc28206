package component

import (
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Sort is what a definition of a component is.
type Sort byte

// The sorts that components import and export.
const (
	SortModule    Sort = 0
	SortFunc      Sort = 1
	sortValue     Sort = 2
	SortType      Sort = 3
	SortComponent Sort = 4
	SortInstance  Sort = 5
)

func (s Sort) String() string {
	switch s {
	case SortModule:
		return "core module"
	case SortFunc:
		return "func"
	case sortValue:
		return "value"
	case SortType:
		return "type"
	case SortComponent:
		return "component"
	case SortInstance:
		return "instance"
	}
	return fmt.Sprintf("sort %#02x", byte(s))
}

// typeDef is one definition of a type, or the type of a function, component or instance. Validation tells definitions apart that are equal in
// structure: an export of a record is another definition than the record, since what others see must be named.
type typeDef struct {
	kind      defKind
	value     *types.Type     // defValue
	fn        *types.Func     // defFunc
	resource  *types.Resource // defResource
	component *componentType  // defComponent
	instance  *instanceType   // defInstance
	uses      []*typeDef      // what a value or function type is made of, nil for primitives; of a function its parameters, then its result
	resources bool            // a resource can be reached: without, substitution changes nothing
}

type defKind byte

const (
	defValue defKind = iota
	defFunc
	defResource
	defComponent
	defInstance
)

func (k defKind) String() string {
	return [...]string{"defined type", "function type", "resource", "component type", "instance type"}[k]
}

// nameable tells whether a definition must be imported or exported itself before what uses it can be.
func (t *typeDef) nameable() bool {
	if t.kind != defValue {
		return t.kind == defResource
	}
	switch t.value.Kind() {
	case types.Record, types.Variant, types.Enum, types.Flags:
		return true
	}
	return false
}

// extern is the type of an import or export.
type extern struct {
	sort   Sort
	def    *typeDef    // the type itself, or that of a function, component or instance
	module *moduleType // of a core module
}

func (e extern) resources() bool { return e.def != nil && e.def.resources }

// externs are named imports or exports in their order.
type externs struct {
	names []string
	by    map[string]extern
}

func newExterns() *externs { return &externs{by: map[string]extern{}} }

func (e *externs) add(name string, x extern) {
	e.names = append(e.names, name)
	e.by[name] = x
}

func (e *externs) resources() bool {
	for _, x := range e.by {
		if x.resources() {
			return true
		}
	}
	return false
}

// instanceType is what an instance exports. Resources in defined are the type's own: each instance of it that is imported has others. The
// type of an instance, rather than a type definition, has none: they belong to the scope around it.
type instanceType struct {
	exports *externs
	defined []*types.Resource
}

// componentType is what a component imports and exports. Resources that its imports bring stand for those of the arguments; those that are defined
// are made anew by each instantiation.
type componentType struct {
	imports, exports  *externs
	imported, defined []*types.Resource
}

func instanceDef(t *instanceType) *typeDef {
	return &typeDef{kind: defInstance, instance: t, resources: t.exports.resources()}
}

func componentDef(t *componentType) *typeDef {
	return &typeDef{kind: defComponent, component: t, resources: t.imports.resources() || t.exports.resources()}
}

func resourceDef(r *types.Resource) *typeDef {
	return &typeDef{kind: defResource, resource: r, resources: true}
}

// bytes that are charged for one definition, and for one step of a walk over them: so what bounds memory bounds time.
const (
	defBytes  = 160
	stepBytes = 8
)

type resourceMap = map[*types.Resource]*types.Resource

// substitution puts resources in the place of others, and definitions of types in the place of those that a component imports.
type substitution struct {
	*decoder
	to   resourceMap
	done map[*typeDef]*typeDef // made, or given
}

func (d *decoder) substitute(to resourceMap) *substitution {
	return &substitution{d, to, map[*typeDef]*typeDef{}}
}

// def gives the definition itself where nothing in it changes.
func (s *substitution) def(t *typeDef) *typeDef {
	if t == nil || len(s.to)+len(s.done) == 0 {
		return t
	}
	if made, ok := s.done[t]; ok {
		return made
	}
	if !s.charge(entryBytes) {
		return t
	}
	made := s.parts(t)
	s.done[t] = made
	return made
}

func (s *substitution) parts(t *typeDef) *typeDef {
	made := *t
	changed := false
	made.uses = nil
	for _, u := range t.uses {
		part := s.def(u)
		made.uses = append(made.uses, part)
		changed = changed || part != u
	}
	var err error
	switch t.kind {
	case defResource:
		if other, ok := s.to[t.resource]; ok {
			made.resource = other
		}
		changed = made.resource != t.resource
	case defValue:
		made.value, err = s.table.Substitute(t.value, s.to)
		changed = changed || made.value != t.value
	case defFunc:
		made.fn, err = s.table.SubstituteFunc(t.fn, s.to)
		changed = changed || made.fn != t.fn
	case defInstance:
		exports := s.externs(t.instance.exports)
		changed = exports != t.instance.exports
		made.instance = &instanceType{exports, t.instance.defined}
	case defComponent:
		c := t.component
		imports, exports := s.externs(c.imports), s.externs(c.exports)
		changed = imports != c.imports || exports != c.exports
		made.component = &componentType{imports, exports, c.imported, c.defined}
	}
	if !s.check(err) || !changed || !s.charge(defBytes+8*len(t.uses)) {
		return t
	}
	return &made
}

func (s *substitution) externs(e *externs) *externs {
	by := make(map[string]extern, len(e.by))
	changed := false
	for _, name := range e.names {
		if !s.charge(entryBytes) {
			return e
		}
		x := e.by[name]
		x.def = s.def(x.def)
		changed = changed || x.def != e.by[name].def
		by[name] = x
	}
	if !changed {
		return e
	}
	return &externs{names: e.names, by: by}
}

// entryBytes are charged for an entry of a map or list.
const entryBytes = 64

// fresh gives a new resource for each.
func (d *decoder) fresh(all []*types.Resource) resourceMap {
	to := make(resourceMap, len(all))
	for _, r := range all {
		if !d.charge(entryBytes) {
			break
		}
		to[r] = types.NewResource(r.Name())
	}
	return to
}

// free collects the resources that a definition reaches and does not bring itself.
func (d *decoder) free(t *typeDef, visit func(*types.Resource)) {
	w := freeWalk{d, visit, map[*typeDef]bool{}, map[*types.Resource]bool{}}
	w.def(t)
}

type freeWalk struct {
	*decoder
	visit func(*types.Resource)
	seen  map[*typeDef]bool
	bound map[*types.Resource]bool
}

func (w *freeWalk) def(t *typeDef) {
	if t == nil || !t.resources || w.seen[t] || !w.charge(entryBytes) {
		return
	}
	w.seen[t] = true
	switch t.kind {
	case defResource:
		if !w.bound[t.resource] {
			w.visit(t.resource)
		}
	case defInstance:
		w.bind(t.instance.defined)
		w.externs(t.instance.exports)
	case defComponent:
		w.bind(t.component.imported)
		w.bind(t.component.defined)
		w.externs(t.component.imports)
		w.externs(t.component.exports)
	}
	for _, u := range t.uses {
		w.def(u)
	}
}

func (w *freeWalk) bind(all []*types.Resource) {
	for _, r := range all {
		w.bound[r] = true
	}
}

func (w *freeWalk) externs(e *externs) {
	for _, name := range e.names {
		w.def(e.by[name].def)
	}
}
