// Package sandbox runs guests: it compiles a WebAssembly module once per digest, binds it to what one tenant's component may do, and runs
// it on one message at a time in an instance of its own, within a memory cap, a deadline and a bound on its output.
//
//	Runtime ─ Compile ─► Program ─ Bind ─► Component ─ Invoke ─► Result
//	(process)            (digest)          (tenant's)  (message)
//
// It runs core modules of two shapes: A, with the wit-bindgen 0.2 ABI, and B, with the core names of fermyon:spin's interfaces. What a guest
// may import is WASI preview 1 and what package spin offers; everything else is refused when the module is compiled, and so is a module
// whose declared sizes are out of proportion. `_initialize` runs once in each instance, `_start` never.
//
// It refuses to know what a message is for: triggers, queues, retries and records are other rooms' work, and so are the tenant's
// allow lists and stores, which arrive ready made in a Binding.
package sandbox
