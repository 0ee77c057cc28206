package component

// coreInstance reads one core instance definition.
func (d *decoder) coreInstance() {
	switch b := d.byte(); b {
	case 0:
		d.coreInstantiate()
	case 1:
		d.coreBag()
	default:
		if d.err == nil {
			d.refuse(Malformed, d.at-1, "invalid leading byte (%#02x) for core instance", b)
		}
	}
}

// coreArg is an argument of a core module: what all imports of a module's name are taken from.
type coreArg struct {
	name     string
	instance uint32
}

func (d *decoder) coreInstantiate() {
	i := d.index()
	m, ok := index(d, d.scope.modules, SortModule, i)
	args := map[string]map[string]coreExtern{}
	s := stepCoreInstantiate{module: i}
	d.each("arguments", 3, func() {
		name := d.string("the name of an argument")
		if b := d.byte(); b != byte(coreSortInstance) && d.err == nil {
			d.refuse(Malformed, d.at-1, "invalid leading byte (%#02x) for instantiation arg kind, %#02x (instance) was expected", b, byte(coreSortInstance))
		}
		i := d.index()
		exports, ok := index(d, d.scope.coreInstances, coreSortInstance, i)
		if !ok || !d.charge(len(name)+defBytes) {
			return
		}
		if _, twice := args[name]; twice {
			d.invalid("duplicate module instantiation argument named `%s`", name)
			return
		}
		args[name] = exports
		s.args = append(s.args, coreArg{name, i})
	})
	if !ok || d.err != nil {
		return
	}
	for _, i := range m.imports {
		if d.charge(stepBytes); !d.coreSupplied(args, i) {
			return
		}
	}
	d.defineCoreInstance(m.exports)
	d.add(s)
}

func (d *decoder) coreSupplied(args map[string]map[string]coreExtern, i coreImport) bool {
	exports, ok := args[i.module]
	if !ok {
		d.invalid("missing module instantiation argument named `%s`", i.module)
		return false
	}
	e, ok := exports[i.name]
	if !ok {
		d.invalid("module instantiation argument `%s` does not export an item named `%s`", i.module, i.name)
		return false
	}
	if why := e.match(i.extern); why != "" {
		d.invalid("type mismatch for export `%s` of module instantiation argument `%s`: %s", i.name, i.module, why)
		return false
	}
	return true
}

func (d *decoder) defineCoreInstance(exports map[string]coreExtern) {
	d.count1()
	d.scope.coreInstances = append(d.scope.coreInstances, exports)
}

// coreEntry is one export of a bag of core definitions.
type coreEntry struct {
	name  string
	sort  CoreSort
	index uint32
}

func (d *decoder) coreBag() {
	exports := map[string]coreExtern{}
	var s stepCoreBag
	d.each("exports", 3, func() {
		name := d.string("the name of a core export")
		sort := CoreSort(d.byte())
		i := d.index()
		if d.err != nil {
			return
		}
		if sort > CoreTag {
			d.refuse(Malformed, d.at-1, "the sort of a core export is %#02x, which is none that can be exported", byte(sort))
			return
		}
		e, ok := index(d, d.scope.core[sort], sort, i)
		if !ok || !d.charge(len(name)+coreExportBytes) {
			return
		}
		if _, twice := exports[name]; twice {
			d.invalid("duplicate instantiation export name `%s` already defined", name)
			return
		}
		exports[name] = e
		s.entries = append(s.entries, coreEntry{name, sort, i})
	})
	if d.err == nil {
		d.defineCoreInstance(exports)
		d.add(s)
	}
}

// instance reads one instance definition.
func (d *decoder) instance() {
	switch b := d.byte(); b {
	case 0:
		d.componentInstantiate()
	case 1:
		d.bag()
	default:
		if d.err == nil {
			d.refuse(Malformed, d.at-1, "invalid leading byte (%#02x) for instance", b)
		}
	}
}

// entry is a definition under a name: an argument, or an export of a bag.
type entry struct {
	name  string
	sort  Sort
	index uint32
	def   *typeDef // of a type
}

func (d *decoder) entry(name string) (entry, extern) {
	sort, core, isCore := d.sort("an argument or export")
	i := d.index()
	if isCore && d.err == nil {
		d.invalid("a %s cannot be an argument or export: `%s`", core, name)
	}
	e, _ := d.extern(sort, i)
	d.charge(2*len(name) + 2*defBytes)
	return entry{name, sort, i, e.def}, e
}

func (d *decoder) componentInstantiate() {
	i := d.index()
	c, ok := index(d, d.scope.components, SortComponent, i)
	args := map[string]extern{}
	s := stepInstantiate{component: i}
	d.each("arguments", 3, func() {
		a, e := d.entry(d.string("the name of an argument"))
		if _, twice := args[a.name]; twice && d.err == nil {
			d.invalid("instantiation argument `%s` conflicts with previous argument `%s`", a.name, a.name)
		}
		args[a.name] = e
		s.args = append(s.args, a)
	})
	if !ok || d.err != nil {
		return
	}
	made := d.instantiate(c.component, args)
	if d.err != nil {
		return
	}
	s.made = made
	d.define(extern{sort: SortInstance, def: made})
	d.add(s)
}

func (d *decoder) bag() {
	d.charge(scopeBytes / 2)
	exports := newNames("export")
	var s stepBag
	d.each("exports", 4, func() {
		name := d.externName()
		en, e := d.entry(name.name)
		if d.err != nil {
			return
		}
		d.declare(exports, name, e, false)
		clear(exports.resources) // a bag names no resource for methods
		clear(exports.labels)
		s.entries = append(s.entries, en)
	})
	if d.err == nil {
		d.define(extern{sort: SortInstance, def: instanceDef(&instanceType{exports: exports.externs})})
		d.add(s)
	}
}
