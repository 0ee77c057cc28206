package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// onLoopback lets tenants reach this machine, which is closed to them otherwise.
var onLoopback = []string{"--outbound-blocked", "10.0.0.0/8"}

// serveOpen is startServe whose tenants may reach loopback addresses.
func serveOpen(t *testing.T, redis *redistest.Server, args ...string) *served {
	t.Helper()
	return startServe(t, filepath.Join(t.TempDir(), "state"), nil, append(append([]string{"--redis", redis.URL}, onLoopback...), args...)...)
}

// connect makes a connection of a person's tenant, with a login where one is given.
func (s *served) connect(t *testing.T, p *person, tenant, name, address, user, password string) (status int, answer map[string]any) {
	t.Helper()
	body := fmt.Sprintf(`{"address":%q,"username":%q,"password":%q}`, address, user, password)
	return s.ask(t, "PUT", "/v1/tenants/"+tenant+"/connections/"+name, tokenOf(t, p), body)
}

// echoOn is an application that sends what comes on echo to echo.out, on a connection.
func echoOn(t *testing.T, name string) string {
	t.Helper()
	dir := example(t, "c-echo")
	edit(t, filepath.Join(dir, "spin.toml"), "redis://localhost:6379", "redis://"+name)
	return dir
}

// clientsOf counts a user's connections at a server.
func clientsOf(t *testing.T, r *redistest.Server, user string) int {
	t.Helper()
	list, err := r.Client().ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(list, "user="+user+" ")
}

// TestHostedConnections: a tenant's own Redis wakes its triggers and takes its handlers' calls, with names as they are written; another login
// reaches everything without losing a message; it is not seen by others, survives a restart, and stays while it is used.
func TestHostedConnections(t *testing.T) {
	platform := redistest.Start(t)
	own := redistest.Start(t, "--user", "old", "on", ">first", "allchannels", "allkeys", "+@all", "--user", "new", "on", ">second", "allchannels", "allkeys", "+@all")
	s := serveOpen(t, platform)
	operator := s.operator(t)
	acme, umbrella := s.join(t, operator, "acme"), s.join(t, operator, "umbrella")
	dir := t.TempDir()
	acme.does(dir, `redis://cache`, 0, "connections", "add", "cache", "redis://"+own.Addr)
	if status, answer := s.connect(t, acme, "acme", "cache", "redis://"+own.Addr, "old", "first"); status != http.StatusOK || answer["has_login"] != true {
		t.Fatalf("%d %v", status, answer)
	}
	app := echoOn(t, "cache")
	acme.does(app, `Live +acme/c-echo v1`, 0, "deploy")
	umbrella.does(app, `offers no Redis at cache`, exitDeploy, "deploy")

	out := own.Client().Subscribe(t.Context(), "echo.out")
	defer out.Close()
	if _, err := out.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	acme.does(app, `ok\s+acme/c-echo`, 0, "publish", "echo", "hello", "--wait", "30s")
	heard := func(want string) {
		t.Helper()
		m, err := out.ReceiveMessage(t.Context())
		if err != nil || m.Payload != want {
			t.Fatalf("%v %v, want %q", m, err, want)
		}
	}
	heard("hello")

	// Another login under load: each message is handled once, and nothing stays logged in with the old one.
	const messages = 3000
	published := make(chan error, 1)
	go func() { // ends with its messages
		client := own.Client()
		for i := range messages {
			if err := client.Publish(t.Context(), "echo", i).Err(); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	seen := map[string]int{}
	take := func(n int) {
		t.Helper()
		for range n {
			m, err := out.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			seen[m.Payload]++
		}
	}
	take(messages / 3)
	if status, answer := s.connect(t, acme, "acme", "cache", "redis://"+own.Addr, "new", "second"); status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	take(messages - messages/3)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		if n := seen[fmt.Sprint(i)]; n != 1 {
			t.Fatalf("message %d was handled %d times", i, n)
		}
	}
	eventually(t, "nothing is logged in with the old login", func() bool { return clientsOf(t, own, "old") == 0 && clientsOf(t, own, "new") > 0 })
	own.DelUser("old")
	acme.does(app, `ok\s+acme/c-echo`, 0, "publish", "echo", "after", "--wait", "30s")
	heard("after")
	acme.does(app, `counts.gaps\s+0`, 0, "usage", "--now")

	// A login that is wrong leaves what is connected as it is, and shows.
	s.connect(t, acme, "acme", "cache", "redis://"+own.Addr, "new", "wrong-secret")
	acme.does(dir, `WRONGPASS`, 0, "connections", "test", "cache")
	eventually(t, "the state says so", func() bool {
		_, answer := s.ask(t, "GET", "/v1/tenants/acme/connections/cache", tokenOf(t, acme), "")
		return answer["status"].(map[string]any)["state"] == "stale" && strings.Contains(fmt.Sprint(answer["status"]), "WRONGPASS")
	})
	if err := own.Client().Publish(t.Context(), "echo", "still subscribed").Err(); err != nil {
		t.Fatal(err)
	}
	s.connect(t, acme, "acme", "cache", "redis://"+own.Addr, "new", "second")
	eventually(t, "it is mended", func() bool {
		_, answer := s.ask(t, "GET", "/v1/tenants/acme/connections/cache", tokenOf(t, acme), "")
		return answer["status"].(map[string]any)["state"] == "ok"
	})

	acme.does(dir, `c-echo`, exitConflict, "connections", "rm", "cache", "-y")
	if status, answer := s.connect(t, acme, "acme", "cache", "redis://127.0.0.1:1", "", ""); status != http.StatusConflict || fmt.Sprint(answer["names"]) != "[c-echo]" {
		t.Errorf("another address: %d %v", status, answer)
	}
	for _, args := range [][]string{{"connections", "ls"}, {"connections", "show", "cache"}, {"audit"}, {"connections", "test", "cache"}} {
		if got := acme.run(dir, append(args, "--json")...); strings.Contains(got.stdout+got.stderr, "second") {
			t.Errorf("%v shows the password: %s", args, got.stdout)
		}
		if got := umbrella.run(dir, append(args, "-t", "acme")...); got.code != exitNotFound {
			t.Errorf("another's %v: %d %s", args, got.code, got.stdout)
		}
	}

	s.stop(t)
	if text := s.stdout.String() + s.stderr.String(); strings.Contains(text, "wrong-secret") || strings.Contains(text, "second") {
		t.Error("a password is in the server's output")
	}
	again := startServe(t, s.state, nil, append([]string{"--redis", platform.URL}, onLoopback...)...)
	again.await(t, "with 1 application")
	for _, p := range []*person{acme, umbrella} {
		p.env = append(p.env, "TENLOOM_SERVER="+again.api, "TENLOOM_TOKEN="+tokenOf(t, p))
	}
	eventually(t, "it is subscribed again", func() bool {
		got := acme.run(app, "publish", "echo", "restarted", "--wait", "30s")
		return got.code == 0 && regexp.MustCompile(`ok\s+acme/c-echo`).MatchString(got.stdout)
	})
	acme.does(app, `gone`, 0, "apps", "rm", "-y")
	acme.does(dir, `gone`, 0, "connections", "rm", "cache", "-y")
	eventually(t, "it is closed", func() bool { return clientsOf(t, own, "new") == 0 })
}

// TestHostedConnectionsReach: no connection leads where the operator does not want tenants, by whatever name.
func TestHostedConnectionsReach(t *testing.T) {
	platform := redistest.Start(t)
	_, port, _ := net.SplitHostPort(platform.Addr)
	closed := startServe(t, filepath.Join(t.TempDir(), "state"), nil, "--redis", platform.URL)
	acme := closed.join(t, closed.operator(t), "acme")
	if status, answer := closed.connect(t, acme, "acme", "literal", "redis://127.0.0.2:"+port, "", ""); status != 400 || !strings.Contains(fmt.Sprint(answer), "closed to tenants") {
		t.Errorf("%d %v", status, answer)
	}
	closed.connect(t, acme, "acme", "name", "redis://localhost:1", "", "")
	got := acme.does(t.TempDir(), `closed to tenants`, 0, "connections", "test", "name")
	if strings.Contains(got.stdout, "127.0.0.1") {
		t.Errorf("it tells the address behind a name: %s", got.stdout)
	}

	open := serveOpen(t, platform)
	acme = open.join(t, open.operator(t), "acme")
	for name, address := range map[string]string{"same": platform.URL, "standing": "redis://localhost", "default": "redis://redis.example.com"} {
		if status, answer := open.connect(t, acme, "acme", name, address, "", ""); status != 400 {
			t.Errorf("%s: %d %v", address, status, answer)
		}
	}
	if status, answer := open.connect(t, acme, "acme", "alias", "redis://localhost:"+port, "", ""); status != 201 {
		t.Fatalf("%d %v", status, answer)
	}
	acme.does(t.TempDir(), `one of the platform's own`, 0, "connections", "test", "alias")
	app := echoOn(t, "alias")
	acme.does(app, `one of the platform's own`, exitDeploy, "deploy", "--wait", "60s")
}

// TestHostedConnectionTest: what is there is told, with the permissions that are missing.
func TestHostedConnectionTest(t *testing.T) {
	own := redistest.Start(t, "--user", "app", "on", ">pw-of-app", "&orders:*", "+subscribe", "+ping")
	s := serveOpen(t, redistest.Start(t))
	acme := s.join(t, s.operator(t), "acme")
	s.connect(t, acme, "acme", "full", "redis://"+own.Addr, "", "")
	s.connect(t, acme, "acme", "limited", "redis://"+own.Addr, "app", "pw-of-app")
	dir := t.TempDir()
	acme.does(dir, `version\s+7`, 0, "connections", "test", "full")
	acme.does(dir, `role\s+master`, 0, "connections", "test", "full")
	got := acme.does(dir, `"\+psubscribe"`, 0, "connections", "test", "limited", "--json")
	for _, want := range []string{`"+publish"`, `__tenloom:*"`, `"latency_ms"`, `"protocol"`} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("it does not tell %s: %s", want, got.stdout)
		}
	}
	if strings.Contains(got.stdout, "pw-of-app") {
		t.Error("it tells the password")
	}
	if n := clientsOf(t, own, "app"); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
