// Package component reads WebAssembly components and plans what an instance of one takes.
//
//	bytes ─ Decode ─► Component ─ Plan ─► Plan
//	                  (valid)     (offers) (modules, instances, functions of the host)
//
// Decode reads the binary format and validates it in one forward pass: a definition refers to earlier ones only. It owns the bounds that hold
// before anything else sees a component. What it does not understand it refuses by name and with its place, and never guesses. Core modules are
// read as far as linking needs them; whether their code is valid is for the runtime.
//
// Plan carries out what happens between components: it instantiates nested ones, follows aliases and takes bags of exports apart, so that a flat list
// is left: core modules whose imports name their true sources, core instances in their order, and the functions that the host provides. See Plan
// for what a runner does with it.
//
// The package knows no host and no runtime: what a host has is said in Offers, and a runner carries the plan out.
//
// Source: WebAssembly/component-model, design/mvp: Binary.md, Explainer.md and CanonicalABI.md. Of what they gate, async functions, maps and
// attributes of names are read; values, start functions, error-context, threads, nested namespaces, 64-bit and shared memories are refused.
package component
