package wasi

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
	"github.com/tenloom/tenloom/sandbox/spin"
)

const handleName = "wasi:http/outgoing-handler" + version + "#handle"

func responseFuncs(to map[string]host.Func) {
	to["[method]future-incoming-response.subscribe"] = host.Func{Type: "func(self: borrow<future-incoming-response>) -> own<pollable>", Call: subscribe[*exchange]}
	to["[method]future-incoming-response.get"] = host.Func{
		Type: "func(self: borrow<future-incoming-response>) -> option<result<result<own<incoming-response>, error-code>>>", Call: getResponse,
	}
	to["[method]incoming-response.status"] = host.Func{Type: "func(self: borrow<incoming-response>) -> u16", Call: responseStatus}
	to["[method]incoming-response.headers"] = host.Func{Type: "func(self: borrow<incoming-response>) -> own<fields>", Call: responseHeaders}
	to["[method]incoming-response.consume"] = host.Func{Type: "func(self: borrow<incoming-response>) -> result<own<incoming-body>>", Call: consume}
	to["[method]incoming-body.stream"] = host.Func{Type: "func(self: borrow<incoming-body>) -> result<own<input-stream>>", Call: bodyRead}
	to["[static]incoming-body.finish"] = host.Func{Type: "func(this: own<incoming-body>) -> own<future-trailers>", Call: finishBody}
	to["[method]future-trailers.subscribe"] = host.Func{Type: "func(self: borrow<future-trailers>) -> own<pollable>", Call: subscribe[*futureTrailers]}
	to["[method]future-trailers.get"] = host.Func{
		Type: "func(self: borrow<future-trailers>) -> option<result<result<option<own<fields>>, error-code>>>", Call: getTrailers,
	}
	to["http-error-code"] = host.Func{Type: "func(err: borrow<error>) -> option<error-code>", Call: httpErrorCode}
}

// exchange is a request on its way and its response: one connection for as long as any of its handles is held. Its parts are, one after the other,
// a future-incoming-response, an incoming-response and an incoming-body, each of which ends it when it is dropped.
type exchange struct {
	system  *System
	cancel  context.CancelFunc
	note    spin.Outcall
	between time.Duration // that the guest waits for more of the body; 0: as long as its invocation lasts
	got     bool          // the guest has asked for the response
	noted   bool
	over    bool
	input   *fetched // nil until the guest asks for the stream

	mu       sync.Mutex // guards what follows
	response *http.Response
	err      error
}

func (e *exchange) ready() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.response != nil || e.err != nil
}

// handle sends a request. It gives a redirect back as the response.
func handle(c *canon.Call, in *canon.Reader, out *canon.Writer) {
	s, r := system(c), canon.Own[*outgoingRequest](in)
	options := &requestOptions{}
	if in.Option() {
		options = canon.Own[*requestOptions](in)
	}
	e, failed := s.begin(c.Context(), r, options)
	if failed != nil {
		if r.body != nil {
			_ = r.body.Close()
		}
		out.Err()
		failed.write(out)
		return
	}
	out.OK()
	out.Own(e)
}

func (s *System) begin(ctx context.Context, r *outgoingRequest, options *requestOptions) (*exchange, *httpFailure) {
	if s.Call == nil || s.Call.Gate() == nil {
		return nil, &httpFailure{code: httpDenied}
	}
	s.Call.Calls(handleName)
	ctx, cancel := context.WithCancel(ctx)
	request, failed := r.make(ctx)
	if failed != nil {
		cancel()
		return nil, failed
	}
	send, err := s.Call.Gate().Permit(ctx, request)
	if err != nil {
		cancel()
		return nil, httpFailed(err)
	}
	if !s.admit() {
		cancel()
		return nil, &httpFailure{code: httpLimit}
	}
	e := &exchange{system: s, cancel: cancel, note: spin.Outcall{HTTP: true, Operation: r.method, Server: request.URL.Host, Began: time.Now(), Failed: true}}
	if d := options[2]; d != nil {
		e.between = time.Duration(min(*d, longest))
	}
	go e.run(send, options.untilResponse()) // ends with the exchange, which cancels its ctx
	return e, nil
}

// untilResponse is how long a response may take; 0: as long as the invocation lasts. Connecting has a bound of its own besides.
func (o *requestOptions) untilResponse() time.Duration {
	if o[1] == nil {
		return 0
	}
	d := min(*o[1], longest)
	if o[0] != nil {
		d = min(d+min(*o[0], longest), longest)
	}
	return time.Duration(d)
}

func (e *exchange) run(send func() (*http.Response, error), limit time.Duration) {
	var late *time.Timer
	if limit > 0 {
		late = time.AfterFunc(limit, e.cancel)
	}
	response, err := send()
	if late != nil && !late.Stop() && err != nil {
		err = &httpFailure{code: httpResponseTimeout}
	}
	e.mu.Lock()
	e.response, e.err = response, err
	e.mu.Unlock()
	e.system.progress()
}

// make makes the request as net/http has it.
func (r *outgoingRequest) make(ctx context.Context) (*http.Request, *httpFailure) {
	if r.authority == nil || *r.authority == "" {
		return nil, &httpFailure{code: httpURI}
	}
	scheme, path := "https", "/"
	if r.scheme != nil {
		scheme = *r.scheme
	}
	if r.path != nil && *r.path != "" {
		path = *r.path
	}
	if path[0] != '/' && path[0] != '?' {
		return nil, &httpFailure{code: httpURI}
	}
	request, err := http.NewRequestWithContext(ctx, r.method, scheme+"://"+*r.authority+path, nil)
	if err != nil {
		return nil, &httpFailure{code: httpURI}
	}
	for _, f := range r.headers.all {
		request.Header.Add(f.name, f.value)
	}
	return request, r.addBody(request)
}

// addBody gives the request its body: whole where the guest has finished it, else as it comes.
func (r *outgoingRequest) addBody(request *http.Request) *httpFailure {
	length := int64(-1)
	if text := request.Header.Get("Content-Length"); text != "" {
		var err error
		if length, err = strconv.ParseInt(text, 10, 64); err != nil || length < 0 {
			return &httpFailure{code: httpProtocol}
		}
	}
	b := r.body
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil && b.err != io.EOF:
		return &httpFailure{httpInternal, b.err.Error()}
	case b.err == io.EOF && length >= 0 && length != int64(len(b.data)):
		return &httpFailure{code: httpRequestBodySize}
	case b.err == io.EOF:
		length = int64(len(b.data))
	}
	b.sending = true
	request.Body, request.ContentLength = b, length
	if length == 0 {
		request.Body = http.NoBody
	}
	return nil
}

// end gives the connection back.
func (e *exchange) end() {
	if e.over {
		return
	}
	e.over = true
	e.noteDown()
	e.cancel()
	e.system.open--
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.response != nil {
		_ = e.response.Body.Close()
	}
}

// drop implements dropper for the future, unless the response has become the guest's.
func (e *exchange) drop() {
	if !e.got {
		e.end()
	}
}

// noteDown records the call.
func (e *exchange) noteDown() {
	if !e.noted {
		e.noted = true
		e.system.Call.Called(e.note)
	}
}

func getResponse(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	e := canon.Borrow[*exchange](in)
	if !e.ready() {
		out.None()
		return
	}
	out.Some()
	if e.got {
		out.Err()
		return
	}
	e.got = true
	out.OK()
	if e.err != nil {
		failed := httpFailed(e.system.Call.Gate().Report(e.err))
		e.end()
		out.Err()
		failed.write(out)
		return
	}
	e.note.Status, e.note.Failed = e.response.StatusCode, e.response.StatusCode >= 500
	e.noteDown()
	out.OK()
	out.Own(&incomingResponse{exchange: e, headers: receivedFields(e.system, e.response.Header)})
}

// receivedFields are headers as servers sent them, their names in lower case.
func receivedFields(s *System, header http.Header) *fields {
	f := &fields{fixed: true}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			s.Call.Receives(handleName, len(name)+len(value))
			f.all = append(f.all, headerField{strings.ToLower(name), value})
		}
	}
	return f
}

type incomingResponse struct {
	*exchange
	headers  *fields
	consumed bool
}

// drop implements dropper.
func (r *incomingResponse) drop() {
	if !r.consumed {
		r.end()
	}
}

func responseStatus(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.U16(uint16(canon.Borrow[*incomingResponse](in).response.StatusCode))
}

func responseHeaders(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.Own(canon.Borrow[*incomingResponse](in).headers)
}

func consume(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	r := canon.Borrow[*incomingResponse](in)
	if r.consumed {
		out.Err()
		return
	}
	r.consumed = true
	out.OK()
	out.Own(&incomingBody{r.exchange})
}

// incomingBody is the body of a response. Its stream is dropped before it, or finds it closed.
type incomingBody struct{ *exchange }

// drop implements dropper.
func (b *incomingBody) drop() { b.end() }

func bodyRead(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	b := canon.Borrow[*incomingBody](in)
	if b.input != nil {
		out.Err()
		return
	}
	from := io.Reader(b.response.Body)
	if b.between > 0 {
		from = &impatient{b.exchange}
	}
	b.input = &fetched{system: b.system, name: handleName, from: from, wrap: func(err error) error { return httpFailed(err) }}
	out.OK()
	out.Own(input(b.input))
}

// impatient reads a body whose next bytes have to come within a time.
type impatient struct{ of *exchange }

func (i *impatient) Read(p []byte) (int, error) {
	late := time.AfterFunc(i.of.between, i.of.cancel)
	n, err := i.of.response.Body.Read(p)
	if !late.Stop() && err != nil && err != io.EOF {
		err = &httpFailure{code: httpReadTimeout}
	}
	return n, err
}

// futureTrailers are there at once: the body is over.
type futureTrailers struct {
	of  *fields // nil: none
	got bool
}

func (*futureTrailers) ready() bool { return true }

// finishBody gives the trailers where the guest has read the body to its end.
func finishBody(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	b := canon.Own[*incomingBody](in)
	t := &futureTrailers{}
	if b.input != nil && b.input.ended() && len(b.response.Trailer) > 0 {
		t.of = receivedFields(b.system, b.response.Trailer)
	}
	b.end()
	out.Own(t)
}

func getTrailers(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	t := canon.Borrow[*futureTrailers](in)
	out.Some()
	if t.got {
		out.Err()
		return
	}
	t.got = true
	out.OK()
	out.OK()
	if t.of == nil {
		out.None()
		return
	}
	out.Some()
	out.Own(t.of)
}
