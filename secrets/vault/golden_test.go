package vault_test

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/secrets/vaulttest"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

var update = flag.Bool("update", false, "write the messages into the golden file")

// TestMessages holds what each bad input says: path, field and the policy line that would mend it, and never a value.
func TestMessages(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	guarded(t, s)
	const hidden = "hunter2-never-shown"
	s.Put("acme/db", map[string]any{"user": hidden, "number": 7})
	s.Write("kv1/acme/db", map[string]any{"password": hidden})
	s.Role("mute", `["~*","+@read"]`, time.Hour, time.Hour)
	s.Role("broken", `["&acme:*","+nope"]`, time.Hour, time.Hour)
	s.Role("text", `+@all`, time.Hour, time.Hour)
	s.Policy("narrow", `path "secret/data/other" { capabilities = ["read"] }`)
	role, secret := s.AppRole("app", time.Minute, time.Hour, "default")

	root := given(s)
	narrow := given(s)
	narrow.Auth.Token = secrets.NewValue(s.Token(time.Hour, true, "narrow"))
	login := func(c vault.Config, path string) error {
		k := run(t, c).Open(source(t, path), nil)
		_, _, err := k.Login(t.Context())
		return err
	}
	ready := func(c vault.Config) error { return run(t, c).Ready(t.Context()) }
	signIn := func(a vault.Auth) error {
		c := given(s)
		c.Auth = a
		return ready(c)
	}
	fake := func(handle http.HandlerFunc, secure bool) vault.Config {
		f := httptest.NewUnstartedServer(handle)
		f.Config.ErrorLog = log.New(io.Discard, "", 0)
		if secure {
			f.StartTLS()
		} else {
			f.Start()
		}
		t.Cleanup(f.Close)
		c := given(s)
		c.Address = f.URL
		return c
	}
	large := fake(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "lookup-self") {
			fmt.Fprint(w, `{"data":{"ttl":0}}`)
			return
		}
		fmt.Fprintf(w, `{"data":{"data":{"password":%q}}}`, strings.Repeat(hidden, 10<<20/len(hidden)))
	}, false)
	trusting := fake(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"data":{"ttl":0}}`) }, true)
	wrong := trusting
	other, err := redistest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	wrong.CA = other.PEM()
	sealed := fake(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		fmt.Fprint(w, `{"errors":["Vault is sealed"]}`)
	}, false)
	page := fake(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `<html>welcome</html>`) }, false)
	silent := fake(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false)
	silent.Timeout = 100 * time.Millisecond
	gone := given(s)
	gone.Address = "http://127.0.0.1:1"

	var out strings.Builder
	for _, one := range []struct {
		name string
		err  error
	}{
		{"a path that is missing", login(root, "secret/data/acme/nothing")},
		{"a secret without the field", login(root, "secret/data/acme/db")},
		{"a field that is no text", login(root, "secret/data/acme/db#user,number")},
		{"KV version 1 addressed as version 2", login(root, "kv1/data/acme/db")},
		{"KV version 2 addressed as version 1", login(root, "secret/acme/db")},
		{"no engine", login(root, "nowhere/data/acme/db")},
		{"a role that is missing", login(root, "database/creds/nobody")},
		{"a static role that is missing", login(root, "database/static-creds/nobody")},
		{"a creation statement with an unknown command", login(root, "database/creds/broken")},
		{"a creation statement that is no list", login(root, "database/creds/text")},
		{"a policy that does not allow a secret", login(narrow, "secret/data/acme/db")},
		{"a policy that does not allow a role", login(narrow, "database/creds/mute")},
		{"a token that is none", signIn(vault.Auth{Token: secrets.NewValue(hidden)})},
		{"a secret id that is none", signIn(vault.Auth{Method: vault.AppRole, RoleID: role, SecretID: secrets.NewValue(hidden)})},
		{"a method that is not there", signIn(vault.Auth{Method: vault.AppRole, Mount: "elsewhere", RoleID: role, SecretID: secrets.NewValue(secret)})},
		{"a file that is missing", signIn(vault.Auth{Method: vault.Kubernetes, Role: "r", JWTFile: "/nowhere/token"})},
		{"an answer of 10 MB", login(large, "secret/data/acme/db")},
		{"a certificate nobody trusts", ready(trusting)},
		{"another authority", ready(wrong)},
		{"a sealed server", ready(sealed)},
		{"a web page", ready(page)},
		{"a server that does not answer", ready(silent)},
		{"no server", ready(gone)},
	} {
		if one.err == nil {
			t.Errorf("%s: no error", one.name)
			continue
		}
		text := one.err.Error()
		for _, c := range []vault.Config{large, trusting, sealed, page, silent} {
			text = strings.ReplaceAll(text, c.Address, "ADDRESS")
		}
		fmt.Fprintf(&out, "%s\n  %s\n", one.name, text)
	}
	token := given(s)
	token.Auth.Token = secrets.NewValue(s.Token(time.Hour, false, "narrow"))
	c := run(t, token)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := c.State()
	fmt.Fprintf(&out, "a token that cannot renew\n  %s\n", strings.Replace(state.String(), state.Until.UTC().Format("2006-01-02 15:04:05 UTC"), "TIME", 1))
	for name, statements := range map[string][]string{"mute": {`["~*","+@read"]`}} {
		fmt.Fprintf(&out, "a creation statement that cannot subscribe: %s\n  %s\n", name, strings.Join(vault.CheckStatement(statements), "\n  "))
	}
	fmt.Fprintf(&out, "commands behind -@dangerous\n  %s\n", strings.Join(vault.CheckStatement([]string{`["&a:*","-@dangerous","+@write","+@pubsub"]`}), "\n  "))

	have := out.String()
	if strings.Contains(have, hidden) || strings.Contains(have, s.Root) || strings.Contains(have, secret) {
		t.Errorf("a message holds a secret:\n%s", have)
	}
	const golden = "testdata/messages.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
}
