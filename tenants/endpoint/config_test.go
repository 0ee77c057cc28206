package endpoint_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

var update = flag.Bool("update", false, "write golden files")

// golden holds text against testdata/NAME.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// TestNewSaysAllFaultsAtOnce holds what New says of Configs that are wrong in many ways, and of each way alone.
func TestNewSaysAllFaultsAtOnce(t *testing.T) {
	cert, key, err := ca.Client("app", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := ca.Client("other", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	always := func(context.Context) (string, string, error) { return "", "", nil }
	host := []string{"h"}
	var out strings.Builder
	for _, c := range []struct {
		name   string
		config endpoint.Config
	}{
		{"nothing", endpoint.Config{}},
		{"much", endpoint.Config{
			Addresses: []string{"h:0", "h:1", "h:1", "unix:///run/redis.sock", "a b"}, Cluster: true, Master: "my master", DB: 3, Protocol: 4,
			User: "s3cret-user", SentinelUser: "s3cret", TLS: &endpoint.TLS{CA: []byte("s3cret"), Cert: cert, MinVersion: tls.VersionTLS10, Insecure: true},
			DialTimeout: -1, CommandTimeout: time.Hour, ClientName: "a b", PoolSize: 1001,
		}},
		{"two servers", endpoint.Config{Addresses: []string{"a", "b"}}},
		{"65 nodes", endpoint.Config{Addresses: make([]string, 65), Cluster: true}},
		{"sentinel password without sentinels", endpoint.Config{Addresses: host, SentinelPassword: "s3cret"}},
		{"negative database", endpoint.Config{Addresses: host, DB: -1}},
		{"two credentials", endpoint.Config{Addresses: host, Password: "s3cret", Credentials: always}},
		{"another key", endpoint.Config{Addresses: host, TLS: &endpoint.TLS{Cert: cert, Key: foreign}}},
	} {
		_, err := endpoint.New(c.config)
		var faults endpoint.Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, f := range faults {
			if f.Place == "" || f.Problem == "" || f.Next == "" {
				t.Errorf("%s: %q has no place, problem or next step", c.name, f)
			}
		}
		fmt.Fprintf(&out, "# %s\n  %v\n", c.name, err)
	}
	if strings.Contains(out.String(), "cret") || strings.Contains(out.String(), string(key)) {
		t.Error("a secret is in the faults")
	}
	golden(t, "faults", out.String())
}

func TestNewFillsIn(t *testing.T) {
	cert, key, err := ca.Client("app", time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config         endpoint.Config
		text, warnings string
	}{
		{endpoint.Config{Addresses: []string{"h"}}, "redis://h:6379", ""},
		{endpoint.Config{Addresses: []string{"::1"}}, "redis://[::1]:6379", ""},
		{endpoint.Config{Addresses: []string{"[::1]:7"}, Password: "x", TLS: &endpoint.TLS{}}, "rediss://***@[::1]:7", ""},
		{endpoint.Config{Addresses: []string{"a", "b:1"}, Master: "m", DB: 2}, "redis+sentinel://a:26379,b:1/m/2", ""},
		{endpoint.Config{Addresses: []string{"a", "b:1"}, Cluster: true, Protocol: 2}, "redis+cluster://a:6379,b:1?protocol=2", ""},
		{endpoint.Config{Addresses: []string{"10.0.0.1"}, Password: "x"}, "redis://***@10.0.0.1:6379", ""},
		{endpoint.Config{Addresses: []string{"cache"}, Password: "x"}, "redis://***@cache:6379", ""},
		{endpoint.Config{Addresses: []string{"cache.example.com"}, Password: "x"}, "redis://***@cache.example.com:6379", "plain text"},
		{endpoint.Config{Addresses: []string{"h"}, TLS: &endpoint.TLS{Insecure: true}}, "rediss://h:6379", "is not verified"},
		{endpoint.Config{Addresses: []string{"h"}, TLS: &endpoint.TLS{Cert: cert, Key: key}}, "rediss://h:6379", "renew it"},
	} {
		o, err := endpoint.New(c.config)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		warnings := strings.Join(o.Warnings(), "; ")
		if o.String() != c.text || (c.warnings == "") != (warnings == "") || !strings.Contains(warnings, c.warnings) {
			t.Errorf("got %s, %q; want %s, %q", o, warnings, c.text, c.warnings)
		}
		same, err := o.With(func(*endpoint.Config) {})
		if err != nil || same.String() != o.String() {
			t.Errorf("With of %s: %v, %v", o, same, err)
		}
	}
}

// TestOptionsAreTheirOwn changes what a Config was made of afterwards.
func TestOptionsAreTheirOwn(t *testing.T) {
	s := redistest.StartTLS(t, ca)
	hosts, pem := []string{s.Addr}, ca.PEM()
	c := endpoint.Config{Addresses: hosts, TLS: &endpoint.TLS{CA: pem}}
	o, err := endpoint.New(c)
	if err != nil {
		t.Fatal(err)
	}
	hosts[0], c.TLS.Insecure = "elsewhere", true
	clear(pem)
	o, err = o.With(func(c *endpoint.Config) { c.DB = 1 })
	if err != nil {
		t.Fatal(err)
	}
	if o.DB() != 1 || o.Warnings() != nil || o.Addresses()[0] != s.Addr {
		t.Errorf("the options changed: %s", o)
	}
	client := o.Client(nil)
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}
