package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// route is one method of one resource.
type route struct {
	method, path string         // the path as OpenAPI writes it
	action       tenants.Action // what it takes, on what the path names; "" where the handler asks by itself
	own          bool           // the tenant is the caller's
	open         bool           // nobody is asked who they are
	query        []string       // parameters that it knows; anyQuery: the handler reads them
	deploys      bool           // every call counts as a deploy, beside a request
	serve        func(*call) error
}

var anyQuery = []string{"*"}

// Route is a method and the path of a resource, as OpenAPI writes it.
type Route struct{ Method, Path string }

// Routes lists everything that Handler answers, in the order of its table.
func Routes(c Config) []Route {
	s := newServer(c)
	var all []Route
	for _, r := range s.routes() {
		all = append(all, Route{r.method, r.path})
	}
	return all
}

// pattern is the route as http.ServeMux writes it, where a verb at the end of a path is a segment of its own; verbed makes it one.
func (r *route) pattern() string {
	dir, last := cutLast(r.path, '/')
	if name, verb := cutLast(last, ':'); r.method == http.MethodPost && verb != "" && strings.HasSuffix(name, "}") {
		return r.method + " " + dir + "/" + name + "/:" + verb
	}
	if dir, ok := strings.CutSuffix(r.path, "/{topic}"); ok { // of which a name may have several segments
		return r.method + " " + dir + "/{topic...}"
	}
	return r.method + " " + r.path
}

func cutLast(s string, sep byte) (before, after string) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// verbed turns POST /apps/mailer:pause into POST /apps/mailer/:pause for the mux, whose wildcards are whole segments. A path that has such a
// segment already names nothing.
func verbed(next http.Handler, verbs map[string]bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if strings.HasPrefix(path, "/v1.0/") { // Dapr's paths have no verbs
			next.ServeHTTP(w, r)
			return
		}
		if strings.Contains(path, "/:") || strings.Contains(path, "/%3A") || strings.Contains(path, "/%3a") {
			noResource(r).write(w)
			return
		}
		dir, last := cutLast(path, '/')
		if name, verb := cutLast(last, ':'); r.Method == http.MethodPost && name != "" && verbs[verb] {
			raw := dir + "/" + name + "/:" + verb
			if plain, err := url.PathUnescape(raw); err == nil {
				again := *r
				u := *r.URL
				u.Path, u.RawPath = plain, raw
				again.URL = &u
				r = &again
			}
		}
		next.ServeHTTP(w, r)
	})
}

func noResource(r *http.Request) *problem {
	return &problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such resource", Detail: clip(r.Method + " " + r.URL.Path)}
}

// routed serves a mux, and makes problems of what the mux answers itself: that there is no such resource, or not with this method.
func routed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		plain := unsent{header: http.Header{}}
		own.ServeHTTP(&plain, r)
		if allow := plain.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Title: "Method not allowed",
				Detail: clip(r.Method) + " means nothing here", Next: "Use " + strings.ReplaceAll(allow, ", ", " or ") + "."}.write(w)
			return
		}
		noResource(r).write(w)
	})
}

// unsent takes an answer of which only the header is of use.
type unsent struct{ header http.Header }

func (u *unsent) Header() http.Header         { return u.header }
func (u *unsent) Write(b []byte) (int, error) { return len(b), nil }
func (u *unsent) WriteHeader(int)             {}

// clip keeps what a client sent short enough for an answer that repeats it.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
