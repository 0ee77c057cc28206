package otlp

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/telemetry"
)

// settings are what the environment says.
type settings struct {
	traces, metrics, logs signal
	sampler               telemetry.Sampler
	alone                 bool // no trace contexts of messages
	spans, lines          batching
	interval, timeout     time.Duration // of metrics
}

// signal is one of the three: whether it is sent, and how.
type signal struct {
	on       bool
	http     bool
	endpoint string // for people
}

type batching struct {
	queue, most    int
	delay, timeout time.Duration
}

// EnvError is a variable that cannot be used as it is.
type EnvError struct{ Name, Value, Why string }

func (e *EnvError) Error() string { return fmt.Sprintf("%s=%q: %s", e.Name, e.Value, e.Why) }

// env reads variables and keeps the first fault.
type env struct{ err error }

func (e *env) text(name string) string { return strings.TrimSpace(os.Getenv(name)) }

func (e *env) wrong(name, value, format string, args ...any) {
	if e.err == nil {
		e.err = &EnvError{name, value, fmt.Sprintf(format, args...)}
	}
}

// number reads a whole number from 1; "" is 0.
func (e *env) number(name string) int {
	text := e.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1<<24 {
		e.wrong(name, text, "want a whole number from 1 to %d", 1<<24)
	}
	return n
}

// milliseconds reads a duration as the specification writes it.
func (e *env) milliseconds(name string) time.Duration {
	return time.Duration(e.number(name)) * time.Millisecond
}

func (e *env) choice(name, none string, values ...string) string {
	text := e.text(name)
	if text == "" {
		return none
	}
	if !slices.Contains(values, text) {
		e.wrong(name, text, "want %s", strings.Join(values, " or "))
	}
	return text
}

// first reads the first of two variables that is set: the signal's own, then the one for all.
func (e *env) first(names ...string) (name, value string) {
	for _, name := range names {
		if value := e.text(name); value != "" {
			return name, value
		}
	}
	return names[len(names)-1], ""
}

const general = "OTEL_EXPORTER_OTLP_"

// read reads everything that this package looks at; endpoints' certificates, headers and compression are the exporters' to read.
func read() (settings, error) {
	e := &env{}
	var s settings
	if off := e.choice("OTEL_SDK_DISABLED", "false", "true", "false", "TRUE", "FALSE", "True", "False"); strings.EqualFold(off, "true") {
		return s, e.err
	}
	s.traces = e.signal("TRACES", "otlp", "none")
	s.metrics = e.signal("METRICS", "otlp", "prometheus", "none")
	s.logs = e.signal("LOGS", "otlp", "none")
	s.sampler = e.sampler()
	s.spans = e.batching("OTEL_BSP_")
	s.lines = e.batching("OTEL_BLRP_")
	s.interval, s.timeout = e.milliseconds("OTEL_METRIC_EXPORT_INTERVAL"), e.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT")
	if text := e.text("OTEL_PROPAGATORS"); text != "" {
		s.alone = !slices.Contains(strings.Split(text, ","), "tracecontext")
	}
	return s, e.err
}

func (e *env) signal(name string, exporters ...string) (s signal) {
	chosen := "OTEL_" + name + "_EXPORTER"
	exporter := e.choice(chosen, "", exporters...)
	own, endpoint := e.first(general+name+"_ENDPOINT", general+"ENDPOINT")
	s.on = exporter == "otlp" || exporter == "" && endpoint != ""
	if !s.on {
		return s
	}
	protocolName, protocol := e.first(general+name+"_PROTOCOL", general+"PROTOCOL")
	switch protocol {
	case "", "http/protobuf":
		s.http = true
	case "grpc":
	case "http/json":
		e.wrong(protocolName, protocol, "JSON is not offered; want grpc or http/protobuf")
	default:
		e.wrong(protocolName, protocol, "want grpc or http/protobuf")
	}
	if endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			e.wrong(own, endpoint, "want a URL such as http://localhost:4318, or http://localhost:4317 with %sPROTOCOL=grpc", general)
		} else {
			s.endpoint = u.Scheme + "://" + u.Host
		}
	}
	if name, text := e.first(general+name+"_TIMEOUT", general+"TIMEOUT"); text != "" {
		if n, err := strconv.Atoi(text); err != nil || n < 1 {
			e.wrong(name, text, "want a whole number of milliseconds")
		}
	}
	if name, text := e.first(general+name+"_COMPRESSION", general+"COMPRESSION"); text != "" && text != "gzip" && text != "none" {
		e.wrong(name, text, "want gzip or none")
	}
	if name, text := e.first(general+name+"_CERTIFICATE", general+"CERTIFICATE"); text != "" {
		if _, err := os.Stat(text); err != nil {
			e.wrong(name, text, "%v", err)
		}
	}
	return s
}

func (e *env) batching(prefix string) batching {
	b := batching{
		queue: e.number(prefix + "MAX_QUEUE_SIZE"), most: e.number(prefix + "MAX_EXPORT_BATCH_SIZE"),
		delay: e.milliseconds(prefix + "SCHEDULE_DELAY"), timeout: e.milliseconds(prefix + "EXPORT_TIMEOUT"),
	}
	if b.queue > 0 && b.most > b.queue {
		e.wrong(prefix+"MAX_EXPORT_BATCH_SIZE", strconv.Itoa(b.most), "is more than %sMAX_QUEUE_SIZE, which is %d", prefix, b.queue)
	}
	return b
}

var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

func (e *env) sampler() (s telemetry.Sampler) {
	const name, arg = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	chosen := e.choice(name, "parentbased_always_on", samplers...)
	kind, parented := strings.CutPrefix(chosen, "parentbased_")
	s.Independent = !parented
	switch kind {
	case "always_off":
		s.Never, s.None = !parented, true
	case "traceidratio":
		ratio, text := 1.0, e.text(arg)
		if text != "" {
			var err error
			if ratio, err = strconv.ParseFloat(text, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
				e.wrong(arg, text, "want a number from 0 to 1")
			}
		}
		s.Ratio, s.None = ratio, ratio == 0
	}
	return s
}
