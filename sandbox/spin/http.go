package spin

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tenloom/tenloom/sandbox/outbound"
)

// httpFunctions are the outbound HTTP of Spin 1: one request, one buffered response. wasi:http is not offered to core modules.
func httpFunctions() []function {
	return []function{
		{module: "wasi-outbound-http", name: "request", params: "iiiiiiiiiii", body: httpRequest},
		{module: "fermyon:spin/http", name: "send-request", params: "iiiiiiiiiii", body: httpRequest},
	}
}

var methods = [...]string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}

// The cases of http-error. Its first, "success", is never answered.
const (
	destinationNotAllowed uint8 = 1 + iota
	invalidURL
	requestError // the request cannot be made as the guest asks: a header that HTTP forbids, or a Host other than the URL's
	runtimeError // the exchange failed, or the response is above the limit
	tooManyRequests
)

// httpRequest takes method, uri, headers, params, option<body> and a result of 32 bytes: status u16 at 4, option<headers> at 8,
// option<body> at 20. params are read and not used, as in Spin.
func httpRequest(g *guest, s stack) {
	method := s.u32(0)
	if method >= uint32(len(methods)) {
		g.trap("method: enum has no case %d", method)
	}
	uri, headers := g.str(s, 1, "uri"), g.pairs(s, 3, "headers", true)
	g.pairs(s, 5, "params", true)
	var body []byte
	if g.option(s, 7, "body") {
		body = g.bytes(s, 8, "body")
	}
	ret := g.ret(s, 10, 32, 4)
	r, code := g.exchange(methods[method], uri, headers, body)
	if code != 0 {
		ret.fail(4, code)
		return
	}
	list := g.newArea(4, uint64(len(r.headers))*16)
	for i, h := range r.headers {
		a := list.part(uint64(i) * 16)
		a.span(0, lower(g, h[0]))
		a.span(8, lower(g, h[1]))
	}
	content := lower(g, r.body)
	ret.ok()
	ret.u16(4, uint16(r.status))
	ret.bool(8, true)
	ret.span(12, span{list.at, uint32(len(r.headers))})
	ret.bool(20, true)
	ret.span(24, content)
}

type response struct {
	status  int
	headers [][2]string
	body    []byte
}

// exchange answers the response, or a case of http-error.
func (g *caller) exchange(method, uri string, headers [][2]string, body []byte) (response, uint8) {
	gate := g.call.host.Gate
	if gate == nil {
		return response{}, destinationNotAllowed
	}
	request, err := http.NewRequestWithContext(g.ctx, method, uri, bytes.NewReader(body))
	if err != nil {
		return response{}, invalidURL
	}
	if len(body) == 0 {
		request.Body = http.NoBody
	}
	for _, h := range headers {
		if strings.EqualFold(h[0], "Host") && !strings.EqualFold(h[1], request.Host) {
			return response{}, requestError // another Host would reach, through an allowed server, one that is not
		}
		if !token(h[0]) || strings.ContainsAny(h[1], "\r\n\x00") {
			return response{}, requestError
		}
		request.Header.Add(h[0], h[1])
	}
	out := Outcall{HTTP: true, Operation: method, Server: request.URL.Host, Began: time.Now(), Failed: true}
	answer, err := gate.Do(g.ctx, request)
	if err != nil {
		g.called(out)
		g.ended()
		return response{}, httpError(err)
	}
	defer answer.Body.Close()
	r, code := g.readResponse(answer)
	out.Status, out.Failed = answer.StatusCode, code != 0 || answer.StatusCode >= 500
	g.called(out)
	return r, code
}

// httpError translates what Gate.Do answers.
func httpError(err error) uint8 {
	var denied *outbound.Denied
	switch {
	case errors.As(err, &denied), errors.Is(err, outbound.ErrProhibited):
		return destinationNotAllowed
	case errors.Is(err, outbound.ErrInvalidAddress):
		return invalidURL
	case errors.Is(err, outbound.ErrTooManyConnections):
		return tooManyRequests
	}
	var parse *url.Error
	if errors.As(err, &parse) && parse.Op == "parse" {
		return invalidURL
	}
	return runtimeError
}

// readResponse buffers answer. Header names are lower-case, as in Spin; a value that is not printable ASCII is left out, as in Spin.
func (g *caller) readResponse(answer *http.Response) (response, uint8) {
	r := response{status: answer.StatusCode}
	left := g.call.limits.ResultBytes
	for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
		for _, value := range answer.Header[name] {
			if !printable(value) {
				continue
			}
			left -= int64(len(name)+len(value)) + 16
			r.headers = append(r.headers, [2]string{strings.ToLower(name), value})
		}
	}
	if left < 0 {
		return response{}, runtimeError
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, left+1))
	g.receives(len(body) + int(g.call.limits.ResultBytes-left))
	if err != nil {
		g.ended()
		return response{}, runtimeError
	}
	if int64(len(body)) > left {
		return response{}, runtimeError
	}
	r.body = body
	return r, 0
}

func printable(value string) bool {
	for i := range len(value) {
		if c := value[i]; c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

// token says whether name may be a header's name (RFC 9110, section 5.6.2).
func token(name string) bool {
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !alphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}
