// Package endpoint knows how to reach a Redis server: it reads its URL, dials, does TLS and authentication, and hands out one authenticated
// socket for a subscriber or one pooled client for commands. It is the only place that builds go-redis options.
//
// It refuses Unix sockets, TLS without verification, and URL parameters that would take the bounds below away. A password leaves this
// package towards the server alone: no String, error or log line holds it.
package endpoint
