// Package scheduler is the hallway that a message walks through, from the socket to the handler's end:
//
//	hub     reads frames from Redis; never blocks, never calls a guest
//	routes  says which triggers a frame wakes; an immutable table, swapped whole
//	admit   the one place that says no, before memory is spent
//	queue   keeps what waits, in two levels of weighted deficit round robin: tenants, then triggers
//	worker  takes a slot, then a run of deliveries of one trigger, and hands each to the trigger's Invoker
//
// Every Delivery ends in telemetry's Account.Record exactly once, so that at any time
//
//	received = the sum of outcomes + queued + in flight
//
// Read scheduler.go first, then the files in the order above. The package knows neither Wasm nor go-redis: it is given sockets by
// Endpoint.Dial and handlers by Invoker.
package scheduler
