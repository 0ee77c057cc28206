package telemetry_test

import (
	"strings"
	"testing"

	"github.com/tenloom/tenloom/telemetry"
)

const parentText = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTraceparent(t *testing.T) {
	for _, c := range []struct {
		text        string
		ok, sampled bool
	}{
		{parentText, true, true},
		{strings.TrimSuffix(parentText, "01") + "00", true, false},
		{"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", true, true},
		{"", false, false},
		{"ff" + parentText[2:], false, false},
		{parentText + "-more", false, false},
		{"cc" + parentText[2:] + "x", false, false},
		{strings.ToUpper(parentText), false, false},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false, false},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false, false},
		{parentText[:54] + "g", false, false},
	} {
		p, ok := telemetry.ParseTraceparent([]byte(c.text))
		if ok != c.ok || ok && p.Sampled != c.sampled {
			t.Errorf("%q: %+v, %v", c.text, p, ok)
		}
		if !ok {
			continue
		}
		trace := telemetry.Trace{ID: p.ID, Sampled: p.Sampled}
		if again := trace.Traceparent(p.Span); again[3:] != c.text[3:55] {
			t.Errorf("%q came back as %q", c.text, again)
		}
	}
}

func TestTraceOf(t *testing.T) {
	for payload, want := range map[string]bool{
		`{"specversion":"1.0","traceparent":"` + parentText + `","data":1}`: true,
		` {"traceparent":"` + parentText + `"}`:                             false, // only what begins with a brace is looked into
		`{"data":{"traceparent":"` + parentText + `"}}`:                     false,
		`{"traceparent":7}`:                  false,
		`{"traceparent":"nonsense"}`:         false,
		`{"traceparent":"` + parentText[:40]: false,
		`{"x":"` + strings.Repeat("y", 16<<10) + `","traceparent":"` + parentText + `"}`: false,
		``: false, `plain`: false, `{`: false,
	} {
		if _, ok := telemetry.TraceOf([]byte(payload)); ok != want {
			t.Errorf("%.80q: %v", payload, ok)
		}
	}
}

func FuzzTraceOf(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","traceparent":"` + parentText + `"}`))
	f.Add([]byte(`{"traceparent":"\u0030"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		p, ok := telemetry.TraceOf(payload)
		if ok && (p.ID == telemetry.TraceID{} || p.Span == telemetry.SpanID{}) {
			t.Errorf("%q gave %+v", payload, p)
		}
	})
}
