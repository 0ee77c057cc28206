package endpoint_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ url, name, text string }{
		{"redis://localhost", "localhost:6379", "redis://localhost:6379"},
		{"redis://localhost:7000/", "localhost:7000", "redis://localhost:7000"},
		{"REDIS://10.0.0.1:1/15", "10.0.0.1:1", "redis://10.0.0.1:1/15"},
		{"rediss://cache.example.com", "cache.example.com:6379", "rediss://cache.example.com:6379"},
		{"redis://[::1]:6380/2", "[::1]:6380", "redis://[::1]:6380/2"},
		{"redis://:s3cret@h:1", "h:1", "redis://***@h:1"},
		{"redis://app:p%40ss%2Fword@h", "h:6379", "redis://***@h:6379"},
		{"redis://app:p@ss@h", "h:6379", "redis://***@h:6379"},
		{"redis://h?protocol=2", "h:6379", "redis://h:6379?protocol=2"},
		{"redis://h/3?protocol=resp3", "h:6379", "redis://h:6379/3"},

		{"redis+sentinel://a,b:1,[::1]/main", "a:26379,b:1,[::1]:26379/main", "redis+sentinel://a:26379,b:1,[::1]:26379/main"},
		{"redis-sentinel://:s3cret@a/main/2", "a:26379/main", "redis+sentinel://***@a:26379/main/2"},
		{"rediss+sentinel://a/main?protocol=2", "a:26379/main", "rediss+sentinel://a:26379/main?protocol=2"},
		{"rediss-sentinel://a,b/1#main", "a:26379,b:26379/main", "rediss+sentinel://a:26379,b:26379/main/1"},
		{"redis-sentinel://a?sentinelMasterId=main", "a:26379/main", "redis+sentinel://a:26379/main"},
		{"redis://a:1/4?master_name=main&addr=b:2", "a:1,b:2/main", "redis+sentinel://a:1,b:2/main/4"},
		{"redis+sentinel://a/main?sentinel_username=u&sentinel_password=s3cret", "a:26379/main", "redis+sentinel://***@a:26379/main"},
		{"redis+sentinel://a/0/0", "a:26379/0", "redis+sentinel://a:26379/0/0"},

		{"redis+cluster://a,b:1", "a:6379,b:1", "redis+cluster://a:6379,b:1"},
		{"redis-cluster://a/0", "a:6379", "redis+cluster://a:6379"},
		{"rediss+cluster://u:s3cret@a", "a:6379", "rediss+cluster://***@a:6379"},
		{"redis://a,b?cluster=true", "a:6379,b:6379", "redis+cluster://a:6379,b:6379"},
		{"rediss://a?cluster=true&addr=b:1&addr=c:2", "a:6379,b:1,c:2", "rediss+cluster://a:6379,b:1,c:2"},
		{"redis://a?cluster=false", "a:6379", "redis://a:6379"},
	} {
		o, err := endpoint.Parse(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if o.Name() != c.name || o.String() != c.text {
			t.Errorf("%s: %s, %s; want %s, %s", c.url, o.Name(), o, c.name, c.text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                                      "no scheme",
		"localhost:6379":                        "no scheme",
		"unix:///run/redis.sock":                "unix sockets are refused",
		"http://h":                              "neither redis nor rediss",
		"redis://":                              "names no host",
		"redis://:6379":                         "names no host",
		"redis://::":                            "neither a name nor an address",
		"redis://h:0":                           "port",
		"redis://h:65536":                       "port",
		"redis://h:port":                        "not a URL",
		"redis://u:s3%zzcret@h":                 "percent-encode",
		"redis://u:s3/cret@h":                   "percent-encode",
		"redis://u:1/s3cret@h":                  "database number",
		"redis://u:s3cret@h/x":                  "database number",
		"redis://h/-1":                          "database number",
		"redis://h/1/2":                         "database number",
		"redis://s3cretuser@h":                  "without a password",
		"redis://h?db=1":                        "/N",
		"redis://h?protocol=4":                  "neither 2 nor 3",
		"redis://h?pool_size=9999":              "unknown parameter",
		"rediss://h?skip_verify=1":              "unknown parameter",
		"redis://h?s3cret=s3cret":               "unknown parameter",
		"rediss://h#insecure":                   "always verified",
		"redis://u:s3cret@h?%zz":                "parameters cannot be read",
		"redis://" + strings.Repeat("x", 9<<10): "at most",

		"redis://a,b":                               "does not say what they are",
		"redis+unix:///run/redis.sock":              "unix sockets are refused",
		"redis+tls://a":                             "neither redis nor rediss",
		"redis+://a":                                "neither redis nor rediss",
		"redis-sentinel-x://a":                      "neither redis nor rediss",
		"redis+sentinel://a":                        "which master",
		"redis+sentinel://a/0":                      "which master",
		"redis+sentinel://a,b?protocol=2":           "which master",
		"redis+sentinel://a/x/0#y":                  "more than one master",
		"redis+sentinel://a/my%20main":              "only letters",
		"redis+sentinel://a/main/x":                 "database number",
		"redis+sentinel://a/main/1/2":               "database number",
		"redis+sentinel://a,,b/main":                "names no host",
		"redis+sentinel://a,a:26379/main":           "a second time",
		"redis+sentinel://a/m?sentinel_user=s3cret": "without a password",
		"redis://a?sentinel_password=s3cret":        "there are none",
		"redis+cluster://a/1":                       "database 0 alone",
		"redis+cluster://a,b:x":                     "port",
		"redis+cluster://a,b@c":                     "without a password",
		"redis+cluster://a?master=main":             "Sentinel's master and a cluster",
		"redis://a?cluster=yes":                     "neither true nor false",
		"redis+cluster://a#main":                    "fragment",
	} {
		o, err := endpoint.Parse(url)
		if err == nil {
			t.Errorf("%.60s: accepted as %s", url, o)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cret") {
			t.Errorf("%.60s: %v; want %q and no secret", url, err, want)
		}
	}
}

func TestPasswordStaysIn(t *testing.T) {
	o, err := endpoint.Parse("rediss://s3user:s3cret@h:1/2?protocol=2")
	if err != nil {
		t.Fatal(err)
	}
	c, err := endpoint.ParseConfig("rediss+sentinel://s3user:s3cret@h/m?sentinel_user=s3a&sentinel_password=s3b")
	if err != nil {
		t.Fatal(err)
	}
	c.TLS.Key = []byte("s3key")
	var out bytes.Buffer
	for _, v := range []any{o, *o, []any{o}, struct{ O endpoint.Options }{*o}, c, &c, []any{c}, c.TLS, *c.TLS} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "o", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "o", v)
	}
	if strings.Contains(out.String(), "s3") {
		t.Errorf("a secret is in:\n%s", out.String())
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"redis+sentinel://a,b:1/m/2?sentinel_password=x", "redis-sentinel://a/1#m", "rediss://a,b?cluster=true&addr=c", "redis://u:s3cret@h:1/2?protocol=2", "rediss://[::1]", "unix:///x", "redis://u:%40@h", "redis://@h#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		o, err := endpoint.Parse(url)
		if err != nil {
			return
		}
		if strings.Contains(o.String(), "@") { // the credential is gone; what is left is an address of the same server
			return
		}
		again, err := endpoint.Parse(o.String())
		if err != nil || again.String() != o.String() {
			t.Fatalf("%q reads as %s, which reads as %v, %v", url, o, again, err)
		}
	})
}
