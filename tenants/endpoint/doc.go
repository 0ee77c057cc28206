// Package endpoint knows how to reach a Redis: a single server, the master that Sentinels name, or a cluster. It reads URLs and Configs, dials, does
// TLS and authentication, and hands out one authenticated socket for a subscriber or one pooled client for commands; it watches which master
// and which owners of slots are in force. It is the only place that builds go-redis options.
//
//	Parse, New ──► Options ──► Subscriber, ShardSubscriber   a socket that the caller reads itself
//	                       ├─► Client                        commands
//	                       └─► Watch, Slots                  who is master, who serves which slot
//
// It refuses Unix sockets, because the address comes from tenants as well as operators and a path reaches past every rule about networks: a
// server for this machine alone listens on loopback. URLs cannot name files, turn verification off or take the bounds away; a Config, which an
// operator writes, can do the latter two, within bounds and with a warning. A password leaves this package towards the server alone: no
// String, error or log line holds it.
package endpoint
