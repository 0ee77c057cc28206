// Package vault reads variables and Redis credentials from a HashiCorp Vault server, and keeps them in force.
//
//	New ──► Client ──► Run            signs in, renews its token, signs in again; carries out the agenda
//	              ├─► KV ──► Provider  variables, from a cache that is refreshed ahead
//	              └─► Credential       user and password of a Redis: from KV, a static or a dynamic role
//
// All that the package asks for again and again stands in one agenda ordered by time; a few workers carry it out, at Config.Rate requests per
// second on average. While Vault is sealed or does not answer, one request at a time is sent, with growing pauses, so that nothing is overrun
// when it comes back. Who has no value yet and waits goes before the agenda, at ten times that rate at most.
//
// What was read is kept while Vault is away: a variable for Config.Stale, a credential until its lease ends. Errors name path, field, capability
// and the policy line that would help; they hold no value.
package vault
