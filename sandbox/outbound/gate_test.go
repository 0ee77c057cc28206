package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// door is a Gate and what it refused.
type door struct {
	*outbound.Gate
	refused []string
}

// gate builds a component's way out as cmd does. Every name is 127.0.0.1.
func gate(t *testing.T, blocked *outbound.Networks, entries ...string) *door {
	t.Helper()
	allowed := parse(t, entries...)
	d := &outbound.Dialer{Blocked: blocked, Resolve: answers("127.0.0.1")}
	pool := outbound.NewPool(outbound.PoolConfig{Open: open, Dial: d.DialContext})
	client := outbound.NewHTTPClient(d.DialContext)
	t.Cleanup(pool.Close)
	t.Cleanup(client.CloseIdleConnections)
	g := &door{}
	g.Gate = &outbound.Gate{
		Allowed: func(context.Context) (*outbound.Allowed, error) { return allowed, nil },
		Pool:    pool,
		HTTP:    client,
		Denied:  func(d *outbound.Denied) { g.refused = append(g.refused, d.Destination()) },
	}
	return g
}

func (g *door) do(t *testing.T, method, address string) (*http.Response, error) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.Do(t.Context(), (&http.Request{Method: method, URL: u, Host: "forged.test", Header: http.Header{}}))
	if err == nil {
		t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(addr, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestGateRedis(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "p#/@ss")
	port := portOf(t, s.Addr)
	g := gate(t, nil, "redis://*.test:"+port)
	c, release, err := g.Redis(t.Context(), "redis://:p#%2F@ss@cache.TEST:"+port+"/2")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Get(t.Context(), "k").Result(); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	again, release, err := g.Redis(t.Context(), "redis://:p%23%2F%40ss@cache.test:"+port+"/2")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if again != c {
		t.Error("two spellings of one address have two clients")
	}
}

func TestGateRedisRefuses(t *testing.T) {
	rows := []struct {
		address string
		want    answer
		refused string
	}{
		{"unix:///run/redis.sock", no, "unix://"},
		{"unix://localhost/run/redis.sock", no, "unix://localhost"},
		{"redis+unix:///run/redis.sock", no, "redis+unix://"},
		{"unix:/run/redis.sock", invalid, ""},
		{"mysql://h", no, "mysql://h:3306"},
		{"tcp://h:6379", no, "tcp://h:6379"},
		{"http://h:6379", invalid, ""},
		{"localhost:6379", invalid, ""}, // row 41 of the match table
		{"redis://h#insecure", invalid, ""},
		{"redis://h?pool_size=100000", invalid, ""},
		{"redis://h?addr=other:6379", invalid, ""},
		{"redis://h?protocol=3;x", invalid, ""},
		{"", invalid, ""},
	}
	for _, row := range rows {
		g := gate(t, nil, "*://*:*")
		_, _, err := g.Redis(t.Context(), row.address)
		if got := answerOf(err); got != row.want {
			t.Errorf("%s: %s, want %s (%v)", row.address, got, row.want, err)
		}
		if got := strings.Join(g.refused, " "); got != row.refused {
			t.Errorf("%s: told of %q, want %q", row.address, got, row.refused)
		}
	}

	// Row 28 of the match table.
	g := gate(t, nil)
	if _, _, err := g.Redis(t.Context(), "redis://redis.test:8080"); answerOf(err) != no || len(g.refused) != 1 {
		t.Errorf("empty list: %v, told of %q", err, g.refused)
	}
}

// rediss has no default port on the list; the client has one.
func TestGateRedisDefaultPort(t *testing.T) {
	var opened string
	pool := outbound.NewPool(outbound.PoolConfig{Dial: direct, Open: func(address string, d dial) (redis.UniversalClient, error) {
		opened = address
		return open(address, d)
	}})
	defer pool.Close()
	g := gate(t, nil, "rediss://h:*")
	g.Pool = pool
	_, release, err := g.Redis(t.Context(), "rediss://user:a b@H/1?protocol=3")
	if err != nil {
		t.Fatal(err)
	}
	release()
	if want := "rediss://user:a%20b@h:6379/1?protocol=3"; opened != want {
		t.Errorf("opened %s, want %s", opened, want)
	}
}

func TestGateRedisBlocked(t *testing.T) {
	s := redistest.Start(t)
	g := gate(t, networks(t, "private"), "redis://*:*")
	c, release, err := g.Redis(t.Context(), "redis://rebound.test:"+portOf(t, s.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := c.Ping(t.Context()).Err(); !errors.Is(err, outbound.ErrProhibited) || !strings.Contains(err.Error(), "rebound.test") {
		t.Errorf("got %v", err)
	}
}

func TestGateDo(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, r.URL.RequestURI())
	}))
	defer srv.Close()
	port := portOf(t, srv.URL)
	g := gate(t, nil, "http://api.test:"+port)
	resp, err := g.do(t, "GET", "http://API.test:"+port+"/a@b?c=d")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if want := "GET api.test:" + port + " /a@b?c=d"; string(body) != want || err != nil {
		t.Errorf("the server saw %q, want %q (%v)", body, want, err)
	}
}

func TestGateDoRefuses(t *testing.T) {
	all := []string{"*://*:*", "http://self"}
	rows := []struct {
		entries []string
		address string
		want    answer
		refused string
	}{
		{[]string{"https://allowed.test"}, "https://denied.test", no, "https://denied.test:443"}, // row 32 of the match table
		{[]string{"http://a.test"}, "a.test/path", no, "https://a.test:443"},
		{[]string{"http://a.test"}, "a.test:80/path", no, "https://a.test:80"},
		{all, "/self-request", invalid, ""}, // row 34
		{all, "", invalid, ""},
		{all, "//", invalid, ""},
		{all, "http:///x", invalid, ""},
		{all, "https:x", invalid, ""},
		{all, "redis://h:6379", invalid, ""},
		{all, "ftp://h/x", no, "ftp://h"},
		{all, "unix:///run/x.sock", no, "unix://"},
		{all, "file:///etc/passwd", no, "file://"},
		{nil, "http://user:hunter2@h", no, "http://h:80"},
	}
	for _, row := range rows {
		g := gate(t, nil, row.entries...)
		_, err := g.do(t, "GET", row.address)
		if got := answerOf(err); got != row.want {
			t.Errorf("%s: %s, want %s (%v)", row.address, got, row.want, err)
		}
		if got := strings.Join(g.refused, " "); got != row.refused {
			t.Errorf("%s: told of %q, want %q", row.address, got, row.refused)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error has the password: %v", err)
		}
	}
	_, err := gate(t, nil, "http://self").do(t, "GET", "/self-request")
	if err == nil || !strings.Contains(err.Error(), "no HTTP trigger") {
		t.Errorf("a relative URL: %v", err)
	}
}

// Row 33 of the match table.
func TestGateDoBlocked(t *testing.T) {
	g := gate(t, networks(t, "private"), "http://*")
	_, err := g.do(t, "GET", "http://user:hunter2@localhost")
	if !errors.Is(err, outbound.ErrProhibited) {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "user") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error has credentials: %v", err)
	}
}

func TestGateDoRedirects(t *testing.T) {
	var hits int
	var port string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "v"})
		switch {
		case r.Header.Get("Cookie") != "":
			t.Error("a cookie came back")
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case r.URL.Path == "/to":
			http.Redirect(w, r, r.URL.Query().Get("u"), http.StatusFound)
		default:
			fmt.Fprint(w, r.Host)
		}
	}))
	defer srv.Close()
	port = portOf(t, srv.URL)
	from := "http://a.test:" + port + "/to?u="
	entries := []string{"http://a.test:" + port, "http://b.test:" + port}

	rows := []struct{ to, host, refused string }{
		{"http://B.test:" + port + "/", "b.test:" + port, ""},
		{"/here", "a.test:" + port, ""},
		{"http://c.test:" + port + "/", "", "http://c.test:" + port},
		{"http://a.test:1/", "", "http://a.test:1"},
		{"http://u:hunter2@127.0.0.1:" + port + "/", "", "http://127.0.0.1:" + port},
		{"https://b.test:" + port + "/", "", "https://b.test:" + port},
		{"file:///etc/passwd", "", "file://"},
	}
	for _, row := range rows {
		g := gate(t, nil, entries...)
		resp, err := g.do(t, "GET", from+url.QueryEscape(row.to))
		if got := strings.Join(g.refused, " "); got != row.refused {
			t.Errorf("%s: told of %q, want %q", row.to, got, row.refused)
		}
		if row.refused != "" {
			if answerOf(err) != no || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", row.to, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.to, err)
			continue
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != row.host {
			t.Errorf("%s: arrived at %q", row.to, body)
		}
	}

	hits = 0
	_, err := gate(t, nil, entries...).do(t, "GET", "http://a.test:"+port+"/loop")
	if err == nil || !strings.Contains(err.Error(), "10 redirects") || hits != 11 {
		t.Errorf("a loop: %d requests, %v", hits, err)
	}
}

// Each address of a redirect meets the blocked networks like the first.
func TestGateDoRedirectBlocked(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	}))
	defer srv.Close()
	g := gate(t, networks(t, "169.254.0.0/16"), "*://*:*")
	if _, err := g.do(t, "GET", srv.URL); !errors.Is(err, outbound.ErrProhibited) {
		t.Errorf("got %v", err)
	}
}

// A client that is used without a Gate follows nothing.
func TestClientAloneFollowsNothing(t *testing.T) {
	srv := httptest.NewServer(http.RedirectHandler("/again", http.StatusFound))
	defer srv.Close()
	client := outbound.NewHTTPClient(direct)
	defer client.CloseIdleConnections()
	resp, err := client.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// The environment's proxy is not asked: the request arrives although the proxy is dead.
func TestClientIgnoresProxies(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	port := portOf(t, srv.URL)
	if _, err := gate(t, nil, "http://*:*").do(t, "GET", "http://proxied.test:"+port); err != nil {
		t.Error(err)
	}
}

func TestClientBoundsBodies(t *testing.T) {
	const bound = 10 << 20
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/announced":
			w.Header().Set("Content-Length", fmt.Sprint(bound+1))
		case "/header":
			w.Header().Set("X", strings.Repeat("x", 128<<10))
		case "/exact":
			io.CopyN(w, zeros{}, bound)
		case "/over":
			w.(http.Flusher).Flush()
			io.CopyN(w, zeros{}, bound+1)
		}
	}))
	defer srv.Close()
	g := gate(t, nil, "http://*:*")

	resp, err := g.do(t, "GET", srv.URL+"/exact")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != bound || err != nil {
		t.Errorf("exact: %d bytes, %v", n, err)
	}
	resp, err = g.do(t, "GET", srv.URL+"/over")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != bound || !errors.Is(err, outbound.ErrResponseTooLarge) {
		t.Errorf("over: %d bytes, %v", n, err)
	}
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, outbound.ErrResponseTooLarge) {
		t.Errorf("after over: %d bytes, %v", n, err)
	}
	if _, err := g.do(t, "GET", srv.URL+"/announced"); !errors.Is(err, outbound.ErrResponseTooLarge) {
		t.Errorf("announced: %v", err)
	}
	if _, err := g.do(t, "HEAD", srv.URL+"/announced"); err != nil {
		t.Errorf("announced, HEAD: %v", err)
	}
	if _, err := g.do(t, "GET", srv.URL+"/header"); err == nil {
		t.Error("a header of 128 KiB was taken")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestGateDoHonoursItsContext(t *testing.T) {
	arrived := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	defer srv.Close()
	g := gate(t, nil, "http://*:*")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // ends when the request is there, which Do waits for
		<-arrived
		cancel()
	}()
	req, err := http.NewRequest("GET", srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Do(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func ExampleGate() {
	dialer := &outbound.Dialer{}
	allowed, _ := outbound.Parse([]string{"https://api.example.com"}, nil)
	gate := &outbound.Gate{
		Allowed: func(context.Context) (*outbound.Allowed, error) { return allowed, nil },
		HTTP:    outbound.NewHTTPClient(dialer.DialContext),
		Denied:  func(d *outbound.Denied) { fmt.Println(d.Hint) },
	}
	req, _ := http.NewRequest("GET", "http://api.example.com/v1", nil)
	_, err := gate.Do(context.Background(), req)
	fmt.Println(err)
	// Output:
	// allowed_outbound_hosts = ["http://api.example.com:80"]
	// outbound network destination not allowed: http://api.example.com:80
}
