package component

import "cmp"

// Limits are the bounds that a component is held against before anything is allocated for it. A field of 0 means its default.
type Limits struct {
	Nesting     int   // components in components, and types in types' declarations: 100
	Definitions int   // entries of all index spaces together: 1,000,000
	Modules     int   // core modules, those of nested components included: 100
	Name        int   // bytes of one name: 100,000
	Memory      int64 // bytes allocated for definitions and types: 4 MiB, and four for each byte of the component
	Instances   int   // core instances of the plan: 1,000
	Components  int   // component instances of the plan: 1,000
	Effects     int   // steps of the plan: 100,000
	TypeDepth   int   // levels of a value type: 100
	TypeNodes   int   // parts of a value type: 100,000
}

func (l Limits) withDefaults(bytes int) Limits {
	return Limits{
		Nesting:     min(cmp.Or(l.Nesting, 100), 1000),
		Definitions: cmp.Or(l.Definitions, 1_000_000),
		Modules:     cmp.Or(l.Modules, 100),
		Name:        cmp.Or(l.Name, 100_000),
		Memory:      cmp.Or(l.Memory, 4<<20+4*int64(bytes)),
		Instances:   cmp.Or(l.Instances, 1000),
		Components:  cmp.Or(l.Components, 1000),
		Effects:     cmp.Or(l.Effects, 100_000),
		TypeDepth:   cmp.Or(l.TypeDepth, 100),
		TypeNodes:   cmp.Or(l.TypeNodes, 100_000),
	}
}

// Features turns on parts of the component model that are off by default. What is on and cannot be run is refused by the plan instead.
type Features struct {
	FixedLists bool // fixed-length lists
	Stackful   bool // lifting async without a callback
}
