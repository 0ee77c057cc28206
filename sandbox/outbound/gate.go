package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// Gate is one component's way out. Its fields do not change once it is in use.
type Gate struct {
	// Allowed gives the component's list as its variables stand now. Returning the same list while they have not changed keeps what the
	// list remembers. Its error reaches the guest as a failure that is no fault of the address.
	Allowed func(ctx context.Context) (*Allowed, error)
	// Ceiling is what the component's owner may reach as it stands now, whatever the list allows; nil is no ceiling. Returning the same value
	// while it has not changed costs nothing.
	Ceiling func() *Allowed
	// Offered tells of Redis addresses that no Ceiling is for; nil: of none.
	Offered func(address string) bool
	Pool    *Pool
	HTTP    *http.Client                                                      // from NewHTTPClient
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // a Dialer's, for TCP; nil: no plain TCP leaves
	Denied  func(*Denied)                                                     // told of each destination that was refused, on the guest's goroutine; nil tells nobody
}

// Redis returns the pooled client of an address that the component may reach, and its release (see Pool.Get). The address is a redis or
// rediss URL; other schemes are refused whatever the list allows, unix sockets among them. Errors are a *Denied, or wrap
// ErrInvalidAddress, ErrTooManyConnections, ErrPoolClosed, the context's error, or that of Allowed.
//
// The client connects when it is used; its commands fail with ErrProhibited if the address turns out to be blocked.
func (g *Gate) Redis(ctx context.Context, address string) (redis.UniversalClient, func(), error) {
	allowed, err := g.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	v, err := allowed.verdict(address, "redis")
	switch {
	case err != nil:
		return nil, nil, g.Report(err)
	case isHTTP(v.scheme):
		return nil, nil, invalidAddress("it is not a redis:// or rediss:// URL")
	case !isRedis(v.scheme):
		return nil, nil, g.Report(newDenied(v.target))
	case v.redisErr != nil:
		return nil, nil, v.redisErr
	case !g.within(&v.target) && (g.Offered == nil || !g.Offered(v.redis)):
		return nil, nil, g.Report(newBeyond(v.target))
	}
	return g.Pool.Get(ctx, v.redis)
}

// Do sends an HTTP request to where the component may send it. A URL without a scheme means https. Each redirect is held against the
// list again; the blocked networks are held against every connection. The request's Host follows its URL. The caller closes the
// response's body, whose reading fails with ErrResponseTooLarge at the client's bound.
//
// Errors are a *Denied, or wrap ErrInvalidAddress, ErrProhibited, ErrResponseTooLarge, the context's error, or that of Allowed or of the
// network.
func (g *Gate) Do(ctx context.Context, req *http.Request) (*http.Response, error) {
	out, allowed, err := g.permitted(ctx, req)
	if err != nil {
		return nil, g.Report(err)
	}
	// A redirect is held against the list and the ceiling as well, and goes on with its URL in canonical form.
	again := func(u *url.URL) (*url.URL, error) {
		t, err := targetOf(u)
		if err != nil {
			return nil, err
		}
		return t.url, g.permitHTTP(allowed, &t)
	}
	resp, err := g.send(out.WithContext(context.WithValue(ctx, recheckKey{}, recheck(again))))
	if err != nil {
		return nil, g.Report(err)
	}
	return resp, nil
}

// Permit is Do in two steps, the first of which decides, on the guest's goroutine. send does the rest on any goroutine, and gives a redirect back as
// the response; its error is for Report, on the guest's goroutine again.
func (g *Gate) Permit(ctx context.Context, req *http.Request) (send func() (*http.Response, error), err error) {
	out, _, err := g.permitted(ctx, req)
	if err != nil {
		return nil, g.Report(err)
	}
	return func() (*http.Response, error) { return g.send(out) }, nil
}

// permitted gives the request to send in the place of one that is allowed.
func (g *Gate) permitted(ctx context.Context, req *http.Request) (*http.Request, *Allowed, error) {
	allowed, err := g.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	t, err := httpTarget(req.URL)
	if err != nil {
		return nil, nil, err
	}
	if err := g.permitHTTP(allowed, &t); err != nil {
		return nil, nil, err
	}
	out := req.Clone(ctx)
	out.URL, out.Host, out.RequestURI = t.url, "", ""
	return out, allowed, nil
}

func (g *Gate) send(req *http.Request) (*http.Response, error) {
	resp, err := g.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("http request to %s://%s: %w", req.URL.Scheme, req.URL.Host, withoutURL(err))
	}
	return resp, nil
}

// TCP connects to an address with a port that the component may reach: its entry has the scheme tcp. It decides at once, on the guest's
// goroutine; dial may be called on any other, and its error is for Report. Errors are those of Do.
func (g *Gate) TCP(ctx context.Context, addr netip.AddrPort) (dial func(ctx context.Context) (net.Conn, error), err error) {
	allowed, err := g.list(ctx)
	if err != nil {
		return nil, err
	}
	t, err := parseAddress("tcp://"+addr.String(), "tcp")
	switch {
	case err != nil:
		return nil, g.Report(err)
	case g.Dial == nil || allowed == nil || !allowed.allows(&t):
		return nil, g.Report(newDenied(t))
	case !g.within(&t):
		return nil, g.Report(newBeyond(t))
	}
	return func(ctx context.Context) (net.Conn, error) { return g.Dial(ctx, "tcp", addr.String()) }, nil
}

func (g *Gate) list(ctx context.Context) (*Allowed, error) {
	allowed, err := g.Allowed(ctx)
	if err != nil {
		return nil, fmt.Errorf("read allowed hosts: %w", err)
	}
	return allowed, nil
}

// Report tells of a denial inside an error, and hands out the denial alone in that case.
func (g *Gate) Report(err error) error {
	var d *Denied
	if !errors.As(err, &d) {
		return err
	}
	if g.Denied != nil {
		g.Denied(d)
	}
	return d
}

// httpTarget reads the URL of a request. What Go's parser took for a path or an opaque part, as in "example.com:8383/x", is read again
// with the fallback scheme.
func httpTarget(u *url.URL) (target, error) {
	if u.Host != "" {
		return targetOf(u)
	}
	if u.Scheme == "" && (u.Path == "" || u.Path[0] == '/') {
		return target{}, invalidAddress("it is relative to the application itself, which has no HTTP trigger here: write the whole URL")
	}
	return parseAddress(u.String(), "https")
}

// permitHTTP holds a target against the list and the schemes of HTTP.
func (a *Allowed) permitHTTP(t *target) error {
	if isRedis(t.scheme) {
		return invalidAddress("it is not an http:// or https:// URL")
	}
	if !isHTTP(t.scheme) || a == nil || !a.allows(t) {
		return newDenied(*t)
	}
	return nil
}

// permitHTTP holds a target against the list, and then against the ceiling.
func (g *Gate) permitHTTP(allowed *Allowed, t *target) error {
	if err := allowed.permitHTTP(t); err != nil {
		return err
	}
	if !g.within(t) {
		return newBeyond(*t)
	}
	return nil
}

func (g *Gate) within(t *target) bool {
	if g.Ceiling == nil {
		return true
	}
	ceiling := g.Ceiling()
	return ceiling != nil && ceiling.allows(t)
}

// withoutURL takes off the layer that net/http puts on, which repeats the URL with its user name.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
