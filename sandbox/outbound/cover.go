package outbound

import "net/netip"

// Covers tells whether everything that an entry allows lies within a single one of the list's entries. What only several of them cover together
// does not count. An entry that is none is an *EntryError.
func (a *Allowed) Covers(text string) (bool, error) {
	e, f := parseEntry(text)
	if f != nil {
		return false, f.at(keyOutbound, text)
	}
	if a == nil {
		return false, nil
	}
	for i := range a.entries {
		if a.entries[i].covers(&e) {
			return true, nil
		}
	}
	return false, nil
}

// covers tells whether e allows all that o allows.
func (e *entry) covers(o *entry) bool {
	if e.scheme != "*" && e.scheme != o.scheme {
		return false
	}
	if !e.any && (o.any || o.from < e.from || o.until > e.until) {
		return false
	}
	switch {
	case e.kind == anywhere:
		return true
	case e.kind == subdomain && o.kind == subdomain:
		return len(o.host) >= len(e.host) && o.host[len(o.host)-len(e.host):] == e.host
	case e.kind == network && o.kind == network:
		return e.net.Bits() <= o.net.Bits() && e.net.Contains(o.net.Addr())
	case o.kind == literal:
		ip, _ := netip.ParseAddr(o.host) // invalid for a name
		return e.allowsHost(o.host, ip)
	}
	return e.kind == o.kind && e.host == o.host && e.net == o.net
}
