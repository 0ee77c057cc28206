package api

import (
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

// identified gives every answer an id, which problems repeat and the log names.
func (s *server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := "req_" + s.ids.Next(began).String()
		w.Header().Set(requestID, id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		a := &answered{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(a, r)
		s.Log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("request", id), slog.String("method", r.Method),
			slog.String("path", r.URL.Path), slog.Int("status", a.status), slog.Duration("took", time.Since(began)))
	})
}

// answered remembers the status of an answer.
type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
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
