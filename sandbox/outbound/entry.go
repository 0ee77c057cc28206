package outbound

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// entry is one line of the allow list: scheme "://" host [ ":" port ] [ "/" ].
type entry struct {
	scheme string // exact, case kept; "*" is any
	kind   hostKind
	host   string       // literal: canonical name or address; subdomain: the suffix with its dot; self: as written
	net    netip.Prefix // network only, masked
	any    bool         // any port, known or not
	from   uint32       // ports from..until, until excluded; one port p is p..p+1
	until  uint32
}

type hostKind byte

const (
	literal   hostKind = iota // one name or address
	subdomain                 // *.suffix: any depth below, not the suffix itself
	network                   // CIDR: matches addresses written as such, never names
	anywhere                  // *
	self                      // self, self.alt: requests without a host; no address matches
)

// grammar ends the messages about entries that are nothing like one.
const grammar = `write scheme://host[:port], for example "redis://cache.example.com:6379"; "*" stands for any scheme, host or port, and "*://*:*" allows everything`

// knownPorts are the ports of an entry or address that gives none. rediss has none here, as in Spin.
var knownPorts = map[string]uint16{"postgres": 5432, "mysql": 3306, "redis": 6379, "mqtt": 1883, "http": 80, "https": 443}

// fault is what parseEntry finds wrong, before it is known which key and entry it was.
type fault struct{ problem, next string }

func (f *fault) at(key, text string) *EntryError {
	return &EntryError{Key: key, Entry: redactEntry(text), Problem: f.problem, Next: f.next}
}

func parseEntry(text string) (entry, *fault) {
	text = strings.TrimSpace(text)
	if f := checkShape(text); f != nil {
		return entry{}, f
	}
	scheme, rest, _ := strings.Cut(text, "://")
	if f := checkScheme(scheme); f != nil {
		return entry{}, f
	}
	host, port, f := splitHost(rest)
	if f != nil {
		return entry{}, f
	}
	e := entry{scheme: scheme}
	if f := e.setHost(host); f != nil {
		return entry{}, f
	}
	if f := e.setPort(port); f != nil {
		return entry{}, f
	}
	return e, nil
}

// checkShape sorts out what is not an entry at all, most telling message first.
func checkShape(text string) *fault {
	switch {
	case text == "insecure:allow-all":
		return &fault{"insecure:allow-all is not an entry here", `write "*://*:*" to allow all outbound network access`}
	case text == "" || text == "*" || text == ":" || text == "," || text == "?":
		return &fault{"it is not a destination", grammar}
	case strings.Contains(text, "{{"):
		return &fault{"its {{ }} expression has no value yet", "give the variable a value, or write the host itself"}
	case !strings.Contains(text, "://"):
		return &fault{"it has no scheme", grammar}
	case strings.Contains(text, "@"):
		return &fault{"it has a user name or password", "leave them out: they belong in the address that the component opens"}
	}
	return nil
}

func checkScheme(scheme string) *fault {
	if scheme == "*" {
		return nil
	}
	if strings.HasPrefix(scheme, "{") {
		return &fault{"lists of schemes are not supported", "write one entry for each scheme"}
	}
	for i := range len(scheme) {
		if c := scheme[i] | 0x20; c < 'a' || c > 'z' {
			return &fault{fmt.Sprintf("scheme %q has a character that is not a letter", scheme), grammar}
		}
	}
	if scheme == "" {
		return &fault{"its scheme is empty", grammar}
	}
	return nil
}

// splitHost parts host and port and drops one trailing "/". A host in CIDR notation keeps its slash; an IPv6 network has no brackets, so
// its address ends at the slash and its port follows the prefix length.
func splitHost(rest string) (host, port string, f *fault) {
	noPath := &fault{"it has a path", "end the entry after the host or port: paths are not restricted"}
	tail := strings.IndexByte(rest, '/')
	if tail >= 0 {
		if _, err := netip.ParseAddr(rest[:tail]); err == nil && len(rest) > tail+1 {
			after := strings.TrimSuffix(rest[tail+1:], "/")
			if strings.Contains(after, "/") {
				return "", "", noPath
			}
			bits, port, _ := strings.Cut(after, ":")
			return rest[:tail+1] + bits, port, nil
		}
		if tail != len(rest)-1 {
			return "", "", noPath
		}
		rest = rest[:tail]
	}
	if strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return "", "", &fault{`"[" has no "]"`, `write an IPv6 address as "http://[::1]:8080"`}
		}
		host, port = rest[:end+1], rest[end+1:]
		if port != "" && port[0] != ':' {
			return "", "", &fault{`something other than ":port" follows "]"`, `write an IPv6 address as "http://[::1]:8080"`}
		}
		return host, strings.TrimPrefix(port, ":"), nil
	}
	host, port, _ = strings.Cut(rest, ":")
	return host, port, nil
}

func (e *entry) setHost(host string) *fault {
	switch {
	case host == "*":
		e.kind = anywhere
		return nil
	case host == "self" || host == "self.alt":
		e.kind, e.host = self, host
		return nil
	case strings.HasPrefix(host, "{"):
		return &fault{"lists of hosts are not supported", "write one entry for each host"}
	case strings.Contains(host, "/"):
		net, err := netip.ParsePrefix(host)
		if err != nil {
			return &fault{fmt.Sprintf("%q is not a network", host), `write a network in CIDR notation, for example "http://10.0.0.0/8"`}
		}
		e.kind, e.net = network, net.Masked()
		return nil
	}
	if suffix, ok := strings.CutPrefix(host, "*."); ok {
		return e.setSubdomains(suffix)
	}
	if strings.Contains(host, "*") {
		return &fault{`"*" stands inside a name`, `"*" is a whole host or a first label, as in "*.example.com"`}
	}
	name, _, err := parseHost(host)
	if err != nil {
		return &fault{err.Error(), grammar}
	}
	e.kind, e.host = literal, name
	return nil
}

func (e *entry) setSubdomains(suffix string) *fault {
	const next = `write a domain after "*.", as in "*.example.com"`
	if strings.Contains(suffix, "*") {
		return &fault{`"*" stands twice in a name`, next}
	}
	name, ip, err := parseHost(suffix)
	if err != nil {
		return &fault{err.Error(), next}
	}
	if ip.IsValid() {
		return &fault{"an IP address has no subdomains", next}
	}
	e.kind, e.host = subdomain, "."+name
	return nil
}

func (e *entry) setPort(port string) *fault {
	switch {
	case port == "*":
		e.any = true
		return nil
	case port == "":
		known, ok := knownPorts[e.scheme]
		if !ok {
			return &fault{fmt.Sprintf("it has no port, and scheme %q has no default port", e.scheme), `add one, as in "rediss://cache.example.com:6380", or ":*" for any`}
		}
		e.from, e.until = uint32(known), uint32(known)+1
		return nil
	case strings.HasPrefix(port, "{"):
		return &fault{"lists of ports are not supported", `write one entry for each port, or a range such as "8000..8010"`}
	}
	first, end, ranged := strings.Cut(port, "..")
	from, ok := parsePort(first)
	until := from + 1
	if ok && ranged {
		until, ok = parsePort(end)
	}
	if !ok {
		return &fault{fmt.Sprintf("Invalid allowed host port %q", port), `write a number from 0 to 65535, a range "8000..8010" (its end excluded), or "*"`}
	}
	e.from, e.until = from, until
	return nil
}

// parsePort reads decimal digits, nothing else.
func parsePort(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint32(n), err == nil
}

// String is the entry in full: with its port, its host in canonical form. It parses to the same entry.
func (e entry) String() string {
	host := e.host
	switch e.kind {
	case subdomain:
		host = "*" + e.host
	case network:
		host = e.net.String()
	case anywhere:
		host = "*"
	case literal:
		host = bracketed(e.host)
	}
	return e.scheme + "://" + host + e.portSuffix()
}

func (e *entry) portSuffix() string {
	switch {
	case e.any:
		return ":*"
	case e.until != e.from+1:
		return fmt.Sprintf(":%d..%d", e.from, e.until)
	}
	return ":" + strconv.Itoa(int(e.from))
}

func (e *entry) allows(t *target) bool {
	if e.scheme != "*" && e.scheme != t.scheme {
		return false
	}
	if !e.any && (t.port == 0 || uint32(t.port) < e.from || uint32(t.port) >= e.until) {
		return false
	}
	return e.allowsHost(t.host, t.ip)
}

// allowsHost is about a host in canonical form, and the address that it is, if it is one.
func (e *entry) allowsHost(host string, ip netip.Addr) bool {
	switch e.kind {
	case anywhere:
		return true
	case literal:
		return e.host == host
	case subdomain:
		return !ip.IsValid() && len(host) > len(e.host) && strings.HasSuffix(host, e.host)
	case network:
		return ip.IsValid() && e.net.Contains(ip)
	}
	return false
}
