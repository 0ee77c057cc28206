package main

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// maxProblem bounds what is read of an error answer, in bytes; the rest is left unread.
const maxProblem = 64 << 10

// problem is an error answer of the API: RFC 9457 with tenloom's members.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Code      string         `json:"code"`
	RequestID string         `json:"request_id"`
	Next      string         `json:"next"`
	Names     []string       `json:"names"` // what changed, with code config_changed
	Errors    []problemFault `json:"errors"`
}

// problemFault is one of several faults of a request.
type problemFault struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// readProblem makes an error of an answer whose status is not 2xx. An answer that is not problem+json, of a proxy perhaps, gives its
// status and first line.
func readProblem(resp *http.Response) *problem {
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	p := &problem{}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(body, p) != nil {
		p = &problem{Detail: fmt.Sprintf("the server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))}
		line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		switch {
		case readErr != nil:
			p.Detail += ", then " + readErr.Error()
		case line != "" && kind != "text/html":
			p.Detail += ": " + cut(line, 200)
		}
	}
	p.Status = resp.StatusCode
	if p.RequestID == "" {
		p.RequestID = resp.Header.Get("X-Request-Id")
	}
	return p
}

func (p *problem) Error() string {
	what := p.Detail
	if what == "" {
		what = p.Title
	}
	if what == "" {
		what = fmt.Sprintf("refused with status %d %s", p.Status, http.StatusText(p.Status))
	}
	lines := []string{plain(what)}
	for _, fault := range p.Errors {
		lines = append(lines, strings.TrimSpace(plain(fault.Pointer)+"  "+plain(fault.Detail)))
	}
	if p.Next != "" {
		lines = append(lines, plain(p.Next))
	}
	if p.RequestID != "" {
		lines = append(lines, "request "+plain(p.RequestID))
	}
	return strings.Join(lines, "\n  ")
}

func (p *problem) exitCode() int {
	if code := p.codeExit(); code != 0 {
		return code
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return exitUsage
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitSignIn
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		return exitConflict
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return exitQuota
	}
	return exitFailed
}

// codeExit is the exit code that follows from the problem's code alone; 0 where its status decides.
func (p *problem) codeExit() int {
	switch p.Code {
	case "quota_exceeded", "too_busy":
		return exitQuota
	case "deploy_refused", "invalid_version", "not_subscribed", "not_switched", "failed", "interrupted":
		return exitDeploy
	case "invalid_manifest":
		return exitUsage
	case "cancelled":
		return exitConflict
	}
	return 0
}
