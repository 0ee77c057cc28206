package endpoint_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// TestProbe: what a server is and what its user may not do is told, and a password never.
func TestProbe(t *testing.T) {
	limited := redistest.Start(t, "--user", "app", "on", ">p@ss/word", "&orders", "+subscribe", "+ping",
		"--user", "mute", "on", ">p@ss/word", "allchannels", "+ping", "+hello", "+publish",
		"--user", "full", "on", ">p@ss/word", "allchannels", "+@all")
	secure := redistest.StartTLS(t, ca, "--requirepass", "p@ss/word")
	for _, row := range []struct {
		name, url string
		ok        bool
		missing   string
		want      endpoint.Probed
	}{
		{"all", limited.As("full", "p@ss/word"), true, "", endpoint.Probed{User: "full", Version: "7.", Mode: "standalone", Role: "master", RESP: 3}},
		{"RESP 2", limited.As("full", "p@ss/word") + "?protocol=2", true, "", endpoint.Probed{User: "full", Version: "7.", Mode: "standalone", Role: "master", RESP: 2}},
		{"own channels out of reach", limited.As("app", "p@ss/word"), true, "+publish &__tenloom:* +psubscribe", endpoint.Probed{Version: "7.", Mode: "standalone", Role: "master", RESP: 3}},
		{"no subscribing", limited.As("mute", "p@ss/word"), false, "+subscribe +psubscribe", endpoint.Probed{Version: "7.", RESP: 3, Role: "master", Mode: "standalone"}},
		{"TLS", secure.URL, true, "", endpoint.Probed{User: "default", Version: "7.", Mode: "standalone", Role: "master", RESP: 3, TLS: "TLS 1.3"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := parse(t, row.url).Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var missing []string
			for _, m := range got.Missing {
				if m.Why == "" {
					t.Errorf("%s: it does not say why", m.Rule)
				}
				missing = append(missing, m.Rule)
			}
			if strings.Join(missing, " ") != row.missing || got.OK() != row.ok {
				t.Errorf("missing %v, ok %v", missing, got.OK())
			}
			if !strings.HasPrefix(got.Version, row.want.Version) || got.User != row.want.User || got.Mode != row.want.Mode || got.Role != row.want.Role ||
				got.RESP != row.want.RESP || got.TLS != row.want.TLS || got.Latency <= 0 || got.Dialled <= 0 || got.Server == "" {
				t.Errorf("found %+v", got)
			}
			if text := fmt.Sprintf("%+v", got); strings.Contains(text, "p@ss") {
				t.Errorf("it holds the password: %s", text)
			}
		})
	}
}

// TestProbeFails: a wrong password, a server that is silent and one that is no Redis are told in time, without the password.
func TestProbeFails(t *testing.T) {
	talk := func(reply string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { // ends with l
			defer close(ended)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { c.Close() })
				c.Write([]byte(reply))
			}
		}()
		t.Cleanup(func() { l.Close(); <-ended })
		return "redis://:secret@" + l.Addr().String()
	}
	for _, row := range []struct{ name, url, want string }{
		{"wrong password", redistest.Start(t, "--requirepass", "x").As("", "secret"), "WRONGPASS"},
		{"silent", talk(""), "log in"},
		{"no Redis", talk("HTTP/1.1 400 Bad Request\r\n\r\n" + strings.Repeat("x", 9000)), ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := parse(t, row.url).Probe(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestConfigDial: everything that Options lead to is reached through the Config's dialer.
func TestConfigDial(t *testing.T) {
	server := redistest.Start(t)
	var dialled []string
	o, err := parse(t, server.URL).With(func(c *endpoint.Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled = append(dialled, addr)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := o.Client(nil)
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil || len(dialled) != 2 {
		t.Errorf("%v, dialled %v", err, dialled)
	}
}
