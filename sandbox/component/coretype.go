package component

import (
	"fmt"
	"slices"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// CoreSort is what a core definition is.
type CoreSort byte

// The core sorts, by their bytes in the binary format.
const (
	CoreFunc   CoreSort = 0
	CoreTable  CoreSort = 1
	CoreMemory CoreSort = 2
	CoreGlobal CoreSort = 3
	CoreTag    CoreSort = 4
)

func (s CoreSort) String() string {
	switch s {
	case CoreFunc:
		return "func"
	case CoreTable:
		return "table"
	case CoreMemory:
		return "memory"
	case CoreGlobal:
		return "global"
	case CoreTag:
		return "tag"
	case coreSortType:
		return "core type"
	case coreSortModule:
		return "core module"
	case coreSortInstance:
		return "core instance"
	}
	return fmt.Sprintf("core sort %#02x", byte(s))
}

const (
	coreSortType     CoreSort = 0x10
	coreSortModule   CoreSort = 0x11
	coreSortInstance CoreSort = 0x12
)

// CoreType is a core value type, by its byte in the binary format. Reference types beyond funcref and externref are not offered.
type CoreType = types.CoreType

// CoreFuncType is the type of a core function.
type CoreFuncType struct{ Params, Results []CoreType }

func (f *CoreFuncType) equal(o *CoreFuncType) bool {
	return slices.Equal(f.Params, o.Params) && slices.Equal(f.Results, o.Results)
}

func (f *CoreFuncType) String() string { return fmt.Sprintf("%v -> %v", f.Params, f.Results) }

// limits are those of a table or memory.
type limits struct {
	min, max uint64
	bounded  bool
	shared   bool
	wide     bool // 64-bit addresses
}

// match is import matching: what is there has at least as much, and cannot grow further.
func (l limits) match(wanted limits) bool {
	return l.min >= wanted.min && (!wanted.bounded || l.bounded && l.max <= wanted.max)
}

// coreExtern is the type of a core import or export.
type coreExtern struct {
	sort    CoreSort
	fn      *CoreFuncType // of a function or tag
	value   CoreType      // of a global, or a table's elements
	mutable bool
	limits  limits
}

// match says why a core definition cannot stand where another type is wanted, "" where it can.
func (e coreExtern) match(wanted coreExtern) string {
	if e.sort != wanted.sort {
		return fmt.Sprintf("expected %s, found %s", wanted.sort, e.sort)
	}
	switch e.sort {
	case CoreFunc, CoreTag:
		if !e.fn.equal(wanted.fn) {
			return fmt.Sprintf("expected: (%s) %s, found %s", e.sort, wanted.fn, e.fn)
		}
	case CoreTable:
		if e.value != wanted.value {
			return fmt.Sprintf("expected table element type %s, found %s", coreTypeName(wanted.value), coreTypeName(e.value))
		}
		if e.limits.wide != wanted.limits.wide || !e.limits.match(wanted.limits) {
			return "mismatch in table limits"
		}
	case CoreMemory:
		switch {
		case e.limits.shared != wanted.limits.shared:
			return "mismatch in the shared flag for memories"
		case e.limits.wide != wanted.limits.wide:
			return "mismatch in the address type of memories"
		case !e.limits.match(wanted.limits):
			return "mismatch in memory limits"
		}
	case CoreGlobal:
		if e.value != wanted.value || e.mutable != wanted.mutable {
			return fmt.Sprintf("expected global type %s, found %s", coreTypeName(wanted.value), coreTypeName(e.value))
		}
	}
	return ""
}

const (
	coreV128      CoreType = 0x7b
	coreFuncref   CoreType = 0x70
	coreExternref CoreType = 0x6f
	coreExnref    CoreType = 0x69
)

func coreTypeName(t CoreType) string {
	switch t {
	case coreV128:
		return "v128"
	case coreFuncref:
		return "funcref"
	case coreExternref:
		return "externref"
	case coreExnref:
		return "exnref"
	}
	return t.String()
}

// coreImport is one two-level import of a core module.
type coreImport struct {
	module, name string
	extern       coreExtern
}

// moduleType is what a core module imports and exports.
type moduleType struct {
	imports []coreImport
	exports map[string]coreExtern
}

// match says why a module cannot stand where another type is wanted, "" where it can: it may import less and export more.
func (m *moduleType) match(wanted *moduleType) string {
	offered := make(map[[2]string]coreExtern, len(wanted.imports))
	for _, i := range wanted.imports {
		offered[[2]string{i.module, i.name}] = i.extern
	}
	for _, i := range m.imports {
		o, ok := offered[[2]string{i.module, i.name}]
		if !ok {
			return fmt.Sprintf("missing expected import `%s::%s`", i.module, i.name)
		}
		if why := o.match(i.extern); why != "" {
			return fmt.Sprintf("type mismatch in import `%s::%s`: %s", i.module, i.name, why)
		}
	}
	for name, e := range wanted.exports {
		o, ok := m.exports[name]
		if !ok {
			return fmt.Sprintf("missing expected export `%s`", name)
		}
		if why := o.match(e); why != "" {
			return fmt.Sprintf("type mismatch in export `%s`: %s", name, why)
		}
	}
	return ""
}
