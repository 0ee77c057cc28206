package endpoint

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL is the longest URL that Parse reads, in bytes.
const maxURL = 8 << 10

// Options say how to reach one Redis server, with which credential. They are immutable and safe for concurrent use.
type Options struct {
	host, port     string
	tls            bool
	user, password string
	db             int
	protocol       int // 2 or 3: the RESP version to ask for
}

// Parse reads a Redis URL:
//
//	redis://[[user]:password@]host[:port][/db][?protocol=2|3]
//	rediss://...                                               the same over TLS
//
// The port is 6379, the database 0 and the protocol 3 where nothing is said; user and password are percent-decoded. The protocol may also
// be written resp2 or resp3. Anything else is an error that says what to write instead and holds neither user nor password.
func Parse(raw string) (*Options, error) {
	o, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("redis address %q: %w", redact(raw), err)
	}
	return o, nil
}

const form = "write redis://[user:password@]host[:port][/db], or rediss:// for TLS"

func parse(raw string) (*Options, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(raw), maxURL)
	}
	scheme, _, found := strings.Cut(raw, "://")
	switch scheme = strings.ToLower(scheme); {
	case !found:
		return nil, errors.New("it has no scheme; " + form)
	case scheme == "unix" || scheme == "redis+unix":
		return nil, errors.New("unix sockets are refused, because they reach past the network rules of a tenant; let the server listen on TCP and " + form)
	case scheme != "redis" && scheme != "rediss":
		return nil, errors.New("its scheme is neither redis nor rediss; " + form)
	}
	u, err := url.Parse(raw)
	if err != nil { // its text may quote the password
		return nil, errors.New("it is not a URL; percent-encode special characters in user and password, such as @ as %40, and " + form)
	}
	o := &Options{host: u.Hostname(), port: u.Port(), tls: scheme == "rediss", user: u.User.Username(), protocol: 3}
	o.password, _ = u.User.Password()
	if o.host == "" {
		return nil, errors.New("it names no host; " + form)
	}
	if _, err := netip.ParseAddr(o.host); err != nil && strings.ContainsAny(o.host, ":%[] ") {
		return nil, errors.New("its host is neither a name nor an address; IPv6 addresses stand in brackets; " + form)
	}
	if o.port == "" {
		o.port = "6379"
	}
	if n, err := strconv.ParseUint(o.port, 10, 16); err != nil || n == 0 {
		return nil, errors.New("its port is not between 1 and 65535")
	}
	if o.user != "" && o.password == "" {
		return nil, errors.New("it names a user without a password, as whom one cannot log in; add the password or leave the user out")
	}
	if u.Fragment != "" {
		return nil, errors.New("a fragment (#...) has no meaning here: TLS certificates are always verified; name a private authority's file in SSL_CERT_FILE")
	}
	if o.db, err = database(u.Path); err != nil {
		return nil, err
	}
	return o, o.parameters(u)
}

func database(path string) (int, error) {
	if path == "" || path == "/" {
		return 0, nil
	}
	n, err := strconv.ParseUint(path[1:], 10, 31)
	if err != nil {
		return 0, errors.New("what follows the host is not a database number, such as /0")
	}
	return int(n), nil
}

func (o *Options) parameters(u *url.URL) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("its parameters cannot be read; the only one is ?protocol=2 or ?protocol=3")
	}
	for name, values := range q {
		switch {
		case name == "db":
			return errors.New("write the database as /N behind the host, not as ?db=")
		case name != "protocol":
			return errors.New("it has an unknown parameter; the only one is ?protocol=2 or ?protocol=3")
		}
		switch values[len(values)-1] {
		case "2", "resp2":
			o.protocol = 2
		case "3", "resp3":
			o.protocol = 3
		default:
			return errors.New("its protocol is neither 2 nor 3")
		}
	}
	return nil
}

// redact keeps what cannot be part of a credential: the scheme, and host and path up to the parameters.
func redact(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		scheme, rest = scheme+"***@", rest[at+1:]
	}
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	return scheme + rest[:min(len(rest), 256)]
}

// Name is host:port.
func (o Options) Name() string { return net.JoinHostPort(o.host, o.port) }

// String is the URL with *** in place of user and password.
func (o Options) String() string {
	var b strings.Builder
	b.WriteString("redis")
	if o.tls {
		b.WriteByte('s')
	}
	b.WriteString("://")
	if o.password != "" {
		b.WriteString("***@")
	}
	b.WriteString(o.Name())
	if o.db != 0 {
		fmt.Fprintf(&b, "/%d", o.db)
	}
	if o.protocol != 3 {
		fmt.Fprintf(&b, "?protocol=%d", o.protocol)
	}
	return b.String()
}

// Format prints String under every verb, so that none walks the fields.
func (o Options) Format(f fmt.State, verb rune) {
	if verb == 'q' {
		fmt.Fprintf(f, "%q", o.String())
		return
	}
	fmt.Fprint(f, o.String())
}

// MarshalText gives String, to JSON and to slog.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }
