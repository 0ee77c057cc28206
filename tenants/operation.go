package tenants

import (
	"encoding/json"
	"fmt"
	"time"
)

// OperationState is how far an Operation has come.
type OperationState string

const (
	OperationRunning   OperationState = "running"
	OperationDone      OperationState = "done"
	OperationFailed    OperationState = "failed"
	OperationCancelled OperationState = "cancelled"
)

var operationLife = life[OperationState]{OperationRunning: {OperationDone, OperationFailed, OperationCancelled}}

// Operation is work that goes on after its request was answered.
type Operation struct {
	ID      OperationID     `json:"id"`
	Tenant  ID              `json:"tenant"`
	App     AppName         `json:"app,omitempty"`
	Kind    string          `json:"kind"`             // such as "version.create", "deployment.create"
	Target  string          `json:"target,omitempty"` // id of what it makes or changes
	By      string          `json:"started_by"`
	State   OperationState  `json:"state"`
	Steps   []Step          `json:"steps"`             // at most 32
	Result  json.RawMessage `json:"result,omitempty"`  // of one that is done; at most 64 KiB
	Problem json.RawMessage `json:"problem,omitempty"` // of one that failed (RFC 9457); at most 64 KiB
	Started time.Time       `json:"started"`
	Ended   time.Time       `json:"ended,omitzero"`
}

// Check reports all faults as Faults.
func (o Operation) Check() error {
	var c checker
	checkID(&c, "/id", o.ID)
	c.name("/tenant", string(o.Tenant))
	if o.App != "" {
		c.name("/app", string(o.App))
	}
	c.required("/kind", o.Kind, 100)
	c.text("/target", o.Target, 255)
	subject(&c, "/started_by", o.By)
	oneOf(&c, "/state", o.State, OperationRunning, OperationDone, OperationFailed, OperationCancelled)
	c.count("/steps", len(o.Steps), maxSteps, "steps")
	c.count("/result", len(o.Result), 64<<10, "bytes")
	c.count("/problem", len(o.Problem), 64<<10, "bytes")
	return c.err()
}

// Note adds a step to an operation that runs.
func (o *Operation) Note(s Step) { o.Steps = enter(o.Steps, s) }

// End enters a final state, or says that the operation has ended before.
func (o *Operation) End(to OperationState, at time.Time) error {
	if err := operationLife.check(fmt.Sprintf("operation %s", o.ID), o.State, to); err != nil {
		return err
	}
	o.State, o.Ended = to, at
	o.Steps = enter(o.Steps, Step{State: string(to), At: at})
	return nil
}
