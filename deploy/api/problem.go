package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// problem is an error answer (RFC 9457) with a stable code and the next step. It is what handlers return as error.
type problem struct {
	Type       string   `json:"type"` // always about:blank: the code says more
	Title      string   `json:"title"`
	Status     int      `json:"status"`
	Detail     string   `json:"detail,omitempty"`
	Instance   string   `json:"instance,omitempty"` // the path that was asked for
	Code       string   `json:"code"`
	RequestID  string   `json:"request_id,omitempty"`
	TraceID    string   `json:"trace_id,omitempty"` // of the caller's traceparent, or this request's own
	Limit      int64    `json:"limit,omitempty"`
	RetryAfter int      `json:"retry_after,omitempty"` // seconds
	Next       string   `json:"next,omitempty"`
	Names      []string `json:"names,omitempty"` // with config_changed: what changed; with connection_in_use: the apps
	Errors     []fault  `json:"errors,omitempty"`

	bare bool // the answer does not repeat the path
}

// fault is one of several things that are wrong with a request's body.
type fault struct {
	Pointer string `json:"pointer"` // RFC 6901; "" is the body as a whole
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

func (p problem) write(w http.ResponseWriter) {
	p.Type = "about:blank"
	h := w.Header()
	p.RequestID = h.Get(requestID)
	if a, ok := unwrap(w); ok {
		p.TraceID = a.trace
		if !p.bare {
			p.Instance = a.instance
		}
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) // fails only where the client has gone
}

func badRequest(code, detail, next string) *problem {
	return &problem{Status: http.StatusBadRequest, Code: code, Title: "Bad request", Detail: detail, Next: next}
}

// noSuchTenant is the answer for a tenant that is not there and for one that the caller may not see: the two are told apart by nothing.
func noSuchTenant() *problem {
	return &problem{bare: true, Status: http.StatusNotFound, Code: "not_found", Title: "No such tenant", Detail: "there is no tenant of this name here",
		Next: "Check -t or TENLOOM_TENANT."}
}

// noSuch is that a resource is not there, or not for this caller.
func noSuch(what string) *problem {
	return &problem{bare: true, Status: http.StatusNotFound, Code: "not_found", Title: "No such resource", Detail: "there is no such " + what + " here"}
}

// tooLarge is a body or a part of one that is over its bound, in bytes.
func tooLarge(what string, limit int64) *problem {
	return &problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Title: "Too large", Limit: limit,
		Detail: fmt.Sprintf("%s may have %d bytes", what, limit), Next: "Send less."}
}

func invalid(faults ...fault) *problem {
	return &problem{Status: http.StatusBadRequest, Code: "invalid_request", Title: "Bad request", Detail: "the request cannot be carried out as it stands",
		Next: "Mend what errors lists and send it again.", Errors: faults}
}

// after rounds a waiting time up to whole seconds, 1 at least.
func after(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// problemOf makes the answer for an error that a handler returned. What is nobody's fault outside is logged, and the answer names the request.
func (s *server) problemOf(r *http.Request, err error) *problem {
	var own *problem
	var faults tenants.Faults
	var long *http.MaxBytesError
	var refused *deploy.Problem
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		p := deployProblem(refused)
		if p.Status == http.StatusInternalServerError {
			s.Log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
		}
		return p
	case errors.As(err, &faults):
		return invalid(faultsOf(faults)...)
	case errors.As(err, &long):
		return tooLarge("the body", long.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{Status: http.StatusRequestTimeout, Code: "request_timeout", Title: "Request timeout",
			Detail: fmt.Sprintf("the body was not there after %v", bodyTimeout), Next: "Send it again."}
	}
	for _, known := range storeProblems {
		if errors.Is(err, known.is) {
			p := known.problem
			if p.Detail == "" {
				p.Detail = clip(err.Error())
			}
			return &p
		}
	}
	if r.Context().Err() == nil || !errors.Is(err, context.Canceled) {
		s.Log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	return &problem{Status: http.StatusInternalServerError, Code: "internal", Title: "Internal error", Detail: "the platform could not do this",
		Next: "Tell an operator the request_id; its log says what happened."}
}

// storeProblems say what the control store's errors are to a client. Where Detail is "" the error's own text is told: it names what the caller
// named, in a tenant that it may see.
var storeProblems = []struct {
	is      error
	problem problem
}{
	{store.ErrNotFound, problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such resource"}},
	{store.ErrExists, problem{Status: http.StatusConflict, Code: "exists", Title: "It exists already", Next: "Choose another name, or change what is there."}},
	{store.ErrMismatch, problem{Status: http.StatusPreconditionFailed, Code: "precondition_failed", Title: "It was changed meanwhile",
		Next: "Read it again, and repeat with the ETag it has now."}},
	{store.ErrContended, problem{Status: http.StatusServiceUnavailable, Code: "contended", Title: "Too many changes at once", RetryAfter: 1, Next: "Try again in a moment."}},
	{store.ErrQuota, problem{Status: http.StatusForbidden, Code: "quota_exceeded", Title: "Quota exceeded",
		Next: "Remove what is no longer needed, or ask an operator to raise the policy's limit."}},
	{store.ErrState, problem{Status: http.StatusConflict, Code: "wrong_state", Title: "Not in this state"}},
	{store.ErrCursor, problem{Status: http.StatusBadRequest, Code: "invalid_cursor", Title: "Bad request", Next: "Begin again without a cursor."}},
	{kv.ErrTooLarge, problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Title: "Too large", Detail: "the store does not keep so much in one resource"}},
	{kv.ErrFull, problem{Status: http.StatusInsufficientStorage, Code: "store_full", Title: "No space left", Detail: "the platform's store is full; nothing was changed",
		Next: "Ask an operator to make room, then try again."}},
	{kv.ErrUnavailable, problem{Status: http.StatusServiceUnavailable, Code: "store_unavailable", Title: "The store does not answer", RetryAfter: 2,
		Detail: "the platform's store does not answer; a change may have been done or not", Next: "Try again in a moment, a change with the same Idempotency-Key."}},
	{kv.ErrClosed, problem{Status: http.StatusServiceUnavailable, Code: "stopping", Title: "Stopping", RetryAfter: 2, Detail: "the platform is stopping", Next: "Try again in a moment."}},
}

func faultsOf(all tenants.Faults) []fault {
	out := make([]fault, len(all))
	for i, f := range all {
		out[i] = fault{Pointer: f.Pointer, Code: f.Code, Detail: strings.ToValidUTF8(f.Detail, "\uFFFD")}
	}
	return out
}
