package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/secrets/vaulttest"
	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// lending is a platform whose tenants' connections have their logins in a Vault, by a rule, and a Redis of a tenant's own.
type lending struct {
	*served
	vault      *vaulttest.Server
	redis      *redistest.Server
	root       *redis.Client
	operator   *person
	config     string
	roleSecret string
}

// newLending serves with a policy that lets acme's credentials be read, and nobody else's.
func newLending(t *testing.T, rule, policy string) *lending {
	t.Helper()
	l := &lending{vault: vaulttest.Start(t), redis: redistest.Start(t, "--requirepass", "root", "--user", "given", "on", ">given-by-hand", "allchannels", "allkeys", "+@all")}
	l.root = redis.NewClient(&redis.Options{Addr: l.redis.Addr, Password: "root"})
	t.Cleanup(func() { l.root.Close() })
	l.vault.Redis(l.redis.Addr, "root")
	l.vault.Policy("tenloom", policy+` path "sys/leases/revoke" { capabilities = ["update"] }`)
	role, secret := l.vault.AppRole("tenloom", time.Hour, time.Hour, "tenloom")
	dir := t.TempDir()
	id := filepath.Join(dir, "secret-id")
	l.roleSecret, l.config = secret, filepath.Join(dir, "tenloom.toml")
	for file, text := range map[string]string{id: secret, l.config: fmt.Sprintf(`
log.level = "debug"
[vault]
address = %q
auth = "approle"
role_id = %q
secret_id_file = %q
connections = %q
refresh = "1s"
rate = 50
`, l.vault.URL, role, id, rule)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.served = serveOpen(t, redistest.Start(t), "-c", l.config)
	l.operator = l.served.operator(t)
	return l
}

// credential is what the API tells an operator, who may ask often, of a connection's credential.
func (l *lending) credential(t *testing.T, path string) map[string]any {
	t.Helper()
	_, answer := l.ask(t, "GET", "/v1/tenants/"+path, tokenOf(t, l.operator), "")
	status, _ := answer["status"].(map[string]any)
	credential, _ := status["credential"].(map[string]any)
	return credential
}

// stream publishes until it is stopped, and counts what the application echoes.
type stream struct {
	published atomic.Int64
	stop      chan struct{}
	failed    chan error
	seen      map[string]int
	echoes    *redis.PubSub
}

func (l *lending) stream(t *testing.T) *stream {
	t.Helper()
	s := &stream{stop: make(chan struct{}), failed: make(chan error, 1), seen: map[string]int{}, echoes: l.root.Subscribe(t.Context(), "echo.out")}
	t.Cleanup(func() { s.echoes.Close() })
	if _, err := s.echoes.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with stop
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				s.failed <- nil
				return
			case <-tick.C:
			}
			if err := l.root.Publish(t.Context(), "echo", s.published.Load()).Err(); err != nil {
				s.failed <- err
				return
			}
			s.published.Add(1)
		}
	}()
	return s
}

// take takes one echo.
func (s *stream) take(t *testing.T) {
	t.Helper()
	m, err := s.echoes.ReceiveMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.seen[m.Payload]++
}

// end has each message handled once.
func (s *stream) end(t *testing.T) {
	t.Helper()
	close(s.stop)
	if err := <-s.failed; err != nil {
		t.Fatal(err)
	}
	for int64(len(s.seen)) < s.published.Load() {
		s.take(t)
	}
	for payload, n := range s.seen {
		if n != 1 {
			t.Errorf("message %s was handled %d times", payload, n)
		}
	}
}

// TestVaultConnections: a tenant's connection has its login from the operator's place in Vault. Users of a dynamic role come and go under load without
// a message lost or handled twice; a login given by hand takes their place, and they its; what Vault denies is told by path and capability; and with
// the connection, or its tenant, the lease goes.
func TestVaultConnections(t *testing.T) {
	l := newLending(t, "database/creds/{{ tenant }}_{{ connection }}", `path "database/creds/acme_*" { capabilities = ["read"] }`)
	const statement = `["allchannels","allkeys","+@all","-@dangerous"]`
	l.vault.Role("acme_cache", statement, 3*time.Second, 5*time.Second)
	l.vault.Role("acme_spare", statement, time.Hour, time.Hour)
	l.vault.Role("umbrella_cache", statement, time.Hour, time.Hour)
	acme, umbrella := l.join(t, l.operator, "acme"), l.join(t, l.operator, "umbrella")
	dir, address := t.TempDir(), "redis://"+l.redis.Addr
	acme.does(dir, `leave --user`, exitUsage, "connections", "add", "cache", address, "--vault", "--user", "x")
	if status, answer := l.ask(t, "PUT", "/v1/tenants/acme/connections/cache", tokenOf(t, acme), fmt.Sprintf(`{"address":%q,"vault":true,"password":"x"}`, address)); status != http.StatusBadRequest {
		t.Errorf("%d %v", status, answer)
	}
	acme.does(dir, `redis://cache`, 0, "connections", "add", "cache", address, "--vault")
	acme.does(dir, `user\s+V_APPROLE_ACME_CACHE`, 0, "connections", "test", "cache")
	acme.does(dir, `status.credential.state\s+(valid|renewing)`, 0, "connections", "show", "cache")
	if n := len(l.vault.Leases("database/creds/acme_cache")); n != 1 {
		t.Errorf("a trial makes users: %d leases", n)
	}
	app := echoOn(t, "cache")
	acme.does(app, `Live +acme/c-echo v1`, 0, "deploy")

	s := l.stream(t)
	users := map[string]bool{}
	for len(users) < 4 {
		s.take(t)
		if n := len(s.seen); n%50 == 0 {
			users[fmt.Sprint(l.credential(t, "acme/connections/cache")["user"])] = true
		}
	}
	if status, answer := l.connect(t, acme, "acme", "cache", address, "given", "given-by-hand"); status != http.StatusOK || answer["vault"] != nil {
		t.Fatalf("%d %v", status, answer)
	}
	for len(l.vault.Leases("database/creds/acme_cache")) > 0 {
		s.take(t)
	}
	acme.does(dir, `redis://cache`, 0, "connections", "add", "cache", address, "--vault")
	for clients := 1; clients > 0; {
		s.take(t)
		if len(s.seen)%50 == 0 {
			list, err := l.root.ClientList(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			clients = strings.Count(list, "user=given ")
		}
	}
	s.end(t)
	acme.does(app, `counts.gaps\s+0`, 0, "usage", "--now")
	t.Logf("%d messages, %d users of one role", s.published.Load(), len(users))

	umbrella.does(dir, `redis://cache`, 0, "connections", "add", "cache", address, "--vault")
	eventually(t, "what is denied is told", func() bool { return l.credential(t, "umbrella/connections/cache")["state"] == "lacking" })
	denied := l.credential(t, "umbrella/connections/cache")
	if want := "map[capability:read path:database/creds/umbrella_cache]"; denied["reason"] != "denied" || fmt.Sprint(denied["denied"]) != want {
		t.Errorf("%v", denied)
	}
	umbrella.does(dir, `path "database/creds/umbrella_cache" { capabilities = \["read"\] }`, 0, "connections", "test", "cache")
	if status, _ := l.ask(t, "GET", "/v1/tenants/acme/connections/cache", tokenOf(t, umbrella), ""); status != http.StatusNotFound {
		t.Errorf("another's connection: %d", status)
	}

	acme.does(dir, `(?s)roles/acme_cache .*\["resetchannels","&__tenloom:\*","&echo","~\*".*connections = "database/creds/\{\{ tenant }}_\{\{ connection }}"`, 0,
		"doctor", "--vault-role", "acme", "--connection", "cache", "--triggers")
	acme.does(dir, `(?s)roles/acme .*\["resetchannels","&acme:\*","&__tenloom:\*","~acme:\*"`, 0, "doctor", "--vault-role", "acme", "--triggers")
	acme.does(app, `gone`, 0, "apps", "rm", "-y")
	acme.does(dir, `gone`, 0, "connections", "rm", "cache", "-y")
	eventually(t, "its lease is revoked", func() bool { return len(l.vault.Leases("database/creds/acme_cache")) == 0 })
	acme.does(dir, `redis://spare`, 0, "connections", "add", "spare", address, "--vault")
	eventually(t, "there is a lease", func() bool { return len(l.vault.Leases("database/creds/acme_spare")) == 1 })
	l.operator.does(dir, `gone`, 0, "tenants", "rm", "acme", "-y")
	eventually(t, "its lease is revoked with the tenant", func() bool { return len(l.vault.Leases("database/creds/acme_spare")) == 0 })
}

// TestVaultConnectionsKV: user and password from a secret, changed under load, kept while Vault is sealed, and shown nowhere.
func TestVaultConnectionsKV(t *testing.T) {
	const one, two = "hunter2-kv-one", "hunter2-kv-two"
	l := newLending(t, "secret/data/connections/{{ tenant }}/{{ connection }}", `path "secret/data/connections/acme/*" { capabilities = ["read"] }`)
	for user, word := range map[string]string{"first": one, "second": two} {
		if err := l.root.Do(t.Context(), "ACL", "SETUSER", user, "on", ">"+word, "allchannels", "allkeys", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
	}
	acme := l.join(t, l.operator, "acme")
	dir, address := t.TempDir(), "redis://"+l.redis.Addr
	acme.does(dir, `redis://cache`, 0, "connections", "add", "cache", address, "--vault")
	eventually(t, "it is said what is missing", func() bool { return l.credential(t, "acme/connections/cache")["reason"] == "missing" })
	l.vault.Put("connections/acme/cache", map[string]any{"username": "first", "password": one})
	eventually(t, "there is a credential", func() bool { return l.credential(t, "acme/connections/cache")["user"] == "first" })
	app := echoOn(t, "cache")
	acme.does(app, `Live +acme/c-echo v1`, 0, "deploy")
	s := l.stream(t)
	for range 100 {
		s.take(t)
	}
	l.vault.Put("connections/acme/cache", map[string]any{"username": "second", "password": two})
	for clients := 1; clients > 0; {
		s.take(t)
		if len(s.seen)%50 == 0 {
			list, err := l.root.ClientList(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			clients = strings.Count(list, "user=first ")
		}
	}
	l.vault.Seal()
	for l.credential(t, "acme/connections/cache")["reason"] != "sealed" {
		s.take(t)
	}
	if got := l.credential(t, "acme/connections/cache"); got["state"] != "failing" || got["user"] != "second" {
		t.Errorf("%v", got)
	}
	s.end(t)
	var outputs []string
	for _, args := range [][]string{{"connections", "ls"}, {"connections", "show", "cache"}, {"connections", "test", "cache"}, {"audit"}, {"logs"}, {"usage"}} {
		got := acme.run(app, append(args, "-o", "json")...)
		outputs = append(outputs, got.stdout, got.stderr)
	}
	l.stop(t)
	for _, hidden := range []string{one, two, l.roleSecret} {
		for _, text := range append(outputs, l.stdout.String(), l.stderr.String()) {
			if strings.Contains(text, hidden) {
				t.Errorf("%q is shown: %s", hidden, text)
			}
		}
	}

	plain := serveOpen(t, redistest.Start(t))
	acme = plain.join(t, plain.operator(t), "acme")
	if status, answer := plain.ask(t, "PUT", "/v1/tenants/acme/connections/cache", tokenOf(t, acme), fmt.Sprintf(`{"address":%q,"vault":true}`, address)); status != http.StatusBadRequest || !strings.Contains(fmt.Sprint(answer), "vault.connections") {
		t.Errorf("%d %v", status, answer)
	}
}

// TestServeVaultUnfit: a role whose users cannot subscribe is told in /readyz before anything subscribes, with what is wrong, and is fine once it is mended.
func TestServeVaultUnfit(t *testing.T) {
	v, r := vaulttest.Start(t), redistest.Start(t, "--requirepass", "root")
	v.Redis(r.Addr, "root")
	v.Role("mute", `["~*","+@read"]`, time.Hour, time.Hour)
	v.Policy("tenloom", `path "database/creds/mute" { capabilities = ["read"] } path "database/roles/mute" { capabilities = ["read"] }`)
	dir := t.TempDir()
	token, config := filepath.Join(dir, "token"), filepath.Join(dir, "tenloom.toml")
	for file, text := range map[string]string{token: v.Token(time.Hour, true, "tenloom"), config: fmt.Sprintf(`
[vault]
address = %q
token_file = %q
[redis]
default.url = "redis://%s"
default.vault = "database/creds/mute"
`, v.URL, token, r.Addr)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := startServe(t, filepath.Join(dir, "state"), nil, "-c", config)
	const want = "degraded: the creation statement of database/roles/mute is not fit: it allows no channel; it cannot subscribe: add &TENANT:*; it does not allow SUBSCRIBE; " +
		"add +@pubsub; tenloom doctor --vault-role TENANT prints one that is; credential database/creds/mute"
	eventually(t, "it is told", func() bool { return strings.Contains(details(t, s), want) })
	v.Role("mute", `["&*","~*","+@read","+@pubsub"]`, time.Hour, time.Hour)
	eventually(t, "it is fine", func() bool { return !strings.Contains(details(t, s), "not fit") })
}
