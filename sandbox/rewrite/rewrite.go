// Package rewrite turns a guest's module into one that tenloom can stop, meter and reset, in one pass over its bytes when it is deployed.
//
// It owns the decoder: the bounds that hold before anything else sees a module, the counting of fuel, the names under which a host finds what
// a module keeps to itself, and the verdict whether an instance can be reset. It refuses what it does not understand, by the proposal's name,
// and never guesses. It knows no tenants and no runtime; whether a module's types fit is for the runtime to validate, in the rewritten form:
// a module that is valid is valid afterwards, one that is not stays so.
//
// Fuel is an i64 global. Each function entry takes from it what the code outside of loops costs, each turn of a loop what the code directly
// in it costs: one unit for an instruction, which is an upper bound where a branch leaves some out. Where little is left, or nothing, the
// module calls the host's refuel function, which adds what is owed and a slice, or panics. What was given less what is left is what was used:
// the same run uses the same, however it was sliced. A trap may lose what a function counted since it last looked: at most a slice.
package rewrite

import (
	"cmp"
	"fmt"
)

// Version names what Module makes of a module: part of the key under which its results are kept.
const Version = 3

// prefix begins the names that the rewriter adds and no module may use.
const prefix = "__tl_"

const (
	fuelName   = prefix + "fuel"
	initName   = prefix + "init"
	globalName = prefix + "g"
)

// Options say how a module is rewritten. They too belong to the key of its result.
type Options struct {
	Limits       Limits
	RefuelModule string // where the refuel function is imported from, type () -> (); default "tenloom". No module may import from it
	RefuelName   string // default "refuel"
	TailCalls    bool   // let tail calls pass, for a runtime that has them enabled
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.withDefaults()
	o.RefuelModule = cmp.Or(o.RefuelModule, "tenloom")
	o.RefuelName = cmp.Or(o.RefuelName, "refuel")
	return o
}

// Fingerprint names what Module makes of a module under these options: it differs where the result may. Together with a module's digest it is
// the key under which a result may be kept.
func (o Options) Fingerprint() string { return fmt.Sprintf("%d %+v", Version, o.withDefaults()) }

// Report is what the host needs to know of a rewritten module.
type Report struct {
	Version int

	// Fuel is the export of the mutable i64 global that holds the fuel, in units. It starts at 0, so that what nobody armed asks for fuel at
	// once. It runs below 0 by what was charged in one step: refuel is to leave it above 0.
	Fuel string

	// Init is the export of a function () -> () that does what instantiating the original would have done after the tables were filled: copy
	// the active data segments, then run the start function. "" where there is nothing to do.
	Init  string
	Start bool // the original has a start function

	// Globals are the exports of all mutable globals that the module defines, by index. Those and the memory are what an invocation changes.
	Globals []string

	// Resettable says that memory and Globals are all that an invocation changes in an instance; Why is the first reason it is not.
	Resettable bool
	Why        string

	// Linked says that of an instance whose imported memory, tables and mutable globals belong to modules that are reset with it.
	Linked    bool
	WhyLinked string

	Foreign              []Import // imports that are not functions, in their order
	Tables               []Table  // imported ones first; as the original declares them
	MemoryMin, MemoryMax uint64   // pages of 64 KiB of the memory, imported or not; both 0 where there is none
	Functions, Metered   int      // functions that are not imported; those of them that charge for themselves
}

// Import is one import.
type Import struct{ Module, Name, Kind string }

// Table is the declaration of one table.
type Table struct {
	Minimum, Maximum uint64 // entries
	Bounded          bool   // a maximum is declared
	Grown            bool   // some instruction grows it
}

// Module holds wasm against the limits and rewrites it. The error is an *Error. Time is linear in the bytes given; memory too, at most some
// Limits.Growth times as much.
func Module(wasm []byte, o Options) ([]byte, Report, error) {
	o = o.withDefaults()
	m, err := survey(wasm, o)
	if err != nil {
		return nil, Report{}, err
	}
	w := newWriter(m)
	out, err := w.write()
	if err != nil {
		return nil, Report{}, err
	}
	return out, w.report(), nil
}
