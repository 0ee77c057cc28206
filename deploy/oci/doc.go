// Package oci takes applications from OCI registries, by references that are pinned to a digest, in two layouts: Spin's own, which holds a whole
// application, and the CNCF's (https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/), which holds one component and no manifest.
//
// Everything is bounded before it is read and verified by its digest. It refuses tags, which may mean something else tomorrow, registries that
// the operator has not named, and archives of files, which Spin makes of applications with very many.
package oci
