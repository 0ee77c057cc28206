package telemetry

import (
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Stage is one part of what became of a Delivery, in the order of time. Stages may lie within others: a call within the handler.
type Stage struct {
	Name   string  `json:"name"`             // queued, instance, handler, a call's operation, settled
	At     float64 `json:"at_ms"`            // since the message was received
	Took   float64 `json:"ms"`               //
	Detail string  `json:"detail,omitempty"` // of the instance reset, warm or cold; of a call its server
	Failed bool    `json:"failed,omitempty"` // of a call
	Status int     `json:"status,omitempty"` // of a call by HTTP
	System string  `json:"system,omitempty"` // of a call: redis or http
	Within string  `json:"within,omitempty"` // the stage that it lies in
}

// stages makes them of a Record's times.
func (rec *Record) stages() []Stage {
	all := make([]Stage, 0, 4+len(rec.Calls))
	all = append(all, Stage{Name: "queued", Took: milliseconds(rec.Waited)})
	if rec.Invocation == (tenants.InvocationID{}) {
		return all
	}
	at := rec.Waited
	all = append(all, Stage{Name: "instance", At: milliseconds(at), Took: milliseconds(rec.Started), Detail: rec.Instance.String()})
	at += rec.Started
	all = append(all, Stage{Name: "handler", At: milliseconds(at), Took: milliseconds(rec.Ran - rec.Started)})
	for i := range rec.Calls {
		c := &rec.Calls[i]
		all = append(all, Stage{
			Name: c.Operation, At: milliseconds(c.Began.Sub(rec.Received)), Took: milliseconds(c.Took), Detail: c.Server, Failed: c.Failed,
			Status: c.Status, System: c.System, Within: "handler",
		})
	}
	if rec.Settled > 0 {
		all = append(all, Stage{Name: "settled", At: milliseconds(rec.Waited + rec.Ran), Took: milliseconds(rec.Settled)})
	}
	return all
}

// began is when the handler's turn came.
func (rec *Record) began() time.Time { return rec.Received.Add(rec.Waited) }
