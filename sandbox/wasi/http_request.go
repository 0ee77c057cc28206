package wasi

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// outgoingRequest is a request that a guest puts together.
type outgoingRequest struct {
	method    string
	path      *string
	scheme    *string // as URLs have it
	authority *string
	headers   *fields
	body      *outgoingBody // nil until the guest asks for it
}

func requestFuncs(to map[string]host.Func) {
	const self = "func(self: borrow<outgoing-request>"
	to["[constructor]outgoing-request"] = host.Func{Type: "func(headers: own<fields>) -> own<outgoing-request>", Call: newRequest}
	to["[method]outgoing-request.body"] = host.Func{Type: self + ") -> result<own<outgoing-body>>", Call: requestBody}
	to["[method]outgoing-request.method"] = host.Func{Type: self + ") -> method", Call: requestMethod}
	to["[method]outgoing-request.set-method"] = host.Func{Type: self + ", method: method) -> result", Call: setRequestMethod}
	to["[method]outgoing-request.path-with-query"] = host.Func{Type: self + ") -> option<string>", Call: requestText(func(r *outgoingRequest) **string { return &r.path })}
	to["[method]outgoing-request.set-path-with-query"] = host.Func{Type: self + ", path-with-query: option<string>) -> result", Call: setRequestText(func(r *outgoingRequest) **string { return &r.path })}
	to["[method]outgoing-request.scheme"] = host.Func{Type: self + ") -> option<scheme>", Call: requestScheme}
	to["[method]outgoing-request.set-scheme"] = host.Func{Type: self + ", scheme: option<scheme>) -> result", Call: setRequestScheme}
	to["[method]outgoing-request.authority"] = host.Func{Type: self + ") -> option<string>", Call: requestText(func(r *outgoingRequest) **string { return &r.authority })}
	to["[method]outgoing-request.set-authority"] = host.Func{Type: self + ", authority: option<string>) -> result", Call: setRequestText(func(r *outgoingRequest) **string { return &r.authority })}
	to["[method]outgoing-request.headers"] = host.Func{Type: self + ") -> own<fields>", Call: requestHeaders}
	to["[constructor]request-options"] = host.Func{Type: "func() -> own<request-options>", Call: func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own(&requestOptions{}) }}
	for i, name := range []string{"connect-timeout", "first-byte-timeout", "between-bytes-timeout"} {
		to["[method]request-options."+name] = host.Func{Type: "func(self: borrow<request-options>) -> option<u64>", Call: requestOption(i)}
		to["[method]request-options.set-"+name] = host.Func{Type: "func(self: borrow<request-options>, duration: option<u64>) -> result", Call: setRequestOption(i)}
	}
	to["[method]outgoing-body.write"] = host.Func{Type: "func(self: borrow<outgoing-body>) -> result<own<output-stream>>", Call: bodyWrite}
	to["[static]outgoing-body.finish"] = host.Func{Type: "func(this: own<outgoing-body>, trailers: option<own<fields>>) -> result<_, error-code>", Call: bodyFinish}
}

func borrowRequest(in *canon.Reader) *outgoingRequest { return canon.Borrow[*outgoingRequest](in) }

func newRequest(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	headers := canon.Own[*fields](in)
	headers.fixed = true
	out.Own(&outgoingRequest{method: http.MethodGet, headers: headers})
}

func requestHeaders(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.Own(borrowRequest(in).headers)
}

// methods are the cases of method before other.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

func requestMethod(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	m := borrowRequest(in).method
	for i, known := range methods {
		if m == known {
			out.Case(i)
			return
		}
	}
	out.Case(len(methods))
	out.String(m)
}

// setDone writes a result without payloads.
func setDone(out *canon.Writer, ok bool) {
	if ok {
		out.OK()
		return
	}
	out.Err()
}

func setRequestMethod(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	r := borrowRequest(in)
	n := in.Case()
	if n < len(methods) {
		r.method = methods[n]
		out.OK()
		return
	}
	m := in.String()
	charge(c, "method", len(m))
	ok := httpguts.ValidHeaderFieldName(m)
	if ok {
		r.method = m
	}
	setDone(out, ok)
}

func requestText(of func(*outgoingRequest) **string) canon.HostFunc {
	return func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		text := *of(borrowRequest(in))
		if text == nil {
			out.None()
			return
		}
		out.Some()
		out.String(*text)
	}
}

func setRequestText(of func(*outgoingRequest) **string) canon.HostFunc {
	return func(c *canon.Call, in *canon.Reader, out *canon.Writer) {
		to := of(borrowRequest(in))
		var text *string
		if in.Option() {
			s := in.String()
			charge(c, "request", len(s))
			text = &s
		}
		ok := text == nil || !strings.ContainsFunc(*text, func(c rune) bool { return c <= ' ' || c == 0x7f })
		if ok {
			*to = text
		}
		setDone(out, ok)
	}
}

func requestScheme(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	switch s := borrowRequest(in).scheme; {
	case s == nil:
		out.None()
	case *s == "http":
		out.Some()
		out.Case(0)
	case *s == "https":
		out.Some()
		out.Case(1)
	default:
		out.Some()
		out.Case(2)
		out.String(*s)
	}
}

func setRequestScheme(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	r := borrowRequest(in)
	if !in.Option() {
		r.scheme = nil
		out.OK()
		return
	}
	var s string
	switch in.Case() {
	case 0:
		s = "http"
	case 1:
		s = "https"
	default:
		s = in.String()
		charge(c, "request", len(s))
	}
	ok := s != "" && !strings.ContainsFunc(s, func(c rune) bool { return (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("0123456789+-.", c) })
	if ok {
		r.scheme = &s
	}
	setDone(out, ok)
}

// requestOptions are durations in nanoseconds: to connect, to the first byte, between bytes.
type requestOptions [3]*uint64

func requestOption(i int) canon.HostFunc {
	return func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		d := canon.Borrow[*requestOptions](in)[i]
		if d == nil {
			out.None()
			return
		}
		out.Some()
		out.U64(*d)
	}
}

func setRequestOption(i int) canon.HostFunc {
	return func(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
		o := canon.Borrow[*requestOptions](in)
		o[i] = nil
		if in.Option() {
			d := in.U64()
			o[i] = &d
		}
		out.OK()
	}
}

func requestBody(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	r := borrowRequest(in)
	if r.body != nil {
		out.Err()
		return
	}
	r.body = &outgoingBody{system: system(c)}
	r.body.changed.L = &r.body.mu
	out.OK()
	out.Own(r.body)
}

// outgoingBody is the body of a request: what the guest has written and nobody has sent yet. Before the request goes out the guest may write as
// much as its invocation may send; after that the body is read at the pace of the connection.
type outgoingBody struct {
	system *System
	taken  bool // the guest has asked for the stream

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	data    []byte
	sending bool  // a request reads it
	err     error // io.EOF: finished; another: given up
	closed  bool  // nobody reads it any more
}

func bodyWrite(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	b := canon.Borrow[*outgoingBody](in)
	if b.taken {
		out.Err()
		return
	}
	b.taken = true
	out.OK()
	out.Own(bodyStream{b})
}

func bodyFinish(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	b := canon.Own[*outgoingBody](in)
	var trailers *fields
	if in.Option() {
		trailers = canon.Own[*fields](in)
	}
	if trailers != nil && len(trailers.all) > 0 {
		b.end(errTrailers)
		out.Err()
		(&httpFailure{httpInternal, errTrailers.Error()}).write(out)
		return
	}
	b.end(io.EOF)
	out.OK()
}

var (
	errTrailers  = errors.New("requests are sent without trailers")
	errUnended   = errors.New("the body of the request was not finished")
	errBodyClose = errors.New("the request is over")
)

// end says that nothing more is written. The first end counts.
func (b *outgoingBody) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// drop implements dropper. Once it is finished it has no handle.
func (b *outgoingBody) drop() { b.end(errUnended) }

// bodyStream is the stream of a body. The guest drops it before the body is finished.
type bodyStream struct{ *outgoingBody }

func (bodyStream) drop() {}

// room implements output.
func (b *outgoingBody) room() (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil || b.closed:
		return 0, io.EOF
	case b.sending:
		return max(0, 4*piece-len(b.data)), nil
	}
	return printable, nil
}

func (b *outgoingBody) ready() bool {
	n, err := b.room()
	return n > 0 || err != nil
}

func (b *outgoingBody) flushed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.sending || len(b.data) == 0 || b.closed
}

func (b *outgoingBody) write(p []byte) error {
	if b.system.Call != nil {
		b.system.Call.Sends("wasi:http/types"+version+"#[method]outgoing-body.write", len(p))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	b.changed.Broadcast()
	return nil
}

// Read is the connection's side.
func (b *outgoingBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.system.progress()
	defer b.mu.Unlock()
	for len(b.data) == 0 && b.err == nil && !b.closed {
		b.changed.Wait()
	}
	switch {
	case b.closed:
		return 0, errBodyClose
	case len(b.data) > 0:
		n := copy(p, b.data)
		b.data = b.data[n:]
		return n, nil
	}
	return 0, b.err
}

// Close is the connection's side: it needs no more.
func (b *outgoingBody) Close() error {
	b.mu.Lock()
	defer b.system.progress()
	defer b.mu.Unlock()
	b.closed = true
	b.changed.Broadcast()
	return nil
}
