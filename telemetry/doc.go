// Package telemetry keeps what happened: one Record for each Delivery becomes counts, an entry in the invocation history and whatever
// follows a published message; each line a guest prints becomes an entry of its tenant's log. It decides nothing and never blocks its callers
// on I/O other than the log files that the operator asked for.
package telemetry
