package tenants

import (
	"fmt"
	"time"
)

// Role is what a Principal may do within one tenant; each may do what the one before it may. An operator is beside them: over all tenants.
type Role uint8

const (
	NoRole   Role = iota // not a member: the tenant does not exist for them
	Viewer               // reads, without secret values and with payloads masked
	Deployer             // also deploys, publishes, replays, sets variables
	Owner                // also members, tokens, connections, removal
)

var roleNames = []string{"none", "viewer", "deployer", "owner"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// MarshalText gives the name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the name.
func (r *Role) UnmarshalText(b []byte) error {
	for i, name := range roleNames {
		if name == string(b) {
			*r = Role(i)
			return nil
		}
	}
	return fmt.Errorf("role %.40q is not one of viewer, deployer, owner", b)
}

// Member is a person's Role in a tenant.
type Member struct {
	Tenant  ID        `json:"tenant"`
	Subject string    `json:"subject"` // whom sign-in names: an e-mail address or "issuer#subject"; at most 255 bytes
	Role    Role      `json:"role"`
	Added   time.Time `json:"added"`
	AddedBy string    `json:"added_by"`
}

// Check reports all faults as Faults.
func (m Member) Check() error {
	var c checker
	c.name("/tenant", string(m.Tenant))
	subject(&c, "/subject", m.Subject)
	c.between("/role", int64(m.Role), int64(Viewer), int64(Owner))
	c.text("/added_by", m.AddedBy, 255)
	return c.err()
}

// subject is one line, so that it can stand in a log, a header and an audit entry.
func subject(c *checker, pointer, s string) {
	c.required(pointer, s, 255)
	for _, r := range s {
		if r <= ' ' {
			c.add(pointer, "invalid", "it holds %U; a subject is one word", r)
			return
		}
	}
}
