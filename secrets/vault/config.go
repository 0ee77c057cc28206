package vault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tenloom/tenloom/secrets"
)

// Defaults and bounds of a Config.
const (
	DefaultRate    = 5                // requests per second
	DefaultRefresh = 30 * time.Second // age at which what was read is read again
	DefaultStale   = time.Hour        // age to which it is given out while Vault is away
	DefaultTimeout = 5 * time.Second  // one request
	DefaultEntries = 10_000           // secrets that are remembered

	maxResponse = 1 << 20  // bytes of one answer
	maxMemory   = 64 << 20 // bytes of all secrets that are remembered
	kubernetes  = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// Config says which Vault to use and how. The zero value of a field is its default.
type Config struct {
	Address   string // http:// or https://host:port
	Namespace string // of Vault Enterprise
	CA        []byte // PEM of the authorities that its certificate is held against; nil means the system's
	Cert, Key []byte // PEM of the certificate to show and its key; both or neither
	Auth      Auth

	Rate    float64       // requests per second on average that are not somebody's who waits; default 5
	Refresh time.Duration // default 30 s, at least 1 s
	Stale   time.Duration // default 1 h, at least Refresh
	Timeout time.Duration // of one request; default 5 s
	Entries int           // secrets remembered at once, default 10,000; beyond it those go that were not asked for longest

	Transport http.RoundTripper // nil means TCP, with TLS as above
	Log       *slog.Logger      // nil discards
}

// Methods of Auth.
const (
	Token      = "token"
	AppRole    = "approle"
	Kubernetes = "kubernetes"
	JWT        = "jwt"
)

// Auth says how to sign in. Files are read at each sign-in, so what replaces their content takes part.
type Auth struct {
	Method string // Token, AppRole, Kubernetes, JWT; default Token
	Mount  string // where the method is enabled; default its name

	Token     secrets.Value // Token: itself, or
	TokenFile string        // a file with it

	RoleID       string        // AppRole
	SecretID     secrets.Value // AppRole: itself, or
	SecretIDFile string        // a file with it; neither for roles without

	Role    string // Kubernetes, JWT: the role to sign in as
	JWTFile string // Kubernetes, JWT: the file with the service account's or identity's token; Kubernetes has a default
}

// Check reports all that is wrong, one line each. It repeats no secret.
func (c *Config) Check() error {
	var faults []error
	say := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	u, err := url.Parse(c.Address)
	switch {
	case c.Address == "":
		say("address: it is not said where Vault is; give https://host:8200")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		say("address: it is no http:// or https:// URL; give https://host:8200")
	case u.User != nil:
		say("address: it holds a user or password; sign in with auth instead")
	case u.Scheme == "http" && len(c.CA)+len(c.Cert)+len(c.Key) > 0:
		say("address: certificates are given and it is http://; write https://")
	}
	if (c.Cert == nil) != (c.Key == nil) {
		say("cert and key: one is given without the other; give both or neither")
	}
	if _, err := c.tls(); err != nil {
		faults = append(faults, err)
	}
	for _, one := range []struct {
		name string
		bad  bool
		rule string
	}{
		{"rate", c.Rate < 0 || c.Rate > 1000, "0 to 1000 requests per second"},
		{"refresh", c.Refresh != 0 && c.Refresh < time.Second, "at least 1s"},
		{"stale", c.Stale != 0 && c.Stale < c.Refresh, "at least refresh"},
		{"timeout", c.Timeout < 0 || c.Timeout > time.Minute, "at most 1m"},
		{"entries", c.Entries < 0, "a positive number"},
	} {
		if one.bad {
			say("%s: want %s", one.name, one.rule)
		}
	}
	return errors.Join(append(faults, c.Auth.check()...)...)
}

func (a *Auth) check() (faults []error) {
	say := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	methods := []string{Token, AppRole, Kubernetes, JWT}
	if a.Method != "" && !slices.Contains(methods, a.Method) {
		say("auth: %q is no way to sign in; want %s", a.Method, strings.Join(methods, ", "))
		return faults
	}
	token, secretID := a.Token.Reveal() != "", a.SecretID.Reveal() != ""
	switch a.method() {
	case Token:
		if token == (a.TokenFile != "") {
			say("auth token: give the token, or the file that holds it")
		}
	case AppRole:
		if a.RoleID == "" {
			say("auth approle: role_id is missing")
		}
		if secretID && a.SecretIDFile != "" {
			say("auth approle: secret_id and its file are both given; give one")
		}
	case Kubernetes, JWT:
		if a.Role == "" {
			say("auth %s: role is missing", a.Method)
		}
		if a.Method == JWT && a.JWTFile == "" {
			say("auth jwt: jwt_file is missing")
		}
	}
	if a.method() != Token && (token || a.TokenFile != "") {
		say("auth %s: a token is given beside it; leave it out", a.Method)
	}
	return faults
}

func (a *Auth) method() string {
	if a.Method == "" {
		return Token
	}
	return a.Method
}

func (a *Auth) mount() string {
	if m := strings.Trim(a.Mount, "/"); m != "" {
		return m
	}
	return a.method()
}

// filled is c with its defaults.
func (c Config) filled() Config {
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Refresh == 0 {
		c.Refresh = DefaultRefresh
	}
	if c.Stale == 0 {
		c.Stale = max(DefaultStale, c.Refresh)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Entries == 0 {
		c.Entries = DefaultEntries
	}
	if c.Auth.Method == Kubernetes && c.Auth.JWTFile == "" {
		c.Auth.JWTFile = kubernetes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c *Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != nil {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("ca: it holds no certificate in PEM form")
		}
	}
	if c.Cert != nil && c.Key != nil {
		pair, err := tls.X509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, errors.New("cert and key: they do not belong together or are not in PEM form")
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
