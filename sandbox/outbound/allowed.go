package outbound

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
	"strings"
	"sync/atomic"
)

const (
	keyOutbound = "allowed_outbound_hosts"
	keyHTTP     = "allowed_http_hosts"

	// maxEntries bounds a list after "*.spin.internal" is expanded; more is an error of Parse.
	maxEntries = 4096

	// internalHosts stands for every component of the application.
	internalHosts = "*.spin.internal"
)

// V1DefaultGrant is what a component of a version 1 manifest may reach when it names no hosts at all.
var V1DefaultGrant = []string{"redis://*:*", "mysql://*:*", "postgres://*:*"}

// Allowed is a parsed allow list. It does not change and is safe for concurrent use. Nil and the zero value allow nothing.
type Allowed struct {
	entries []entry
	recent  *verdicts
}

// Parse reads the entries of a manifest's allowed_outbound_hosts, their templates already rendered (see Render):
//
//	scheme://host[:port][/]
//
// The scheme is "*" or letters, compared as written. The host is "*", a name or address, "*.domain" for any depth below a domain, a
// network in CIDR notation, or "self". The port is a number, "*", a half-open range "8000..8010", or, left out, the scheme's own.
// A host "*.spin.internal" becomes one entry for each of the components, in their order.
//
// Every faulty entry is reported: the error joins one *EntryError each.
func Parse(entries []string, components []string) (*Allowed, error) {
	a := &Allowed{recent: newVerdicts()}
	var errs []error
	for _, text := range entries {
		parsed, f := expand(text, components)
		if f != nil {
			errs = append(errs, f.at(keyOutbound, text))
			continue
		}
		a.entries = append(a.entries, parsed...)
		if len(a.entries) > maxEntries {
			errs = append(errs, fmt.Errorf("%s: more than %d entries: use wildcards", keyOutbound, maxEntries))
			break
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return a, nil
}

func expand(text string, components []string) ([]entry, *fault) {
	e, f := parseEntry(text)
	if f != nil {
		return nil, f
	}
	if e.kind != subdomain || e.host != internalHosts[1:] {
		return []entry{e}, nil
	}
	var all []entry
	for _, c := range components {
		one := e
		if f := one.setHost(c + internalHosts[1:]); f != nil {
			return nil, f
		}
		all = append(all, one)
	}
	return all, nil
}

// Render fills in the {{ }} expressions of entries. An entry that renders to nothing, or to nothing after its scheme, is left out, so that
// an empty variable switches a destination off; an entry that is written so stays, for Parse to refuse. Errors are joined, each naming
// its entry as written.
func Render(entries []string, render func(entry string) (string, error)) ([]string, error) {
	var rendered []string
	var errs []error
	for _, text := range entries {
		if !strings.Contains(text, "{{") {
			rendered = append(rendered, text)
			continue
		}
		s, err := render(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("render %s entry %q: %w", keyOutbound, text, err))
			continue
		}
		if !rendersToNothing(s) {
			rendered = append(rendered, s)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return rendered, nil
}

// rendersToNothing is about rendered text. Spin skips "", "http://" and "https://"; here any scheme counts, since Redis hosts come from
// variables as often.
func rendersToNothing(s string) bool {
	s = strings.TrimSpace(s)
	scheme, host, found := strings.Cut(s, "://")
	return s == "" || found && host == "" && (scheme == "*" || validScheme(scheme))
}

// Entries lists what is allowed, in the order of the manifest, each in full: ports given, hosts in canonical form, networks masked.
// Parsing it again gives the same list.
func (a *Allowed) Entries() []string {
	if a == nil {
		return nil
	}
	texts := make([]string, len(a.entries))
	for i, e := range a.entries {
		texts[i] = e.String()
	}
	return texts
}

// Destination is an address that was read and found on the allow list.
type Destination struct {
	URL    *url.URL // canonical host; the port only if the address had one; user name and password decoded
	Scheme string   // lower case
	Host   string   // canonical; IPv6 without brackets
	Port   uint16   // the address's, else the scheme's default, else 0: not known
}

// Check reads an address, with the fallback scheme if it has none, and looks for an entry that allows it. DNS is not asked. Errors are a
// *Denied, or wrap ErrInvalidAddress. The URL of the Destination is the caller's own.
//
// Any scheme can be allowed here; which ones leave the sandbox is the Gate's decision.
func (a *Allowed) Check(address, scheme string) (Destination, error) {
	v, err := a.verdict(address, scheme)
	if err != nil {
		return Destination{}, err
	}
	u := *v.url
	return Destination{URL: &u, Scheme: v.scheme, Host: v.host, Port: v.port}, nil
}

// verdict is Check for callers that only read the URL. Yes-verdicts are remembered: guests open the same few addresses again and again.
func (a *Allowed) verdict(address, scheme string) (*verdict, error) {
	if a == nil {
		a = &Allowed{}
	}
	if v := a.recent.find(address, scheme); v != nil {
		return v, nil
	}
	t, err := parseAddress(address, scheme)
	if err != nil {
		return nil, err
	}
	if !a.allows(&t) {
		return nil, newDenied(t)
	}
	v := &verdict{address: address, fallback: scheme, target: t}
	if isRedis(t.scheme) {
		v.redis, v.redisErr = redisAddress(address, &t)
	}
	a.recent.remember(v)
	return v, nil
}

func (a *Allowed) allows(t *target) bool {
	for i := range a.entries {
		if a.entries[i].allows(t) {
			return true
		}
	}
	return false
}

// verdict is one remembered yes. Nothing of it changes after it is stored.
type verdict struct {
	address, fallback string // what was asked
	target
	redis    string // redis and rediss only: the address in the form that Pool.Get takes
	redisErr error  // why it is not one that Redis clients can open
}

// verdicts is a direct-mapped cache of the last yes-verdicts. Two addresses that fall on one slot replace each other; addresses longer
// than rememberedAddress are not kept. Denials are not kept: they are rare, and logged.
type verdicts struct {
	seed  maphash.Seed
	slots [64]atomic.Pointer[verdict]
}

const rememberedAddress = 512

func newVerdicts() *verdicts { return &verdicts{seed: maphash.MakeSeed()} }

func (c *verdicts) slot(address string) *atomic.Pointer[verdict] {
	return &c.slots[maphash.String(c.seed, address)%uint64(len(c.slots))]
}

func (c *verdicts) find(address, fallback string) *verdict {
	if c == nil || len(address) > rememberedAddress {
		return nil
	}
	v := c.slot(address).Load()
	if v == nil || v.address != address || v.fallback != fallback {
		return nil
	}
	return v
}

func (c *verdicts) remember(v *verdict) {
	if c != nil && len(v.address) <= rememberedAddress {
		c.slot(v.address).Store(v)
	}
}
