package endpoint

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Bounds of a Config.
const (
	maxAddresses  = 64 // of one Config; a cluster's other nodes are learned from it
	maxPool       = 1000
	maxTimeout    = 5 * time.Minute
	maxNameLength = 128 // of a master and of a client, in bytes
)

// Config says how to reach a Redis, as explicit fields. The zero value of a field is its default.
type Config struct {
	// Addresses are host or host:port; IPv6 addresses with a port stand in brackets. One for a single server, 1 to 64 Sentinels, or 1 to 64
	// nodes of a cluster. The port is 6379, and 26379 of a Sentinel, where none is said.
	Addresses []string

	Master                         string // the name that Sentinels know the master by; "" means no Sentinel. It excludes Cluster
	SentinelUser, SentinelPassword string // to log in to the Sentinels; "" means not at all
	Cluster                        bool   // Addresses are nodes of one cluster, of which any one suffices to find the others

	User, Password string      // User "" with a Password is the default user
	Credentials    Credentials // asked at each dial in the place of User and Password; nil means those two

	// Refused is told when the server refuses what Credentials gave (WRONGPASS): nil says that another credential is in force by now, and has
	// the log-in tried once more. Without it there is no second try.
	Refused func(ctx context.Context, user, password string) error
	// Version of Credentials grows with each change. A Client then goes over to sockets of its own for it, and closes those from before when
	// the commands on them have ended. nil means that sockets stay logged in as they are.
	Version func() uint64

	TLS *TLS // nil means plain TCP; it holds for Sentinels and servers alike

	// Dial connects to host:port over "tcp", in the place of the system's dialer, to whatever the Options lead to: the server, Sentinels and the
	// master that they name, the nodes of a cluster. nil means the system's. A Client that is given a dialer of its own uses that one.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	DB       int // database of a Client, 0 by default; a cluster has 0 alone, and subscribers need none
	Protocol int // RESP version 2 or 3 to ask for; 0 means 3

	DialTimeout    time.Duration // one attempt to connect, TLS and log-in each; default 5 s, at most 5 min
	CommandTimeout time.Duration // one command of a Client on the wire; default 5 s, at most 5 min
	ReadTimeout    time.Duration // of a Client's answers, in the place of CommandTimeout; 0 means that one, at most 5 min
	WriteTimeout   time.Duration // of a Client's commands, likewise
	PoolTimeout    time.Duration // waiting for a socket, likewise
	IdleTimeout    time.Duration // after which a Client's unused sockets are closed; default 5 min, negative never
	MaxAge         time.Duration // after which a Client's sockets are replaced; 0 never. Behind Sentinels it is at most a minute
	MinIdle        int           // sockets that a Client keeps open, for each node of a cluster; at most PoolSize
	ClientName     string        // what CLIENT LIST shows; default "tenloom"
	PoolSize       int           // sockets of a Client, for each node of a cluster; default 16, at most 1000
}

// TLS says how to trust a server and how to be trusted. Certificates and keys are PEM texts, not files: reading is for who knows whose files
// these are.
type TLS struct {
	CA         []byte // authorities that the server's certificate is held against; nil means those of the system (SSL_CERT_FILE)
	Cert, Key  []byte // the client's certificate, with intermediate ones behind it, and its key; both or neither
	ServerName string // the name to find in the server's certificate; "" means the host that is dialled
	MinVersion uint16 // tls.VersionTLS12, the default, or tls.VersionTLS13

	// Insecure takes any certificate: whoever is on the way can then read the password. Options.Warnings says so.
	Insecure bool
}

// Credentials give the user and password for one dial. They are asked each time, so what they answer holds from the next dial on; sockets that
// are open stay logged in as they are. An error ends the dial and must hold no secret.
type Credentials func(ctx context.Context) (user, password string, err error)

// Fault is one thing that is wrong with a Config or a URL.
type Fault struct {
	Place   string // a field of Config, such as "TLS.CA", or a part of a URL; "" is the whole
	Problem string
	Next    string // what to do about it
}

func (f Fault) String() string {
	text := f.Problem
	if f.Place != "" {
		text = f.Place + ": " + text
	}
	if f.Next != "" {
		text += "; " + f.Next
	}
	return text
}

// Faults are all that is wrong, one line each. They hold no secret.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n  ")
}

func (f *Faults) add(place, problem, next string) { *f = append(*f, Fault{place, problem, next}) }

// Options say how to reach one Redis: a single server, the master that Sentinels name, or a cluster; and with which credential. They are made by
// New or Parse, immutable, and safe for concurrent use.
type Options struct {
	config      Config // with defaults filled in; Addresses are host:port
	credentials Credentials
	tls         *tls.Config       // nil without TLS; ServerName is filled in for each dial
	certificate *x509.Certificate // the client's own, nil without one

	// learned are the nodes of the cluster as its slot map last named them, in the place of which Addresses serve until there is one.
	learned *atomic.Pointer[Slots]
}

// New holds a Config against its rules. The error is of type Faults and says all that is wrong at once.
func New(c Config) (*Options, error) {
	var faults Faults
	o := &Options{config: c, credentials: c.Credentials, learned: new(atomic.Pointer[Slots])}
	o.config.Addresses = addresses(c, &faults)
	checkForm(c, &faults)
	checkCredential(c, &faults)
	o.limits(&faults)
	if c.TLS != nil {
		o.config.TLS = c.TLS.clone()
		o.tls, o.certificate = c.TLS.config(&faults)
	}
	if faults != nil {
		return nil, faults
	}
	if o.credentials == nil {
		o.credentials = func(context.Context) (string, string, error) { return c.User, c.Password, nil }
	}
	return o, nil
}

// With is New of the same Config after change has had it.
func (o *Options) With(change func(*Config)) (*Options, error) {
	c := o.config
	c.Addresses = slices.Clone(c.Addresses)
	if c.TLS != nil {
		c.TLS = c.TLS.clone()
	}
	change(&c)
	return New(c)
}

func addresses(c Config, faults *Faults) []string {
	switch n := len(c.Addresses); {
	case n == 0:
		faults.add("Addresses", "it names no host", "give host:port")
	case n > maxAddresses:
		faults.add("Addresses", fmt.Sprintf("it names %d hosts, at most %d are read", n, maxAddresses), "name a few that are always there; the others are found through them")
		return nil
	case n > 1 && c.Master == "" && !c.Cluster:
		faults.add("Addresses", fmt.Sprintf("it names %d hosts and does not say what they are", n),
			"say that they are a cluster (redis+cluster:// or ?cluster=true), or Sentinels and which master (redis+sentinel://host,host/master)")
	}
	port := "6379"
	if c.Master != "" {
		port = "26379"
	}
	all := make([]string, 0, len(c.Addresses))
	for i, address := range c.Addresses {
		full, problem, next := hostport(address, port)
		switch {
		case problem != "":
			faults.add(fmt.Sprintf("Addresses[%d]", i), problem, next)
		case slices.Contains(all, full):
			faults.add(fmt.Sprintf("Addresses[%d]", i), "it names "+full+" a second time", "remove it")
		default:
			all = append(all, full)
		}
	}
	return all
}

// hostport reads host, host:port, [IPv6]:port and IPv6.
func hostport(address, standing string) (full, problem, next string) {
	if strings.Contains(address, "/") {
		return "", "unix sockets and URLs are no addresses here", "let the server listen on TCP, on loopback if it serves this machine alone, and give host:port"
	}
	host, port := address, standing
	if ip, err := netip.ParseAddr(unbracketed(address)); err == nil {
		host = ip.String()
	} else if h, p, err := net.SplitHostPort(address); err == nil {
		if host = h; p != "" {
			port = p
		}
	}
	if host == "" {
		return "", "it names no host", "give host:port"
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":%[]@,?# \t\r\n") {
		return "", "its host is neither a name nor an address", "IPv6 addresses with a port stand in brackets"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "its port is not between 1 and 65535", "give host:port"
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), "", ""
}

func unbracketed(address string) string {
	if inside, ok := strings.CutPrefix(address, "["); ok {
		if ip, ok := strings.CutSuffix(inside, "]"); ok {
			return ip
		}
	}
	return address
}

func checkForm(c Config, faults *Faults) {
	if c.Master != "" && c.Cluster {
		faults.add("Master", "it names a Sentinel's master and a cluster", "leave one of them out: a cluster fails over by itself")
	}
	if !named(c.Master) {
		faults.add("Master", "a master's name has only letters, digits, dots, dashes and underscores, 128 at most", "take the name behind \"sentinel monitor\" in sentinel.conf")
	}
	if c.Master == "" && (c.SentinelUser != "" || c.SentinelPassword != "") {
		faults.add("SentinelPassword", "it logs in to Sentinels and there are none", "name the master, or give User and Password instead")
	}
	if c.Cluster && c.DB != 0 {
		faults.add("DB", "a cluster has database 0 alone", "leave the number out")
	}
	if c.DB < 0 {
		faults.add("DB", "a database number is not negative", "give 0 or more")
	}
}

// named holds a name against sentinel.c's sentinelIsValidName; "" is no name, and fine.
func named(name string) bool {
	return len(name) <= maxNameLength && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

func checkCredential(c Config, faults *Faults) {
	const next = "add the password or leave the user out"
	if c.User != "" && c.Password == "" && c.Credentials == nil {
		faults.add("User", "it names a user without a password, as whom one cannot log in", next)
	}
	if c.SentinelUser != "" && c.SentinelPassword == "" {
		faults.add("SentinelUser", "it names a user without a password, as whom one cannot log in", next)
	}
	if c.Credentials != nil && (c.User != "" || c.Password != "") {
		faults.add("Credentials", "User and Password are given beside it", "give one of the two")
	}
	if c.Credentials == nil && (c.Refused != nil || c.Version != nil) {
		faults.add("Credentials", "Refused or Version are given without it", "give Credentials, too")
	}
}

// limits checks numbers and fills defaults in.
func (o *Options) limits(faults *Faults) {
	c := &o.config
	if c.Protocol != 0 && c.Protocol != 2 && c.Protocol != 3 {
		faults.add("Protocol", "it is neither 2 nor 3", "leave it out for 3")
	}
	for _, t := range []struct {
		name  string
		value *time.Duration
	}{{"DialTimeout", &c.DialTimeout}, {"CommandTimeout", &c.CommandTimeout}, {"ReadTimeout", &c.ReadTimeout}, {"WriteTimeout", &c.WriteTimeout}, {"PoolTimeout", &c.PoolTimeout}} {
		if *t.value < 0 || *t.value > maxTimeout {
			faults.add(t.name, fmt.Sprintf("%v is not between 0 and %v", *t.value, maxTimeout), "leave it out for 5s")
		}
	}
	c.DialTimeout, c.CommandTimeout = cmp.Or(c.DialTimeout, 5*time.Second), cmp.Or(c.CommandTimeout, 5*time.Second)
	if c.IdleTimeout == 0 {
		c.IdleTimeout = idleTimeout
	}
	if c.MaxAge < 0 {
		faults.add("MaxAge", "a socket's age is not negative", "leave it out for no end")
	}
	if c.PoolSize < 0 || c.PoolSize > maxPool {
		faults.add("PoolSize", fmt.Sprintf("%d is not between 0 and %d", c.PoolSize, maxPool), "leave it out for 16")
	}
	if c.PoolSize == 0 {
		c.PoolSize = 16
	}
	if c.MinIdle < 0 || c.MinIdle > c.PoolSize {
		faults.add("MinIdle", fmt.Sprintf("%d is not between 0 and the pool's size, %d", c.MinIdle, c.PoolSize), "leave it out for 0")
	}
	if c.ClientName == "" {
		c.ClientName = "tenloom"
	}
	if len(c.ClientName) > maxNameLength || strings.ContainsFunc(c.ClientName, func(r rune) bool { return r <= ' ' || r > '~' }) {
		faults.add("ClientName", "a client's name has 1 to 128 characters of ASCII and no space", "leave it out for tenloom")
	}
}

func (t *TLS) clone() *TLS {
	c := *t
	c.CA, c.Cert, c.Key = slices.Clone(t.CA), slices.Clone(t.Cert), slices.Clone(t.Key)
	return &c
}

func (t *TLS) config(faults *Faults) (*tls.Config, *x509.Certificate) {
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.CA != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(t.CA) {
			faults.add("TLS.CA", "it holds no certificate in PEM form", "give the text that begins with -----BEGIN CERTIFICATE-----")
		}
	}
	switch t.MinVersion {
	case 0, tls.VersionTLS12:
	case tls.VersionTLS13:
		c.MinVersion = tls.VersionTLS13
	default:
		faults.add("TLS.MinVersion", "it is neither TLS 1.2 nor 1.3", "leave it out for 1.2")
	}
	if t.Insecure && (t.CA != nil || t.ServerName != "") {
		faults.add("TLS.Insecure", "it takes any certificate, and CA or ServerName say which", "leave Insecure out")
	}
	if (t.Cert == nil) != (t.Key == nil) {
		faults.add("TLS.Cert", "a client's certificate and its key come together, one is missing", "give both or neither")
		return c, nil
	}
	if t.Cert == nil {
		return c, nil
	}
	pair, err := tls.X509KeyPair(t.Cert, t.Key)
	if err != nil {
		faults.add("TLS.Cert", "certificate and key do not belong together or are not in PEM form: "+err.Error(), "give the key that the certificate was issued for")
		return c, nil
	}
	c.Certificates = []tls.Certificate{pair}
	return c, pair.Leaf
}

// Warnings are what an operator should know before using the Options: a sentence each, none in the ordinary case.
func (o *Options) Warnings() []string {
	var all []string
	t := o.config.TLS
	if t != nil && t.Insecure {
		all = append(all, "the certificate of "+o.Name()+" is not verified: whoever is on the way to it can read and change everything; give TLS.CA instead")
	}
	if err := o.expired(time.Now()); err != nil {
		all = append(all, err.Error())
	}
	if t == nil && o.config.SentinelPassword+o.config.Password != "" && !o.nearby() {
		all = append(all, "the password for "+o.Name()+" crosses the network in plain text; use rediss:// if the server speaks TLS")
	}
	return all
}

// nearby says that every address is on this machine or in a private network, where plain text is a choice.
func (o *Options) nearby() bool {
	for _, a := range o.config.Addresses {
		host, _, _ := net.SplitHostPort(a)
		ip, err := netip.ParseAddr(host)
		if err != nil && strings.Contains(strings.TrimSuffix(host, "."), ".") || err == nil && !ip.IsLoopback() && !ip.IsPrivate() {
			return false
		}
	}
	return true
}

// expired says that the client's certificate is not valid at a time.
func (o *Options) expired(now time.Time) error {
	switch leaf := o.certificate; {
	case leaf == nil:
	case now.After(leaf.NotAfter):
		return errors.New("the client's certificate for " + o.Name() + " ended on " + leaf.NotAfter.UTC().Format(time.DateOnly) + "; renew it")
	case now.Before(leaf.NotBefore):
		return errors.New("the client's certificate for " + o.Name() + " begins on " + leaf.NotBefore.UTC().Format(time.DateOnly) + "; look at this machine's clock")
	}
	return nil
}
