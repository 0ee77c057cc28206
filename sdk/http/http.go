// Package http sends HTTP requests through the host to destinations that the manifest's allowed_outbound_hosts lists.
//
// It has types of its own, because package net/http would make a module of 2.7 MB one of 10 MB.
package http

import (
	"errors"
	"strings"

	"github.com/tenloom/tenloom/sdk/internal/abi"
)

// What Do's error wraps. The ABI carries no more than these; the component's log may have the reason.
var (
	ErrDestinationNotAllowed = errors.New("destination not allowed: list it in allowed_outbound_hosts")
	ErrInvalidURL            = errors.New("invalid URL")
	ErrRequest               = errors.New("the request could not be sent")
	ErrRuntime               = errors.New("the host failed")
	ErrTooManyRequests       = errors.New("too many requests")
	ErrMethod                = errors.New("the ABI knows GET, POST, PUT, DELETE, PATCH, HEAD and OPTIONS")
)

// Header is the fields of a request or response, in order. A name may stand more than once.
type Header []Field

// Field is one line of a Header.
type Field struct{ Name, Value string }

// Get is the first value of a name, whatever its case, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Request is what to send.
type Request struct {
	Method string // "" is GET
	URL    string // absolute, such as https://api.example.com/v1/orders
	Header Header
	Body   []byte // nil is no body
}

// Response is what came back. A status of 400 and more is not an error.
type Response struct {
	Status int
	Header Header
	Body   []byte // nil when there was none
}

var methods = []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} // in the ABI's order

// Do sends a request and waits for the whole response.
func Do(r Request) (Response, error) {
	if r.Method == "" {
		r.Method = "GET"
	}
	method := 0
	for methods[method] != r.Method {
		if method++; method == len(methods) {
			return Response{}, &failure{r, ErrMethod}
		}
	}
	out := abi.Request{Method: uint8(method), URL: r.URL, Body: r.Body}
	for _, f := range r.Header {
		out.Header = append(out.Header, [2]string{f.Name, f.Value})
	}
	in, code := abi.HTTP(out)
	if code != 0 {
		return Response{}, &failure{r, reason(code)}
	}
	response := Response{Status: int(in.Status), Body: in.Body}
	for _, f := range in.Header {
		response.Header = append(response.Header, Field{f[0], f[1]})
	}
	return response, nil
}

// failure leaves out everything of the URL after the path, where keys and tokens are.
type failure struct {
	request Request
	reason  error
}

func (f *failure) Error() string {
	url, _, _ := strings.Cut(f.request.URL, "?")
	if scheme, rest, ok := strings.Cut(url, "://"); ok {
		authority, path, _ := strings.Cut(rest, "/")
		url = scheme + "://" + authority[strings.LastIndexByte(authority, '@')+1:] + "/" + path
	}
	return "http: " + f.request.Method + " " + url + ": " + f.reason.Error()
}

func (f *failure) Unwrap() error { return f.reason }

func reason(code uint8) error {
	switch code {
	case abi.HTTPDestinationNotAllowed:
		return ErrDestinationNotAllowed
	case abi.HTTPInvalidURL:
		return ErrInvalidURL
	case abi.HTTPRequestError:
		return ErrRequest
	case abi.HTTPTooManyRequests:
		return ErrTooManyRequests
	}
	return ErrRuntime
}
