package api

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

const requestID = "X-Request-Id"

// identified gives every answer an id, which problems repeat and the log names, and a trace id: the caller's, or one of its own.
func (s *server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := s.ids.Next(began)
		a := &answered{ResponseWriter: w, status: http.StatusOK, request: tenants.RequestID("req_" + id.String()), instance: clip(r.URL.Path)}
		if a.trace = traceOf(r.Header.Get("Traceparent")); a.trace == "" {
			a.trace = hex.EncodeToString(id[:])
		}
		w.Header().Set(requestID, string(a.request))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(a, r)
		s.Log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("request", string(a.request)), slog.String("trace_id", a.trace),
			slog.String("who", a.who), slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", a.status),
			slog.Duration("took", time.Since(began)))
	})
}

// traceOf reads the trace id of a traceparent (W3C Trace Context, section 3.2); "" where there is none that is valid.
func traceOf(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parent) > 512 || len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || len(parts[1]) != 32 || len(parts[2]) != 16 {
		return ""
	}
	if strings.Trim(parts[1], "0123456789abcdef") != "" || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	return parts[1]
}

// answered remembers what is known of an answer.
type answered struct {
	http.ResponseWriter
	request  tenants.RequestID
	trace    string
	instance string
	who      string // the caller's subject, once it is known
	status   int
	sent     bool // the header is
}

func (a *answered) WriteHeader(status int) {
	a.status, a.sent = status, true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Write(b []byte) (int, error) {
	a.sent = true
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// maxQuery bounds what a resource's parameters may take, in bytes as sent.
const maxQuery = 256 << 10

// query reads the parameters of a request, which are all known.
func query(r *http.Request, known ...string) (url.Values, error) {
	if n := len(r.URL.RawQuery); n > maxQuery {
		return nil, fmt.Errorf("the parameters have %d bytes, at most %d are read", n, maxQuery)
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("read parameters: %w", err)
	}
	for name := range q {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown parameter %q%s", clip(name), advice(name, known))
		}
	}
	return q, nil
}

// advice is what to write in place of an unknown name.
func advice(name string, known []string) string {
	if near, ok := tenants.Nearest(name, known); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(known) == 0 {
		return "; there are none here"
	}
	return "; known here: " + strings.Join(known, ", ")
}
