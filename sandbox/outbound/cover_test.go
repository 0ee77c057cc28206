package outbound_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

func TestCovers(t *testing.T) {
	for _, row := range []struct {
		grants []string
		entry  string
		want   bool
	}{
		{[]string{"*://*:*"}, "*://*:*", true},
		{[]string{"*://*:*"}, "redis://10.0.0.0/8:6379", true},
		{[]string{"*://*:*"}, "http://self", true},
		{nil, "https://a.test", false},
		{[]string{"https://*.a.test"}, "https://x.a.test", true},
		{[]string{"https://*.a.test"}, "https://*.x.a.test", true},
		{[]string{"https://*.a.test"}, "https://*.a.test", true},
		{[]string{"https://*.a.test"}, "https://a.test", false},
		{[]string{"https://*.a.test"}, "https://*.test", false},
		{[]string{"https://*.a.test"}, "https://ba.test", false},
		{[]string{"https://*.a.test"}, "*://x.a.test:443", false},
		{[]string{"https://*.a.test"}, "https://x.a.test:8443", false},
		{[]string{"https://*.a.test:*"}, "https://x.a.test:1..65535", true},
		{[]string{"https://*.a.test:*"}, "https://*:443", false},
		{[]string{"https://h:1..9"}, "https://h:2..9", true},
		{[]string{"https://h:1..9"}, "https://h:2..10", false},
		{[]string{"https://h:1..9"}, "https://h:*", false},
		{[]string{"https://h:1..5", "https://h:5..9"}, "https://h:4..6", false}, // within no single grant
		{[]string{"*://10.0.0.0/8:*"}, "redis://10.1.0.0/16", true},
		{[]string{"*://10.0.0.0/8:*"}, "redis://10.1.2.3", true},
		{[]string{"*://10.0.0.0/8:*"}, "redis://0.0.0.0/0", false},
		{[]string{"*://10.0.0.0/8:*"}, "redis://host.test", false},
		{[]string{"*://2001:db8::/32:*"}, "http://[2001:db8::1]", true},
		{[]string{"*://10.0.0.1:*"}, "redis://10.0.0.1/32", false},
	} {
		if got, err := parse(t, row.grants...).Covers(row.entry); got != row.want || err != nil {
			t.Errorf("%v cover %s: %v %v", row.grants, row.entry, got, err)
		}
	}
	var fault *outbound.EntryError
	if _, err := parse(t, "*://*:*").Covers("nonsense"); !errors.As(err, &fault) {
		t.Errorf("%v", err)
	}
	if ok, err := (*outbound.Allowed)(nil).Covers("https://a.test"); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

// What a list covers it allows: everything that the entry allows, over all pairs of the rows of the parse table.
func TestCoversIsSound(t *testing.T) {
	addresses := []string{"http://spin.fermyon.dev", "https://spin.fermyon.dev:5555", "http://x.example.com", "http://[::1]:8001", "http://10.1.2.3", "redis://h:6379",
		"http://127.0.0.7:80", "http://[ff00::7]:80", "https://[2001:db8::7]", "http://localhost:3001", "*://x:1", "http://self"}
	for _, grant := range entryRows {
		for _, entry := range entryRows {
			if grant.meaning == "" || entry.meaning == "" {
				continue
			}
			outer, inner := parse(t, grant.entry), parse(t, entry.entry)
			covers, err := outer.Covers(entry.entry)
			if err != nil {
				t.Fatal(err)
			}
			if !covers && grant.meaning == entry.meaning {
				t.Errorf("%s does not cover itself", grant.entry)
			}
			for _, address := range addresses {
				_, in := inner.Check(address, "http")
				_, out := outer.Check(address, "http")
				if covers && in == nil && out != nil {
					t.Errorf("%s covers %s, which allows %s: %v", grant.entry, entry.entry, address, out)
				}
			}
		}
	}
}

// A ceiling holds whatever the list allows, as it stands at each call, for redirects as well; what is Offered is beyond it.
func TestGateCeiling(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://other.test:"+portOf(t, "http://"+r.Host), http.StatusFound)
		}
	}))
	defer srv.Close()
	port, s := portOf(t, srv.URL), redistest.Start(t)
	g := gate(t, nil, "*://*:*")
	ceiling := parse(t, "http://api.test:"+port)
	g.Ceiling = func() *outbound.Allowed { return ceiling }
	beyond := func(err error) bool {
		var d *outbound.Denied
		return errors.As(err, &d) && d.Beyond && d.Hint == ""
	}
	if _, err := g.do(t, "GET", "http://api.test:"+port); err != nil {
		t.Error(err)
	}
	if _, err := g.do(t, "GET", "http://other.test:"+port); !beyond(err) {
		t.Errorf("%v", err)
	}
	if _, err := g.do(t, "GET", "http://api.test:"+port+"/away"); !beyond(err) {
		t.Errorf("a redirect: %v", err)
	}
	redis := "redis://cache.test:" + portOf(t, s.Addr)
	if _, _, err := g.Redis(t.Context(), redis); !beyond(err) {
		t.Errorf("%v", err)
	}
	if len(g.refused) != 3 {
		t.Errorf("told of %q", g.refused)
	}
	g.Offered = func(address string) bool { return address == redis }
	if _, release, err := g.Redis(t.Context(), redis); err != nil {
		t.Error(err)
	} else {
		release()
	}
	g.Offered, ceiling = nil, parse(t, "redis://cache.test:*")
	if _, release, err := g.Redis(t.Context(), redis); err != nil {
		t.Error(err)
	} else {
		release()
	}
	if _, err := g.do(t, "GET", "http://api.test:"+port); !beyond(err) {
		t.Errorf("the ceiling is lower by now: %v", err)
	}
	ceiling = nil
	if _, err := g.do(t, "GET", "http://api.test:"+port); !beyond(err) {
		t.Errorf("no ceiling value grants nothing: %v", err)
	}
}
