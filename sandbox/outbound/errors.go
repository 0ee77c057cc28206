package outbound

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

var (
	// ErrInvalidAddress is an address that names no destination this package can reach: not a URL, no host, a port that is no port.
	// What wraps it says what is wrong without repeating the address, which may hold a password.
	ErrInvalidAddress = errors.New("invalid address")

	// ErrTooManyConnections means that a Pool holds its maximum of clients and all are in use.
	ErrTooManyConnections = errors.New("too many connections")

	// ErrProhibited means that the operator's blocked networks contain every address of a destination.
	ErrProhibited = errors.New("destination is in a blocked network")

	// ErrPoolClosed is what Get returns after Close.
	ErrPoolClosed = errors.New("outbound pool is closed")

	// ErrResponseTooLarge ends the reading of an HTTP response body at its bound.
	ErrResponseTooLarge = errors.New("response body is too large")
)

// Denied is a well-formed destination that a component's allow list does not contain, or that lies Beyond its ceiling.
type Denied struct {
	Scheme string
	Host   string // canonical, IPv6 without brackets; empty for a scheme that has no hosts
	Port   uint16 // 0: the address has none and its scheme has no default
	Hint   string // the line that allows it in the component's manifest, or why no line can; "" where it is Beyond
	Beyond bool   // the list allows it, and the Gate's Ceiling does not
}

// These stand in Denied.Hint when nothing in the manifest helps.
const (
	noHint   = "no entry can allow it: only redis, rediss, http, https and tcp leave the sandbox"
	selfHint = `no entry can name this host: "self" means the application itself, which has no HTTP trigger here`
)

func newDenied(t target) *Denied {
	d := &Denied{Scheme: t.scheme, Host: t.host, Port: t.port, Hint: noHint}
	switch {
	case !leavesSandbox(t.scheme):
		return d
	case t.host == "self" || t.host == "self.alt":
		d.Hint = selfHint
		return d
	}
	entry := d.Destination()
	if t.port == 0 {
		// Only "*" covers a port that is not known.
		entry += ":*"
	}
	d.Hint = "allowed_outbound_hosts = [" + strconv.Quote(entry) + "]"
	return d
}

func newBeyond(t target) *Denied {
	return &Denied{Scheme: t.scheme, Host: t.host, Port: t.port, Beyond: true}
}

// Destination is scheme://host[:port], never with a user name, password or path.
func (d *Denied) Destination() string {
	if d.Port == 0 {
		return d.Scheme + "://" + bracketed(d.Host)
	}
	return d.Scheme + "://" + net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port)))
}

// Error names the destination; the line that would allow it is in Hint.
func (d *Denied) Error() string {
	if d.Beyond {
		return "outbound network destination not granted: " + d.Destination()
	}
	return "outbound network destination not allowed: " + d.Destination()
}

// EntryError is one faulty entry of an allow list.
type EntryError struct {
	Key     string // allowed_outbound_hosts or allowed_http_hosts
	Entry   string // as written, user name and password blotted out
	Problem string
	Next    string // what to write instead
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("%s entry %q: %s: %s", e.Key, e.Entry, e.Problem, e.Next)
}

// redactEntry blots out whatever stands before an "@": an entry with credentials is refused, and the refusal must not repeat them.
func redactEntry(entry string) string {
	at := strings.LastIndexByte(entry, '@')
	if at < 0 {
		return entry
	}
	scheme, _, found := strings.Cut(entry, "://")
	if !found || !validScheme(scheme) {
		return "***" + entry[at:]
	}
	return scheme + "://***" + entry[at:]
}

func invalidAddress(why string) error {
	return fmt.Errorf("%w: %s", ErrInvalidAddress, why)
}

// bracketed is a host as a URL has it.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
