// Package otlptest is a collector for tests: a real OTLP receiver over gRPC and HTTP on free ports of this machine, which keeps what it gets and
// can refuse or hang.
package otlptest

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // what clients may send
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Receiver is a collector.
type Receiver struct {
	coltrace.UnimplementedTraceServiceServer
	colmetrics.UnimplementedMetricsServiceServer
	collogs.UnimplementedLogsServiceServer

	GRPC, HTTP string // host:port

	mu        sync.Mutex
	refuses   bool
	spans     []*trace.Span
	metrics   []*metrics.Metric
	logs      []*logs.LogRecord
	resources []*common.KeyValue
	changed   chan struct{}
}

// Start starts one, which ends with the test.
func Start(tb testing.TB) *Receiver {
	tb.Helper()
	r := &Receiver{changed: make(chan struct{})}
	g := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(g, traces{r})
	colmetrics.RegisterMetricsServiceServer(g, meters{r})
	collogs.RegisterLogsServiceServer(g, records{r})
	one, two := listen(tb), listen(tb)
	r.GRPC, r.HTTP = one.Addr().String(), two.Addr().String()
	h := &http.Server{Handler: r.mux()}
	var both sync.WaitGroup
	both.Go(func() { g.Serve(one) })
	both.Go(func() { h.Serve(two) })
	tb.Cleanup(func() {
		g.Stop()
		h.Close()
		both.Wait()
	})
	return r
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// BlackHole is the address of a server that takes connections and never answers.
func BlackHole(tb testing.TB) string {
	tb.Helper()
	l := listen(tb)
	var all []net.Conn
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all = append(all, c)
		}
	})
	tb.Cleanup(func() {
		l.Close()
		done.Wait()
		for _, c := range all {
			c.Close()
		}
	})
	return l.Addr().String()
}

// Refuse has everything answered with Unavailable, or taken again.
func (r *Receiver) Refuse(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = yes
}

type traces struct{ *Receiver }
type meters struct{ *Receiver }
type records struct{ *Receiver }

func (r traces) Export(_ context.Context, in *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	return &coltrace.ExportTraceServiceResponse{}, r.take(func() {
		for _, rs := range in.ResourceSpans {
			r.resources = rs.Resource.GetAttributes()
			for _, ss := range rs.ScopeSpans {
				r.spans = append(r.spans, ss.Spans...)
			}
		}
	})
}

func (r meters) Export(_ context.Context, in *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	return &colmetrics.ExportMetricsServiceResponse{}, r.take(func() {
		r.metrics = nil // each export has all
		for _, rm := range in.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				r.metrics = append(r.metrics, sm.Metrics...)
			}
		}
	})
}

func (r records) Export(_ context.Context, in *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	return &collogs.ExportLogsServiceResponse{}, r.take(func() {
		for _, rl := range in.ResourceLogs {
			for _, sl := range rl.ScopeLogs {
				r.logs = append(r.logs, sl.LogRecords...)
			}
		}
	})
}

func (r *Receiver) take(keep func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses {
		return status.Error(codes.Unavailable, "not now")
	}
	keep()
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

func (r *Receiver) mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, q *http.Request) {
		in := &coltrace.ExportTraceServiceRequest{}
		answer(w, q, in, func() (proto.Message, error) { return traces{r}.Export(q.Context(), in) })
	})
	mux.HandleFunc("POST /v1/metrics", func(w http.ResponseWriter, q *http.Request) {
		in := &colmetrics.ExportMetricsServiceRequest{}
		answer(w, q, in, func() (proto.Message, error) { return meters{r}.Export(q.Context(), in) })
	})
	mux.HandleFunc("POST /v1/logs", func(w http.ResponseWriter, q *http.Request) {
		in := &collogs.ExportLogsServiceRequest{}
		answer(w, q, in, func() (proto.Message, error) { return records{r}.Export(q.Context(), in) })
	})
	return mux
}

func answer(w http.ResponseWriter, q *http.Request, in proto.Message, export func() (proto.Message, error)) {
	body, err := io.ReadAll(q.Body)
	if err == nil {
		err = proto.Unmarshal(body, in)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := export()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	b, err := proto.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(b)
}

// Wait returns when enough says so of what has come, or fails the test after a minute.
func (r *Receiver) Wait(tb testing.TB, enough func() bool) {
	tb.Helper()
	late := time.After(time.Minute)
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if enough() {
			return
		}
		select {
		case <-changed:
		case <-late:
			tb.Fatalf("the receiver has not got what it waits for; it has spans %v", r.Names())
		}
	}
}

// Spans are all that have come.
func (r *Receiver) Spans() []*trace.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Names are the spans' names, sorted.
func (r *Receiver) Names() (names []string) {
	for _, s := range r.Spans() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

// Metrics are those of the last export.
func (r *Receiver) Metrics() []*metrics.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.metrics)
}

// Logs are all that have come.
func (r *Receiver) Logs() []*logs.LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.logs)
}

// Resource is who sent the last traces, as name=value.
func (r *Receiver) Resource() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Attributes(r.resources)
}

// Attributes are name=value, sorted, with blanks between.
func Attributes(all []*common.KeyValue) string {
	var texts []string
	for _, kv := range all {
		text := kv.Value.String()
		if i := strings.IndexByte(text, ':'); i >= 0 {
			text = strings.Trim(text[i+1:], `"`)
		}
		texts = append(texts, kv.Key+"="+text)
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}
