package component

import (
	"strings"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Accept says what Decode accepts. The zero value is what the component model has released, within the default limits.
type Accept struct {
	Limits   Limits
	Features Features
}

// Component is one component that is decoded and valid: its definitions in their order. It never changes.
type Component struct {
	steps   []step
	ty      *componentType
	imports []declared // with what they name
	exports []declared
	shared  *decoder // of the outermost component: its types and limits
}

// Modules are all core modules, those of nested components included and whether or not something instantiates them. Where it is asked for to the
// letter that a component is valid, their code must be; a Plan has those that run.
func (c *Component) Modules() []*Module { return c.shared.modules }

// declared is an import or export.
type declared struct {
	externNameAttributes
	extern extern
}

// step is one definition: what it does when the component is instantiated.
type step interface {
	perform(f *frame)
}

const header = "\x00asm\x0d\x00\x01\x00"

// Is tells whether bytes are those of a component rather than of a core module: by their header alone.
func Is(bytes []byte) bool { return len(bytes) >= len(header) && string(bytes[:len(header)]) == header }

// Decode reads a component and everything in it, in one pass, and validates it. The error is an *Error. The bytes must not change while the
// Component is in use: its core modules are parts of them.
func Decode(bytes []byte, accept Accept) (*Component, error) {
	l := accept.Limits.withDefaults(len(bytes))
	d := &decoder{
		reader: reader{bytes: bytes, name: l.Name}, limits: l, features: accept.Features,
		table: types.NewTable(types.Limits{Depth: l.TypeDepth, Nodes: l.TypeNodes, Bytes: l.Memory}),
	}
	c := d.component()
	if d.err != nil {
		return nil, d.err
	}
	return c, nil
}

// decoder is one pass over a component's bytes.
type decoder struct {
	reader
	limits      Limits
	features    Features
	table       *types.Table
	scope       *scope
	depth       int
	definitions int
	modules     []*Module // all, in the order of their bytes
}

// charge takes bytes from what may be allocated; false, and an error, where there are none left.
func (d *decoder) charge(bytes int) bool { return d.check(d.table.Charge(bytes)) }

// enter opens a scope, and leave closes it.
func (d *decoder) enter(kind scopeKind) bool {
	if d.depth++; d.depth > d.limits.Nesting {
		d.limit("nesting of %d levels, at most %d are allowed", d.depth, d.limits.Nesting)
	}
	d.charge(scopeBytes)
	d.scope = newScope(kind, d.scope)
	return d.err == nil
}

func (d *decoder) leave() *scope {
	s := d.scope
	d.scope = s.outer
	d.depth--
	return s
}

// scopeBytes are charged for a scope and its maps.
const scopeBytes = 2048

// component reads the component that the reader holds to its end.
func (d *decoder) component() *Component {
	d.enter(inComponent)
	c := &Component{shared: d}
	d.scope.result = c
	if d.err == nil {
		d.header()
	}
	for d.err == nil && d.at < len(d.bytes) {
		d.item = d.at
		d.section(d.byte())
	}
	s := d.leave()
	if d.err != nil {
		return nil
	}
	c.ty = &componentType{imports: s.imports.externs, exports: s.exports.externs, imported: s.imported}
	d.own(c.ty)
	return c
}

// own finds the resources that a component makes: what its exports reach and its imports did not bring.
func (d *decoder) own(t *componentType) {
	brought := make(map[*types.Resource]bool, len(t.imported))
	for _, r := range t.imported {
		brought[r] = true
	}
	d.free(&typeDef{kind: defInstance, resources: true, instance: &instanceType{exports: t.exports}}, func(r *types.Resource) {
		if !brought[r] {
			brought[r] = true
			t.defined = append(t.defined, r)
		}
	})
}

func (d *decoder) header() {
	at := d.at
	head := d.take(8, "a component's header")
	switch {
	case d.err != nil || string(head) == header:
	case string(head) == coreHeader:
		d.refuse(Malformed, at, "expected a version header for a component, found one of a core module")
	case string(head[:4]) != header[:4]:
		d.refuse(Malformed, at, "magic header not detected: expected %q, found %q", header[:4], head[:4])
	default:
		d.refuse(Malformed, at+4, "unknown binary version %x of a component, expected %x", head[4:], header[4:])
	}
}

func (d *decoder) section(id byte) {
	names := [...]string{
		"custom section", "core module section", "core instance section", "core type section", "component section", "instance section",
		"alias section", "type section", "canon section", "start section", "import section", "export section", "value section",
	}
	if int(id) >= len(names) {
		d.refuse(Malformed, d.at-1, "malformed section id %d of a component", id)
		return
	}
	size := d.u32()
	d.within(names[id], size, func() {
		switch id {
		case 0:
			d.string("the name of a custom section")
			d.at = len(d.bytes)
		case 1:
			d.coreModule()
		case 2:
			d.vector("core instances", 2, d.coreInstance)
		case 3:
			d.vector("core types", 2, func() { d.defineCoreType(d.coreType(true)) })
		case 4:
			d.nested()
		case 5:
			d.vector("instances", 2, d.instance)
		case 6:
			d.vector("aliases", 4, d.alias)
		case 7:
			d.vector("types", 1, func() { d.define(extern{sort: SortType, def: d.deftype()}) })
		case 8:
			d.vector("canonical definitions", 1, d.canon)
		case 9:
			d.gated("start functions and values")
		case 10:
			d.vector("imports", 4, d.importDefinition)
		case 11:
			d.vector("exports", 5, d.exportDefinition)
		case 12:
			d.gated("values")
		}
	})
}

// vector reads entries, each of which takes at least size bytes; validation names where they begin.
func (d *decoder) vector(what string, size int, entry func()) {
	for range d.count(what, size) {
		if d.item = d.at; d.err != nil {
			return
		}
		entry()
	}
}

// add appends a step to the component at hand; declarations in types take none.
func (d *decoder) add(s step) {
	if d.err == nil && d.scope.kind == inComponent && d.charge(stepSize) {
		d.scope.result.steps = append(d.scope.result.steps, s)
	}
}

// stepSize is what a step and its place in the list take in memory.
const stepSize = 128

func (d *decoder) coreModule() {
	if len(d.modules) >= d.limits.Modules {
		d.limit("more than %d core modules", d.limits.Modules)
		return
	}
	if m := d.module(); d.err == nil {
		d.modules = append(d.modules, m)
		d.define(extern{sort: SortModule, module: m.ty})
		d.add(stepModule{m})
	}
}

func (d *decoder) nested() {
	outer := d.item
	if c := d.component(); d.err == nil {
		d.item = outer
		d.define(extern{sort: SortComponent, def: componentDef(c.ty)})
		d.add(stepComponent{c})
	}
}

// externNameAttributes is `nameattributes`: a name and what is said about it beside its type.
type externNameAttributes struct {
	name       string
	implements string
	suffix     string // of the version
}

func (d *decoder) externName() externNameAttributes {
	form := d.byte()
	if form > 2 && d.err == nil {
		d.wrong(form, "the name of an import or export")
	}
	n := externNameAttributes{name: d.string("the name of an import or export")}
	if form != 2 {
		return n
	}
	seen := [3]bool{}
	for range d.count("attributes", 2) {
		kind := d.byte()
		if d.err != nil {
			return n
		}
		if kind > 2 {
			d.wrong(kind, "an attribute of a name")
			return n
		}
		if seen[kind] {
			d.refuse(Malformed, d.at-1, "an attribute of a name is given twice")
			return n
		}
		seen[kind] = true
		value := d.string("an attribute of a name")
		switch kind {
		case 0:
			n.implements = value
			if _, err := parseName(value); value == "" || err != nil || interfaceName(value) != nil {
				d.invalid("`%s` is not a valid name for `implements`: it must be an interface", value)
			}
		case 1:
			n.suffix = value
			d.suffix(n)
		}
	}
	return n
}

// suffix holds a version's suffix against the version before it.
func (d *decoder) suffix(n externNameAttributes) {
	_, v, ok := strings.Cut(n.name, "@")
	whole, err := parseVersion(v + n.suffix)
	short, err2 := parseVersion(v)
	if !ok || err != nil || err2 != nil || short.parts == 3 && short.canonical() != v || whole.parts < 3 {
		d.invalid("version suffix `%s` of `%s` does not make a semantic version of a canonical one", n.suffix, n.name)
	}
}

// index reads an index.
func (d *decoder) index() uint32 { return d.u32() }

func (d *decoder) sort(what string) (sort Sort, core CoreSort, isCore bool) {
	b := d.byte()
	switch Sort(b) {
	case 0:
		c := d.byte()
		switch CoreSort(c) {
		case CoreFunc, CoreTable, CoreMemory, CoreGlobal, CoreTag, coreSortType, coreSortModule, coreSortInstance:
		default:
			d.wrong(c, "the core sort of "+what)
		}
		return 0, CoreSort(c), CoreSort(c) != coreSortModule
	case SortFunc, SortType, SortComponent, SortInstance:
		return Sort(b), 0, false
	case sortValue:
		d.gated("values")
	default:
		d.wrong(b, "the sort of "+what)
	}
	return Sort(b), 0, false
}

func (d *decoder) importDefinition() {
	name := d.externName()
	e := d.externType(name.name, true)
	if d.err != nil {
		return
	}
	d.declare(d.scope.imports, name, e, true)
	d.define(e)
	d.add(stepImport{name.name, e})
	d.scope.result.imports = append(d.scope.result.imports, declared{name, e})
}

func (d *decoder) exportDefinition() {
	name := d.externName()
	sort, core, isCore := d.sort("an export")
	i := d.index()
	if d.err != nil {
		return
	}
	if isCore {
		d.invalid("a %s cannot be exported from a component: `%s`", core, name.name)
		return
	}
	e, ok := d.extern(sort, i)
	if !ok {
		return
	}
	s := stepExport{name: name.name, sort: sort, index: i, def: e.def}
	if d.flag("whether an export has a type") {
		e = d.ascribed(name.name, e)
		s.ascribed = e.def
	} else {
		e = renamed(e)
	}
	if d.err != nil {
		return
	}
	d.declare(d.scope.exports, name, e, true)
	d.define(e)
	d.add(s)
	d.scope.result.exports = append(d.scope.result.exports, declared{name, e})
}

// renamed gives a type that is imported or exported under a name of its own.
func renamed(e extern) extern {
	if e.sort == SortType {
		named := *e.def
		e.def = &named
	}
	return e
}

// ascribed reads the type that an export is given in place of its own, of which its own must be a subtype.
func (d *decoder) ascribed(name string, e extern) extern {
	before := len(d.scope.defined)
	wanted := d.externType(name, false)
	if d.err != nil {
		return e
	}
	if why := d.matcher(d.scope.defined[before:]).extern(e, wanted); why != "" {
		d.invalid("ascribed type of export is not compatible with item's type: `%s`: %s", name, why)
	}
	return wanted
}

// externType reads `externtype`. Resources that it brings belong to the imports or to what the scope defines.
func (d *decoder) externType(name string, imported bool) extern {
	b := d.byte()
	e := extern{sort: Sort(b)}
	switch e.sort {
	case SortModule:
		d.expect(byte(coreSortModule), "the core sort of an import or export")
		i := d.index()
		if t, ok := index(d, d.scope.coreTypes, coreSortType, i); ok {
			if e.module = t.module; t.module == nil {
				d.invalid("core type index %d is not a module type", i)
			}
		}
	case SortFunc:
		e.def = d.typeAt(d.index(), defFunc)
	case SortType:
		e = d.typeBound(name, imported)
	case SortComponent:
		e.def = d.typeAt(d.index(), defComponent)
	case SortInstance:
		e.def = d.typeAt(d.index(), defInstance)
		if d.err == nil && len(e.def.instance.defined) > 0 {
			to := d.fresh(e.def.instance.defined)
			for _, r := range e.def.instance.defined {
				d.bring(to[r], imported)
			}
			e.def = instanceDef(&instanceType{exports: d.substitute(to).externs(e.def.instance.exports)})
		}
	case sortValue:
		d.gated("values")
	default:
		if d.err == nil {
			d.wrong(b, "the type of an import or export")
		}
	}
	return e
}

func (d *decoder) typeBound(name string, imported bool) extern {
	switch b := d.byte(); b {
	case 0:
		i := d.index()
		if t, ok := index(d, d.scope.types, SortType, i); ok && d.charge(defBytes) {
			return renamed(extern{sort: SortType, def: t})
		}
	case 1:
		r := types.NewResource(name)
		d.charge(defBytes + entryBytes)
		d.bring(r, imported)
		return extern{sort: SortType, def: resourceDef(r)}
	default:
		if d.err == nil {
			d.wrong(b, "the bound of a type")
		}
	}
	return extern{sort: SortType}
}

func (d *decoder) bring(r *types.Resource, imported bool) {
	if imported {
		d.scope.imported = append(d.scope.imported, r)
	} else {
		d.scope.defined = append(d.scope.defined, r)
	}
}

// typeAt finds a type definition of a kind.
func (d *decoder) typeAt(i uint32, kind defKind) *typeDef {
	t, ok := index(d, d.scope.types, SortType, i)
	if ok && t.kind != kind {
		article := "a"
		if kind == defInstance {
			article = "an"
		}
		d.invalid("type index %d is not %s %s: it is one of another kind, %s", i, article, kind, t.kind)
	}
	return t
}
