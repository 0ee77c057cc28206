package endpoint

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURL is the longest URL that Parse reads, in bytes.
const maxURL = 8 << 10

// Parse reads a Redis URL:
//
//	redis://[[user]:password@]host[:port][/db][?protocol=2|3]
//	redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/master[/db]
//	redis+cluster://[[user]:password@]host[:port][,host[:port]...]
//
// rediss in the place of redis means TLS, everywhere. What other clients write means the same: redis-sentinel:// and redis-cluster://, the
// master as ?master=, ?master_name=, ?sentinelMasterId= or #fragment, a cluster as redis://...?cluster=true, more hosts as &addr=host:port. User and
// password are those of the Redis; Sentinels' own are ?sentinel_username= and ?sentinel_password=.
//
// The port is 6379, or 26379 of a Sentinel, the database 0 and the protocol 3 where nothing is said; user and password are percent-decoded.
// The protocol may also be written resp2 or resp3. Anything else is an error that says what to write instead and holds neither user nor
// password: among them Unix sockets, files, pool sizes and TLS without verification, because tenants write URLs, and operators Configs.
func Parse(raw string) (*Options, error) {
	c, err := ParseConfig(raw)
	if err != nil {
		return nil, err
	}
	o, err := New(c)
	if err != nil {
		return nil, invalid(raw, err)
	}
	return o, nil
}

// ParseConfig is what a URL says, for those who have more to say, such as a private authority. It is not held against New's rules yet.
func ParseConfig(raw string) (Config, error) {
	c, faults := parse(raw)
	if faults != nil {
		return Config{}, invalid(raw, faults)
	}
	return c, nil
}

// invalid names the address. The places of a Config say nothing to someone who wrote a URL.
func invalid(raw string, err error) error {
	var faults Faults
	if errors.As(err, &faults) {
		faults = slices.Clone(faults)
		for i := range faults {
			faults[i].Place = ""
		}
		err = faults
	}
	return fmt.Errorf("redis address %q: %w", redact(raw), err)
}

const form = "write redis://[user:password@]host[:port][/db], rediss:// for TLS, redis+sentinel://host,host/master or redis+cluster://host,host"

func fault(problem, next string) Faults { return Faults{{"", problem, next}} }

func parse(raw string) (Config, Faults) {
	if len(raw) > maxURL {
		return Config{}, fault(fmt.Sprintf("it has %d bytes, at most %d are read", len(raw), maxURL), "")
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return Config{}, fault("it has no scheme", form)
	}
	var c Config
	kind, faults := c.scheme(strings.ToLower(scheme))
	if faults != nil {
		return Config{}, faults
	}
	user, hosts, tail := authority(rest)
	first, others, _ := strings.Cut(hosts, ",")
	u, err := url.Parse("redis://" + user + first + tail)
	if err != nil { // its text may quote the password
		return Config{}, fault("it is not a URL", "percent-encode special characters in user and password, such as @ as %40, and "+form)
	}
	c.User = u.User.Username()
	c.Password, _ = u.User.Password()
	if u.Hostname() == "" {
		faults.add("", "it names no host", form)
	}
	c.Addresses = []string{u.Host}
	if others != "" {
		c.Addresses = append(c.Addresses, strings.Split(others, ",")...)
	}
	for _, a := range c.Addresses {
		if strings.Count(a, ":") > 1 && a[0] != '[' {
			faults.add("", "its host is neither a name nor an address", "IPv6 addresses stand in brackets; "+form)
		}
	}
	master := c.parameters(u, &faults)
	if u.Fragment != "" && kind != "sentinel" {
		faults.add("", "a fragment (#...) has no meaning here: TLS certificates are always verified", "name a private authority's file in SSL_CERT_FILE")
	}
	c.path(u, kind, append(master, u.Fragment), &faults)
	return c, faults
}

// authority cuts what follows the scheme: the user information with its @, the hosts, and the rest.
func authority(rest string) (user, hosts, tail string) {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest, tail = rest[:end], rest[end:]
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		return rest[:at+1], rest[at+1:], tail
	}
	return "", rest, tail
}

// scheme reads what stands before ://.
func (c *Config) scheme(scheme string) (kind string, faults Faults) {
	if scheme == "unix" || scheme == "redis+unix" || scheme == "redis+socket" {
		return "", fault("unix sockets are refused, because they reach past the network rules of a tenant", "let the server listen on TCP and "+form)
	}
	base, kind, _ := strings.Cut(strings.Replace(scheme, "-", "+", 1), "+")
	if base != "redis" && base != "rediss" || kind != "" && kind != "sentinel" && kind != "cluster" || strings.HasSuffix(scheme, "+") {
		return "", fault("its scheme is neither redis nor rediss", form)
	}
	if base == "rediss" {
		c.TLS = &TLS{}
	}
	c.Cluster = kind == "cluster"
	return kind, nil
}

// path reads /db, /master or /master/db. masters are the names found elsewhere.
func (c *Config) path(u *url.URL, kind string, masters []string, faults *Faults) {
	masters = slices.Compact(slices.DeleteFunc(masters, func(m string) bool { return m == "" }))
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if kind == "sentinel" || len(masters) > 0 {
		if len(parts) == 2 || len(masters) == 0 && !number(parts[0]) {
			masters = append(masters, parts[0])
			parts = parts[1:]
		}
		masters = slices.Compact(slices.DeleteFunc(masters, func(m string) bool { return m == "" }))
		switch len(masters) {
		case 0:
			faults.add("", "it does not say which master the Sentinels are to name", "write the name behind the hosts, as in redis+sentinel://host:26379/mymaster")
		case 1:
			c.Master = masters[0]
		default:
			faults.add("", "it names more than one master", "write one, behind the hosts")
		}
	}
	if len(parts) == 0 || len(parts) == 1 && parts[0] == "" {
		return
	}
	n, err := strconv.ParseUint(parts[0], 10, 31)
	if err != nil || len(parts) > 1 {
		faults.add("", "what follows the host is not a database number", "write it as /0")
	}
	c.DB = int(n)
}

func number(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

const known = "?protocol=2 or 3, ?cluster=true, ?addr=host:port, ?master=, ?sentinel_username= and ?sentinel_password="

// parameters reads what follows the question mark, and returns the names of masters in it.
func (c *Config) parameters(u *url.URL, faults *Faults) (masters []string) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		faults.add("", "its parameters cannot be read", "there are "+known)
		return nil
	}
	for name, values := range q {
		last := values[len(values)-1]
		switch name {
		case "protocol":
			if v := strings.TrimPrefix(last, "resp"); v == "2" || v == "3" {
				c.Protocol = int(v[0] - '0')
			} else {
				faults.add("", "its protocol is neither 2 nor 3", "write ?protocol=2 or leave it out")
			}
		case "cluster":
			if last != "true" && last != "false" {
				faults.add("", "its parameter cluster is neither true nor false", "write ?cluster=true")
			}
			c.Cluster = c.Cluster || last == "true"
		case "addr":
			c.Addresses = append(c.Addresses, values...)
		case "master", "master_name", "sentinelMasterId":
			masters = append(masters, values...)
		case "sentinel_username", "sentinel_user":
			c.SentinelUser = last
		case "sentinel_password":
			c.SentinelPassword = last
		case "db":
			faults.add("", "it has the parameter db", "write the database as /N behind the host, not as ?db=")
		default:
			faults.add("", "it has an unknown parameter", "there are "+known)
		}
	}
	return masters
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
