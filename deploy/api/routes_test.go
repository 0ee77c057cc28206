package api_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// resources are all that the API has, with the methods that each takes.
var resources = []struct{ path, allow string }{
	{"/healthz", "GET, HEAD"},
	{"/readyz", "GET, HEAD"},
	{"/version", "GET, HEAD"},
	{"/v1/tenants/demo/messages", "POST"},
	{"/v1/tenants/demo/messages:subscribe", "GET, HEAD"},
	{"/v1/tenants/demo/triggers", "GET, HEAD"},
	{"/v1/tenants/demo/invocations", "GET, HEAD"},
	{"/v1/tenants/demo/invocations/inv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET, HEAD"},
	{"/v1/tenants/demo/usage", "GET, HEAD"},
}

func TestMethods(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	for _, res := range resources {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", strings.Repeat("X", 1000)} {
			r := st.do(method, res.path, "")
			allowed := strings.Contains(res.allow, method) && len(method) > 2
			if allowed == (r.status == http.StatusMethodNotAllowed) {
				t.Errorf("%.20s %s: %d", method, res.path, r.status)
			}
			switch {
			case method == "HEAD" && r.body != "":
				t.Errorf("HEAD %s has a body", res.path)
			case !allowed && method != "HEAD":
				p := r.refused(t, http.StatusMethodNotAllowed, "method_not_allowed")
				if r.header.Get("Allow") != res.allow || p.Next != "Use "+strings.ReplaceAll(res.allow, ", ", " or ")+"." || len(r.body) > 1000 {
					t.Errorf("%.20s %s: allow %q, %+v", method, res.path, r.header.Get("Allow"), p)
				}
			}
		}
	}
}

// Every answer has an id of its own, and says what it is so that no browser guesses.
func TestEveryAnswer(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	seen := map[string]bool{}
	check := func(r reply, what string) {
		t.Helper()
		id := r.header.Get("X-Request-Id")
		if _, err := tenants.ParseULID(strings.TrimPrefix(id, "req_")); err != nil || !strings.HasPrefix(id, "req_") || seen[id] {
			t.Errorf("%s: X-Request-Id %q", what, id)
		}
		seen[id] = true
		if r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Content-Type") == "" || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: header %v", what, r.header)
		}
	}
	for _, res := range resources {
		for _, method := range []string{"HEAD", "POST", "DELETE"} {
			check(st.do(method, res.path, text("c", "x")), method+" "+res.path)
		}
		if !strings.HasSuffix(res.path, ":subscribe") {
			check(st.do("GET", res.path, "", "X-Request-Id", "mine"), "GET "+res.path)
		}
	}
	check(st.do("GET", "/", ""), "nothing")
	check(st.do("GET", "/healthz", "", "Host", "evil.example"), "wrong host")
	check(st.do("POST", "messages", text("c", "x"), "Origin", "http://evil.example"), "other origin")
	check(st.do("GET", "messages:subscribe", ""), "subscribe to nothing")
}

func TestNoSuchResource(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	for _, path := range []string{
		"/", "/v1", "/v2/tenants/demo/triggers", "/healthz/", "/healthz/x", "/v1/tenants/demo", "/v1/tenants/demo/", "/v1/tenants/demo/nothing",
		"/v1/tenants/demo/triggers/", "/v1/tenants/demo/messages:unsubscribe", "/v1/tenants/demo/invocations/a/b", "//nowhere", "/a/../b", "/%2e%2e/",
		"/%00", "/" + strings.Repeat("x", 10_000), "/\xff",
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			r := st.do(method, path, "")
			if r.refused(t, http.StatusNotFound, "not_found"); len(r.body) > 1000 {
				t.Errorf("the answer repeats %d bytes", len(r.body))
			}
		}
	}
}

// A tenant that is not there is told from one that is by nothing but its name.
func TestNoSuchTenant(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	for _, tenant := range []string{"acme", "%2e", "de%2fmo", "DEMO", "demo%00", "%ff", strings.Repeat("x", 5000)} {
		for _, path := range []string{"messages", "messages:subscribe?channel=c", "triggers", "invocations", "invocations/x", "usage"} {
			method := "GET"
			if path == "messages" {
				method = "POST"
			}
			r := st.do(method, "/v1/tenants/"+tenant+"/"+path, text("c", "x"))
			r.refused(t, http.StatusNotFound, "not_found")
			if strings.Contains(r.body, tenant) {
				t.Errorf("the answer repeats the name: %s", r.body)
			}
		}
	}
}

func TestUnknownParameters(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	for query, want := range map[string]string{
		"triggers?x=1":                                   `unknown parameter "x"; there are none here`,
		"usage?verbose":                                  `unknown parameter "verbose"; known here: app, from, to, by`,
		"invocations?limits=5":                           `unknown parameter "limits"; did you mean "limit"?`,
		"invocations?colour=5":                           `unknown parameter "colour"; known here: limit, cursor, app, component, version, channel, outcome, since, until, slower, faster`,
		"invocations?limit=0":                            "limit is a number from 1 to 1000",
		"invocations?limit=1001":                         "limit is a number from 1 to 1000",
		"invocations?limit=":                             "limit is a number from 1 to 1000",
		"invocations?limit=99999999999999999999":         "limit is a number from 1 to 1000",
		"invocations?limit=%zz":                          `read parameters: invalid URL escape "%zz"`,
		"invocations?limit=1;x=2":                        "read parameters: invalid semicolon separator in query",
		"triggers?" + strings.Repeat("x", 256<<10+1):     "the parameters have 262145 bytes, at most 262144 are read",
		"triggers?" + strings.Repeat("y", 1000) + "=%ff": `unknown parameter "` + strings.Repeat("y", 200) + `..."; there are none here`,
	} {
		code := "invalid_parameter"
		if strings.HasPrefix(want, "limit ") {
			code = "invalid_limit"
		}
		if p := st.do("GET", query, "").refused(t, http.StatusBadRequest, code); p.Detail != want {
			t.Errorf("%.50s: %.300s, want %.300s", query, p.Detail, want)
		}
	}
}

// A page whose name was made to resolve to this machine sends its own name.
func TestHosts(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	port := st.URL[strings.LastIndex(st.URL, ":"):]
	for host, ok := range map[string]bool{
		"localhost": true, "localhost" + port: true, "LOCALHOST:1": true, "localhost.": true, "app.localhost": true, "127.0.0.1": true, "127.9.9.9:1": true,
		"[::1]": true, "[::1]" + port: true, "[::ffff:127.0.0.1]": true,
		"evil.example": false, "evil.example" + port: false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "evil-localhost": false,
		"10.0.0.1": false, "[::2]": false, "0.0.0.0": false, "1": false, "2130706433": false,
	} {
		for _, path := range []string{"/healthz", "/v1/tenants/demo/triggers", "/nowhere"} {
			r := st.do("GET", path, "", "Host", host)
			if !ok {
				if p := r.refused(t, http.StatusMisdirectedRequest, "wrong_host"); p.Next != "Use "+st.URL {
					t.Errorf("%s: %+v", host, p)
				}
			} else if r.status == http.StatusMisdirectedRequest {
				t.Errorf("%s is refused", host)
			}
		}
	}
}

// A program of the last century sends no name, and no browser does so.
func TestNoHost(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	c, err := net.Dial("tcp", strings.TrimPrefix(st.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /healthz HTTP/1.0\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.0 200 OK") || !strings.HasSuffix(string(got), "\r\n\r\nok\n") {
		t.Errorf("%q, %v", got, err)
	}
}

// What pages of other sites have a browser send is refused: they could publish, and hold streams open.
func TestOtherSites(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	own := st.URL
	for _, row := range []struct {
		site, mode, origin string
		reads, writes      bool
	}{
		{"", "", "", true, true}, // a program
		{"same-origin", "cors", own, true, true},
		{"none", "navigate", "", true, true},                             // typed into the address bar
		{"cross-site", "navigate", "", false, false},                     // a link; a form
		{"cross-site", "cors", "http://evil.example", false, false},      // fetch, EventSource
		{"cross-site", "no-cors", "", false, false},                      // an image
		{"same-site", "cors", "http://localhost:3000", false, false},     // another program of this machine
		{"", "", "http://evil.example", true, false},                     // an older browser
		{"", "", "null", true, false},                                    // a sandboxed frame
		{"", "", own, true, true},                                        //
		{"nonsense", "cors", "", false, false},                           //
		{"cross-site", "websocket", "http://evil.example", false, false}, //
	} {
		header := []string{"Sec-Fetch-Site", row.site, "Sec-Fetch-Mode", row.mode, "Origin", row.origin}
		for i := len(header) - 2; i >= 0; i -= 2 {
			if header[i+1] == "" {
				header = append(header[:i], header[i+2:]...)
			}
		}
		for method, ok := range map[string]bool{"GET": row.reads, "POST": row.writes} {
			path, status := "triggers", http.StatusOK
			if method == "POST" {
				path = "messages"
			}
			r := st.do(method, path, text("c", "x"), header...)
			if !ok {
				r.refused(t, http.StatusForbidden, "cross_origin")
			} else if r.status != status {
				t.Errorf("%s %+v: %d", method, row, r.status)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	st := open(t, "redis://"+redistest.Embedded(t))
	up := api.Check{Name: "application", OK: true, Detail: "deployed"}
	down := api.Check{Name: "trigger demo/app c\nd -> a", Detail: "pending: dial\r\n[+]all is well \x1b[31m\u202e\xff"}
	bare := api.Check{Name: "store", OK: true}
	for _, row := range []struct {
		checks  []api.Check
		query   string
		status  int
		want    string
		verbose bool
	}{
		{nil, "", 200, "ready\n", false},
		{nil, "?verbose", 200, "", false},
		{[]api.Check{up, bare}, "", 200, "ready\n", false},
		{[]api.Check{up, bare}, "?verbose", 200, "[+]application deployed\n[+]store\n", false},
		{[]api.Check{up, bare}, "?verbose=1", 200, "[+]application deployed\n[+]store\n", false},
		{[]api.Check{up, down}, "", 503, "[-]trigger demo/app c d -> a pending: dial  [+]all is well  [31m \uFFFD\n", false},
		{[]api.Check{down, up}, "?verbose", 503, "[-]trigger demo/app c d -> a pending: dial  [+]all is well  [31m \uFFFD\n[+]application deployed\n", false},
	} {
		st.checks = row.checks
		r := st.do("GET", "/readyz"+row.query, "")
		if r.status != row.status || r.body != row.want || r.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s with %v: %d %q, want %d %q", row.query, row.checks, r.status, r.body, row.status, row.want)
		}
		if r := st.do("HEAD", "/readyz"+row.query, ""); r.status != row.status || r.body != "" {
			t.Errorf("HEAD: %d %q", r.status, r.body)
		}
	}
	if r := st.do("GET", "/healthz", ""); r.status != 200 || r.body != "ok\n" {
		t.Errorf("%d %q", r.status, r.body)
	}
	if r := st.do("GET", "/version", ""); r.status != 200 || r.body != `{"version":"1.2.3","go":"go1"}`+"\n" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %q", r.status, r.body)
	}
}
