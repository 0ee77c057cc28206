package api

import (
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// wrap puts a message that has a trace context into an envelope that takes it along. Where deliveries are traced, that is the publishing's own
// span, below the caller's.
func (s *server) wrap(tenant tenants.ID, m *message, now time.Time) (trace telemetry.Trace) {
	if m.parent == "" {
		return trace
	}
	given := m.parent
	if t := s.Recorder.Tracer(); t != nil {
		parent, _ := telemetry.ParseTraceparent([]byte(m.parent)) // checked
		trace = t.Under(parent)
		given = trace.Traceparent(trace.Span)
	}
	e := telemetry.Envelope{ID: string(tenants.NewID[tenants.RequestID](now)), Source: "/" + string(tenant), Time: now, Traceparent: given}
	m.payload = e.Wrap(m.payload)
	return trace
}

// published traces a message that was published.
func (s *server) published(trace telemetry.Trace, tenant tenants.ID, on tenants.EndpointID, m message, id tenants.MessageID, began time.Time, err error) {
	t := s.Recorder.Tracer()
	if t == nil || !trace.On() {
		return
	}
	p := telemetry.TracedPublish{Tenant: tenant, Endpoint: on, Channel: clip(m.to.Name), Message: id, Bytes: len(m.payload), Began: began, Ended: time.Now()}
	if err != nil {
		p.Err = err.Error()
	}
	t.Published(trace, p)
}
