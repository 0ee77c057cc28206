package api

import (
	"encoding/json"
	"net/http"
)

// problem is an error answer (RFC 9457) with a stable code and the next step.
type problem struct {
	Type   string `json:"type"` // always about:blank: the code says more
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
	Next   string `json:"next,omitempty"`
}

func (p problem) write(w http.ResponseWriter) {
	p.Type = "about:blank"
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) // fails only where the client has gone
}

func badRequest(w http.ResponseWriter, code, detail, next string) {
	problem{Status: http.StatusBadRequest, Code: code, Title: "Bad request", Detail: detail, Next: next}.write(w)
}
