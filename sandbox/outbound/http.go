package outbound

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	maxRedirects       = 10
	maxResponseBody    = 10 << 20 // bytes as they come from the network
	maxResponseHeader  = 64 << 10 // bytes of one response's header
	maxHTTPIdle        = 32       // kept-alive connections; the oldest is closed beyond
	maxHTTPIdlePerHost = 4
	maxHTTPPerHost     = 64 // connections to one host; more requests wait within their context
	httpIdle           = 30 * time.Second
	tlsHandshake       = 10 * time.Second
)

// recheckKey carries a recheck from Gate.Do to the client's redirect policy.
type recheckKey struct{}

type recheck func(*url.URL) (*url.URL, error)

// NewHTTPClient returns the client of one tenant, for Gates. All of its connections come from dial, which it panics without: there is no
// unguarded client. It knows no proxies, keeps no cookies, does not decompress, follows at most 10 redirects and those only for a Gate.
// Response bodies end with ErrResponseTooLarge after 10 MiB, headers are bounded to 64 KiB. It has no time-out but the context's.
//
// Tenants must not share a client: a kept-alive connection was checked for one of them.
func NewHTTPClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	if dial == nil {
		panic("outbound: NewHTTPClient needs a dial")
	}
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &boundedTransport{base: &http.Transport{
			DialContext:            dial,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			TLSHandshakeTimeout:    tlsHandshake,
			MaxResponseHeaderBytes: maxResponseHeader,
			MaxIdleConns:           maxHTTPIdle,
			MaxIdleConnsPerHost:    maxHTTPIdlePerHost,
			MaxConnsPerHost:        maxHTTPPerHost,
			IdleConnTimeout:        httpIdle,
		}},
	}
}

// checkRedirect is the client's policy. A request that did not come through a Gate gets its redirect back as the response.
func checkRedirect(req *http.Request, via []*http.Request) error {
	check, ok := req.Context().Value(recheckKey{}).(recheck)
	if !ok {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	u, err := check(req.URL)
	if err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	req.URL, req.Host = u, ""
	return nil
}

// boundedTransport bounds the bodies of responses.
type boundedTransport struct{ base *http.Transport }

func (t *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.ContentLength > maxResponseBody && req.Method != http.MethodHead {
		// Closing an unread body closes its connection; there is nothing to tell of that.
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrResponseTooLarge, resp.ContentLength, maxResponseBody)
	}
	resp.Body = &boundedBody{body: resp.Body, left: maxResponseBody}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the connections.
func (t *boundedTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }

type boundedBody struct {
	body io.ReadCloser
	left int64 // bytes; -1 once the bound was passed
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrResponseTooLarge
	}
	// One byte more than is left tells a body of exactly the bound from a longer one.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	if int64(n) <= b.left {
		b.left -= int64(n)
		return n, err
	}
	n = int(b.left)
	b.left = -1
	return n, ErrResponseTooLarge
}

func (b *boundedBody) Close() error { return b.body.Close() }
