package outbound_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/outbound"
)

func parse(t testing.TB, entries ...string) *outbound.Allowed {
	t.Helper()
	a, err := outbound.Parse(entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type answer string

const (
	yes     answer = "allowed"
	no      answer = "denied"
	invalid answer = "invalid address"
)

func answerOf(err error) answer {
	var d *outbound.Denied
	switch {
	case err == nil:
		return yes
	case errors.As(err, &d):
		return no
	case errors.Is(err, outbound.ErrInvalidAddress):
		return invalid
	}
	return answer(err.Error())
}

var (
	two       = []string{"*://spin.fermyon.dev:443", "http://example.com:8383"}
	api       = []string{"https://my.api.com/"}
	wild      = []string{"http://*.example.com", "http://*.example2.com:8383"}
	mysql     = []string{"mysql://xyz.com"}
	loopback6 = []string{"http://[::1]"}
	network6  = []string{"http://2001:db8::/32"}
	upper     = []string{"http://*.Example.COM"}
)

// matchRows are the rows of Spin's match table that a list alone decides. Rows 29 to 33 need networks or clients and stand in
// TestReach and in the tests of Gate.
var matchRows = []struct {
	row      string
	entries  []string
	address  string
	fallback string
	want     answer
}{
	{"1", two, "http://example.com:8383/foo/bar", "http", yes},
	{"2", two, "https://spin.fermyon.dev", "http", yes},
	{"3", two, "https://spin.fermyon.dev/", "http", yes},
	{"4", two, "http://example.com/", "http", no},
	{"5", two, "http://google.com/", "http", no},
	{"6", two, "spin.fermyon.dev:443", "https", yes},
	{"7", two, "example.com:8383", "http", yes},
	{"8", api, "https://my.api.com", "https", yes},
	{"9", api, "https://my.api.com/", "https", yes},
	{"10", wild, "http://a.example.com/foo/bar", "http", yes},
	{"11", wild, "http://a.b.example.com/foo/bar", "http", yes},
	{"12", wild, "http://a.b.example2.com:8383/foo/bar", "http", yes},
	{"13", wild, "http://a.b.example2.com/foo/bar", "http", no},
	{"14", wild, "http://example.com/foo/bar", "http", no},
	{"15", wild, "http://example.com:8383/foo/bar", "http", no},
	{"16", wild, "http://myexample.com/foo/bar", "http", no},
	{"17", mysql, "mysql://user:pass#word@xyz.com", "mysql", yes},
	{"18", mysql, "mysql://user%3Apass%23word@xyz.com", "mysql", yes},
	{"19", mysql, "user%3Apass%23word@xyz.com", "mysql", yes},
	{"20", []string{"*://127.0.0.1/24:63551"}, "tcp://127.0.0.1:63551", "tcp", yes},
	{"21", loopback6, "http://[::1]", "http", yes},
	{"21", loopback6, "http://[::1]/some/path", "http", yes},
	{"21", loopback6, "http://[::1]:80", "http", yes},
	{"22", loopback6, "http://[::2]", "http", no},
	{"23", loopback6, "http://[::1]:81", "http", no},
	{"24", network6, "http://[2001:db8::1]", "http", yes},
	{"24", network6, "http://[2001:db8:abcd::1]/x", "http", yes},
	{"25", network6, "http://[2001:db9::1]", "http", no},
	{"26", upper, "http://foo.example.com", "http", yes},
	{"26", upper, "http://a.b.example.com/x", "http", yes},
	{"27", upper, "http://example.com", "http", no},
	// A denial here; the host interface tells the guest invalid-address.
	{"28", nil, "redis://redis.test:8080", "redis", no},
	{"32", []string{"https://allowed.test"}, "https://denied.test", "https", no},
	// Spin answers yes: it routes the request to its own HTTP trigger. There is none here, so nothing is at the other end.
	{"34", []string{"http://self"}, "/self-request", "http", invalid},
	{"34", []string{"http://self"}, "http://self/", "http", no},
	{"36", []string{"redis://localhost:6379"}, "redis://localhost", "redis", yes},
	{"37", []string{"redis://localhost"}, "redis://:pw@localhost:6379/3", "redis", yes},
	{"38", []string{"redis://localhost"}, "rediss://localhost:6379", "redis", no},
	{"39", []string{"*://localhost:6379"}, "rediss://localhost", "redis", no},
	{"40", []string{"*://localhost:*"}, "rediss://localhost", "redis", yes},
	{"41", []string{"redis://localhost:6379"}, "localhost:6379", "redis", yes},
	{"42", []string{"redis://127.0.0.0/8"}, "redis://localhost", "redis", no},
	{"43", []string{"redis://localhost:7000..7003"}, "redis://localhost:7000", "redis", yes},
	{"43", []string{"redis://localhost:7000..7003"}, "redis://localhost:7001", "redis", yes},
	{"43", []string{"redis://localhost:7000..7003"}, "redis://localhost:7002", "redis", yes},
	{"43", []string{"redis://localhost:7000..7003"}, "redis://localhost:7003", "redis", no},
	{"44", []string{"REDIS://h:6379"}, "redis://h:6379", "redis", no},
	// Spin reads "unix:///..." again as redis://unix:///..., allows the host "unix", and its client then opens the socket. Guests of many
	// tenants run here: the sockets of the machine are not theirs, so no list opens one.
	{"45", []string{"*://*:*"}, "unix:///run/redis.sock", "redis", no},
	{"45", []string{"redis://*:*"}, "unix:///run/redis.sock", "redis", no},
	{"45", []string{"redis://*"}, "unix:///run/redis.sock", "redis", no},
	{"45", outbound.V1DefaultGrant, "unix:///run/redis.sock", "redis", no},
	{"45", []string{"*://*:*"}, "unix:/run/redis.sock", "redis", invalid},
	{"45", []string{"*://*:*"}, "unix:run/redis.sock", "redis", invalid},
	{"45", []string{"*://*:*"}, "redis+unix:///run/redis.sock", "redis", no},
	{"45", []string{"*://*:*"}, "redis:///run/redis.sock", "redis", invalid},
	{"45", []string{"*://*:*"}, "/run/redis.sock", "redis", invalid},

	// Beyond the table.
	{"", []string{"redis://h"}, "REDIS://H", "redis", yes},
	{"", []string{"redis://h:0..10"}, "redis://h:0", "redis", invalid},
	{"", []string{"*://h:0..10"}, "rediss://h", "redis", no},
	{"", []string{"http://bücher.example"}, "http://xn--bcher-kva.example", "http", yes},
	{"", []string{"http://xn--bcher-kva.example"}, "http://BÜCHER.example", "http", yes},
	{"", []string{"http://*:80"}, "http://h/x?u=http://evil:81", "http", yes},
	{"", []string{"http://*:80"}, "h/x?u=http://evil:81", "http", yes},
	{"", []string{"http://good"}, "http://good@evil", "http", no},
	{"", []string{"http://good"}, "http://evil#@good", "http", yes},
	{"", []string{"http://good"}, "http://good#@evil", "http", no},
	{"", []string{"http://good"}, `http://evil\@good`, "http", yes},
	{"", []string{"http://good"}, `http://good\.evil`, "http", invalid},
	{"", []string{"http://*:*"}, "http://0x7f.0.0.1", "http", invalid},
	{"", []string{"http://*:*"}, "http://127.1", "http", invalid},
	{"", []string{"http://*:*"}, "http://a b", "http", invalid},
	{"", []string{"http://*:*"}, "http://a\nb", "http", invalid},
	{"", []string{"http://*:*"}, "http://[::1%25lo]", "http", invalid},
	{"", []string{"http://*.example.com"}, "http://.example.com", "http", invalid},
	{"", []string{"http://127.0.0.0/8"}, "http://[::ffff:127.0.0.1]", "http", no},
	{"", []string{"redis://*:*"}, "redis://user:pa/ss@host", "redis", invalid},
	{"", []string{"redis://*:*"}, "redis://" + strings.Repeat("u", 9000) + "@h", "redis", invalid},
}

func TestMatchTable(t *testing.T) {
	for _, row := range matchRows {
		t.Run(row.row+" "+row.address, func(t *testing.T) {
			a := parse(t, row.entries...)
			// The second time it may be remembered.
			for range 2 {
				_, err := a.Check(row.address, row.fallback)
				if got := answerOf(err); got != row.want {
					t.Errorf("%q [%s] against %q: %s, want %s (%v)", row.address, row.fallback, row.entries, got, row.want, err)
				}
			}
		})
	}
}

// Rows 29 to 31: the list by name, then the networks by address.
func TestReach(t *testing.T) {
	a := parse(t, "*://123.0.2.1:12345", "*://123.123.0.1:443", "*://127.0.0.1:3000")
	n, err := outbound.ParseNetworks([]string{"123.123.123.123/16", "private"})
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		row, address string
		list         answer
		blocked      bool
	}{
		{"29", "tcp://123.0.2.1:12345", yes, false},
		{"30", "tcp://123.0.2.1:25", no, false},
		{"30", "tcp://123.0.2.2:12345", no, false},
		{"31", "tcp://123.123.0.1:443", yes, true},
		{"31", "tcp://127.0.0.1:3000", yes, true},
	}
	for _, row := range rows {
		d, err := a.Check(row.address, "tcp")
		if got := answerOf(err); got != row.list {
			t.Errorf("row %s: %s, want %s", row.row, got, row.list)
		}
		if err == nil && n.Blocks(netip.MustParseAddr(d.Host)) != row.blocked {
			t.Errorf("row %s: blocked is not %v", row.row, row.blocked)
		}
	}
}

func TestDestination(t *testing.T) {
	all := parse(t, "*://*:*")
	rows := []struct {
		address, fallback string
		url, host         string
		port              uint16
		user, password    string
	}{
		// Row 35.
		{"https://example.com/file@0.1.0.json", "https", "https://example.com/file@0.1.0.json", "example.com", 443, "", ""},
		{"https://user:password@example.com/file@0.1.0.json", "https", "https://user:password@example.com/file@0.1.0.json", "example.com", 443, "user", "password"},
		{"https://user:pass#word@example.com/file@0.1.0.json", "https", "https://user:pass%23word@example.com/file@0.1.0.json", "example.com", 443, "user", "pass#word"},

		{"redis://:p%40ss@[::1]:7000/3?protocol=3", "redis", "redis://:p%40ss@[::1]:7000/3?protocol=3", "::1", 7000, "", "p@ss"},
		{"redis://u:100%@h", "redis", "redis://u:100%25@h", "h", 6379, "u", "100%"},
		{"redis://u:a@b?c#d@H", "redis", "redis://u:a%40b%3Fc%23d@h", "h", 6379, "u", "a@b?c#d"},
		{"user%3Apass%23word@xyz.com", "mysql", "mysql://user%3Apass%23word@xyz.com", "xyz.com", 3306, "user:pass#word", ""},
		{"rediss://h", "redis", "rediss://h", "h", 0, "", ""},
		{"HTTP://H:80//a/../b?q#f", "https", "http://h:80//a/../b?q#f", "h", 80, "", ""},
	}
	for _, row := range rows {
		d, err := all.Check(row.address, row.fallback)
		if err != nil {
			t.Errorf("%s: %v", row.address, err)
			continue
		}
		password, _ := d.URL.User.Password()
		if d.URL.String() != row.url || d.Host != row.host || d.Port != row.port || d.URL.User.Username() != row.user || password != row.password {
			t.Errorf("%s: %s, host %s, port %d, user %s:%s", row.address, d.URL, d.Host, d.Port, d.URL.User.Username(), password)
		}
		// The URL is the caller's own.
		d.URL.Host = "changed"
		if again, err := all.Check(row.address, row.fallback); err != nil || again.URL.String() != row.url {
			t.Errorf("%s: the second answer is %s, %v", row.address, again.URL, err)
		}
	}
}

func TestDenied(t *testing.T) {
	rows := []struct{ address, text, hint string }{
		{"redis://:hunter2@host:6379/1", "redis://host:6379", `allowed_outbound_hosts = ["redis://host:6379"]`},
		{"redis://host", "redis://host:6379", `allowed_outbound_hosts = ["redis://host:6379"]`},
		{"https://[::1]/x", "https://[::1]:443", `allowed_outbound_hosts = ["https://[::1]:443"]`},
		{"rediss://host", "rediss://host", `allowed_outbound_hosts = ["rediss://host:*"]`},
		{"mysql://u:hunter2@host", "mysql://host:3306", "no entry can allow it: only redis, rediss, http, https and tcp leave the sandbox"},
		{"unix:///run/redis.sock", "unix://", "no entry can allow it: only redis, rediss, http, https and tcp leave the sandbox"},
	}
	for _, row := range rows {
		_, err := parse(t).Check(row.address, "redis")
		var d *outbound.Denied
		if !errors.As(err, &d) {
			t.Errorf("%s: %v", row.address, err)
			continue
		}
		if want := "outbound network destination not allowed: " + row.text; err.Error() != want {
			t.Errorf("%s: error %q, want %q", row.address, err, want)
		}
		if d.Hint != row.hint {
			t.Errorf("%s: hint %q, want %q", row.address, d.Hint, row.hint)
		}
		if entry, ok := hinted(d); ok {
			if _, err := parse(t, entry).Check(row.address, "redis"); err != nil {
				t.Errorf("%s: the hint does not help: %v", row.address, err)
			}
		}
	}
}

// hinted is the entry inside a Denied's hint.
func hinted(d *outbound.Denied) (string, bool) {
	entry, ok := strings.CutPrefix(d.Hint, `allowed_outbound_hosts = ["`)
	return strings.TrimSuffix(entry, `"]`), ok
}

func TestNothingAllowed(t *testing.T) {
	var none *outbound.Allowed
	for _, a := range []*outbound.Allowed{none, {}, parse(t)} {
		if _, err := a.Check("redis://h", "redis"); answerOf(err) != no {
			t.Errorf("got %v", err)
		}
	}
}

// The addresses are chosen so that a reader who takes another part for the host would show a piece of the password.
func TestCredentialsStayOutOfErrors(t *testing.T) {
	a := parse(t, "redis://only:1")
	for _, address := range []string{
		"redis://user:hunter2@host:1", "redis://hunter2@host", "redis://user:hunter2/x@host", "redis://hunter2/x@host",
		"redis://hunter2:6379/x@host", "redis://user:hunter2#x@host", "user:hunter2@host", "redis://user:hunter2@", "redis://user:hunter2@ho st",
		"redis://user:hunter2@host:port", "redis://a@hunter2@host", "unix://hunter2@/x", "redis://user:x@host/hunter2%zz",
	} {
		_, err := a.Check(address, "redis")
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", address, err)
		}
		var d *outbound.Denied
		if errors.As(err, &d) && strings.Contains(d.Hint, "hunter2") {
			t.Errorf("%s: hint %s", address, d.Hint)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, row := range matchRows {
		f.Add(row.address, row.fallback)
	}
	all := parse(f, "*://*:*")
	none := parse(f)
	f.Fuzz(func(t *testing.T, address, fallback string) {
		switch fallback {
		case "redis", "http", "https", "mysql", "tcp":
		default:
			return
		}
		_, err := none.Check(address, fallback)
		var denied *outbound.Denied
		if errors.As(err, &denied) {
			if entry, ok := hinted(denied); ok {
				if _, err := parse(t, entry).Check(address, fallback); err != nil {
					t.Fatalf("%q: the hint %s does not help: %v", address, denied.Hint, err)
				}
			}
		}
		d, err := all.Check(address, fallback)
		if err != nil {
			return
		}
		again, err := all.Check(d.URL.String(), "none")
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", address, d.URL, err)
		}
		if again.Scheme != d.Scheme || again.Host != d.Host || again.Port != d.Port || again.URL.User.String() != d.URL.User.String() {
			t.Fatalf("%q became %q and then %q", address, d.URL, again.URL)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	a := parse(b, "https://api.example.com", "http://*.example.org", "redis://10.0.0.0/8", "redis://cache.example.com:6379")
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Check("redis://user:pw@cache.example.com:6379/1", "redis"); err != nil {
				b.Fatal(err)
			}
		}
	})
	long := "redis://user:pw@cache.example.com:6379/1?x=" + strings.Repeat("x", 600)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Check(long, "redis"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("denied", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Check("redis://elsewhere:6379", "redis"); err == nil {
				b.Fatal("allowed")
			}
		}
	})
}
