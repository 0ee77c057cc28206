package api

import (
	"encoding/json"
	"net/http"
)

// problem is an error answer (RFC 9457) with a stable code and the next step.
type problem struct {
	Type      string  `json:"type"` // always about:blank: the code says more
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	Code      string  `json:"code"`
	RequestID string  `json:"request_id,omitempty"`
	Next      string  `json:"next,omitempty"`
	Errors    []fault `json:"errors,omitempty"`
}

// fault is one of several things that are wrong with a request's body.
type fault struct {
	Pointer string `json:"pointer"` // RFC 6901; "" is the body as a whole
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

func (p problem) write(w http.ResponseWriter) {
	p.Type = "about:blank"
	p.RequestID = w.Header().Get(requestID)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) // fails only where the client has gone
}

func badRequest(w http.ResponseWriter, code, detail, next string) {
	problem{Status: http.StatusBadRequest, Code: code, Title: "Bad request", Detail: detail, Next: next}.write(w)
}
