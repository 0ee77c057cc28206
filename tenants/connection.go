package tenants

import (
	"net/url"
	"time"
)

// Connection is a tenant's own Redis server or cluster, and how to log in there. Triggers name it as their Endpoint.
type Connection struct {
	Tenant  ID        `json:"tenant"`
	Name    string    `json:"name"`    // unique within the tenant
	Address string    `json:"address"` // redis:// or rediss://, without user and password; at most 2 KiB
	Login   Sealed    `json:"-"`       // the sealed address with user and password; empty where none is needed
	Changed time.Time `json:"changed"`
	By      string    `json:"changed_by"`
}

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
	case u.Scheme != "redis" && u.Scheme != "rediss":
		c.add("/address", "invalid", "its scheme is neither redis nor rediss")
	case u.User != nil:
		c.add("/address", "invalid", "user and password are given apart, so that they are sealed")
	}
	c.count("/login", len(n.Login), 16<<10, "bytes")
	return c.err()
}
