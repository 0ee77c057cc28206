package vault_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/secrets/vaulttest"
)

// run is a client that signs in and is closed with the test.
func run(t testing.TB, c vault.Config) *vault.Client {
	t.Helper()
	client, err := vault.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return client
}

func given(s *vaulttest.Server) vault.Config {
	return vault.Config{Address: s.URL, Auth: vault.Auth{Token: secrets.NewValue(s.Root)}, Refresh: time.Second, Rate: 100}
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it never came to pass that %s", what)
		}
	}
}

func lookup(t testing.TB, p secrets.Provider, name string) (string, bool) {
	t.Helper()
	v, ok, err := p.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return v.Reveal(), ok
}

// TestVariables reads variables as Spin's provider does, one secret each, and as ours can, from one secret for each application.
func TestVariables(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	s.Put("password", map[string]any{"value": "s1"})
	s.Put("spin/app/password", map[string]any{"value": "s2"})
	s.Put("tenants/acme/shop", map[string]any{"password": "s3"})
	s.Write("kv1/acme/password", map[string]any{"word": "s4"})
	c := run(t, given(s))
	for name, k := range map[string]struct {
		config vault.KVConfig
		want   string
	}{
		"spin":            {vault.KVConfig{Mount: "secret"}, "s1"},
		"spin's prefix":   {vault.KVConfig{Mount: "/secret/", Path: "/spin/app/{{ name }}"}, "s2"},
		"one secret":      {vault.KVConfig{Path: "tenants/{{ tenant }}/{{ app }}"}, "s3"},
		"version 1":       {vault.KVConfig{Mount: "kv1", Version: 1, Path: "{{tenant}}/{{name}}", Field: "word"}, "s4"},
		"no such secret":  {vault.KVConfig{Path: "nowhere/{{ name }}"}, ""},
		"no such field":   {vault.KVConfig{Path: "tenants/acme/shop", Field: "other_{{ name }}"}, ""},
		"a deleted value": {vault.KVConfig{Path: "deleted/{{ name }}"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a deleted value" {
				s.Put("deleted/password", map[string]any{"value": "x"})
				s.Delete("secret/data/deleted/password")
			}
			kv, err := c.KV(k.config)
			if err != nil {
				t.Fatal(err)
			}
			if have, ok := lookup(t, kv.For("acme", "shop"), "password"); have != k.want || ok != (k.want != "") {
				t.Fatalf("have %q, %v; want %q", have, ok, k.want)
			}
		})
	}
}

// TestRefresh has a new version come to a reader who never waits, and one request serve many.
func TestRefresh(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	s.Put("key", map[string]any{"value": "one"})
	c := run(t, given(s))
	kv, err := c.KV(vault.KVConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := kv.For("", "")
	const readers = 50
	answers := make(chan string, readers)
	for range readers {
		go func() {
			v, _, err := p.Lookup(context.Background(), "key")
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- v.Reveal()
		}()
	}
	for range readers {
		if have := <-answers; have != "one" {
			t.Fatalf("have %q", have)
		}
	}
	if n := c.Requests(); n > 2+2 { // the token, the secret, and what was refreshed meanwhile
		t.Fatalf("%d readers took %d requests", readers, n)
	}
	s.Put("key", map[string]any{"value": "two"})
	until(t, "the new version is read", func() bool { v, _ := lookup(t, p, "key"); return v == "two" })
	s.Delete("secret/metadata/key")
	until(t, "the deletion is seen", func() bool { _, ok := lookup(t, p, "key"); return !ok })
}

// TestSealed keeps giving out what was read, says at once why there is no more, and shows the state.
func TestSealed(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	s.Put("key", map[string]any{"value": "kept"})
	c := run(t, given(s))
	kv, err := c.KV(vault.KVConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := kv.For("", "")
	lookup(t, p, "key")
	s.Seal()
	until(t, "the client notices", func() bool { return c.State().Phase == vault.Away })
	if have, ok := lookup(t, p, "key"); !ok || have != "kept" {
		t.Fatalf("have %q, %v", have, ok)
	}
	_, _, err = p.Lookup(t.Context(), "other")
	var told *vault.Error
	if !errors.As(err, &told) || told.Kind != vault.Sealed || told.Path != "secret/data/other" {
		t.Fatalf("have %v", err)
	}
	if text := c.State().String(); !strings.Contains(text, "Vault is sealed") {
		t.Fatalf("have %q", text)
	}
}

// TestAppRole signs in, renews, and signs in again when the token can not be renewed any more or was revoked.
func TestAppRole(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	s.Put("key", map[string]any{"value": "v"})
	s.Policy("app", `path "secret/data/*" { capabilities = ["read"] }`)
	role, secret := s.AppRole("app", 2*time.Second, 4*time.Second, "app")
	config := given(s)
	config.Auth = vault.Auth{Method: vault.AppRole, RoleID: role, SecretIDFile: write(t, secret)}
	c := run(t, config)
	kv, err := c.KV(vault.KVConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := kv.For("", "")
	lookup(t, p, "key")
	begun := time.Now()
	until(t, "the first token has ended for good", func() bool { return time.Since(begun) > 5*time.Second })
	s.Put("key", map[string]any{"value": "w"})
	until(t, "a new value is read with another token", func() bool { v, _ := lookup(t, p, "key"); return v == "w" })
	s.Write("auth/token/revoke-accessor", map[string]any{"accessor": accessorOf(t, s)})
	s.Put("key", map[string]any{"value": "x"})
	until(t, "a new value is read with a token after the one that was revoked", func() bool { v, _ := lookup(t, p, "key"); return v == "x" })
	if st := c.State(); st.Phase != vault.Valid || st.Until.IsZero() {
		t.Fatalf("have %v", st)
	}
}

// write puts a text in a file of its own.
func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// accessorOf is the accessor of the newest token of an AppRole.
func accessorOf(t testing.TB, s *vaulttest.Server) string {
	t.Helper()
	list, err := s.Client().Logical().List("auth/token/accessors")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range list.Data["keys"].([]any) {
		found, err := s.Client().Auth().Token().LookupAccessor(key.(string))
		if err == nil && found.Data["path"] == "auth/approle/login" {
			return key.(string)
		}
	}
	t.Fatal("there is no token of an AppRole")
	return ""
}
