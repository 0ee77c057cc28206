package vault_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/secrets/vaulttest"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

const statement = `["resetchannels","&acme:*","~acme:*","+@all","-@dangerous"]`

// guarded is a Redis whose users Vault manages.
func guarded(t testing.TB, s *vaulttest.Server, args ...string) *redistest.Server {
	t.Helper()
	r := redistest.Start(t, append([]string{"--requirepass", "root"}, args...)...)
	s.Redis(r.Addr, "root")
	return r
}

func source(t testing.TB, path string) vault.Source {
	t.Helper()
	s, err := vault.ParseSource(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client is a client of a Redis that logs in with a credential.
func client(t testing.TB, addr string, k *vault.Credential) redis.UniversalClient {
	t.Helper()
	o, err := endpoint.New(endpoint.Config{Addresses: []string{addr}, Credentials: k.Login, Refused: k.Refused, Version: k.Version})
	if err != nil {
		t.Fatal(err)
	}
	c := o.Client(nil)
	t.Cleanup(func() { c.Close() })
	return c
}

func whoami(t testing.TB, c redis.UniversalClient) string {
	t.Helper()
	name, err := c.Do(t.Context(), "ACL", "WHOAMI").Text()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestDynamic renews a lease until its max_ttl, has another user in force before it ends, revokes the former one after connections have moved, and
// the last one when the credential is closed.
func TestDynamic(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	r := guarded(t, s)
	s.Role("acme", strings.Replace(statement, "-@dangerous", "-@dangerous\",\"+acl|whoami", 1), 3*time.Second, 7*time.Second)
	c := run(t, given(s))
	moved := make(chan string, 10)
	k := c.Open(source(t, "database/creds/acme"), func(_ context.Context, why string) error { moved <- why; return nil })
	redis := client(t, r.Addr, k)
	first := whoami(t, redis)
	if !strings.Contains(first, "ACME") {
		t.Fatalf("logged in as %q", first)
	}
	was := k.State()
	until(t, "the lease is renewed", func() bool { return k.State().Until.After(was.Until) })
	if second := whoami(t, redis); second != first {
		t.Fatalf("a renewal changes the user from %q to %q", first, second)
	}
	if why := <-moved; why != "its lease is near its max_ttl" {
		t.Fatalf("moved because %q", why)
	}
	if second := whoami(t, redis); second == first {
		t.Fatalf("still logged in as %q", first)
	}
	k.Close()
	if _, _, err := k.Login(t.Context()); err == nil {
		t.Fatal("a closed credential logs in")
	}
	until(t, "all leases are gone", func() bool { return len(s.Leases("database/creds/acme")) == 0 })
}

// TestForcedRevoke has the next command log in as another user.
func TestForcedRevoke(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	r := guarded(t, s)
	s.Role("acme", statement, time.Hour, time.Hour)
	c := run(t, given(s))
	k := c.Open(source(t, "database/creds/acme"), nil)
	redis := client(t, r.Addr, k)
	if err := redis.Set(t.Context(), "acme:a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	first := k.State().User
	s.RevokeAll("database/creds/acme")
	until(t, "a command is carried out again", func() bool { return redis.Set(t.Context(), "acme:a", "2", 0).Err() == nil })
	if second := k.State().User; second == first {
		t.Fatalf("still logged in as %q", first)
	}
}

// TestStaticAndKV follow another password in Vault without anybody's help, and a reconnection that comes before that asks for it.
func TestStaticAndKV(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	r := guarded(t, s, "--user", "app", "on", ">first", "~*", "+@all")
	s.StaticRole("app", "app", time.Hour)
	root := redis.NewClient(&redis.Options{Addr: r.Addr, Password: "root"})
	t.Cleanup(func() { root.Close() })
	s.Put("redis/app", map[string]any{"user": "kv", "word": "one"})
	root.Do(t.Context(), "ACL", "SETUSER", "kv", "on", ">one", "~*", "+@all")
	c := run(t, given(s))
	for name, one := range map[string]struct {
		path   string
		rotate func()
	}{
		"static": {"database/static-creds/app", func() { s.Rotate("app") }},
		"kv": {"secret/data/redis/app#user,word", func() {
			root.Do(t.Context(), "ACL", "SETUSER", "kv", "resetpass", ">two")
			s.Put("redis/app", map[string]any{"user": "kv", "word": "two"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var moves atomic.Int64
			k := c.Open(source(t, one.path), func(context.Context, string) error { moves.Add(1); return nil })
			redis := client(t, r.Addr, k)
			if err := redis.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			one.rotate()
			until(t, "the new password is noticed", func() bool { return moves.Load() > 0 })
			if err := redis.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			one.rotate()
			if err := client(t, r.Addr, k).Ping(t.Context()).Err(); err != nil {
				t.Fatalf("a connection right after a change: %v", err)
			}
		})
	}
}

// TestLeaseOutlivesVault keeps a credential while Vault is sealed, and says why there is none when its lease has ended.
func TestLeaseOutlivesVault(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	r := guarded(t, s)
	s.Role("acme", statement, 4*time.Second, time.Minute)
	c := run(t, given(s))
	k := c.Open(source(t, "database/creds/acme"), nil)
	redis := client(t, r.Addr, k)
	if err := redis.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.Seal()
	until(t, "the client notices", func() bool { return c.State().Phase == vault.Away })
	if err := redis.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	var told *vault.Error
	until(t, "the lease has ended", func() bool {
		_, _, err := k.Login(t.Context())
		return errors.As(err, &told) && strings.Contains(err.Error(), "the lease of database/creds/acme ended at")
	})
	if told.Kind != vault.Sealed {
		t.Fatalf("have %v", told)
	}
}

// TestTokenEnds has leases replaced that hang on a token before it ends.
func TestTokenEnds(t *testing.T) {
	t.Parallel()
	s := vaulttest.Start(t)
	r := guarded(t, s)
	s.Role("acme", statement, time.Hour, time.Hour)
	s.Policy("app", `path "database/creds/acme" { capabilities = ["read"] }`)
	role, secret := s.AppRole("app", 3*time.Second, 5*time.Second, "app")
	config := given(s)
	config.Auth = vault.Auth{Method: vault.AppRole, RoleID: role, SecretIDFile: write(t, secret)}
	c := run(t, config)
	moved := make(chan string, 10)
	k := c.Open(source(t, "database/creds/acme"), func(_ context.Context, why string) error { moved <- why; return nil })
	redis := client(t, r.Addr, k)
	if err := redis.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if why := <-moved; why != "Vault was signed in to anew" {
		t.Fatalf("moved because %q", why)
	}
	if err := redis.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}
