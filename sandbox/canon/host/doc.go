// Package host holds what a host offers to components: interfaces with their functions, types and resources.
//
// Packages that implement interfaces say what they have as Interfaces, and New makes one Registry of all of them, which never changes and serves
// every instance of every component. A function finds what it needs of one invocation in the context that the guest was called with,
// canon.Call.Context, under a key of its package.
//
// Whoever runs components gives Offers to component.Component.Plan, so that a component that asks for something else, or for a function of another
// type, is refused before it runs; and takes the functions behind a plan's HostFunc, and what dropping its Resources does, from Func and Drop.
package host
