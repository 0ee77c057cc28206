package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// servers starts what a row of TestForms talks to, and says how to reach it as its default user.
type servers struct {
	nodes  []*redistest.Server
	config endpoint.Config
}

func single(t *testing.T, c redistest.SentinelConfig) servers {
	var s *redistest.Server
	var args []string
	if c.Password != "" {
		args = []string{"--requirepass", c.Password}
	}
	switch c.TLS {
	case redistest.Secure:
		s = redistest.StartTLS(t, c.CA, args...)
	case redistest.Mutual:
		s = redistest.StartMutual(t, c.CA, args...)
	default:
		s = redistest.Start(t, args...)
	}
	return servers{[]*redistest.Server{s}, configOf(t, s.URL)}
}

func sentinel(t *testing.T, c redistest.SentinelConfig) servers {
	s := redistest.StartSentinel(t, c)
	return servers{s.Nodes, configOf(t, s.URL)}
}

func cluster(t *testing.T, c redistest.SentinelConfig) servers {
	k := redistest.StartCluster(t, c)
	return servers{k.Nodes, configOf(t, k.URL)}
}

func configOf(t *testing.T, url string) endpoint.Config {
	t.Helper()
	c, err := endpoint.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func made(t testing.TB, c endpoint.Config) *endpoint.Options {
	t.Helper()
	o, err := endpoint.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestForms reaches every form of Redis over every kind of link, as the default user and as an ACL user with little more than it needs, in both
// protocols: a subscriber gets what a client publishes.
func TestForms(t *testing.T) {
	private, err := redistest.NewCA(t.TempDir()) // unlike ca, no part of the system's roots
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := private.Client("app", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for form, start := range map[string]func(*testing.T, redistest.SentinelConfig) servers{"single": single, "sentinel": sentinel, "cluster": cluster} {
		for kind, security := range map[redistest.TLS]*endpoint.TLS{
			redistest.Plain:  nil,
			redistest.Secure: {CA: private.PEM()},
			redistest.Mutual: {CA: private.PEM(), Cert: cert, Key: key},
		} {
			t.Run(fmt.Sprintf("%s/%s", form, []string{"plain", "TLS", "mTLS"}[kind]), func(t *testing.T) {
				t.Parallel()
				guard := redistest.SentinelConfig{TLS: kind, CA: private, Password: "p@ss"}
				if form == "sentinel" {
					guard.SentinelPassword = "s3cret"
				}
				s := start(t, guard)
				for _, n := range s.nodes {
					n.SetUser("app", "on", ">p@ss/word", "resetchannels", "&orders", "~k", "+ping", "+subscribe", "+publish", "+role", "+set", "+get",
						"+cluster|slots", "+cluster|info", "+cluster|shards", "+ssubscribe")
				}
				for _, user := range []string{"", "app"} {
					for _, protocol := range []int{2, 3} {
						t.Run(fmt.Sprintf("user %q RESP%d", user, protocol), func(t *testing.T) {
							c := s.config
							c.TLS, c.Protocol = security, protocol
							if user != "" {
								c.User, c.Password = user, "p@ss/word"
							}
							exchange(t, made(t, c), protocol)
						})
					}
				}
			})
		}
	}
}

// exchange subscribes and publishes, sets and gets.
func exchange(t *testing.T, o *endpoint.Options, protocol int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	socket, err := o.Subscriber(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	first := map[int]string{2: "*", 3: ">"}[protocol]
	if _, err := io.WriteString(socket, "*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\norders\r\n"); err != nil {
		t.Fatal(err)
	}
	const ack, message = "3\r\n$9\r\nsubscribe\r\n$6\r\norders\r\n:1\r\n", "3\r\n$7\r\nmessage\r\n$6\r\norders\r\n$1\r\nx\r\n"
	if got := read(t, socket, 1+len(ack)); got != first+ack {
		t.Fatalf("ack %q", got)
	}
	client := o.Client(nil)
	defer client.Close()
	if err := client.Publish(ctx, "orders", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, socket, 1+len(message)); got != first+message {
		t.Errorf("message %q", got)
	}
	if err := client.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	if got, err := client.Get(ctx, "k").Result(); got != "v" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestTLSFails holds what is said of wrong certificates on either side.
func TestTLSFails(t *testing.T) {
	private, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := redistest.StartMutual(t, private)
	pair := func(by *redistest.CA, ends time.Duration) (cert, key []byte) {
		cert, key, err := by.Client("app", time.Now().Add(ends))
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	good, goodKey := pair(private, time.Hour)
	old, oldKey := pair(private, -time.Hour)
	foreign, foreignKey := pair(ca, time.Hour)
	for name, c := range map[string]struct {
		tls  endpoint.TLS
		want string
	}{
		"wrong authority":            {endpoint.TLS{CA: ca.PEM(), Cert: good, Key: goodKey}, "the authority given is not the one"},
		"unknown authority":          {endpoint.TLS{Cert: good, Key: goodKey}, "SSL_CERT_FILE"},
		"wrong name":                 {endpoint.TLS{CA: private.PEM(), Cert: good, Key: goodKey, ServerName: "cache.example.com"}, "TLS.ServerName"},
		"no client certificate":      {endpoint.TLS{CA: private.PEM()}, "give TLS.Cert and TLS.Key"},
		"expired client certificate": {endpoint.TLS{CA: private.PEM(), Cert: old, Key: oldKey}, "ended on"},
		"foreign client certificate": {endpoint.TLS{CA: private.PEM(), Cert: foreign, Key: foreignKey}, "does not trust the client's certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := made(t, endpoint.Config{Addresses: []string{s.Addr}, TLS: &c.tls})
			if socket, err := o.Subscriber(t.Context()); err == nil {
				socket.Close()
				t.Error("a subscriber connected")
			} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.Addr) {
				t.Errorf("subscriber: %v; want %q", err, c.want)
			}
			client := o.Client(nil)
			defer client.Close()
			if err := client.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("client: %v; want %q", err, c.want)
			}
		})
	}
	t.Run("insecure", func(t *testing.T) {
		o := made(t, endpoint.Config{Addresses: []string{s.Addr}, TLS: &endpoint.TLS{Insecure: true, Cert: good, Key: goodKey}})
		socket, err := o.Subscriber(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		socket.Close()
	})
}

// TestCredentialsAreAskedForAtEachDial rotates a password between dials, and fails to give one.
func TestCredentialsAreAskedForAtEachDial(t *testing.T) {
	s := redistest.Start(t, "--user", "app", "on", ">one", "+ping", "+subscribe", "&*")
	var password atomic.Value
	password.Store("one")
	sealed := errors.New("the vault is sealed")
	o := made(t, endpoint.Config{Addresses: []string{s.Addr}, Credentials: func(context.Context) (string, string, error) {
		if p := password.Load().(string); p != "" {
			return "app", p, nil
		}
		return "", "", sealed
	}})
	try := func() error {
		socket, err := o.Subscriber(t.Context())
		if err != nil {
			return err
		}
		return socket.Close()
	}
	command := func() error {
		c := o.Client(nil)
		defer c.Close()
		return c.Ping(t.Context()).Err()
	}
	if err := errors.Join(try(), command()); err != nil {
		t.Fatal(err)
	}
	s.SetUser("app", "resetpass", ">tw0secret")
	for name, err := range map[string]error{"subscriber": try(), "client": command()} {
		if err == nil || !redis.HasErrorPrefix(errors.Unwrap(err), "WRONGPASS") && !strings.Contains(err.Error(), "WRONGPASS") ||
			!strings.Contains(err.Error(), `as user "app"`) || !strings.Contains(err.Error(), s.Addr) {
			t.Errorf("%s with the former password: %v", name, err)
		}
	}
	password.Store("tw0secret")
	if err := errors.Join(try(), command()); err != nil {
		t.Errorf("with the new password: %v", err)
	}
	password.Store("")
	for name, err := range map[string]error{"subscriber": try(), "client": command()} {
		if !errors.Is(err, sealed) || !strings.Contains(err.Error(), s.Addr) {
			t.Errorf("%s without a credential: %v", name, err)
		}
	}
}
