package telemetry_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
)

func TestEnvelope(t *testing.T) {
	e := telemetry.Envelope{ID: "msg_1", Source: `/acme/"shop"`, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Traceparent: parentText}
	const head = `{"specversion":"1.0","id":"msg_1","source":"/acme/\"shop\"","type":"dev.tenloom.message","time":"2026-01-02T03:04:05Z","traceparent":"` + parentText + `"`
	for payload, want := range map[string]string{
		"":                               head + "}",
		`{"a": 1}`:                       head + `,"datacontenttype":"application/json","data":{"a": 1}}`,
		"7":                              head + `,"datacontenttype":"application/json","data":7}`,
		"hi <\"you\"":                    head + `,"datacontenttype":"text/plain","data":"hi \u003c\"you\""}`,
		"\xff\x00":                       head + `,"datacontenttype":"application/octet-stream","data_base64":"/wA="}`,
		`{"specversion":"1.0","id":"x"}`: `{"traceparent":"` + parentText + `","specversion":"1.0","id":"x"}`,
		`{"specversion":"1.0","id":"x","traceparent":"its"}`:                                     `{"specversion":"1.0","id":"x","traceparent":"its"}`,
		`{"specversion":"1.0","traceparent":"` + parentText[:36] + `1111111111111111-00","x":1}`: `{"specversion":"1.0","traceparent":"` + parentText + `","x":1}`,
	} {
		got := e.Wrap([]byte(payload))
		if string(got) != want || !json.Valid(got) {
			t.Errorf("%q:\ngot  %s\nwant %s", payload, got, want)
		}
	}
	if p, ok := telemetry.TraceOf(e.Wrap([]byte("hi"))); !ok || !p.Sampled {
		t.Error("what is wrapped is not found again")
	}
	e.Traceparent = ""
	if got := string(e.Wrap([]byte(`{"specversion":"1.0"}`))); got != `{"specversion":"1.0"}` {
		t.Error(got)
	}
}
