// Package dapr runs Dapr's own conformance suite for output bindings (components-contrib tests/conformance/bindings) against tenloom, through an
// adapter that speaks HTTP. It is a module of its own, so that what Dapr depends on stays out of tenloom's.
package dapr
