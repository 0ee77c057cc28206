package outbound

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxHost is the longest DNS name in its text form (RFC 1035 section 2.3.4), without the root's dot.
const maxHost = 253

// lookupProfile maps internationalized names as UTS 46 does for look-ups. It accepts "_", which names inside container networks have;
// parseHost holds the result against its own alphabet.
var lookupProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// parseHost reads the host of a URL and returns its one canonical form: a lower-case ASCII name, an IPv4 address, or an IPv6 address
// without brackets; ip is valid for the latter two. It follows the WHATWG URL standard's host parser but refuses where that one is
// lenient in ways that differ between programs: percent-encoding, and IPv4 addresses that are not four decimal numbers.
func parseHost(s string) (host string, ip netip.Addr, err error) {
	if s == "" {
		return "", netip.Addr{}, errors.New("the host is missing")
	}
	if s[0] == '[' {
		return parseIPv6(s)
	}
	name, err := asciiName(s)
	if err != nil {
		return "", netip.Addr{}, err
	}
	if !endsInNumber(name) {
		return name, netip.Addr{}, nil
	}
	ip, err = netip.ParseAddr(name)
	if err != nil {
		return "", netip.Addr{}, errors.New("the host ends in a number but is not an IPv4 address of four decimal numbers")
	}
	return name, ip, nil
}

func parseIPv6(s string) (string, netip.Addr, error) {
	if s[len(s)-1] != ']' {
		return "", netip.Addr{}, errors.New(`an IPv6 address stands between "[" and "]"`)
	}
	ip, err := netip.ParseAddr(s[1 : len(s)-1])
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", netip.Addr{}, errors.New("what stands in brackets is not an IPv6 address without a zone")
	}
	return ip.String(), ip, nil
}

// asciiName lower-cases a name, maps it to ASCII if it is internationalized, and checks its letters and lengths.
func asciiName(s string) (string, error) {
	if len(s) > 4*maxHost {
		return "", errors.New("the host is longer than 253 bytes")
	}
	name := strings.ToLower(s)
	if !isASCII(name) || strings.Contains(name, "xn--") {
		mapped, err := lookupProfile.ToASCII(s)
		if err == nil && utf8.ValidString(s) {
			// Some characters map to names that are not valid in themselves. A canonical name maps to itself.
			name, err = lookupProfile.ToASCII(mapped)
		}
		if err != nil || name != mapped {
			return "", errors.New("the host is not a valid internationalized name")
		}
	}
	bare := strings.TrimSuffix(name, ".")
	if len(bare) > maxHost {
		return "", errors.New("the host is longer than 253 bytes")
	}
	label := 0 // bytes since the last dot
	for i := range len(bare) {
		c := bare[i]
		switch {
		case c == '.' && label == 0:
			return "", errors.New("the host has an empty label")
		case c == '.':
			label = 0
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			if label++; label > 63 {
				return "", errors.New("the host has a label longer than 63 bytes")
			}
		default:
			return "", errors.New(`the host has a character other than letters, digits, "-", "_" and "."`)
		}
	}
	if label == 0 {
		return "", errors.New("the host has an empty label")
	}
	return name, nil
}

// endsInNumber reports whether resolvers may take a name for an IPv4 address in one of its many spellings: its last label is decimal
// digits or "0x" and hexadecimal digits.
func endsInNumber(name string) bool {
	name = strings.TrimSuffix(name, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
