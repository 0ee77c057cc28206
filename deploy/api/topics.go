package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Bounds of publishing many events.
const (
	maxEntries     = 1000
	publishTimeout = 30 * time.Second
)

// Topics is where events of a name are published: on channels of a server, or, where Add is there, as entries of streams, which is what a pubsub.redis
// component means.
type Topics struct {
	Server
	Add func(ctx context.Context, topic string, data []byte, metadata map[string]string) error
}

// topic finds where to publish. The name is a component's, a connection's, or one of the platform's servers.
func (s *server) topic(c *call) (Topics, *daprError, error) {
	name, topic := c.r.PathValue("endpoint"), c.r.PathValue("topic")
	if s.Topics == nil {
		return Topics{}, nil, notOffered("publishing on topics")
	}
	if strings.Trim(topic, "/") == "" {
		return Topics{}, &daprError{status: http.StatusNotFound, Code: "ERR_TOPIC_EMPTY", Message: "topic is empty in pubsub " + clip(name)}, nil
	}
	if len(topic) > maxName {
		return Topics{}, malformed(fmt.Errorf("the topic has more than %d bytes", maxName)), nil
	}
	on, err := s.Topics(c.ctx(), c.tenant.Value.ID, c.who.App, name)
	if errors.Is(err, ErrNoBinding) {
		return on, &daprError{status: http.StatusNotFound, Code: "ERR_PUBSUB_NOT_FOUND", Message: "pubsub " + clip(name) + " is not found"}, nil
	}
	if err != nil {
		return on, &daprError{status: http.StatusForbidden, Code: "ERR_PUBSUB_FORBIDDEN", Message: clipTo(err.Error(), 500)}, nil
	}
	return on, nil, nil
}

// out publishes one event.
func (s *server) out(ctx context.Context, c *call, on Topics, e *event) error {
	began := time.Now()
	trace := s.trace(e)
	payload, err := e.payload()
	if err != nil {
		return err
	}
	if len(payload) > MaxPayload {
		return fmt.Errorf("a message may have %d bytes", MaxPayload)
	}
	to := tenants.Target{Name: c.published(on.ID, e.topic)}
	if on.Add != nil {
		err = on.Add(ctx, e.topic, payload, e.metadata)
	} else {
		_, err = on.Publish(ctx, to, payload)
	}
	s.published(trace, c.tenant.Value.ID, on.ID, message{to: to, payload: payload}, tenants.MessageID(s.ids.Next(began)), began, err)
	return err
}

// trace puts the publishing below the caller's span, where deliveries are traced.
func (s *server) trace(e *event) (trace telemetry.Trace) {
	parent, ok := telemetry.ParseTraceparent([]byte(e.parent))
	if !ok {
		e.parent = ""
		return trace
	}
	if t := s.Recorder.Tracer(); t != nil {
		trace = t.Under(parent)
		e.parent = trace.Traceparent(trace.Span)
	}
	return trace
}

func (s *server) event(c *call) *event {
	e := &event{tenant: c.tenant.Value.ID, app: c.who.App, pubsub: c.r.PathValue("endpoint"), topic: c.r.PathValue("topic"), now: c.now,
		parent: c.r.Header.Get("Traceparent"), state: clipTo(c.r.Header.Get("Tracestate"), 512), metadata: map[string]string{}}
	e.id = string(tenants.NewID[tenants.RequestID](c.now))
	for k, v := range c.r.URL.Query() {
		if name, ok := strings.CutPrefix(k, "metadata."); ok {
			e.metadata[name] = v[0]
		}
	}
	return e
}

// publishEvent publishes the body on a topic.
func (s *server) publishEvent(c *call) error {
	on, refused, err := s.topic(c)
	if refused != nil {
		return c.dapr(refused)
	}
	if err != nil {
		return err
	}
	if err := s.publishing.take(); err != nil {
		return err
	}
	defer s.publishing.leave()
	e := s.event(c)
	e.kind = c.r.Header.Get("Content-Type")
	if e.data, err = readAll(c.w, c.r, MaxPayload); err != nil {
		return bodyRefused(c, err)
	}
	ctx, cancel := context.WithTimeout(c.ctx(), publishTimeout)
	defer cancel()
	if err := s.out(ctx, c, on, e); err != nil {
		return c.dapr(notPublished(e, err))
	}
	return c.empty(http.StatusNoContent)
}

func bodyRefused(c *call, err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return messageTooLarge()
	}
	return c.dapr(malformed(err))
}

func notPublished(e *event, err error) *daprError {
	return &daprError{status: http.StatusInternalServerError, Code: "ERR_PUBSUB_PUBLISH_MESSAGE",
		Message: fmt.Sprintf("error when publish to topic %s in pubsub %s: %s", clip(e.topic), clip(e.pubsub), clipTo(err.Error(), 500))}
}

// bulkEntry is one of many events.
type bulkEntry struct {
	ID       string          `json:"entryId"`
	Event    json.RawMessage `json:"event"`
	Kind     string          `json:"contentType"`
	Metadata map[string]any  `json:"metadata"`
}

type failedEntry struct {
	ID    string `json:"entryId"`
	Error string `json:"error"`
}

// publishEvents publishes many events and answers which were not.
func (s *server) publishEvents(c *call) error {
	on, refused, err := s.topic(c)
	if refused != nil {
		return c.dapr(refused)
	}
	if err != nil {
		return err
	}
	if err := s.publishing.take(); err != nil {
		return err
	}
	defer s.publishing.leave()
	body, err := readAll(c.w, c.r, maxBody)
	if err != nil {
		return bodyRefused(c, err)
	}
	first := s.event(c)
	events, err := first.entries(body)
	if err != nil {
		return c.dapr(&daprError{status: http.StatusBadRequest, Code: "ERR_PUBSUB_EVENTS_SER",
			Message: fmt.Sprintf("error when unmarshaling the request for topic %s pubsub %s: %s", clip(first.topic), clip(first.pubsub), clip(err.Error()))})
	}
	ctx, cancel := context.WithTimeout(c.ctx(), publishTimeout)
	defer cancel()
	var failed []failedEntry
	for _, entry := range events {
		entry.id = string(tenants.NewID[tenants.RequestID](c.now))
		if err := s.out(ctx, c, on, &entry.event); err != nil {
			failed = append(failed, failedEntry{entry.entry, clipTo(err.Error(), 500)})
		}
	}
	if failed == nil {
		return c.empty(http.StatusNoContent)
	}
	answer := notPublished(first, fmt.Errorf("%d of %d events were not published", len(failed), len(events)))
	answer.Failed = failed
	return c.dapr(answer)
}

type entryEvent struct {
	event
	entry string
}

// entries reads many events. What one does not say, such as metadata, the request says for all.
func (e *event) entries(body []byte) (all []entryEvent, err error) {
	var in []bulkEntry
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	if len(in) > maxEntries {
		return nil, fmt.Errorf("there are %d entries, at most %d are taken", len(in), maxEntries)
	}
	seen := map[string]bool{}
	for _, entry := range in {
		if entry.ID == "" || seen[entry.ID] {
			return nil, fmt.Errorf("entryId %q is duplicated or not present for entry", clip(entry.ID))
		}
		seen[entry.ID] = true
		one := entryEvent{event: *e, entry: entry.ID}
		one.kind = entry.Kind
		if one.data, err = entry.bytes(); err != nil {
			return nil, fmt.Errorf("entry %q: %w", clip(entry.ID), err)
		}
		own, err := metadataOf(entry.Metadata)
		if err != nil {
			return nil, err
		}
		for k, v := range e.metadata {
			if _, ok := own[k]; !ok {
				own[k] = v
			}
		}
		one.metadata = own
		all = append(all, one)
	}
	return all, nil
}

// bytes are an event's, as its content type has them.
func (b *bulkEntry) bytes() ([]byte, error) {
	kind := strings.ToLower(b.Kind)
	if strings.HasPrefix(kind, "application/json") || strings.Contains(kind, "+json") {
		return compact(b.Event), nil
	}
	var text string
	if err := json.Unmarshal(b.Event, &text); err != nil {
		return nil, fmt.Errorf("an event of the type %s is a text", clip(b.Kind))
	}
	if strings.HasPrefix(kind, "application/octet-stream") {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(text), nil
}
