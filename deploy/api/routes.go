package api

import (
	"net/http"
	"strings"
)

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
		problem{Status: http.StatusNotFound, Code: "not_found", Title: "No such resource", Detail: clip(r.Method + " " + r.URL.Path)}.write(w)
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
