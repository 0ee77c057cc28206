// Package redistest gives tests real Redis servers on free loopback ports, an embedded one, servers with TLS, and links that can be cut or
// made half-open. Everything ends with the test that asked for it. It imitates nothing: a test that needs a Redis gets a Redis.
package redistest
