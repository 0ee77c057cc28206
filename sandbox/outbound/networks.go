package outbound

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Networks are the addresses that the operator closes to guests. It does not change and is safe for concurrent use. Nil and the zero
// value block nothing.
type Networks struct {
	prefixes []netip.Prefix // masked; IPv4-mapped ones as IPv4
	private  bool
}

// private4 is the part of IPv4 that is not globally routable: the IANA IPv4 Special-Purpose Address Registry, multicast and the reserved
// class E. The registry's few entries that are globally reachable anycast stay open, except those within 192.0.0.0/24, which reach the
// network's own routers.
var private4 = prefixes(
	"0.0.0.0/8",       // this network, RFC 791; connecting to 0.0.0.0 reaches the host itself
	"10.0.0.0/8",      // private use, RFC 1918
	"100.64.0.0/10",   // shared address space, RFC 6598; 100.100.100.200 is a metadata service
	"127.0.0.0/8",     // loopback, RFC 1122
	"169.254.0.0/16",  // link local, RFC 3927; 169.254.169.254 is a metadata service
	"172.16.0.0/12",   // private use, RFC 1918
	"192.0.0.0/24",    // IETF protocol assignments, RFC 6890; 192.0.0.192 is a metadata service
	"192.0.2.0/24",    // documentation, RFC 5737
	"192.88.99.0/24",  // deprecated 6to4 relay anycast, RFC 7526
	"192.168.0.0/16",  // private use, RFC 1918
	"198.18.0.0/15",   // benchmarking, RFC 2544
	"198.51.100.0/24", // documentation, RFC 5737
	"203.0.113.0/24",  // documentation, RFC 5737
	"224.0.0.0/4",     // multicast, RFC 5771
	"240.0.0.0/4",     // reserved, RFC 1112, and limited broadcast, RFC 8190

	"168.63.129.16/32", // not in the registry: Azure's host agent, which only the machine itself reaches
)

// private6 is what is not globally routable within 2000::/3. Outside of it no IPv6 address is globally routable, which covers loopback,
// discard-only 100::/64, local NAT64 64:ff9b:1::/48, segment routing 5f00::/16, unique local fc00::/7, link local fe80::/10, site local
// fec0::/10 and multicast ff00::/8.
var private6 = prefixes(
	"2001::/23",     // IETF protocol assignments, RFC 2928: Teredo, benchmarking, ORCHID and anycast to the network's own routers
	"2001:db8::/32", // documentation, RFC 3849
	"3fff::/20",     // documentation, RFC 9637
)

var (
	global6 = netip.MustParsePrefix("2000::/3")
	sixTo4  = netip.MustParsePrefix("2002::/16")    // RFC 3056: bytes 2 to 5 are an IPv4 address
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last 4 bytes
	compat  = netip.MustParsePrefix("::/96")        // RFC 4291 section 2.5.5.1: the last 4 bytes
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		list[i] = netip.MustParsePrefix(s)
	}
	return list
}

// ParseNetworks reads the operator's block_networks: networks in CIDR notation, host bits ignored, and the word "private" for every
// address that is not globally routable. Faulty items are errors, joined.
func ParseNetworks(items []string) (*Networks, error) {
	n := &Networks{}
	var errs []error
	for _, item := range items {
		text := strings.TrimSpace(item)
		if text == "private" {
			n.private = true
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("blocked network %q: expected an IP network in CIDR notation or the keyword 'private'", item))
			continue
		}
		n.prefixes = append(n.prefixes, unmapPrefix(p.Masked()))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return n, nil
}

// unmapPrefix turns a network of IPv4-mapped addresses into the IPv4 network that it is.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Blocks reports whether guests may not connect to an address. An IPv6 address that carries an IPv4 address (IPv4-mapped, IPv4-compatible,
// NAT64, 6to4) is blocked if either is. The zero Addr is blocked whenever anything is.
func (n *Networks) Blocks(addr netip.Addr) bool {
	if n == nil || !n.private && len(n.prefixes) == 0 {
		return false
	}
	if !addr.IsValid() {
		return true
	}
	addr = addr.Unmap().WithZone("")
	inner, carries := carried(addr)
	if carries && n.blocks(inner) {
		return true
	}
	return n.blocks(addr)
}

func (n *Networks) blocks(addr netip.Addr) bool {
	for _, p := range n.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return n.private && !globallyRoutable(addr)
}

// globallyRoutable is about the address itself. Of those that carry an IPv4 address it says yes: that one decides.
func globallyRoutable(addr netip.Addr) bool {
	if addr.Is4() {
		return !within(private4, addr)
	}
	if _, carries := carried(addr); carries {
		return true
	}
	return global6.Contains(addr) && !within(private6, addr)
}

func within(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// carried returns the IPv4 address inside an IPv6 address that is not IPv4-mapped. "::" and "::1" come out as 0.0.0.0 and 0.0.0.1, which
// are as private as they are.
func carried(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case compat.Contains(addr), nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixTo4.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
