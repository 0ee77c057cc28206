// Package outbound is the way out of the sandbox: which destinations a component may reach, which networks nobody may reach, and the
// Redis and HTTP clients that guests share.
//
// A request passes four gates, in this order:
//
//	address ─► Allowed (the manifest's list, by name) ─► Dialer (resolve once, drop blocked addresses) ─► Pool | http.Client (caps)
//
// The list is consulted by name and never asks DNS; the blocked networks are consulted on the addresses a name resolved to, and the
// connection goes to exactly the addresses that were checked. What is checked is also what is used: every text a guest gives is read
// once, by this package, and the rest of the way sees only the URL built from that reading.
//
// Only redis, rediss, http and https leave the sandbox. Unix sockets, relative URLs and proxies from the environment do not exist here.
// User names and passwords of addresses appear in no error.
//
// The package knows no tenants: a Gate, its Pool, its Dialer and its HTTP client belong to whoever builds them, one set per tenant.
package outbound
