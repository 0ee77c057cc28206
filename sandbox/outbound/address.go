package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxAddress is the longest address that is read, in bytes.
const maxAddress = 8 << 10

// target is an address after it was read.
type target struct {
	scheme string
	host   string     // canonical
	ip     netip.Addr // valid when the host is an IP address
	port   uint16     // 0: not known
	url    *url.URL
}

// leavesSandbox lists the schemes that a Gate opens.
func leavesSandbox(scheme string) bool {
	return isRedis(scheme) || isHTTP(scheme) || scheme == "tcp"
}

func isRedis(scheme string) bool { return scheme == "redis" || scheme == "rediss" }
func isHTTP(scheme string) bool  { return scheme == "http" || scheme == "https" }

// parseAddress reads what a guest wrote as the destination of a connection:
//
//	[scheme "://"] [userinfo "@"] host [":" port] [("/" | "?" | "#") ...]
//
// The user information ends at the last "@" before the first "/" and may hold any other character, "#" and "?" among them. An address
// without "scheme://" takes the fallback. An explicit scheme without a host is refused, never tried again as a host:
// "unix:///run/redis.sock" must not become a host named "unix".
func parseAddress(address, fallback string) (target, error) {
	if len(address) > maxAddress {
		return target{}, invalidAddress(fmt.Sprintf("it is longer than %d bytes", maxAddress))
	}
	address = strings.TrimSpace(address)
	if strings.ContainsFunc(address, isControl) {
		return target{}, invalidAddress("it has a control character")
	}
	scheme, rest, explicit := splitScheme(address)
	if !explicit {
		scheme = fallback
	}
	user, rest := splitUserinfo(rest)
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	if authority == "" {
		return target{}, noHost(scheme, explicit)
	}
	if !explicit && authority[len(authority)-1] == ':' {
		// "unix:/run/redis.sock", "mailto:": a scheme, not a host with an empty port.
		return target{}, invalidAddress("it has no host: write scheme://host:port")
	}
	if isRedis(scheme) && user == nil && strings.Contains(tail, "@") {
		// What stands before the slash is then likely half of a password. It must not be taken, or shown, as a host.
		return target{}, invalidAddress(`an "@" follows the first "/": write "/" in a user name or password as "%2F"`)
	}
	t := target{scheme: scheme}
	if err := t.setAuthority(authority); err != nil {
		return target{}, err
	}
	return t, t.setURL(user, authority, tail)
}

// targetOf reads a URL that is already parsed, as those of HTTP requests are.
func targetOf(u *url.URL) (target, error) {
	t := target{scheme: strings.ToLower(u.Scheme)}
	if u.Opaque != "" || u.Host == "" {
		return target{}, noHost(t.scheme, true)
	}
	if err := t.setAuthority(u.Host); err != nil {
		return target{}, err
	}
	canonical := *u
	canonical.Scheme, canonical.Host = t.scheme, t.urlHost(u.Port() != "")
	t.url = &canonical
	return t, nil
}

func noHost(scheme string, explicit bool) error {
	if explicit && !leavesSandbox(scheme) {
		return newDenied(target{scheme: scheme})
	}
	return invalidAddress("it has no host: write scheme://host:port")
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// splitScheme cuts "scheme://" off. A "://" further back, in a path or query, does not count.
func splitScheme(address string) (scheme, rest string, explicit bool) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found || !validScheme(scheme) {
		return "", address, false
	}
	return strings.ToLower(scheme), rest, true
}

// validScheme holds s against the scheme of RFC 3986 section 3.1.
func validScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// splitUserinfo cuts the user name and password off and decodes them. A "%" that starts no escape stands for itself.
func splitUserinfo(rest string) (*url.Userinfo, string) {
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return nil, rest
	}
	name, password, hasPassword := strings.Cut(rest[:at], ":")
	if !hasPassword {
		return url.User(unescape(name)), rest[at+1:]
	}
	return url.UserPassword(unescape(name), unescape(password)), rest[at+1:]
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// setAuthority reads host[:port] and fills in the scheme's default port.
func (t *target) setAuthority(authority string) error {
	host, port := authority, ""
	if end := strings.LastIndexByte(authority, ']'); end >= 0 && authority[0] == '[' {
		host, port = authority[:end+1], authority[end+1:]
		if port != "" && port[0] != ':' {
			return invalidAddress(`something other than ":port" follows "]"`)
		}
		port = strings.TrimPrefix(port, ":")
	} else if colon := strings.IndexByte(authority, ':'); colon >= 0 {
		host, port = authority[:colon], authority[colon+1:]
	}
	var err error
	if t.host, t.ip, err = parseHost(host); err != nil {
		return invalidAddress(err.Error())
	}
	if port == "" {
		t.port = knownPorts[t.scheme]
		return nil
	}
	n, ok := parsePort(port)
	if !ok || n == 0 {
		return invalidAddress("its port is not a number from 1 to 65535")
	}
	t.port = uint16(n)
	return nil
}

// setURL builds the URL from what was read, so that nobody after this reads the guest's text again.
func (t *target) setURL(user *url.Userinfo, authority, tail string) error {
	t.url = &url.URL{Scheme: t.scheme}
	if tail != "" {
		u, err := url.Parse("http://h" + tail)
		if err != nil {
			return invalidAddress("its path or query is not valid in a URL")
		}
		t.url = u
		t.url.Scheme = t.scheme
	}
	explicit := authority[len(authority)-1] != ':' && strings.LastIndexByte(authority, ':') > strings.LastIndexByte(authority, ']')
	t.url.User, t.url.Host = user, t.urlHost(explicit)
	return nil
}

func (t *target) urlHost(withPort bool) string {
	if withPort && t.port != 0 {
		return t.hostPort()
	}
	return bracketed(t.host)
}

func (t *target) hostPort() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }

// redisPort is where clients look when neither the address nor its scheme says.
const redisPort = 6379

// redisAddress is the form of a redis or rediss target that Pool.Get takes, or the reason why it is none: the scheme must be written, and of the options
// that Redis URLs can have only the protocol is a guest's to choose; pool sizes, time-outs and further servers are not.
func redisAddress(address string, t *target) (string, error) {
	if _, _, explicit := splitScheme(strings.TrimSpace(address)); !explicit {
		return "", invalidAddress("it has no scheme: write redis://host:port")
	}
	if t.url.Fragment != "" {
		return "", invalidAddress(`a Redis URL has no "#" part: write "#" in a password as "%23"`)
	}
	query, err := url.ParseQuery(t.url.RawQuery)
	if err != nil {
		return "", invalidAddress("its query is not valid in a URL")
	}
	for option := range query {
		if option != "protocol" {
			return "", invalidAddress("protocol is the only option a Redis URL may have here")
		}
	}
	to := *t
	if to.port == 0 {
		to.port = redisPort
	}
	canonical := *t.url
	canonical.Host = to.hostPort()
	return canonical.String(), nil
}
