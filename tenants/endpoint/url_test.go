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
	var out bytes.Buffer
	for _, v := range []any{o, *o, []any{o}, struct{ O endpoint.Options }{*o}} {
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
	for _, s := range []string{"redis://u:s3cret@h:1/2?protocol=2", "rediss://[::1]", "unix:///x", "redis://u:%40@h", "redis://@h#"} {
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
		if err != nil || *again != *o {
			t.Fatalf("%q reads as %s, which reads as %v, %v", url, o, again, err)
		}
	})
}
