package telemetry

import (
	"bufio"
	"io"
	"math"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// The two forms in which Prometheus reads metrics.
const (
	plainMetrics = "text/plain; version=0.0.4; charset=utf-8"
	openMetrics  = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// ServeHTTP answers a scrape: in the OpenMetrics form, which has exemplars, where the request takes it, else in Prometheus' text form.
func (m *Meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	open := strings.Contains(r.Header.Get("Accept"), "application/openmetrics-text")
	kind := plainMetrics
	if open {
		kind = openMetrics
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	Expose(w, m.Read(), open)
}

// Expose writes Families for Prometheus, in the OpenMetrics form or in the older one.
func Expose(w io.Writer, all []Family, open bool) error {
	e := exposition{w: bufio.NewWriterSize(w, 64<<10), open: open}
	for i := range all {
		e.family(&all[i])
	}
	if open {
		e.w.WriteString("# EOF\n")
	}
	return e.w.Flush()
}

// exposition writes; the writer keeps its first error for the end.
type exposition struct {
	w       *bufio.Writer
	open    bool
	scratch []byte
}

// PrometheusName is the name under which Prometheus has a Family: with its unit, and _total on what grows only.
func PrometheusName(f *Family) string {
	name := strings.NewReplacer(".", "_", "-", "_").Replace(f.Name)
	if unit := unitNames[f.Unit]; unit != "" && !strings.HasSuffix(name, "_"+unit) {
		name += "_" + unit
	}
	if f.Kind == Counter {
		name += "_total"
	}
	return name
}

var unitNames = map[string]string{"s": "seconds", "By": "bytes", "GBy.s": "gigabyte_seconds"}

func (e *exposition) family(f *Family) {
	name := PrometheusName(f)
	about := name
	if e.open {
		about = strings.TrimSuffix(name, "_total")
	}
	kind := [...]string{Counter: "counter", Gauge: "gauge", Distributions: "histogram"}[f.Kind]
	e.w.WriteString("# HELP " + about + " " + strings.NewReplacer("\\", `\\`, "\n", `\n`).Replace(f.Help) + "\n# TYPE " + about + " " + kind + "\n")
	for i := range f.Series {
		s := &f.Series[i]
		if s.Distribution == nil {
			e.line(name, s.Labels, "", s.Value, nil)
			continue
		}
		e.distribution(name, s)
	}
}

func (e *exposition) distribution(name string, s *Series) {
	var sum int64
	for i, n := range s.Distribution.Counts {
		sum += n
		le := "+Inf"
		if i < len(Bounds) {
			le = number(Bounds[i].Seconds())
		}
		var example *Exemplar
		if e.open && i < len(s.Exemplars) {
			example = s.Exemplars[i]
		}
		e.line(name+"_bucket", s.Labels, le, float64(sum), example)
	}
	e.line(name+"_sum", s.Labels, "", s.Distribution.Sum.Seconds(), nil)
	e.line(name+"_count", s.Labels, "", float64(sum), nil)
}

func (e *exposition) line(name string, labels []Label, le string, value float64, example *Exemplar) {
	b := append(e.scratch[:0], name...)
	sep := byte('{')
	for _, l := range labels {
		b = append(append(append(b, sep), l.Name...), `="`...)
		b = append(appendEscaped(b, l.Value), '"')
		sep = ','
	}
	if le != "" {
		b = append(append(append(append(b, sep), `le="`...), le...), '"')
		sep = ','
	}
	if sep == ',' {
		b = append(b, '}')
	}
	b = append(append(b, ' '), number(value)...)
	if example != nil {
		b = append(append(append(b, ` # {trace_id="`...), example.Trace.String()...), `",span_id="`...)
		b = append(append(append(b, example.Span.String()...), `"} `...), number(example.Value.Seconds())...)
		b = strconv.AppendFloat(append(b, ' '), float64(example.At.UnixMilli())/1000, 'f', 3, 64)
	}
	e.scratch = append(b, '\n')
	e.w.Write(e.scratch)
}

func appendEscaped(b []byte, text string) []byte {
	for _, c := range []byte(strings.ToValidUTF8(text, "\uFFFD")) {
		switch c {
		case '\\', '"':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, c)
		}
	}
	return b
}

func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Process is a Source that tells of the process itself: memory, goroutines, processor time, age.
func Process(began time.Time, build string) Source {
	return func(add func(Family)) {
		samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(samples)
		add(GaugeOf("go.memory.used", "By", "Memory that the Go runtime has from the system.", float64(samples[0].Value.Uint64()-samples[1].Value.Uint64())))
		add(GaugeOf("go.memory.objects", "By", "Memory of objects on the heap.", float64(samples[2].Value.Uint64())))
		add(GaugeOf("go.goroutine.count", "{goroutine}", "Goroutines.", float64(runtime.NumGoroutine())))
		add(GaugeOf("process.uptime", "s", "Age of the process.", time.Since(began).Seconds()))
		add(GaugeOf("tenloom.build", "", "One, with the version that runs.", 1, Label{"version", build}))
	}
}
