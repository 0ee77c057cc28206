// Package vaulttest gives tests real Vault servers in development mode on free loopback ports, each with HashiCorp's Redis plugin. They end with
// the test that asked for them. It imitates nothing: a test that needs a Vault gets a Vault.
package vaulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	readyWithin = 60 * time.Second // from exec to the first answer; half a second on a machine that is not busy
	rootToken   = "root-of-the-test"
)

// Server is a vault process of one test: unsealed, in memory, KV version 2 at secret/ and version 1 at kv1/, the database engine at database/ and
// the auth method approle.
type Server struct {
	Addr string // 127.0.0.1:port
	URL  string // http://Addr
	Root string // the root token

	t      testing.TB
	client *api.Client
	cmd    *exec.Cmd
	log    *tail
	ended  chan struct{}
}

// Start runs a server and returns once it answers.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, []string{plugin})
}

// StartKubernetes runs a server with HashiCorp's plugin for the auth method kubernetes, too, enabled at kubernetes/.
func StartKubernetes(t testing.TB) *Server {
	t.Helper()
	s := start(t, []string{plugin, kubernetes})
	s.Enable("kubernetes", kubernetes)
	return s
}

// StartTLS runs a server that takes TLS at URL, with a certificate and its key, from clients whose own is issued by an authority. All are PEM files.
// Its methods go on to use Addr, where it takes plain text.
func StartTLS(t testing.TB, cert, key, clientCA string) *Server {
	t.Helper()
	addr := freePort(t)
	config := filepath.Join(t.TempDir(), "listener.json")
	text := fmt.Sprintf(`{"listener":[{"tcp":{"address":%q,"tls_cert_file":%q,"tls_key_file":%q,"tls_client_ca_file":%q,"tls_require_and_verify_client_cert":true}}]}`,
		addr, cert, key, clientCA)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, []string{plugin}, "-config="+config)
	s.URL = "https://" + addr
	return s
}

// Enable enables an auth method.
func (s *Server) Enable(path, method string) {
	s.t.Helper()
	s.must(s.client.Sys().EnableAuthWithOptions(path, &api.EnableAuthOptions{Type: method}))
}

func start(t testing.TB, names []string, args ...string) *Server {
	t.Helper()
	dir := find(t)
	temp := filepath.Join(t.TempDir(), "plugins")
	if err := plugins(dir, temp, names); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Root: rootToken, log: &tail{}, ended: make(chan struct{})}
	s.Addr = freePort(t)
	s.URL = "http://" + s.Addr
	s.cmd = exec.Command(filepath.Join(dir, "vault"), append([]string{"server", "-dev", "-dev-no-store-token", "-dev-root-token-id=" + rootToken,
		"-dev-plugin-dir=" + temp, "-dev-listen-address=" + s.Addr, "-log-level=warn"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = s.log, s.log, dieWithParent()
	s.cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start vault: %v", err)
	}
	go func() { // ends with the process
		s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(s.Kill)
	s.connect()
	for path, engine := range map[string]*api.MountInput{
		"database": {Type: "database"}, "kv1": {Type: "kv", Options: map[string]string{"version": "1"}},
	} {
		s.must(s.client.Sys().Mount(path, engine))
	}
	s.Enable("approle", "approle")
	return s
}

func (s *Server) connect() {
	s.t.Helper()
	c := api.DefaultConfig()
	c.Address, c.MaxRetries = s.URL, 0
	var err error
	if s.client, err = api.NewClient(c); err != nil {
		s.t.Fatal(err)
	}
	s.client.SetToken(rootToken)
	s.client.ClearNamespace()
	late := time.After(readyWithin)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := http.Get(s.URL + "/v1/sys/health")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				if mounts, err := s.client.Sys().ListMounts(); err == nil && mounts["secret/"] != nil {
					return
				}
			}
		}
		select {
		case <-tick.C:
		case <-s.ended:
			s.t.Fatalf("vault ended at its start:\n%s", s.log)
		case <-late:
			s.t.Fatalf("vault did not become ready within %v:\n%s", readyWithin, s.log)
		}
	}
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("vault: %v", err)
	}
}

// Write writes to a path as root, and returns what Vault answered.
func (s *Server) Write(path string, data map[string]any) map[string]any {
	s.t.Helper()
	answer, err := s.client.Logical().Write(path, data)
	s.must(err)
	if answer == nil {
		return nil
	}
	return answer.Data
}

// Delete deletes a path as root.
func (s *Server) Delete(path string) {
	s.t.Helper()
	_, err := s.client.Logical().Delete(path)
	s.must(err)
}

// Put writes a secret of the KV engine of version 2 at secret/.
func (s *Server) Put(path string, fields map[string]any) {
	s.t.Helper()
	s.Write("secret/data/"+path, map[string]any{"data": fields})
}

// Policy writes a policy in Vault's own language.
func (s *Server) Policy(name, rules string) {
	s.t.Helper()
	s.must(s.client.Sys().PutPolicy(name, rules))
}

// Token makes a token of these policies, renewable or not, which lives so long.
func (s *Server) Token(life time.Duration, renewable bool, policies ...string) string {
	s.t.Helper()
	made, err := s.client.Auth().Token().Create(&api.TokenCreateRequest{Policies: policies, TTL: life.String(), Renewable: &renewable})
	s.must(err)
	return made.Auth.ClientToken
}

// AppRole makes a role and returns its id and a secret id. Tokens of it live so long, and at most so long with all renewals.
func (s *Server) AppRole(name string, life, atMost time.Duration, policies ...string) (roleID, secretID string) {
	s.t.Helper()
	s.Write("auth/approle/role/"+name, map[string]any{"token_policies": policies, "token_ttl": life.String(), "token_max_ttl": atMost.String()})
	answer, err := s.client.Logical().Read("auth/approle/role/" + name + "/role-id")
	s.must(err)
	secret := s.Write("auth/approle/role/"+name+"/secret-id", nil)
	return answer.Data["role_id"].(string), secret["secret_id"].(string)
}

// Redis has the database engine manage the users of a Redis server, under the name redis.
func (s *Server) Redis(addr, password string) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	s.Write("database/config/redis", map[string]any{
		"plugin_name": plugin, "host": host, "port": port, "username": "default", "password": password, "allowed_roles": "*",
	})
}

// Role makes a dynamic role on that server. The statement is the argument list of ACL SETUSER, as JSON.
func (s *Server) Role(name, statement string, life, atMost time.Duration) {
	s.t.Helper()
	s.Write("database/roles/"+name, map[string]any{
		"db_name": "redis", "default_ttl": life.String(), "max_ttl": atMost.String(), "creation_statements": statement,
	})
}

// StaticRole has Vault own the password of a user that exists.
func (s *Server) StaticRole(name, user string, every time.Duration) {
	s.t.Helper()
	s.Write("database/static-roles/"+name, map[string]any{"db_name": "redis", "username": user, "rotation_period": every.String()})
}

// Rotate gives the user of a static role another password now.
func (s *Server) Rotate(name string) {
	s.t.Helper()
	s.Write("database/rotate-role/"+name, nil)
}

// RevokeAll revokes all leases of a path, such as database/creds/app, and returns when that is done.
func (s *Server) RevokeAll(path string) {
	s.t.Helper()
	s.Write("sys/leases/revoke-prefix/"+path, map[string]any{"sync": true})
}

// Seal seals the server: it answers 503 to everything. A server in development mode cannot be unsealed by a test that does not know its key.
func (s *Server) Seal() {
	s.t.Helper()
	s.must(s.client.Sys().Seal())
}

// Kill ends the process and its plugins at once, and all that they know.
func (s *Server) Kill() {
	select {
	case <-s.ended:
		return // its number may be another's by now
	default:
	}
	defer s.reap()
	s.Continue()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		s.cmd.Process.Kill()
		<-s.ended
	}
}

// Client is a client of the server as root, for what has no method here.
func (s *Server) Client() *api.Client { return s.client }

// Leases are those under a path, such as database/creds/app.
func (s *Server) Leases(path string) (ids []string) {
	s.t.Helper()
	answer, err := s.client.Logical().ListWithContext(context.Background(), "sys/leases/lookup/"+path)
	var refused *api.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound || err == nil && answer == nil {
		return nil
	}
	s.must(err)
	for _, key := range answer.Data["keys"].([]any) {
		ids = append(ids, path+"/"+fmt.Sprint(key))
	}
	return ids
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// tail keeps the end of what a process prints.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text.Len() > 64<<10 { // older lines are of no use
		w.text.Reset()
	}
	return w.text.Write(p)
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
