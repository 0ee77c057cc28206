package manifest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy/manifest"
)

var writeDapr = flag.Bool("write-dapr", false, "write docs/DAPR.md and the golden files of component files")

func knownSecret(r manifest.SecretRef) (string, error) {
	if r.Env == "REDIS_HOST" {
		return "env.example.com", nil
	}
	values := map[string]string{"redis/password": "hunter2", "redis/redis": "hunter3", "redis/tls": "true"}
	if v, ok := values[r.Name+"/"+r.Key]; ok && (r.Store.Type == "" || r.Store.Type == "secretstores.local.file" && r.Store.Settings["secretsfile"] == "secrets.json") {
		return v, nil
	}
	return "", errors.New("there is no such secret")
}

// Each file of testdata/dapr is a component file, a line of dashes, and what it comes to.
func TestComponentsGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/dapr/*.golden")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range cases {
		t.Run(filepath.Base(path), func(t *testing.T) {
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(golden), "=====\n")
			got := tell(manifest.ReadComponents([]manifest.ComponentFile{{Name: "redis.yaml", Text: []byte(input)}}, knownSecret))
			if *writeDapr {
				if err := os.WriteFile(path, []byte(input+"=====\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(got, "hunter") {
				t.Error("a secret is told")
			}
		})
	}
}

func tell(c manifest.Components, err error) string {
	var out strings.Builder
	if err != nil {
		out.WriteString(err.Error() + "\n")
	}
	for _, w := range c.Warnings {
		out.WriteString("warning: " + w.Error() + "\n")
	}
	for _, r := range c.Redis {
		b, _ := json.MarshalIndent(r.Connection.Tuning, "", "  ")
		text := string(b)
		if n := r.Connection.Tuning.PoolSize; !strings.Contains(text, `"poolSize": "5 (`) {
			text = strings.ReplaceAll(text, strconv.Itoa(n), "POOL")
		}
		fmt.Fprintf(&out, "%s:%d %s %s ca=%d login=%v user=%q password=%v\n%s\n", r.File, r.Line, r.Connection.Name, r.Connection.Address,
			len(r.Connection.CA), r.Login, r.Login.User, r.Login.Password != "", text)
	}
	return out.String()
}

// kinds of values that every field is given.
var given = []struct{ kind, yaml string }{{"text", `"text"`}, {"number as text", `"7"`}, {"number", `7`}, {"true as text", `"true"`}, {"true", `true`}, {"on", `on`}, {"empty", `""`},
	{"-1", `-1`}, {"duration", `1s500ms`}, {"list", `[1]`}}

// dapr is what Dapr does with a value of a form: dapr/kit config/decode.go over what pkg/apis/common makes of YAML.
func dapr(f *manifest.ComponentField, kind string) string {
	text := map[string]string{"text": "text", "number as text": "7", "number": "7", "true as text": "true", "true": "true", "on": "true", "empty": "", "-1": "-1", "duration": "1s500ms", "list": "[1]"}[kind]
	var err error
	switch form := f.Form(); form {
	case "true or false":
		_, err = strconv.ParseBool(text)
	case "number":
		_, err = strconv.ParseInt(text, 10, 64)
	case "port":
		_, err = strconv.ParseUint(text, 10, 16)
	case "time of the client", "time":
		if _, number := strconv.ParseInt(text, 10, 64); number != nil {
			_, err = time.ParseDuration(text)
		}
	}
	switch {
	case f.Name == "caCert" || f.Name == "serverName" || f.Name == "useAzureAD" || f.NoEffect != "" && strings.HasPrefix(f.Name, "oidc"):
		return "passed over"
	case f.Name == "redeliverInterval" && err == nil && kind == "duration":
		return "passed over"
	case err != nil:
		return "fails"
	}
	return "taken"
}

func tenloom(f *manifest.ComponentField, yaml string) string {
	kind := "bindings.redis"
	if !f.Binding && f.PubSub {
		kind = "pubsub.redis"
	}
	text := "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: c}\nspec:\n  type: " + kind + "\n  metadata:\n"
	if f.Name != "redisHost" {
		text += "  - {name: redisHost, value: h}\n"
	}
	for name, with := range map[string]string{"clientCert": "clientKey", "clientKey": "clientCert", "redisUsername": "redisPassword"} {
		if f.Name == name {
			text += "  - {name: " + with + ", value: x}\n"
		}
	}
	switch f.Name {
	case "clientCert", "clientKey", "caCert", "serverName", "insecureSkipTLSVerify":
		text += "  - {name: enableTLS, value: true}\n"
	case "sentinelUsername", "sentinelPassword", "sentinelMasterName":
		text += "  - {name: failover, value: true}\n"
	}
	if strings.HasPrefix(f.Name, "sentinel") && f.Name != "sentinelMasterName" || f.Name == "failover" {
		text += "  - {name: sentinelMasterName, value: m}\n"
	}
	text += "  - name: " + f.Name + "\n    value: " + yaml + "\n"
	c, err := manifest.ReadComponents([]manifest.ComponentFile{{Name: "f", Text: []byte(text)}}, nil)
	var faults manifest.Faults
	switch {
	case errors.As(err, &faults):
		return "fault"
	case slices.ContainsFunc(c.Warnings, func(w manifest.Fault) bool {
		return strings.Contains(w.Problem, "no effect") && strings.HasSuffix(w.Path, f.Name)
	}):
		return "warning"
	}
	return "taken"
}

// docs/DAPR.md has a row for every field, what Dapr does with each kind of value and what tenloom does.
func TestComponentFieldsDocumented(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "DAPR.md")
	text, err := os.ReadFile(path)
	if err != nil && !*writeDapr {
		t.Fatal(err)
	}
	const begin, end = "<!-- fields -->\n", "<!-- end of fields -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatal("docs/DAPR.md has no place for the table")
	}
	if want := before + begin + fieldTable() + end + after; string(text) != want {
		if !*writeDapr {
			t.Fatal("docs/DAPR.md is not what the fields are: go test ./deploy/manifest -run TestComponentFieldsDocumented -write-dapr")
		}
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func fieldTable() string {
	var out strings.Builder
	out.WriteString("| field | takes | nothing said | binding | pubsub |")
	for _, g := range given {
		fmt.Fprintf(&out, " %s |", g.kind)
	}
	out.WriteString(" where they differ, and why |\n|" + strings.Repeat("---|", 6+len(given)) + "\n")
	for i := range manifest.ComponentFields {
		f := &manifest.ComponentFields[i]
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |", f.Name, f.Form(), f.Default, yes(f.Binding), yes(f.PubSub))
		for _, g := range given {
			d, own := dapr(f, g.kind), tenloom(f, g.yaml)
			if d == own {
				fmt.Fprintf(&out, " %s |", own)
			} else {
				fmt.Fprintf(&out, " %s / %s |", d, own)
			}
		}
		why := f.Dapr
		if f.NoEffect != "" {
			why = "no effect: " + f.NoEffect
		}
		fmt.Fprintf(&out, " %s |\n", why)
	}
	return out.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// What a file may hold at most.
func TestComponentBounds(t *testing.T) {
	large := manifest.ComponentFile{Name: "large", Text: make([]byte, manifest.MaxComponentFile+1)}
	many := manifest.ComponentFile{Name: "many", Text: []byte(strings.Repeat("---\na: b\n", 1002))}
	if _, err := manifest.ReadComponents([]manifest.ComponentFile{large}, nil); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Error(err)
	}
	if _, err := manifest.ReadComponents([]manifest.ComponentFile{many}, nil); err == nil || !strings.Contains(err.Error(), "more than 1000 documents") {
		t.Error(err)
	}
}

// Nothing that a file says brings the reader down.
func FuzzComponents(f *testing.F) {
	cases, _ := filepath.Glob("testdata/dapr/*.golden")
	for _, path := range cases {
		text, _ := os.ReadFile(path)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := manifest.ReadComponents([]manifest.ComponentFile{{Name: "f", Text: text}}, knownSecret)
		if err != nil && len(c.Redis) > 0 {
			t.Error("there are faults and components")
		}
	})
}
