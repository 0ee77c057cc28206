package tenants

import "time"

// TenantState says whether a tenant's triggers run and its resources may be changed.
type TenantState string

const (
	TenantActive    TenantState = "active"
	TenantSuspended TenantState = "suspended" // reads go on; nothing runs, nothing changes
	TenantDeleting  TenantState = "deleting"  // its resources are being removed; nothing may be added
)

// Tenant owns applications, and is what limits and bills are for. Its ID is its name.
type Tenant struct {
	ID      ID          `json:"name"`
	Title   string      `json:"title,omitempty"` // for people; at most 200 bytes
	State   TenantState `json:"state"`
	Reason  string      `json:"reason,omitempty"` // why it is in that state; at most 500 bytes
	Created time.Time   `json:"created"`
	Changed time.Time   `json:"changed"` // of State
}

// Check reports all faults as Faults.
func (t Tenant) Check() error {
	var c checker
	c.name("/name", string(t.ID))
	c.text("/title", t.Title, 200)
	oneOf(&c, "/state", t.State, TenantActive, TenantSuspended, TenantDeleting)
	c.text("/reason", t.Reason, 500)
	return c.err()
}
