package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/outbound"
)

// entryRows are the rows of Spin's parse table, one entry each. The meaning is the entry in full, as Entries gives it; an empty one means
// that the entry is refused.
var entryRows = []struct {
	row     string
	entry   string
	meaning string
}{
	{"1", "http://spin.fermyon.dev", "http://spin.fermyon.dev:80"},
	{"2", "http://spin.fermyon.dev/", "http://spin.fermyon.dev:80"},
	{"3", "https://spin.fermyon.dev", "https://spin.fermyon.dev:443"},
	{"4", "http://spin.fermyon.dev:4444", "http://spin.fermyon.dev:4444"},
	{"5", "http://spin.fermyon.dev:4444/", "http://spin.fermyon.dev:4444"},
	{"6", "https://spin.fermyon.dev:5555", "https://spin.fermyon.dev:5555"},
	{"7", "http://spin.fermyon.dev:4444..5555", "http://spin.fermyon.dev:4444..5555"},
	{"8", "spin.fermyon.dev", ""},
	{"9", "spin.fermyon.dev:80", ""},
	{"10", "*://spin.fermyon.dev:7777", "*://spin.fermyon.dev:7777"},
	{"11", "http://self", "http://self:80"},
	{"12", "localhost", ""},
	{"13", "http://localhost", "http://localhost:80"},
	{"14", "localhost:3001", ""},
	{"15", "http://localhost:3001", "http://localhost:3001"},
	{"16", "http://*.example.com", "http://*.example.com:80"},
	{"17", "http://192.168.1.1", "http://192.168.1.1:80"},
	{"18", "http://192.168.1.1:3002", "http://192.168.1.1:3002"},
	{"19", "http://[::1]:8001", "http://[::1]:8001"},
	{"20", "http://[::1]", "http://[::1]:80"},
	{"21", "https://[::1]", "https://[::1]:443"},
	{"22", "http://[2001:db8::1]", "http://[2001:db8::1]:80"},
	{"23", "http://[2001:db8::1]:443", "http://[2001:db8::1]:443"},
	{"24", "http://[::1]:*", "http://[::1]:*"},
	{"25", "http://[::1]:8000..9000", "http://[::1]:8000..9000"},
	{"26", "*://[::1]:80", "*://[::1]:80"},
	{"27", "http://[::1]:8080/", "http://[::1]:8080"},
	{"28", "*://127.0.0.0/24:80", "*://127.0.0.0/24:80"},
	{"29", "*://127.0.0.0/24", ""},
	{"30", "*://ff00::/8:80", "*://ff00::/8:80"},
	{"31", "http://ff00::/8", "http://ff00::/8:80"},
	{"32", "https://2001:db8::/32", "https://2001:db8::/32:443"},
	{"33", "http://::1/128", "http://::1/128:80"},
	{"34", "http://10.0.0.0/8", "http://10.0.0.0/8:80"},
	{"35", "http://2001:db8::/32:443", "http://2001:db8::/32:443"},
	{"36", "*://*:*", "*://*:*"},
	{"37", "http://*.Example.COM", "http://*.example.com:80"},
	{"38", "http://spin.fermyon.dev/a", ""},
	{"39", "http://spin.fermyon.dev:6666/a/b", ""},
	{"40", "http://*.fermyon.dev/a", ""},
	{"41", "insecure:allow-all", ""},
	{"43", "example.com", ""},
	{"44", "http://[::1]/foo", ""},
	{"45", "http://ff00::/8/extra", ""},
	{"46", "http://[::1", ""},
	{"47", "http://[::1]junk", ""},
	{"48", "http://[::1]::80", ""},
	{"49", "http://[v1.]", ""},
	{"50", "[::1]", ""},
	{"51", "[::1]:8080", ""},
	{"52", "http://example.com:notaport", ""},
	{"53", "http://example.com:8080..70000", ""},
	{"54", "http://self:notaport", ""},
	{"55", "http://self.alt:notaport", ""},
	{"56", "http://*:notaport", ""},
	{"57", "http://127.0.0.1:notaport", ""},
	{"58", "http://[::1]:notaport", ""},
	{"59", "http://*.example.com:notaport", ""},
	{"60", "http://*.example.com:8080..", ""},
	{"61", "http://*.example.com:8O8O", ""},
	{"62", "http://example.com:8080/p", ""},
	{"63", "http://*.example.com:8080/p", ""},
	{"64", "http://*.example.com/p", ""},
	{"65", "http://127.0.0.0/24/p", ""},
	{"66", "http://[::1junk", ""},
	{"67", "http://*.", ""},
	{"68", "http://*.:8080", ""},
	{"69", "example.com:8080", ""},
	{"70", "http://example%.com", ""},
	{"71", "http://example%2.com", ""},
	{"72", "http://example%GG.com", ""},
	{"73", "http://exa[mple.com", ""},
	{"74", `http://exa\mple.com`, ""},
	{"75", "http://example.com:80:90", ""},
	{"76", "http://[vG.example]", ""},
	{"77", "http://example.com:99999", ""},
	{"77", "http://[::1]:99999", ""},
	{"77", "http://ff00::/8:99999", ""},
	{"77", "http://*.example.com:99999", ""},
	{"78", "http://example.com//", ""},
	{"78", "http://*.example.com//", ""},
	{"78", "http://self//", ""},
	{"78", "http://[::1]//", ""},
	{"79", "http://*.127.0.0.1", ""},
	{"79", "http://*.192.168.001.001", ""},
	{"79", "http://*.[::1]", ""},
	{"79", "http://*.[2001:db8::1]", ""},
	{"80", "zootle! wurdl!", ""},
	{"80", "}{ !!**", ""},
	{"81", "http://x.y", "http://x.y:80"},
	{"81", "*://my.db:*", "*://my.db:*"},
	{"89", "redis://*:*", "redis://*:*"},
	{"90", "redis://cache.example.com", "redis://cache.example.com:6379"},
	{"91", "rediss://cache.example.com", ""},
	{"92", "rediss://cache.example.com:6380", "rediss://cache.example.com:6380"},
	{"93", "unix:///tmp/redis.sock", ""},
	{"94", "{redis,rediss}://h:1", ""},
	{"94", "redis://{a,b}:1", ""},
	{"94", "redis://h:{1,2}", ""},
	{"95", "*", ""},
	{"95", ",", ""},
	{"95", ":", ""},
	{"95", "?", ""},
	{"95", "", ""},
	{"96", "redis://self:6379", "redis://self:6379"},

	// Beyond the table: the grammar's edges and what WHATWG hosts do.
	{"", "  http://x.y  ", "http://x.y:80"},
	{"", "http://self.alt", "http://self.alt:80"},
	{"", "http://10.1.2.3/8", "http://10.0.0.0/8:80"},
	{"", "http://10.0.0.0/8/", "http://10.0.0.0/8:80"},
	{"", "http://BÜCHER.example", "http://xn--bcher-kva.example:80"},
	{"", "http://xn--bcher-kva.example", "http://xn--bcher-kva.example:80"},
	{"", "http://xn--a.example", ""},
	{"", "http://my_redis:1", "http://my_redis:1"},
	{"", "http://[::FFFF:1.2.3.4]:1", "http://[::ffff:1.2.3.4]:1"},
	{"", "http://[fe80::1%25eth0]", ""},
	{"", "http://0x7f.1", ""},
	{"", "http://2130706433", ""},
	{"", "http://１２７.0.0.1", "http://127.0.0.1:80"},
	{"", "http://a..b", ""},
	{"", "http://", ""},
	{"", "://h:1", ""},
	{"", "http2://h:1", ""},
	{"", "redis+unix://h:1", ""},
	{"", "http://a.*.b", ""},
	{"", "http://*.*.b", ""},
	{"", "http://10.0.0.0/33", ""},
	{"", "http://h:+1", ""},
	{"", "http://h?x", ""},
	{"", "http://h:1..3", "http://h:1..3"},
	{"", "http://h:1..2", "http://h:1"},
	{"", "http://{{ dbhost }}", ""},
	{"", "http://" + strings.Repeat("a", 64), ""},
	{"", "http://" + strings.Repeat("a.", 127) + "a", ""},
}

func TestParseTable(t *testing.T) {
	for _, row := range entryRows {
		t.Run(row.row+" "+row.entry, func(t *testing.T) {
			a, err := outbound.Parse([]string{row.entry}, nil)
			if row.meaning == "" {
				var fault *outbound.EntryError
				if !errors.As(err, &fault) {
					t.Fatalf("accepted as %q (error %v), want an EntryError", a.Entries(), err)
				}
				if fault.Key != "allowed_outbound_hosts" || fault.Entry != row.entry || fault.Problem == "" || fault.Next == "" {
					t.Errorf("incomplete error %#v", fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Entries(); !reflect.DeepEqual(got, []string{row.meaning}) {
				t.Errorf("means %q, want %q", got, row.meaning)
			}
		})
	}
}

// Row 77 fixes the message.
func TestParsePortMessage(t *testing.T) {
	for _, entry := range []string{"http://example.com:99999", "http://[::1]:99999", "http://ff00::/8:99999", "http://*.example.com:99999"} {
		_, err := outbound.Parse([]string{entry}, nil)
		var fault *outbound.EntryError
		if !errors.As(err, &fault) || fault.Problem != `Invalid allowed host port "99999"` {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

// Rows 41, 42 and 95 come with the advice to write *://*:*.
func TestParseAdvice(t *testing.T) {
	for _, entry := range []string{"insecure:allow-all", "*", ",", ":", "?", ""} {
		_, err := outbound.Parse([]string{"http://x.y", entry}, nil)
		if err == nil || !strings.Contains(err.Error(), `"*://*:*"`) {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

// Row 42, and that all faults are told at once.
func TestParseReportsEveryEntry(t *testing.T) {
	_, err := outbound.Parse([]string{"spin.fermyon.dev", "http://good.example", "insecure:allow-all"}, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, entry := range []string{`"spin.fermyon.dev"`, `"insecure:allow-all"`} {
		if !strings.Contains(err.Error(), entry) {
			t.Errorf("%s is not named in: %v", entry, err)
		}
	}
	if strings.Contains(err.Error(), "good.example") {
		t.Errorf("names a good entry: %v", err)
	}
}

func TestParseKeepsCredentialsOutOfErrors(t *testing.T) {
	for _, entry := range []string{"redis://user:hunter2@h:6379", "user:hunter2@h", "redis://user:hunter2@h:nope", "a b://user:hunter2@h", "redis://us/er:hunter2@h"} {
		_, err := outbound.Parse([]string{entry}, nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

// Rows 82 to 86. Rendering is the caller's; a map stands in for the variables.
func TestRender(t *testing.T) {
	values := func(known map[string]string) func(string) (string, error) {
		return func(s string) (string, error) {
			for name, v := range known {
				s = strings.ReplaceAll(s, "{{ "+name+" }}", v)
			}
			if strings.Contains(s, "{{") {
				return "", errors.New("no value")
			}
			return s, nil
		}
	}
	rows := []struct {
		row     string
		entries []string
		known   map[string]string
		want    []string // nil: Parse refuses
	}{
		{"82", []string{"http://{{ dbhost }}"}, map[string]string{"dbhost": "example.com"}, []string{"http://example.com:80"}},
		{"83", []string{"http://{{ dbhost }}:{{ dbport }}"}, map[string]string{"dbhost": "example.com", "dbport": "1234"}, []string{"http://example.com:1234"}},
		{"84", []string{"http://{{ dbhost }}"}, map[string]string{"dbhost": "zoinks, Scooby!"}, nil},
		{"86", []string{"https://{{ one }}", "{{ two }}", "https://three"}, map[string]string{"one": "", "two": ""}, []string{"https://three:443"}},
		{"", []string{"https://{{ one }}", "redis://{{ two }}"}, map[string]string{"one": "one.example", "two": ""}, []string{"https://one.example:443"}},
		{"", []string{"redis://{{ two }}:6379"}, map[string]string{"two": ""}, nil},
		{"", []string{"https://", "{{ two }}"}, map[string]string{"two": ""}, nil},
		{"", []string{"", "{{ two }}"}, map[string]string{"two": ""}, nil},
	}
	for _, row := range rows {
		rendered, err := outbound.Render(row.entries, values(row.known))
		if err != nil {
			t.Fatalf("row %s: %v", row.row, err)
		}
		a, err := outbound.Parse(rendered, nil)
		if row.want == nil {
			if err == nil {
				t.Errorf("row %s: accepted as %q", row.row, a.Entries())
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(a.Entries(), row.want) {
			t.Errorf("row %s: %q, %v; want %q", row.row, a.Entries(), err, row.want)
		}
	}

	if _, err := outbound.Render([]string{"http://{{ nobody }}"}, values(nil)); err == nil || !strings.Contains(err.Error(), "http://{{ nobody }}") {
		t.Errorf("the error does not name the entry: %v", err)
	}
}

// Row 85: a list whose variable has no value yet stops nothing at load. It fails when a guest asks, and not as the guest's mistake.
func TestUnresolvedListIsDeferred(t *testing.T) {
	unresolved := errors.New("no value for dbhost")
	g := &outbound.Gate{Allowed: func(context.Context) (*outbound.Allowed, error) { return nil, unresolved }}
	_, _, err := g.Redis(t.Context(), "redis://example.com")
	if !errors.Is(err, unresolved) || errors.Is(err, outbound.ErrInvalidAddress) {
		t.Errorf("got %v", err)
	}
}

// Rows 87 and 88.
func TestParseInternalHosts(t *testing.T) {
	components := []string{"first", "second", "third"}
	rows := []struct {
		row           string
		entries, want []string
	}{
		{"87", []string{"http://*.spin.internal"}, []string{
			"http://first.spin.internal:80", "http://second.spin.internal:80", "http://third.spin.internal:80"}},
		{"88", []string{"pg://localhost:5656", "http://*.spin.internal", "https://spinframework.dev"}, []string{
			"pg://localhost:5656", "http://first.spin.internal:80", "http://second.spin.internal:80", "http://third.spin.internal:80",
			"https://spinframework.dev:443"}},
	}
	for _, row := range rows {
		a, err := outbound.Parse(row.entries, components)
		if err != nil || !reflect.DeepEqual(a.Entries(), row.want) {
			t.Errorf("row %s: %q, %v; want %q", row.row, a.Entries(), err, row.want)
		}
	}
}

func TestParseBound(t *testing.T) {
	entries := make([]string, 5000)
	for i := range entries {
		entries[i] = fmt.Sprintf("http://h%d", i)
	}
	if _, err := outbound.Parse(entries, nil); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("got %v", err)
	}
}

func TestConvertHTTPHosts(t *testing.T) {
	rows := []struct {
		entry string
		want  []string // nil: refused
	}{
		{"spin.fermyon.dev", []string{"http://spin.fermyon.dev", "https://spin.fermyon.dev"}},
		{"spin.fermyon.dev:7777", []string{"http://spin.fermyon.dev:7777", "https://spin.fermyon.dev:7777"}},
		{"http://spin.fermyon.dev", []string{"http://spin.fermyon.dev"}},
		{"http://spin.fermyon.dev/", []string{"http://spin.fermyon.dev"}},
		{"http://spin.fermyon.dev:4444", []string{"http://spin.fermyon.dev:4444"}},
		{"http://spin.fermyon.dev:4444/", []string{"http://spin.fermyon.dev:4444"}},
		{"https://spin.fermyon.dev", []string{"https://spin.fermyon.dev"}},
		{"https://spin.fermyon.dev:5555", []string{"https://spin.fermyon.dev:5555"}},
		{"self", []string{"http://self"}},
		{"http://self", []string{"http://self"}},
		{"localhost", []string{"http://localhost", "https://localhost"}},
		{"localhost:3001", []string{"http://localhost:3001", "https://localhost:3001"}},
		{"http://localhost:3001", []string{"http://localhost:3001"}},
		{"192.168.1.1", []string{"http://192.168.1.1", "https://192.168.1.1"}},
		{"192.168.1.1:3002", []string{"http://192.168.1.1:3002", "https://192.168.1.1:3002"}},
		{"[::1]", []string{"http://[::1]", "https://[::1]"}},
		{"[::1]:8001", []string{"http://[::1]:8001", "https://[::1]:8001"}},
		{"http://[::1]:8001", []string{"http://[::1]:8001"}},
		{"insecure:allow-all", []string{"http://*:*", "https://*:*", "http://self"}},
		{"spin.fermyon.dev/a", nil},
		{"http://spin.fermyon.dev/a", nil},
		{"http://spin.fermyon.dev:6666/a/b", nil},
		{"ftp://spin.fermyon.dev", nil},
		{"*.fermyon.dev", nil},
		{"10.0.0.0/8", nil},
		{"h:1..3", nil},
		{"h:*", nil},
		{"", nil},
	}
	for _, row := range rows {
		got, err := outbound.ConvertHTTPHosts([]string{row.entry})
		if row.want == nil {
			var fault *outbound.EntryError
			if !errors.As(err, &fault) || fault.Key != "allowed_http_hosts" || fault.Entry != row.entry {
				t.Errorf("%q: %q, %v; want an EntryError", row.entry, got, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%q: %q, %v; want %q", row.entry, got, err, row.want)
			continue
		}
		if _, err := outbound.Parse(got, nil); err != nil {
			t.Errorf("%q: Parse refuses the result: %v", row.entry, err)
		}
	}

	got, err := outbound.ConvertHTTPHosts([]string{"spin.fermyon.dev/a", "insecure:allow-all"})
	if err != nil || len(got) != 3 {
		t.Errorf("insecure:allow-all among others: %q, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range entryRows {
		f.Add(row.entry)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := outbound.Parse([]string{text}, []string{"one", "two"})
		if err != nil {
			return
		}
		again, err := outbound.Parse(a.Entries(), nil)
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", text, a.Entries(), err)
		}
		if !reflect.DeepEqual(again.Entries(), a.Entries()) {
			t.Fatalf("%q became %q and then %q", text, a.Entries(), again.Entries())
		}
	})
}
