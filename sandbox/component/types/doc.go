// Package types holds the value and function types of the WebAssembly component model, with the layout that the canonical ABI gives them.
//
// A Table makes types and shares them: asked twice for the same type it answers the same *Type, so within one table types are equal exactly
// when their pointers are, and whatever is compiled for a type can be kept in a map under it. Types never change; any number of goroutines
// may read them. A Table itself belongs to one goroutine.
//
// Alignment, size, offsets, discriminants and flat forms are worked out once, when a type is made, so that reading them costs nothing. They are
// those of 32-bit memories.
//
// # Resources
//
// A *Resource is the identity of a resource type, and two resource types are the same exactly when the pointers are. The types of one
// component's text speak of abstract resources: what it imports, or defines once for each time it is instantiated. Who works out what is
// instantiated with what makes a new Resource for each definition in each instance, takes what is imported from where it comes, and puts
// them into the types with Substitute. That happens when a program is loaded, so at run time no type is abstract: an own or borrow type names the
// identity that a handle's table entry must carry, and one comparison of pointers tells. A handle table belongs to one instance of
// a program, so instances of the same program may share the identities.
//
// Source: WebAssembly/component-model, design/mvp: Explainer.md (Type Definitions) and CanonicalABI.md (Alignment, Element Size, Flattening).
package types
