package tenants

import (
	"fmt"
	"slices"
	"time"
)

// App is a deployable unit: one manifest, in many Versions.
type App struct {
	ID     AppID   `json:"id"`
	Tenant ID      `json:"tenant"`
	Name   AppName `json:"name"`

	// Generation counts what was asked of the app: deployments, pauses, changed variables. Who carries it out says which one it has seen.
	Generation int64 `json:"generation"`

	Paused         bool         `json:"paused,omitempty"` // none of its triggers is subscribed
	PausedReason   string       `json:"paused_reason,omitempty"`
	PausedTriggers []string     `json:"paused_triggers,omitempty"` // ids of single triggers that are paused; at most 100, sorted
	LastVersion    int          `json:"last_version"`              // number of the newest Version; 0 before the first
	Deployment     DeploymentID `json:"deployment,omitempty"`      // the newest one; "" before the first
	Deleting       bool         `json:"deleting,omitempty"`        // its resources are being removed; nothing may be added
	Created        time.Time    `json:"created"`
	CreatedBy      string       `json:"created_by"`
}

// Check reports all faults as Faults.
func (a App) Check() error {
	var c checker
	checkID(&c, "/id", a.ID)
	c.name("/tenant", string(a.Tenant))
	c.name("/name", string(a.Name))
	c.text("/paused_reason", a.PausedReason, 500)
	c.count("/paused_triggers", len(a.PausedTriggers), 100, "triggers")
	if !slices.IsSorted(a.PausedTriggers) {
		c.add("/paused_triggers", "invalid", "they must be sorted")
	}
	for i, id := range a.PausedTriggers {
		c.required(fmt.Sprintf("/paused_triggers/%d", i), id, 255)
	}
	c.between("/last_version", int64(a.LastVersion), 0, 1<<31)
	if a.Deployment != "" {
		checkID(&c, "/deployment", a.Deployment)
	}
	c.text("/created_by", a.CreatedBy, 255)
	return c.err()
}
