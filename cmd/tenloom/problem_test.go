package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func response(status int, kind, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {kind}, "X-Request-Id": {"req_header"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

func TestProblemExitCodes(t *testing.T) {
	for status, want := range map[int]int{
		400: 2, 401: 4, 403: 4, 404: 3, 405: 1, 409: 5, 412: 5, 413: 6, 422: 2, 428: 5, 429: 6, 500: 1, 503: 1,
	} {
		err := error(readProblem(response(status, "application/problem+json", `{"title":"No"}`)))
		if got := exitCode(t.Context(), err); got != want {
			t.Errorf("status %d ends with %d, want %d", status, got, want)
		}
	}
}

func TestProblemText(t *testing.T) {
	const kind = "application/problem+json; charset=utf-8"
	rows := []struct{ name, kind, body, want string }{
		{"whole", kind, `{"title":"Quota exceeded","status":200,"detail":"Too many.","next":"Wait 12 s.","request_id":"req_1","unknown":[1],
			"errors":[{"pointer":"/a","detail":"too large"},{"detail":"too late"}]}`, "Too many.\n  /a  too large\n  too late\n  Wait 12 s.\n  request req_1"},
		{"title only", kind, `{"title":"Quota exceeded"}`, "Quota exceeded\n  request req_header"},
		{"nothing", kind, `{}`, "refused with status 429 Too Many Requests\n  request req_header"},
		{"escape", kind, `{"detail":"\u001b[2J gone\nline"}`, `\x1b[2J gone\nline` + "\n  request req_header"},
		{"broken", kind, `{"detail":`, "the server answered 429 Too Many Requests: {\"detail\":\n  request req_header"},
		{"text", "text/plain", "slow down\nplease", "the server answered 429 Too Many Requests: slow down\n  request req_header"},
		{"html", "text/html", "<html>", "the server answered 429 Too Many Requests\n  request req_header"},
		{"long", "text/plain", strings.Repeat("x", 1<<20), "the server answered 429 Too Many Requests: " + strings.Repeat("x", 197) + "...\n  request req_header"},
	}
	for _, row := range rows {
		p := readProblem(response(429, row.kind, row.body))
		if got := p.Error(); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
		if p.Status != 429 {
			t.Errorf("%s: the status of the answer counts, not the one in its text: %d", row.name, p.Status)
		}
	}
	r := response(502, "text/plain", "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), brokenReader{}))
	if got := readProblem(r).Error(); got != "the server answered 502 Bad Gateway, then cable cut\n  request req_header" {
		t.Error(got)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("cable cut") }
