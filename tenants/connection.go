package tenants

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Connection is a tenant's own Redis server or cluster, and how to log in there. Triggers name it as their Endpoint.
type Connection struct {
	Tenant  ID        `json:"tenant"`
	Name    string    `json:"name"`             // unique within the tenant
	Address string    `json:"address"`          // as tenants/endpoint reads it, without user and password; at most 2 KiB
	CA      string    `json:"ca,omitempty"`     // authorities to hold the server's certificate against, PEM, at most 32 KiB; "" means those of the system
	Login   Sealed    `json:"-"`                // the sealed address with user and password; empty where none is needed
	Vault   bool      `json:"vault,omitempty"`  // user and password come from the platform's Vault, where the operator's rule has them for this name
	Tuning  *Tuning   `json:"tuning,omitempty"` // what a component file says beside; nil for nothing
	Keys    Sealed    `json:"-"`                // the sealed LoginKeys as JSON; empty where there are none
	Changed time.Time `json:"changed"`
	By      string    `json:"changed_by"`
}

// LoginKeys are the secrets of a Connection that are not its user and password.
type LoginKeys struct {
	SentinelUser     string `json:"sentinel_user,omitempty"`
	SentinelPassword string `json:"sentinel_password,omitempty"`
	ClientKey        string `json:"client_key,omitempty"` // of the Tuning's Certificate, PEM
}

var connectionSchemes = []string{"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}

// Check reports all faults as Faults. No fault repeats the address, which may hold a password by mistake.
func (n Connection) Check() error {
	var c checker
	c.name("/tenant", string(n.Tenant))
	c.name("/name", n.Name)
	c.count("/address", len(n.Address), 2<<10, "bytes")
	u, err := url.Parse(n.Address)
	switch {
	case err != nil || u.Host == "":
		c.add("/address", "invalid", "it is no URL; write redis://host[:port][/db], or rediss:// for TLS")
	case !slices.Contains(connectionSchemes, u.Scheme):
		c.add("/address", "invalid", "its scheme is neither redis nor rediss")
	case u.User != nil:
		c.add("/address", "invalid", "user and password are given apart, so that they are sealed")
	case strings.Contains(strings.ToLower(u.RawQuery), "password"):
		c.add("/address", "invalid", "a password has no place in it, where everybody sees it; Sentinels have to take questions without one")
	case n.CA != "" && !strings.HasPrefix(u.Scheme, "rediss"):
		c.add("/ca", "invalid", "the address is not TLS, and an authority is given for it; write rediss://")
	}
	c.count("/ca", len(n.CA), 32<<10, "bytes")
	c.count("/login", len(n.Login), 16<<10, "bytes")
	c.count("/keys", len(n.Keys), 48<<10, "bytes")
	if n.Vault && len(n.Login) > 0 {
		c.add("/vault", "invalid", "user and password come from Vault, and others are given beside; leave one out")
	}
	if n.Tuning != nil {
		n.Tuning.check(&c)
	}
	return c.err()
}
