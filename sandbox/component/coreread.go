package component

// Reading what core modules and core types have in common.

func (r *reader) coreValueType() CoreType {
	b := r.byte()
	switch t := CoreType(b); t {
	case 0x7f, 0x7e, 0x7d, 0x7c, coreV128, coreFuncref, coreExternref, coreExnref:
		return t
	case 0x63, 0x64, 0x6e, 0x6d, 0x6c, 0x6b, 0x6a, 0x71, 0x72, 0x73, 0x74:
		r.refuse(Unsupported, r.at-1, "a core module uses typed references (function references, garbage collection), which are not offered")
	default:
		if r.err == nil {
			r.wrong(b, "a core value type")
		}
	}
	return 0
}

func (r *reader) coreFuncType() *CoreFuncType {
	read := func(what string) []CoreType {
		n := r.count(what, 1)
		if n > 1000 {
			r.limit("a core function type of %d %s, at most 1000 are allowed", n, what)
			return nil
		}
		all := make([]CoreType, 0, min(n, 1000))
		for range n {
			all = append(all, r.coreValueType())
		}
		return all
	}
	params := read("parameters")
	return &CoreFuncType{Params: params, Results: read("results")}
}

func (r *reader) coreLimits(what string, most uint64) limits {
	b := r.byte()
	if b > 7 {
		r.wrong(b, "the limits of a "+what)
		return limits{}
	}
	l := limits{bounded: b&1 != 0, shared: b&2 != 0, wide: b&4 != 0}
	bits := 32
	if l.wide {
		bits, most = 64, 1<<48
	}
	l.min = r.uint(bits)
	if l.bounded {
		l.max = r.uint(bits)
	}
	if l.min > most || l.max > most {
		r.invalid("%s size must be at most %d", what, most)
	}
	if l.bounded && l.min > l.max {
		r.invalid("the minimum size of a %s is above its maximum", what)
	}
	return l
}

func (r *reader) coreTable() coreExtern {
	at := r.at
	if b := r.byte(); b == 0x40 {
		r.refuse(Unsupported, at, "a core module has a table with an initial value (function references), which is not offered")
		return coreExtern{}
	}
	r.at = at
	t := r.coreValueType()
	return coreExtern{sort: CoreTable, value: t, limits: r.coreLimits("table", 1<<32-1)}
}

func (r *reader) coreMemory() coreExtern {
	return coreExtern{sort: CoreMemory, limits: r.coreLimits("memory", 1<<16)}
}

func (r *reader) coreGlobal() coreExtern {
	t := r.coreValueType()
	return coreExtern{sort: CoreGlobal, value: t, mutable: r.flag("the mutability of a global")}
}

// coreExternType reads the type of a core import, or of an export in a module type.
func (r *reader) coreExternType(functions func(index uint32) *CoreFuncType) coreExtern {
	b := r.byte()
	switch CoreSort(b) {
	case CoreFunc:
		return coreExtern{sort: CoreFunc, fn: functions(r.u32())}
	case CoreTable:
		return r.coreTable()
	case CoreMemory:
		return r.coreMemory()
	case CoreGlobal:
		return r.coreGlobal()
	case CoreTag:
		r.expect(0, "the attribute of a tag")
		return coreExtern{sort: CoreTag, fn: functions(r.u32())}
	}
	r.wrong(b, "a core import or export")
	return coreExtern{}
}
