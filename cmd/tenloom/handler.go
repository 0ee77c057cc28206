package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// handler introduces the scheduler to a component: it is the trigger's Invoker.
type handler struct {
	program   *sandbox.Program
	component *sandbox.Component
	log       *slog.Logger
	second    atomic.Int64 // the second in which failures were last logged
	logged    atomic.Int64 // how many in it
}

// failuresLogged bounds the log lines of one component's failures in a second; all failures are counted in any case.
const failuresLogged = 5

// session is a handler in use by one worker, for a run of deliveries.
type session struct {
	*handler
	run   *sandbox.Session
	names ownedNames
	calls []telemetry.Call // used again
}

var sessions = sync.Pool{New: func() any { return new(session) }}

// Open implements scheduler.Invoker.
func (h *handler) Open() scheduler.Session { return h.open("") }

func (h *handler) open(prefix string) scheduler.Session {
	s := sessions.Get().(*session)
	s.handler, s.run, s.names.prefix = h, h.component.Open(), prefix
	return s
}

// Close implements deploy.Handler.
func (h *handler) Close() error {
	h.component.Close()
	return h.program.Close()
}

// entrance is a handler behind a trigger whose channel has a longer name on the server than its guest knows.
type entrance struct {
	*handler
	prefix string
}

// Open implements scheduler.Invoker.
func (e *entrance) Open() scheduler.Session { return e.open(e.prefix) }

// ownedNames tells a guest of its message, with channel and pattern as its manifest names them.
type ownedNames struct {
	*scheduler.Delivery
	prefix string
}

// Attribute implements spin.Attributes.
func (o *ownedNames) Attribute(name string) (string, bool) {
	value, ok := o.Delivery.Attribute(name)
	if name == "tenloom_channel" || name == "tenloom_pattern" {
		value = strings.TrimPrefix(value, o.prefix)
	}
	return value, ok
}

// Close implements scheduler.Session.
func (s *session) Close() {
	s.run.Close()
	clear(s.calls[:cap(s.calls)])
	*s = session{calls: s.calls[:0]}
	sessions.Put(s)
}

// Invoke implements scheduler.Session.
func (s *session) Invoke(ctx context.Context, d *scheduler.Delivery) (out scheduler.Result) {
	s.names.Delivery = d
	r := s.run.Invoke(ctx, sandbox.Call{Payload: d.Payload(), Attributes: &s.names, Began: d.Began, KeepOutput: d.KeepOutput})
	out.Outcome, out.Output, out.Truncated, out.Memory, out.Fuel = r.Outcome, r.Output, r.Truncated, r.Memory, r.Fuel
	out.Instance, out.Started, out.Sent, out.Replied, out.CallsFailed = r.Instance, r.Started, r.Called.Sent, r.Called.Received, r.Called.Failed
	out.CallsMade[telemetry.Redis], out.CallsMade[telemetry.HTTP] = r.Called.Redis, r.Called.HTTP
	if len(r.Calls) > 0 {
		s.calls = s.calls[:0]
		for i := range r.Calls {
			s.calls = append(s.calls, callOf(&r.Calls[i]))
		}
		out.Calls = s.calls
	}
	if r.Err != nil {
		out.Err = named(r.Err, d.Trigger.Component)
		s.failed(d, out)
	}
	return out
}

func callOf(o *spin.Outcall) telemetry.Call {
	c := telemetry.Call{System: telemetry.Redis.String(), Operation: o.Operation, Server: o.Server, Began: o.Began, Took: o.Took, Failed: o.Failed, Status: o.Status, Span: o.Span}
	if o.HTTP {
		c.System = telemetry.HTTP.String()
	}
	return c
}

// named puts the component's id into the advice of the sandbox, which knows none.
func named(err error, id tenants.ComponentID) string { return advice(err.Error(), id) }

func advice(text string, id tenants.ComponentID) string {
	return strings.ReplaceAll(text, "[component.<id>.", "[component."+string(id)+".")
}

func (h *handler) failed(d *scheduler.Delivery, r scheduler.Result) {
	if now := time.Now().Unix(); h.second.Swap(now) != now {
		h.logged.Store(0)
	}
	if h.logged.Add(1) <= failuresLogged {
		h.log.Warn("handler "+r.Outcome.String(), "channel", d.Channel(), "invocation", d.Invocation.String(), "error", r.Err)
	}
}

// wrapping gives what a component publishes the envelope that its manifest asks for; nil leaves payloads as they are.
func wrapping(u *deploy.Unit) func(spin.Attributes, []byte) ([]byte, [8]byte) {
	if u.Component.Tool.Trace != manifest.CloudEvents {
		return nil
	}
	source := "/" + string(u.Tenant) + "/" + string(u.App) + "/" + string(u.Component.ID)
	return func(a spin.Attributes, payload []byte) ([]byte, [8]byte) {
		now := time.Now()
		e := telemetry.Envelope{ID: string(tenants.NewID[tenants.RequestID](now)), Source: source, Time: now}
		var span telemetry.SpanID
		switch of, ok := a.(*ownedNames); {
		case ok && of.Trace.On():
			span = telemetry.NewSpanID()
			e.Traceparent = of.Trace.Traceparent(span)
		case ok: // not traced here, and those before and behind may be
			e.Traceparent, _ = of.Delivery.Attribute("tenloom_traceparent")
		}
		return e.Wrap(payload), span
	}
}
