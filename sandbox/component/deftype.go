package component

import "github.com/tenloom/tenloom/sandbox/component/types"

// deftype reads one type definition.
func (d *decoder) deftype() *typeDef {
	if !d.charge(defBytes) {
		return nil
	}
	b := d.byte()
	switch b {
	case 0x40, 0x43:
		return d.functype(b == 0x43)
	case 0x41:
		return d.declarations(inComponentType)
	case 0x42:
		return d.declarations(inInstanceType)
	case 0x3f:
		return d.resourceType()
	case 0x3e:
		d.gated("resources with an async destructor")
		return nil
	}
	return d.defvaltype(b)
}

// primitives are the kinds by their bytes.
var primitives = map[byte]types.Kind{
	0x7f: types.Bool, 0x7e: types.S8, 0x7d: types.U8, 0x7c: types.S16, 0x7b: types.U16, 0x7a: types.S32, 0x79: types.U32, 0x78: types.S64,
	0x77: types.U64, 0x76: types.F32, 0x75: types.F64, 0x74: types.Char, 0x73: types.String, 0x64: types.ErrorContext,
}

func (d *decoder) primitive(b byte) (*types.Type, bool) {
	kind, ok := primitives[b]
	if !ok {
		return nil, false
	}
	if kind == types.ErrorContext {
		d.gated("error-context")
	}
	return types.Primitive(kind), true
}

// valtype reads a value type: a primitive, with no definition, or an index.
func (d *decoder) valtype() (*types.Type, *typeDef) {
	at := d.at
	v := d.s33()
	if d.err != nil {
		return types.Primitive(types.Bool), nil
	}
	if v < 0 {
		if t, ok := d.primitive(byte(v & 0x7f)); ok && v >= -64 {
			return t, nil
		}
		d.refuse(Malformed, at, "a value type begins with %#02x, which is none of its forms", d.bytes[at])
		return types.Primitive(types.Bool), nil
	}
	t, ok := index(d, d.scope.types, SortType, uint32(v))
	if ok && t.kind != defValue {
		d.invalid("type index %d is not a defined type, it is one of another kind, %s", v, t.kind)
	}
	if d.err != nil {
		return types.Primitive(types.Bool), nil
	}
	return t.value, t
}

func (d *decoder) optional(what string) (*types.Type, *typeDef) {
	if !d.flag(what) || d.err != nil {
		return nil, nil
	}
	return d.valtype()
}

// value finishes the definition of a value type.
func (d *decoder) value(uses []*typeDef) func(*types.Type, error) *typeDef {
	return func(t *types.Type, err error) *typeDef {
		if d.err != nil || !d.check(err) {
			return nil
		}
		return &typeDef{kind: defValue, value: t, uses: uses, resources: t.HasHandle()}
	}
}

func (d *decoder) defvaltype(b byte) *typeDef {
	if t, ok := d.primitive(b); ok {
		return d.value(nil)(t, nil)
	}
	tb := d.table
	switch b {
	case 0x72:
		fields, uses := d.fields("record field", "records' fields")
		return d.value(uses)(tb.Record(fields...))
	case 0x71:
		cases, uses := d.cases()
		return d.value(uses)(tb.Variant(cases...))
	case 0x70:
		t, u := d.valtype()
		return d.value([]*typeDef{u})(tb.List(t))
	case 0x6f:
		var elements []*types.Type
		var uses []*typeDef
		d.each("elements of a tuple", 1, func() {
			t, u := d.valtype()
			elements, uses = append(elements, t), append(uses, u)
		})
		return d.value(uses)(tb.Tuple(elements...))
	case 0x6e:
		labels := d.labels("flag name", "flag")
		if len(labels) > 32 {
			d.invalid("cannot have more than 32 flags: there are %d", len(labels))
		}
		return d.value(nil)(tb.Flags(labels...))
	case 0x6d:
		return d.value(nil)(tb.Enum(d.labels("enum tag name", "tag")...))
	case 0x6b:
		t, u := d.valtype()
		return d.value([]*typeDef{u})(tb.Option(t))
	case 0x6a:
		ok, u := d.optional("whether a result has a value")
		failed, v := d.optional("whether a result has an error value")
		return d.value([]*typeDef{u, v})(tb.Result(ok, failed))
	case 0x69, 0x68:
		return d.handle(b == 0x69)
	case 0x67:
		t, u := d.valtype()
		n := d.u32()
		if !d.features.FixedLists {
			d.gated("fixed-length lists")
		}
		if d.err != nil {
			return nil
		}
		return d.value([]*typeDef{u})(tb.FixedList(t, n))
	case 0x66, 0x65:
		return d.channel(b == 0x66)
	case 0x63:
		k, u := d.valtype()
		v, w := d.valtype()
		return d.value([]*typeDef{u, w})(tb.Map(k, v))
	}
	if d.err == nil {
		d.wrong(b, "a type")
	}
	return nil
}

// each reads the parts of one definition.
func (d *decoder) each(what string, size int, part func()) {
	for range d.count(what, size) {
		if part(); d.err != nil || !d.charge(entryBytes) {
			return
		}
	}
}

func (d *decoder) handle(own bool) *typeDef {
	t := d.resourceAt(d.index())
	if d.err != nil {
		return nil
	}
	made := d.value([]*typeDef{t})
	if own {
		return made(d.table.Own(t.resource))
	}
	return made(d.table.Borrow(t.resource))
}

// resourceAt finds a resource type.
func (d *decoder) resourceAt(i uint32) *typeDef {
	t, ok := index(d, d.scope.types, SortType, i)
	if ok && t.kind != defResource {
		d.invalid("type index %d is not a resource type, it is one of another kind, %s", i, t.kind)
	}
	return t
}

// channel reads a stream or future.
func (d *decoder) channel(stream bool) *typeDef {
	t, u := d.optional("whether a stream or future has elements")
	if d.err != nil {
		return nil
	}
	if t != nil && t.HasBorrow() {
		d.invalid("a stream or future cannot contain a `borrow` type")
		return nil
	}
	made := d.value([]*typeDef{u})
	if !stream {
		return made(d.table.Future(t))
	}
	if t != nil && t.Kind() == types.Char {
		d.invalid("`stream<char>` is not valid at this time")
		return nil
	}
	return made(d.table.Stream(t))
}

// labelSet tells labels of one definition apart.
type labelSet struct {
	*decoder
	what, short string
	seen        map[string]string
}

func (l *labelSet) read() string {
	s := l.string("a label")
	if l.err != nil || !l.charge(3*len(s)+2*entryBytes) {
		return s
	}
	if s == "" {
		l.invalid("%s cannot be empty", l.what)
		return s
	}
	if err := label(s); err != nil {
		l.invalid("%s %v", l.what, err)
		return s
	}
	key := unique(s, externName{})
	if other, ok := l.seen[key]; ok {
		l.invalid("%s `%s` conflicts with previous %s `%s`", l.what, s, l.short, other)
	}
	l.seen[key] = s
	return s
}

func (d *decoder) labelSet(what, short string) *labelSet {
	return &labelSet{d, what, short, map[string]string{}}
}

func (d *decoder) labels(what, short string) []string {
	set := d.labelSet(what, short+" name")
	var all []string
	d.each("labels", 2, func() { all = append(all, set.read()) })
	if len(all) == 0 && d.err == nil {
		d.invalid("%ss: there is none, at least one entry is needed", what)
	}
	return all
}

func (d *decoder) fields(what, all string) (fields []types.Field, uses []*typeDef) {
	short := what[len(what)-len("field"):] // the word of the message
	if what == "function parameter" {
		short = "parameter"
	}
	set := d.labelSet(what+" name", short+" name")
	d.each(all, 2, func() {
		name := set.read()
		t, u := d.valtype()
		fields = append(fields, types.Field{Name: name, Type: t})
		uses = append(uses, u)
	})
	return fields, uses
}

func (d *decoder) cases() (cases []types.Case, uses []*typeDef) {
	set := d.labelSet("variant case name", "case name")
	d.each("cases of a variant", 4, func() {
		name := set.read()
		t, u := d.optional("whether a case has a payload")
		d.expect(0, "the end of a case")
		cases = append(cases, types.Case{Name: name, Type: t})
		uses = append(uses, u)
	})
	return cases, uses
}

func (d *decoder) functype(async bool) *typeDef {
	params, uses := d.fields("function parameter", "parameters")
	result, u := d.resultList()
	if d.err != nil {
		return nil
	}
	if result != nil && result.HasBorrow() {
		d.invalid("function result cannot contain a `borrow` type")
		return nil
	}
	fn, err := d.table.Func(params, result, async)
	if !d.check(err) {
		return nil
	}
	t := &typeDef{kind: defFunc, fn: fn, uses: append(uses, u)}
	for _, u := range t.uses {
		t.resources = t.resources || u != nil && u.resources
	}
	return t
}

// resultList reads what a function gives.
func (d *decoder) resultList() (*types.Type, *typeDef) {
	switch b := d.byte(); b {
	case 0:
		return d.valtype()
	case 1:
		d.expect(0, "the number of named results")
	default:
		if d.err == nil {
			d.wrong(b, "the result of a function")
		}
	}
	return nil, nil
}

func (d *decoder) resourceType() *typeDef {
	if b := d.byte(); b != 0x7f && d.err == nil {
		d.refuse(Malformed, d.at-1, "resources can only be represented by `i32`, found %#02x", b)
	}
	s := stepResource{dtor: -1}
	if d.flag("whether a resource has a destructor") {
		i := d.index()
		f, ok := index(d, d.scope.core[CoreFunc], CoreFunc, i)
		if ok && !f.fn.equal(&CoreFuncType{Params: []CoreType{types.CoreI32}}) {
			d.invalid("core function %d has wrong signature for a destructor: %s", i, f.fn)
		}
		s.dtor = int64(i)
	}
	if d.err != nil {
		return nil
	}
	if d.scope.kind != inComponent {
		d.invalid("resources can only be defined within a concrete component")
		return nil
	}
	s.resource = types.NewResource("")
	d.scope.local[s.resource] = true
	d.add(s)
	return resourceDef(s.resource)
}

// declarations reads a component or instance type.
func (d *decoder) declarations(kind scopeKind) *typeDef {
	item := d.item
	if !d.enter(kind) {
		return nil
	}
	d.vector("declarations", 2, d.declaration)
	s := d.leave()
	d.item = item
	if d.err != nil {
		return nil
	}
	if kind == inInstanceType {
		return instanceDef(&instanceType{exports: s.exports.externs, defined: s.defined})
	}
	return componentDef(&componentType{imports: s.imports.externs, exports: s.exports.externs, imported: s.imported, defined: s.defined})
}

func (d *decoder) declaration() {
	switch b := d.byte(); b {
	case 0:
		d.defineCoreType(d.coreType(true))
	case 1:
		d.define(extern{sort: SortType, def: d.deftype()})
	case 2:
		d.alias()
	case 3:
		if d.scope.kind != inComponentType {
			d.wrong(b, "a declaration of an instance type")
			return
		}
		name := d.externName()
		e := d.externType(name.name, true)
		if d.err == nil {
			d.declare(d.scope.imports, name, e, true)
			d.define(e)
		}
	case 4:
		name := d.externName()
		e := d.externType(name.name, false)
		if d.err == nil {
			d.declare(d.scope.exports, name, e, d.scope.kind == inComponentType)
			d.define(e)
		}
	default:
		if d.err == nil {
			d.wrong(b, "a declaration")
		}
	}
}

func (d *decoder) defineCoreType(t coreTypeDef) {
	d.count1()
	d.scope.coreTypes = append(d.scope.coreTypes, t)
}

// coreType reads one core type definition; modules says whether it may be a module type.
func (d *decoder) coreType(modules bool) coreTypeDef {
	d.charge(defBytes)
	switch b := d.byte(); b {
	case 0x60:
		return coreTypeDef{fn: d.coreFuncType()}
	case 0x50:
		if !modules {
			d.invalid("a module type in a module type")
			return coreTypeDef{}
		}
		return coreTypeDef{module: d.moduleType()}
	case 0x4e, 0x4f, 0x00, 0x5e, 0x5f:
		d.refuse(Unsupported, d.at-1, "the component uses recursive or aggregate core types (garbage collection), which are not offered")
	default:
		if d.err == nil {
			d.wrong(b, "a core type")
		}
	}
	return coreTypeDef{}
}

// moduleType reads the declarations of a core module type, which begin with no types.
func (d *decoder) moduleType() *moduleType {
	m := &moduleType{exports: map[string]coreExtern{}}
	var local []coreTypeDef
	function := func(i uint32) *CoreFuncType {
		t, ok := index(d, local, coreSortType, i)
		if ok && t.fn == nil {
			d.invalid("core type index %d is not a function type", i)
		}
		return t.fn
	}
	seen := map[[2]string]bool{}
	d.each("declarations of a module type", 2, func() {
		switch b := d.byte(); b {
		case 0:
			i := coreImport{module: d.string("a module's name"), name: d.string("an import's name")}
			i.extern = d.coreExternType(function)
			if !d.charge(2*(len(i.module)+len(i.name)) + coreImportBytes) {
				return
			}
			key := [2]string{i.module, i.name}
			if seen[key] {
				d.invalid("duplicate import name `%s:%s`", i.module, i.name)
			}
			seen[key] = true
			m.imports = append(m.imports, i)
		case 1:
			d.count1()
			local = append(local, d.coreType(false))
		case 2:
			d.count1()
			local = append(local, d.outerCoreType())
		case 3:
			name := d.string("an export's name")
			e := d.coreExternType(function)
			if !d.charge(len(name) + coreExportBytes) {
				return
			}
			if _, twice := m.exports[name]; twice {
				d.invalid("export name `%s` already defined", name)
			}
			m.exports[name] = e
		default:
			if d.err == nil {
				d.wrong(b, "a declaration of a module type")
			}
		}
	})
	return m
}

// outerCoreType reads an alias in a module type: of a core type further out, the module type itself being scope 0.
func (d *decoder) outerCoreType() coreTypeDef {
	d.expect(byte(coreSortType), "the sort of an alias in a module type")
	d.expect(1, "the form of an alias in a module type")
	count, i := d.u32(), d.index()
	if d.err != nil {
		return coreTypeDef{}
	}
	if count == 0 {
		d.invalid("an alias in a module type of its own core type %d", i)
		return coreTypeDef{}
	}
	s := d.scopeAt(count - 1)
	if s == nil {
		return coreTypeDef{}
	}
	t, ok := index(d, s.coreTypes, coreSortType, i)
	if ok && t.fn == nil {
		d.invalid("core type index %d is not a function type", i)
	}
	return t
}
