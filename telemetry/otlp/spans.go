package otlp

import (
	"net"
	"strconv"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// maker makes the messages of one batch. What a batch has hundreds of it takes from slabs, since each would be three objects of its own.
type maker struct {
	texts   []textSlot
	numbers []numberSlot
	spans   []spanSlot
}

type textSlot struct {
	kv    common.KeyValue
	any   common.AnyValue
	value common.AnyValue_StringValue
}

type numberSlot struct {
	kv    common.KeyValue
	any   common.AnyValue
	value common.AnyValue_IntValue
}

type spanSlot struct {
	span pb.Span
	ids  [32]byte // trace, span, parent
}

// slab is how many are made at once.
const slab = 128

// slot takes the next of a slab.
func slot[T any](all *[]T) *T {
	if len(*all) == 0 {
		*all = make([]T, slab)
	}
	one := &(*all)[0]
	*all = (*all)[1:]
	return one
}

// attributes are made for one span. Names are those of semantic conventions 1.43; redis is a value of messaging.system that these leave to us.
type attributes struct {
	*maker
	all []*common.KeyValue
}

func (m *maker) attributes(room int) attributes {
	return attributes{m, make([]*common.KeyValue, 0, room)}
}

func (a *attributes) text(key, value string) {
	if value == "" {
		return
	}
	s := slot(&a.texts)
	s.value.StringValue = value
	s.any.Value = &s.value
	s.kv.Key, s.kv.Value = key, &s.any
	a.all = append(a.all, &s.kv)
}

func (a *attributes) number(key string, value int64) {
	s := slot(&a.numbers)
	s.value.IntValue = value
	s.any.Value = &s.value
	s.kv.Key, s.kv.Value = key, &s.any
	a.all = append(a.all, &s.kv)
}

func (a *attributes) truth(key string, value bool) {
	a.all = append(a.all, &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: value}}})
}

// server adds where a call went.
func (a *attributes) server(address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		a.text("server.address", address)
		return
	}
	a.text("server.address", host)
	if n, err := strconv.Atoi(port); err == nil {
		a.number("server.port", int64(n))
	}
}

// W3C trace flags, as spans carry them.
const sampledFlag = 1

// add appends what a record becomes.
func (m *maker) add(all []*pb.Span, t *telemetry.Traced) []*pb.Span {
	switch {
	case t.Gap != nil:
		return append(all, m.gap(t.Gap))
	case t.Publish != nil:
		return append(all, m.publish(t))
	}
	return m.delivery(all, t)
}

func (m *maker) span(trace *telemetry.Trace, id, parent telemetry.SpanID, kind pb.Span_SpanKind, name string, from, to time.Time) *pb.Span {
	slot := slot(&m.spans)
	copy(slot.ids[:16], trace.ID[:])
	copy(slot.ids[16:24], id[:])
	copy(slot.ids[24:], parent[:])
	s := &slot.span
	s.TraceId, s.SpanId, s.Flags, s.Kind, s.Name = slot.ids[:16:16], slot.ids[16:24:24], sampledFlag, kind, name
	s.StartTimeUnixNano, s.EndTimeUnixNano = uint64(from.UnixNano()), uint64(to.UnixNano())
	if parent != (telemetry.SpanID{}) {
		s.ParentSpanId = slot.ids[24:]
	}
	return s
}

// delivery is one for the processing of the message, and below it one for each stage.
func (m *maker) delivery(all []*pb.Span, t *telemetry.Traced) []*pb.Span {
	trigger, trace := t.Trigger, &t.Trace
	began := t.Received.Add(t.Waited)
	ended := began.Add(t.Ran)
	root := m.span(trace, trace.Span, trace.Parent, pb.Span_SPAN_KIND_CONSUMER, "process "+trigger.Target.Name, t.Received, ended.Add(t.Settled))
	root.Attributes = m.deliveryAttributes(t)
	root.Status = statusOf(t)
	root.Events = []*pb.Span_Event{{TimeUnixNano: uint64(t.Received.UnixNano()), Name: "received"}}
	if trace.LinkTrace != (telemetry.TraceID{}) {
		root.Links = []*pb.Span_Link{{TraceId: append([]byte(nil), trace.LinkTrace[:]...), SpanId: append([]byte(nil), trace.LinkSpan[:]...)}}
	}
	queued := m.span(trace, telemetry.NewSpanID(), trace.Span, pb.Span_SPAN_KIND_INTERNAL, "queued", t.Received, began)
	all = append(all, root, queued)
	if t.Invocation == (tenants.InvocationID{}) {
		root.Events = append(root.Events, &pb.Span_Event{TimeUnixNano: uint64(began.UnixNano()), Name: "refused"})
		return all
	}
	root.Events = append(root.Events, &pb.Span_Event{TimeUnixNano: uint64(t.Received.UnixNano()), Name: "admitted"})
	if t.Instance != telemetry.NoInstance {
		all = append(all, m.span(trace, telemetry.NewSpanID(), trace.Span, pb.Span_SPAN_KIND_INTERNAL, "instance "+t.Instance.String(), began, began.Add(t.Started)))
	}
	handler := m.span(trace, telemetry.NewSpanID(), trace.Span, pb.Span_SPAN_KIND_INTERNAL, "handle "+string(trigger.Component), began.Add(t.Started), ended)
	all = append(all, handler)
	for i := range t.Calls {
		all = append(all, m.call(trace, handler.SpanId, &t.Calls[i]))
	}
	if t.Settled > 0 {
		settled := m.span(trace, telemetry.NewSpanID(), trace.Span, pb.Span_SPAN_KIND_CLIENT, "settle "+trigger.Target.Name, ended, ended.Add(t.Settled))
		a := m.attributes(3)
		a.text("messaging.system", "redis")
		a.text("messaging.operation.name", "xack")
		a.text("messaging.operation.type", "settle")
		settled.Attributes = a.all
		all = append(all, settled)
	}
	return all
}

func (m *maker) deliveryAttributes(t *telemetry.Traced) []*common.KeyValue {
	trigger := t.Trigger
	a := m.attributes(24)
	a.text("messaging.system", "redis")
	a.text("messaging.operation.name", "process")
	a.text("messaging.operation.type", "process")
	a.text("messaging.destination.name", t.Channel)
	if trigger.Target.Kind == tenants.Pattern {
		a.text("messaging.destination.template", trigger.Target.Name)
	}
	a.text("messaging.message.id", t.Message.String())
	a.number("messaging.message.body.size", int64(t.Bytes))
	a.text("faas.trigger", "pubsub")
	a.text("faas.name", string(trigger.App)+"/"+string(trigger.Component))
	a.text("faas.version", string(trigger.Version))
	a.text("tenloom.tenant", string(trigger.Tenant))
	a.text("tenloom.app", string(trigger.App))
	a.text("tenloom.component", string(trigger.Component))
	a.text("tenloom.endpoint", string(trigger.Endpoint))
	a.text("tenloom.outcome", t.Outcome.String())
	a.text("tenloom.reason", t.Reason.String())
	if t.Outcome != tenants.Handled {
		a.text("error.type", t.Outcome.String())
	}
	if t.Invocation == (tenants.InvocationID{}) {
		return a.all
	}
	a.text("faas.invocation_id", t.Invocation.String())
	a.truth("faas.coldstart", t.Instance == telemetry.Cold)
	a.text("tenloom.instance", t.Instance.String())
	a.number("tenloom.attempt", int64(max(t.Attempt, 1)))
	a.number("tenloom.fuel", int64(t.Fuel))
	a.number("tenloom.memory", int64(t.Memory))
	return a.all
}

// statusOf is an error for all that was not handled; what was stays unset, as the specification asks of those who are not the application.
func statusOf(t *telemetry.Traced) *pb.Status {
	if t.Outcome == tenants.Handled {
		return nil
	}
	why := t.Err
	if why == "" {
		why = t.Outcome.String()
		if t.Reason != tenants.NoReason {
			why += ": " + t.Reason.String()
		}
	}
	return &pb.Status{Code: pb.Status_STATUS_CODE_ERROR, Message: why}
}

// call is a call to a server: where it went and how it ended, never keys or values.
func (m *maker) call(trace *telemetry.Trace, parent []byte, c *telemetry.Call) *pb.Span {
	id := c.Span
	if id == (telemetry.SpanID{}) {
		id = telemetry.NewSpanID()
	}
	s := m.span(trace, id, telemetry.SpanID(parent), pb.Span_SPAN_KIND_CLIENT, c.Operation, c.Began, c.Began.Add(c.Took))
	a := m.attributes(6)
	switch {
	case c.System == telemetry.HTTP.String():
		a.text("http.request.method", c.Operation)
		if c.Status > 0 {
			a.number("http.response.status_code", int64(c.Status))
		}
	case c.Operation == "PUBLISH":
		s.Kind = pb.Span_SPAN_KIND_PRODUCER
		a.text("messaging.system", "redis")
		a.text("messaging.operation.name", "publish")
		a.text("messaging.operation.type", "send")
	default:
		a.text("db.system.name", "redis")
		a.text("db.operation.name", c.Operation)
	}
	a.server(c.Server)
	if c.Failed {
		kind := "_OTHER"
		if c.Status > 0 {
			kind = strconv.Itoa(c.Status)
		}
		a.text("error.type", kind)
		s.Status = &pb.Status{Code: pb.Status_STATUS_CODE_ERROR}
	}
	s.Attributes = a.all
	return s
}

func (m *maker) publish(t *telemetry.Traced) *pb.Span {
	p := t.Publish
	s := m.span(&t.Trace, t.Trace.Span, t.Trace.Parent, pb.Span_SPAN_KIND_PRODUCER, "publish", p.Began, p.Ended)
	a := m.attributes(9)
	a.text("messaging.system", "redis")
	a.text("messaging.operation.name", "publish")
	a.text("messaging.operation.type", "send")
	a.text("messaging.destination.name", p.Channel)
	a.text("messaging.message.id", p.Message.String())
	a.number("messaging.message.body.size", int64(p.Bytes))
	a.text("tenloom.tenant", string(p.Tenant))
	a.text("tenloom.endpoint", string(p.Endpoint))
	if p.Err != "" {
		a.text("error.type", "_OTHER")
		s.Status = &pb.Status{Code: pb.Status_STATUS_CODE_ERROR, Message: p.Err}
	}
	s.Attributes = a.all
	return s
}

// gap stands alone: a subscription of a component that was interrupted.
func (m *maker) gap(g *telemetry.TracedGap) *pb.Span {
	trace := telemetry.NewTrace()
	s := m.span(&trace, trace.Span, telemetry.SpanID{}, pb.Span_SPAN_KIND_INTERNAL, "gap", g.Since, g.Until)
	a := m.attributes(9)
	a.text("messaging.system", "redis")
	a.text("tenloom.tenant", string(g.Tenant))
	a.text("tenloom.app", string(g.App))
	a.text("tenloom.component", string(g.Component))
	a.text("tenloom.endpoint", string(g.Endpoint))
	a.number("tenloom.gap.targets", int64(g.Targets))
	a.text("tenloom.gap.cause", g.Cause)
	a.text("error.type", "gap")
	s.Attributes = a.all
	s.Status = &pb.Status{Code: pb.Status_STATUS_CODE_ERROR, Message: g.Cause}
	return s
}
