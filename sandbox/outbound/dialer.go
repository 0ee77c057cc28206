package outbound

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	defaultDialTimeout = 5 * time.Second

	// maxDials bounds the addresses that are tried of one name; what a resolver returns beyond is left out.
	maxDials = 8
)

// Dialer connects guests to the outside. It resolves a name once, drops the addresses that the operator blocks, and dials exactly what is
// left: a name whose second answer differs from its first gains nothing. Its fields do not change once it is in use.
type Dialer struct {
	Blocked *Networks                                                    // nil blocks nothing
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error) // nil: net.DefaultResolver
	Timeout time.Duration                                                // of resolving and connecting together; default 5 s
}

// DialContext connects to host:port over "tcp", "tcp4" or "tcp6"; the port is a number. Addresses are tried one after the other in the
// resolver's order, each with its share of the time that is left. The error wraps ErrProhibited when all addresses of the host are
// blocked or the network is not TCP, and otherwise is that of the first address that failed.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, fmt.Errorf("dial network %q: %w: only TCP leaves the sandbox", network, ErrProhibited)
	}
	host, port, err := splitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	deadline := d.deadline(ctx)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	addrs, err := d.lookup(ctx, network, host)
	if err != nil {
		return nil, err
	}
	open, err := d.filter(host, addrs)
	if err != nil {
		return nil, err
	}
	conn, err := dialFirst(ctx, network, port, open, deadline)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", host, err)
	}
	return conn, nil
}

// deadline is the earlier of the context's and the dialer's own.
func (d *Dialer) deadline(ctx context.Context) time.Time {
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = defaultDialTimeout
	}
	own := time.Now().Add(timeout)
	if given, ok := ctx.Deadline(); ok && given.Before(own) {
		return given
	}
	return own
}

func splitHostPort(addr string) (string, uint16, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, invalidAddress("it is not host:port")
	}
	port, ok := parsePort(text)
	if !ok || port == 0 {
		return "", 0, invalidAddress("its port is not a number from 1 to 65535")
	}
	return host, uint16(port), nil
}

// lookup returns the addresses of a host that the network can carry, IPv4-mapped ones as IPv4.
func (d *Dialer) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", host, err)
	}
	var fit []netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		if network == "tcp4" && !a.Is4() || network == "tcp6" && !a.Is6() {
			continue
		}
		fit = append(fit, a)
	}
	if len(fit) == 0 {
		return nil, fmt.Errorf("resolve %q: no address for %s", host, network)
	}
	return fit, nil
}

func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if d.Resolve != nil {
		return d.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// filter keeps the addresses that are not blocked, in their order.
func (d *Dialer) filter(host string, addrs []netip.Addr) ([]netip.Addr, error) {
	var open []netip.Addr
	var blocked []string
	for _, a := range addrs {
		switch {
		case d.Blocked.Blocks(a):
			blocked = append(blocked, a.String())
		case len(open) < maxDials:
			open = append(open, a)
		}
	}
	if len(open) > 0 {
		return open, nil
	}
	if len(blocked) > maxDials {
		blocked = blocked[:maxDials]
	}
	return nil, fmt.Errorf("dial %q (%s): %w: the operator opens it by taking it out of block_networks",
		host, strings.Join(blocked, ", "), ErrProhibited)
}

// dialFirst tries the addresses in their order, none a second time. Each gets an equal share of what is left until the deadline, so that
// one that swallows packets does not starve those behind it.
func dialFirst(ctx context.Context, network string, port uint16, addrs []netip.Addr, deadline time.Time) (net.Conn, error) {
	var first error
	for i, a := range addrs {
		share := time.Until(deadline) / time.Duration(len(addrs)-i)
		d := net.Dialer{Deadline: time.Now().Add(share)}
		conn, err := d.DialContext(ctx, network, netip.AddrPortFrom(a, port).String())
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}
