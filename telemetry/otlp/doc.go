// Package otlp sends what telemetry knows to an OpenTelemetry collector: deliveries as traces, metrics, the server's and the handlers' log lines,
// over OTLP by gRPC or HTTP. It is told how by the standard OTEL_* variables of the environment alone, and does nothing at all, not even a
// goroutine, where none of them asks for it.
//
// Nobody waits for a collector. What cannot be sent in time is lost and counted.
package otlp
