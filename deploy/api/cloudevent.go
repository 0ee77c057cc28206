package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/tenants"
)

// event is what is published on a topic, and how it is to be wrapped: by Dapr's rules (dapr/components-contrib pubsub/envelope.go).
type event struct {
	tenant   tenants.ID
	app      tenants.AppName // "" for a caller that is bound to none
	id       string
	pubsub   string
	topic    string
	kind     string // Content-Type
	data     []byte
	parent   string // traceparent
	state    string // tracestate
	metadata map[string]string
	now      time.Time
}

func (e *event) raw() bool { return strings.EqualFold(e.option("rawPayload"), "true") }

func (e *event) option(name string) string {
	for k, v := range e.metadata {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// payload is what goes out: the bytes as they came, or a CloudEvents 1.0 envelope in JSON.
func (e *event) payload() ([]byte, error) {
	if e.raw() {
		return e.data, nil
	}
	fields, err := e.fields()
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"traceparent": e.parent, "traceid": e.parent, "tracestate": e.state} {
		if value != "" && fields[name] == nil {
			fields[name] = text(value)
		}
	}
	for _, name := range []string{"id", "source", "type", "subject", "traceparent", "tracestate"} {
		if v := e.option("cloudevent." + name); v != "" {
			fields[name] = text(v)
			if name == "traceparent" {
				fields["traceid"] = text(v)
			}
		}
	}
	fields["pubsubname"], fields["topic"] = text(e.pubsub), text(e.topic)
	if err := e.expires(fields); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

func text(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string encodes
	return b
}

// fields are the envelope's: the caller's own, where what came is an event already.
func (e *event) fields() (map[string]json.RawMessage, error) {
	media, _, _ := mime.ParseMediaType(e.kind)
	source := string(e.tenant)
	if e.app != "" {
		source += "/" + string(e.app)
	}
	fields := map[string]json.RawMessage{}
	if media == "application/cloudevents+json" {
		if err := json.Unmarshal(e.data, &fields); err != nil || fields == nil {
			return nil, errors.New("it is no event: " + errText(err))
		}
	}
	for name, value := range map[string]string{"id": e.id, "source": source, "type": "com.dapr.event.sent", "specversion": "1.0", "time": e.now.UTC().Format(time.RFC3339)} {
		if fields[name] == nil {
			fields[name] = text(value)
		}
	}
	if media == "application/cloudevents+json" {
		return fields, nil
	}
	if media == "" {
		media = "text/plain"
	}
	fields["datacontenttype"] = text(media)
	switch {
	case (media == "application/json" || strings.HasSuffix(media, "+json")) && json.Valid(e.data):
		fields["data"] = compact(e.data)
	case media == "application/octet-stream" || !utf8.Valid(e.data):
		fields["data_base64"] = text(base64.StdEncoding.EncodeToString(e.data))
	default:
		fields["data"] = text(string(e.data))
	}
	return fields, nil
}

func errText(err error) string {
	if err == nil {
		return "null"
	}
	return clip(err.Error())
}

// expires notes when the event is of no more use.
func (e *event) expires(fields map[string]json.RawMessage) error {
	ttl := e.option("ttlInSeconds")
	if ttl == "" {
		return nil
	}
	d, err := time.ParseDuration(ttl + "s")
	if err != nil || d <= 0 {
		return fmt.Errorf("ttlInSeconds %q is no number above zero", clip(ttl))
	}
	fields["expiration"] = text(e.now.UTC().Add(d).Format(time.RFC3339))
	return nil
}
