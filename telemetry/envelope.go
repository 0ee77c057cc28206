package telemetry

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/tenants"
)

// Envelope is what a payload is wrapped in to take a trace context along: a CloudEvents 1.0 envelope in JSON with the extension Distributed
// Tracing. Redis' pub/sub has no headers.
type Envelope struct {
	ID          string // of the message; unique for its Source
	Source      string // who publishes, as a URI reference: /acme/shop/mailer
	Time        time.Time
	Traceparent string // "" for none
}

// eventType is what CloudEvents calls the kind of event; ours have none of their own.
const eventType = "dev.tenloom.message"

var specversionAt, _ = tenants.ParsePointer("/specversion")

// Wrap puts a payload into the envelope: JSON as it stands, other text as a string, other bytes as data_base64. A payload that is an envelope
// already gets the trace context alone, unless it has one of another trace.
func (e Envelope) Wrap(payload []byte) []byte {
	if v, ok := specversionAt.Find(payload); ok && bytes.HasPrefix(v, []byte{'"'}) && payload[0] == '{' {
		if has, ok := FindTraceparent(payload); ok || e.Traceparent == "" {
			return e.deeper(payload, has)
		}
		return append(append(append([]byte(`{"traceparent":"`), e.Traceparent...), `",`...), payload[1:]...)
	}
	b := append(make([]byte, 0, len(payload)+384), `{"specversion":"1.0","id":`...)
	b = appendJSON(b, e.ID)
	b = appendJSON(append(b, `,"source":`...), e.Source)
	b = append(append(append(b, `,"type":"`...), eventType...), `","time":"`...)
	b = append(e.Time.UTC().AppendFormat(b, time.RFC3339Nano), '"')
	if e.Traceparent != "" {
		b = append(append(append(b, `,"traceparent":"`...), e.Traceparent...), '"')
	}
	switch {
	case len(payload) == 0:
	case json.Valid(payload):
		b = append(append(b, `,"datacontenttype":"application/json","data":`...), payload...)
	case utf8.Valid(payload):
		b = appendJSON(append(b, `,"datacontenttype":"text/plain","data":`...), string(payload))
	default:
		b = append(b, `,"datacontenttype":"application/octet-stream","data_base64":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, payload), '"')
	}
	return append(b, '}')
}

// deeper puts the trace context in the place of one of the same trace, which came with what is passed on now. One of another trace stays.
func (e Envelope) deeper(payload, has []byte) []byte {
	const trace = 3 + 2*len(TraceID{}) // version and trace
	if len(has) != traceparentLength || len(e.Traceparent) != traceparentLength || string(has[:trace]) != e.Traceparent[:trace] {
		return payload
	}
	at := cap(payload) - cap(has) // has is a part of payload
	payload = bytes.Clone(payload)
	copy(payload[at:], e.Traceparent)
	return payload
}

func appendJSON(b []byte, text string) []byte {
	doc, _ := json.Marshal(text) // a string encodes
	return append(b, doc...)
}
