// Package spin is Spin's host side for core modules on wazero and for components: outbound Redis, variables, key-value and outbound HTTP, in both
// generations of import names (shape A, wit-bindgen 0.2; shape B, the fermyon:spin packages, unversioned and 2.0.0, with wasi:config and
// wasi:keyvalue).
//
// The package owns the Canonical ABI of these imports: it lifts arguments out of guest memory, calls the host, and lowers results into
// memory that the guest's own allocator gave. It keeps what one invocation holds (handles, the allocator) in a Call. It refuses whatever
// the ABI does not allow with a *Trap, which ends the invocation, and it offers no other imports: Offered lists them.
//
// Rules that hold for every host function:
//
//   - Arguments are read and checked before anything happens outside: a bad pointer never leaves half an effect.
//   - Strings are UTF-8 in both shapes; anything else is a Trap, as in Spin, which lifts shape A through an adapter with the same rule.
//     Everything else in a string, CR and LF included, travels as it is: RESP counts lengths.
//   - A guest may not call these imports from within its allocator: that is a Trap, as the Canonical ABI has it.
//   - When ctx ends during a call, the guest is unwound with the cause of the ctx.
//
// Components get the same operations through canon (Interfaces), which owns their ABI and their handles: files named _component. Those of
// spin:redis@3.0.0 go on beside the guest where it calls them asynchronously. Stubs are what Spin has and this host has not.
//
// It knows no tenants: Host is plain values.
package spin
