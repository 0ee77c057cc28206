package wasi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

const (
	httpT   = "http/types"
	handler = "http/outgoing-handler"
)

// outward makes a rig with a way out to some hosts, and tells of what was refused.
func outward(t *testing.T, limits spin.Limits, blocked []string, hosts ...string) (*rig, *[]string) {
	t.Helper()
	allowed, err := outbound.Parse(hosts, nil)
	if err != nil {
		t.Fatal(err)
	}
	networks, err := outbound.ParseNetworks(blocked)
	if err != nil {
		t.Fatal(err)
	}
	var denied []string
	dial := (&outbound.Dialer{Blocked: networks}).DialContext
	gate := &outbound.Gate{
		Allowed: func(context.Context) (*outbound.Allowed, error) { return allowed, nil },
		HTTP:    outbound.NewHTTPClient(dial), Dial: dial,
		Denied: func(d *outbound.Denied) { denied = append(denied, d.Destination()+" "+d.Hint) },
	}
	t.Cleanup(gate.HTTP.CloseIdleConnections)
	return newRig(t, &wasi.System{Call: spin.NewCall(&spin.Host{Gate: gate, Limits: limits}, nil)}), &denied
}

// request makes a request for a URL of the test server.
func (r *rig) request(method int, authority, path string, headers ...string) canon.Value {
	r.t.Helper()
	var all []canon.Value
	for i := 0; i < len(headers); i += 2 {
		all = append(all, []canon.Value{headers[i], []byte(headers[i+1])})
	}
	h := r.ok(httpT, "[static]fields.from-list", all)
	req := r.must(httpT, "[constructor]outgoing-request", h)
	r.ok(httpT, "[method]outgoing-request.set-method", req, canon.Variant{Case: method})
	r.ok(httpT, "[method]outgoing-request.set-scheme", req, hosttest.Some(canon.Variant{Case: 0}))
	r.ok(httpT, "[method]outgoing-request.set-authority", req, hosttest.Some(authority))
	r.ok(httpT, "[method]outgoing-request.set-path-with-query", req, hosttest.Some(path))
	return req
}

// response waits for a future, and gives the response, or the error code.
func (r *rig) response(future canon.Value) (response canon.Value, code int) {
	r.t.Helper()
	p := r.must(httpT, "[method]future-incoming-response.subscribe", future)
	r.must("io/poll", "[method]pollable.block", p)
	r.drop("io/poll", "pollable", p)
	got := r.must(httpT, "[method]future-incoming-response.get", future).(canon.Variant)
	if got.Case == 0 {
		r.t.Fatal("a future that is ready has no response")
	}
	outer, ok := hosttest.OK(got.Payload)
	if !ok {
		r.t.Fatal("the response was taken before")
	}
	inner := outer.(canon.Variant)
	if inner.Case == 1 {
		return nil, inner.Payload.(canon.Variant).Case
	}
	return inner.Payload, -1
}

// body reads a response to its end.
func (r *rig) body(response canon.Value) string {
	r.t.Helper()
	b := r.ok(httpT, "[method]incoming-response.consume", response)
	stream := r.ok(httpT, "[method]incoming-body.stream", b)
	var all strings.Builder
	for {
		v := r.must("io/streams", "[method]input-stream.blocking-read", stream, uint64(1<<20)).(canon.Variant)
		if v.Case == 1 {
			if v.Payload != (canon.Variant{Case: 1}) {
				failed := v.Payload.(canon.Variant).Payload
				r.t.Fatalf("body ends with %v, code %v", r.must("io/error", "[method]error.to-debug-string", failed), r.must(httpT, "http-error-code", failed))
			}
			break
		}
		all.Write(v.Payload.([]byte))
		r.Free()
	}
	r.drop("io/streams", "input-stream", stream)
	trailers := r.must(httpT, "[static]incoming-body.finish", b)
	if got := fmt.Sprint(r.must(httpT, "[method]future-trailers.get", trailers)); got != "{1 {0 {0 {0 <nil>}}}}" {
		r.t.Errorf("trailers %s", got)
	}
	return all.String()
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.URL, " ", r.Header.Get("X-Mine"), " ", r.ContentLength))
	if r.URL.Path == "/moved" {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
		return
	}
	body, _ := io.ReadAll(r.Body)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(body)
}

func TestHTTPRequests(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	authority := strings.TrimPrefix(server.URL, "http://")
	r, _ := outward(t, spin.Limits{}, nil, "http://127.0.0.1:*")
	big := strings.Repeat("0123456789", 20_000)
	for _, c := range []struct {
		name          string
		method        int
		path, body    string
		before, after bool // the body is written before the request goes out, after that
		seen          string
	}{
		{"without a body", 0, "/a?b=c", "", false, false, "GET /a?b=c 1 0"},
		{"with a body that is finished", 2, "/", big, true, false, "POST / 1 200000"},
		{"with a body that follows", 3, "/", big, false, true, "PUT / 1 -1"},
		{"that is answered by a redirect", 0, "/moved", "", false, false, "GET /moved 1 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			r.Free()
			req := r.request(c.method, authority, c.path, "X-Mine", "1")
			var out canon.Value
			write := func() {
				stream := r.ok(httpT, "[method]outgoing-body.write", out)
				r.ok("io/streams", "[method]output-stream.blocking-write-and-flush", stream, []byte(c.body))
				r.drop("io/streams", "output-stream", stream)
				r.ok(httpT, "[static]outgoing-body.finish", out, hosttest.None())
			}
			if c.before || c.after {
				out = r.ok(httpT, "[method]outgoing-request.body", req)
				r.fails(httpT, "[method]outgoing-request.body", req)
			}
			if c.before {
				write()
			}
			future := r.ok(handler, "handle", req, hosttest.None())
			if c.after {
				write()
			}
			response, code := r.response(future)
			if code >= 0 {
				t.Fatalf("error code %d", code)
			}
			want := uint16(201)
			if c.path == "/moved" {
				want = 302
			}
			if got := r.must(httpT, "[method]incoming-response.status", response); got != want {
				t.Errorf("status %v", got)
			}
			headers := r.must(httpT, "[method]incoming-response.headers", response)
			if got := fmt.Sprintf("%s", r.must(httpT, "[method]fields.get", headers, "x-seen")); got != "["+c.seen+"]" {
				t.Errorf("the server saw %s, want %s", got, c.seen)
			}
			if got := r.fails(httpT, "[method]fields.append", headers, "a", []byte("b")); got != (canon.Variant{Case: 2}) {
				t.Errorf("headers of a response can be changed: %v", got)
			}
			if got := r.body(response); want == 201 && got != c.body {
				t.Errorf("body of %d bytes, want %d", len(got), len(c.body))
			}
			if got := fmt.Sprint(r.must(httpT, "[method]future-incoming-response.get", future)); got != "{1 {1 <nil>}}" {
				t.Errorf("a second get: %s", got)
			}
		})
	}
	calls, totals := r.system.Call.Outcalls()
	if totals.HTTP != 4 || totals.Failed != 0 || totals.Sent < 400_000 || totals.Received < 400_000 || calls[1].Operation != "POST" || calls[1].Status != 201 || calls[1].Server != authority {
		t.Errorf("recorded %+v of %+v", calls, totals)
	}
}

func TestHTTPIsRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	authority := strings.TrimPrefix(server.URL, "http://")
	dead := httptest.NewServer(nil)
	gone := strings.TrimPrefix(dead.URL, "http://")
	dead.Close()

	r, denied := outward(t, spin.Limits{Connections: 1}, nil, "http://127.0.0.1:*")
	immediately := func(want int, req canon.Value) {
		t.Helper()
		if got := r.fails(handler, "handle", req, hosttest.None()).(canon.Variant); got.Case != want {
			t.Errorf("error %v, want case %d", got, want)
		}
	}
	immediately(15, r.request(0, "elsewhere.example", "/"))
	if want := `http://elsewhere.example:80 allowed_outbound_hosts = ["http://elsewhere.example:80"]`; len(*denied) != 1 || (*denied)[0] != want {
		t.Errorf("told of %q", *denied)
	}
	immediately(19, r.must(httpT, "[constructor]outgoing-request", r.must(httpT, "[constructor]fields")))
	immediately(35, r.request(0, authority, "/", "content-length", "many"))
	if _, code := r.response(r.ok(handler, "handle", r.request(0, gone, "/"), hosttest.None())); code != 6 {
		t.Errorf("a server that is gone: code %d", code)
	}
	first := r.ok(handler, "handle", r.request(0, authority, "/"), hosttest.None())
	immediately(11, r.request(0, authority, "/"))
	r.drop(httpT, "future-incoming-response", first)
	second := r.ok(handler, "handle", r.request(0, authority, "/"), hosttest.None())
	r.Store.Reset()
	_ = second

	blocked, _ := outward(t, spin.Limits{}, []string{"private"}, "http://127.0.0.1:*")
	if _, code := blocked.response(blocked.ok(handler, "handle", blocked.request(0, authority, "/"), hosttest.None())); code != 4 {
		t.Errorf("a blocked network: code %d", code)
	}
	without := newRig(t, &wasi.System{})
	if got := without.fails(handler, "handle", without.request(0, authority, "/"), hosttest.None()); got != (canon.Variant{Case: 15}) {
		t.Errorf("without a way out: %v", got)
	}
}

func TestHTTPBodyThatIsNotFinishedFailsTheRequest(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	r, _ := outward(t, spin.Limits{}, nil, "http://127.0.0.1:*")
	req := r.request(2, strings.TrimPrefix(server.URL, "http://"), "/")
	out := r.ok(httpT, "[method]outgoing-request.body", req)
	future := r.ok(handler, "handle", req, hosttest.None())
	r.drop(httpT, "outgoing-body", out)
	if _, code := r.response(future); code != 38 {
		t.Errorf("code %d", code)
	}
}

func TestFields(t *testing.T) {
	r := newRig(t, &wasi.System{})
	f := r.must(httpT, "[constructor]fields")
	r.ok(httpT, "[method]fields.append", f, "A", []byte("1"))
	r.ok(httpT, "[method]fields.append", f, "b", []byte("2"))
	r.ok(httpT, "[method]fields.set", f, "a", []canon.Value{[]byte("3"), []byte("4")})
	clone := r.must(httpT, "[method]fields.clone", f)
	r.ok(httpT, "[method]fields.delete", f, "B")
	entries := func(f canon.Value) string { return fmt.Sprintf("%s", r.must(httpT, "[method]fields.entries", f)) }
	if got := entries(f) + entries(clone); got != "[[a 3] [a 4]][[b 2] [a 3] [a 4]]" {
		t.Errorf("fields %s", got)
	}
	if r.must(httpT, "[method]fields.has", f, "A") != true || r.must(httpT, "[method]fields.has", f, "b") != false {
		t.Error("has is wrong")
	}
	for name, want := range map[string]int{"a b": 0, "": 0, "Host": 1, "Transfer-Encoding": 1} {
		if got := r.fails(httpT, "[method]fields.append", f, name, []byte("x")); got != (canon.Variant{Case: want}) {
			t.Errorf("%q: %v, want %d", name, got, want)
		}
	}
	if got := r.fails(httpT, "[method]fields.append", f, "a", []byte("x\r\nHost: y")); got != (canon.Variant{Case: 0}) {
		t.Errorf("a line break: %v", got)
	}
	r.fails(httpT, "[static]fields.from-list", []canon.Value{[]canon.Value{"a:", []byte("x")}})
}

func TestRequestsAreReadAsTheyWereSet(t *testing.T) {
	r := newRig(t, &wasi.System{})
	req := r.must(httpT, "[constructor]outgoing-request", r.must(httpT, "[constructor]fields"))
	other := canon.Variant{Case: 9, Payload: "BREW"}
	for name, v := range map[string]canon.Value{
		"method": other, "scheme": hosttest.Some(canon.Variant{Case: 2, Payload: "ftp"}), "authority": hosttest.Some("a:1"), "path-with-query": hosttest.Some("/p?q"),
	} {
		r.ok(httpT, "[method]outgoing-request.set-"+name, req, v)
		if got := r.must(httpT, "[method]outgoing-request."+name, req); !reflect.DeepEqual(got, v) {
			t.Errorf("%s: %v, want %v", name, got, v)
		}
	}
	r.fails(httpT, "[method]outgoing-request.set-method", req, canon.Variant{Case: 9, Payload: "a b"})
	r.fails(httpT, "[method]outgoing-request.set-authority", req, hosttest.Some("a b"))
	o := r.must(httpT, "[constructor]request-options")
	r.ok(httpT, "[method]request-options.set-first-byte-timeout", o, hosttest.Some(uint64(7)))
	if got := r.must(httpT, "[method]request-options.first-byte-timeout", o); got != hosttest.Some(uint64(7)) {
		t.Errorf("timeout %v", got)
	}
	r.traps("no HTTP request to answer", httpT, "[constructor]outgoing-response", r.must(httpT, "[constructor]fields"))
}

func TestHTTPTimeouts(t *testing.T) {
	hold := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			_, _ = w.Write([]byte("first"))
			w.(http.Flusher).Flush()
		}
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hold)
	r, _ := outward(t, spin.Limits{}, nil, "http://127.0.0.1:*")
	authority := strings.TrimPrefix(server.URL, "http://")
	o := r.must(httpT, "[constructor]request-options")
	r.ok(httpT, "[method]request-options.set-first-byte-timeout", o, hosttest.Some(uint64(1e6)))
	if _, code := r.response(r.ok(handler, "handle", r.request(0, authority, "/"), hosttest.Some(o))); code != 33 {
		t.Errorf("no first byte: code %d", code)
	}
	o = r.must(httpT, "[constructor]request-options")
	r.ok(httpT, "[method]request-options.set-between-bytes-timeout", o, hosttest.Some(uint64(50e6)))
	response, _ := r.response(r.ok(handler, "handle", r.request(0, authority, "/slow"), hosttest.Some(o)))
	stream := r.ok(httpT, "[method]incoming-body.stream", r.ok(httpT, "[method]incoming-response.consume", response))
	r.ok("io/streams", "[method]input-stream.blocking-read", stream, uint64(10))
	failed := r.fails("io/streams", "[method]input-stream.blocking-read", stream, uint64(10)).(canon.Variant)
	if got := r.must(httpT, "http-error-code", failed.Payload); got != hosttest.Some(canon.Variant{Case: 9}) {
		t.Errorf("no more bytes: %v", got)
	}
}
