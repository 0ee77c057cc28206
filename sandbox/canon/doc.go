// Package canon is the Canonical ABI of the WebAssembly component model: how values, handles and calls cross between components and the host.
//
// It knows no WebAssembly runtime and no host. It asks for a Memory and a Function, which wazero's api.Memory and api.Function are, and has three
// parts. A Program holds what is worked out once for a component: its tree of component instances, its resources, and for each function type a
// short list of ops that a Reader or Writer walks, so that no type is looked at when a value passes. A Store is what one instance of it needs: the
// handle table, flags and tasks of each component instance. Lift, Lower and Return are canonical definitions in a Store.
//
// It has no streams, futures, error contexts and threads, and memories of 32 bits only.
//
// # Who calls what
//
// Whoever runs components makes a Program from the plan: NewProgram with the parents, Resource for each resource, Func for each function type. For
// each instance it makes a Store, and in it a Lift for each `canon lift` and a Lower, or NewLowerTo a Lift, for each `canon lower`. As the
// core instances come into being it fills in their Options, SetCore and SetDestructor; what is not there yet when it is needed traps. The core
// functions of canonical definitions find their Store in the context and call Lower.Call, Return.Call or the method of Instance that
// is named like the built-in, with the core values that they are called with.
//
// A synchronous call of an export is Lift.Call:
//
//  1. The component instance, with its ancestors that the caller is not inside of, is entered; it traps where one of them runs.
//  2. write gives the arguments to a Writer, which lowers them; each string and list, and the tuple of more than 16 flat values, comes from realloc.
//  3. The core function runs.
//  4. It traps where borrow handles of this call remain.
//  5. read takes the result from a Reader, and copies what it wants to keep.
//  6. Post-return runs with the core results, while the instance may not leave.
//  7. The instance is left.
//
// A synchronous call of an import is Lower.Call:
//
//  1. It traps where the caller may not leave: in a realloc or post-return.
//  2. The addresses of arguments and result in memory are checked.
//  3. The HostFunc reads its arguments: own handles leave the caller's table, borrow handles count as lent. Another component's function is called
//     instead where the Lower has one: what the Reader lifts on one side goes to a Writer on the other.
//  4. The HostFunc writes its result, which may run the caller's realloc.
//  5. Lent handles are given back, also where the call ends by a panic.
//
// An asynchronous Lower whose HostFunc has called Call.Defer, or whose callee waits, leaves a subtask in the caller's table. An asynchronous Lift
// gives its result through Return.Call, and its core function and callback say when they are over; Lift.Call runs the event loop until
// they are. A task that waits in the middle of its code (waitable-set.wait, or an async function that is lowered synchronously) stays on the
// stack meanwhile: the loop runs on top of it, and its caller goes on after it.
//
// # Errors
//
// What guest code may not do is a Trap. Between guest and host it is thrown as a panic, as the runtime expects it; Lift.Call gives it as an
// error. Whatever ends a call ends the Store: Err tells the first error, later calls trap, and the core instances are to be discarded. A HostFunc that
// passes other values than its type has throws a Misuse, which says what is passed and what is next: one call in a test finds it.
//
// Functions must not be on the stack twice, so a Lift or destructor that is entered while it runs asks for a fresh one; a realloc, post-return or
// callback is never entered while it runs.
//
// Source: WebAssembly/component-model, design/mvp/CanonicalABI.md and canonical-abi/definitions.py.
package canon
