// Package wasi is WASI 0.2 for components: cli, clocks, filesystem, http, io, random and sockets, one file for each interface or pair of them.
//
// It offers every function of every interface from 0.2.0 to 0.2.12, because guests import what they never call. What a handler has no use for
// answers with the error that its interface has for that, and where no such error exists it traps with a text that says so:
//
//   - Standard input is empty, output goes to the System's writers, nothing is a terminal.
//   - Files are read-only: what would change one answers read-only.
//   - TCP and HTTP go out through the Gate of the invocation's spin.Call, held against its allow list and blocked networks, and are counted there.
//     There is no listening and no UDP.
//
// A function finds what belongs to its instance, a System, in the context that the guest was called with. What waits ends with that context, by a
// panic with its cause, and lets others compute meanwhile. What an instance holds (streams, sockets, requests) is closed when its handle is
// dropped, at the latest by canon's Store.Reset.
//
// Source: WebAssembly/WASI, proposals of 0.2.
package wasi
