package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Name is what people call the server: host:port; those of a cluster's first nodes with commas between; or those of Sentinels and /master.
func (o Options) Name() string {
	name := strings.Join(o.config.Addresses, ",")
	if o.config.Master != "" {
		name += "/" + o.config.Master
	}
	return name
}

// Addresses are the servers that the Options name, as host:port: the server, the Sentinels, or the first nodes of a cluster.
func (o *Options) Addresses() []string { return slices.Clone(o.config.Addresses) }

// Address is the URL that leads there, without credentials, database and protocol.
func (o Options) Address() string { return o.scheme() + o.Name() }

func (o Options) scheme() string {
	scheme := "redis"
	if o.config.TLS != nil {
		scheme += "s"
	}
	if o.config.Master != "" {
		scheme += "+sentinel"
	} else if o.config.Cluster {
		scheme += "+cluster"
	}
	return scheme + "://"
}

// DB is the database of a Client.
func (o *Options) DB() int { return o.config.DB }

// IsCluster says that the Options name nodes of a cluster, which has only database 0.
func (o *Options) IsCluster() bool { return o.config.Cluster }

// IsMaster says that the Options name Sentinels, and by them a master that can change.
func (o *Options) IsMaster() bool { return o.config.Master != "" }

// IsSingle says that the Options name one server, neither Sentinels nor a cluster.
func (o *Options) IsSingle() bool { return !o.config.Cluster && o.config.Master == "" }

// Protocol is the RESP version that was asked for, 0 where none was and 3 is spoken.
func (o *Options) Protocol() int { return o.config.Protocol }

// Credential tells credentials apart without telling them: the user, and a mark that is the same for the same user, password, client certificate
// and Sentinel password, "" for none of them. Functions cannot be told apart: whoever gives Credentials knows whose they are.
func (o *Options) Credential() (user, mark string) {
	c := o.config
	var cert []byte
	if c.TLS != nil {
		cert = c.TLS.Cert
	}
	if c.User+c.Password+c.SentinelPassword == "" && cert == nil {
		return "", ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", c.User, c.Password, c.SentinelUser, c.SentinelPassword, cert)
	return c.User, hex.EncodeToString(h.Sum(nil)[:4])
}

// String is the URL with *** in place of user and password.
func (o Options) String() string {
	var b strings.Builder
	b.WriteString(o.scheme())
	c := o.config
	if c.Password != "" || c.Credentials != nil || c.SentinelPassword != "" {
		b.WriteString("***@")
	}
	b.WriteString(o.Name())
	if c.DB != 0 || number(c.Master) { // a lone number behind the hosts is a database
		fmt.Fprintf(&b, "/%d", c.DB)
	}
	if c.Protocol == 2 {
		b.WriteString("?protocol=" + strconv.Itoa(c.Protocol))
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

// Format keeps the secrets of a Config from every verb.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "redis configuration of %s (credentials and keys are not shown)", strings.Join(c.Addresses, ","))
}

// MarshalText is what Format prints, to JSON and to slog.
func (c Config) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// Format keeps a key from every verb.
func (t TLS) Format(f fmt.State, _ rune) { fmt.Fprint(f, "TLS (certificates and keys are not shown)") }

// MarshalText is what Format prints, to JSON and to slog.
func (t TLS) MarshalText() ([]byte, error) { return fmt.Append(nil, t), nil }
