package api

import (
	"net"
	"net/http"
	"strings"
)

// sameHost refuses a name that is not this machine's on a connection that came in on a loopback address: a web page whose name was made to
// resolve to 127.0.0.1 sends its own name. On other addresses the name is the operator's choice. A request without a name is no browser's.
func sameHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if local != nil && local.IP.IsLoopback() && r.Host != "" && !loopbackName(r.Host) {
			problem{Status: http.StatusMisdirectedRequest, Code: "wrong_host", Title: "Wrong host name",
				Detail: "this server answers to localhost and loopback addresses", Next: "Use http://" + local.String()}.write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopbackName(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// sameSite refuses what a page of another origin has a browser send, links that are followed among it. Such a page cannot read the answers,
// but it could publish messages and hold streams open. CrossOriginProtection alone lets it read.
func sameSite(next http.Handler) http.Handler {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem{Status: http.StatusForbidden, Code: "cross_origin", Title: "Request of another site", Detail: "a page of another origin sent this request",
			Next: "Send it from a program or from a page of this server, or type the address."}.write(w)
	})
	writes := http.NewCrossOriginProtection()
	writes.SetDenyHandler(refuse)
	protected := writes.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none":
			protected.ServeHTTP(w, r)
		default:
			refuse(w, r)
		}
	})
}
