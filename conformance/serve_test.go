package conformance

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// platform is a "tenloom serve" that keeps everything in etcd and speaks TLS. It can be started again in the same place.
type platform struct {
	t      *testing.T
	path   string // of the program
	args   []string
	dir    string
	cmd    *exec.Cmd
	ended  chan error
	url    string
	client *http.Client
	token  string
}

func newPlatform(t *testing.T, store, redis string) *platform {
	t.Helper()
	dir := t.TempDir()
	p := &platform{t: t, path: filepath.Join(dir, "tenloom"), dir: dir}
	build := exec.Command("go", "build", "-o", p.path, "./cmd/tenloom")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tenloom: %v\n%s", err, out)
	}
	p.certify(1)
	p.args = []string{
		"serve", "--state", filepath.Join(dir, "state"), "--listen", "127.0.0.1:0", "--redis", redis, "--store-kind", "etcd", "--store-endpoints", store,
		"--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"),
	}
	t.Cleanup(p.kill)
	return p
}

// certify writes a certificate of a serial number, which signs itself, and its key.
func (p *platform) certify(serial int64) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "tenloom"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		p.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(p.dir, name), text, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}, Timeout: patience}
}

// start returns when the platform is ready, and says with what.
func (p *platform) start() (ready string) {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env = append(os.Environ(), "TENLOOM_COMPILE_TIME=1h")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan error, 1)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if u := regexp.MustCompile(`https://127\.0\.0\.1:\d+`).FindString(lines.Text()); u != "" {
			p.url = u
		}
		if ready = lines.Text(); strings.HasPrefix(ready, "Ready in") {
			break
		}
	}
	go func() { // ends with the process
		io.Copy(io.Discard, out)
		p.ended <- p.cmd.Wait()
	}()
	if !strings.HasPrefix(ready, "Ready in") {
		p.t.Fatalf("it did not become ready: %v", <-p.ended)
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "state", "operator.token"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.token = strings.TrimSpace(string(text))
	return ready
}

// kill ends the process as a loss of power does.
func (p *platform) kill() {
	if p.ended != nil {
		p.cmd.Process.Kill()
		<-p.ended
		p.ended = nil
	}
}

// ask sends a request and returns what came of it.
func (p *platform) ask(method, path, kind string, body []byte) (status int, answer string, err error) {
	req, err := http.NewRequest(method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Prefer", "wait=60")
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// does wants a request to be carried out.
func (p *platform) does(method, path, body string) string {
	p.t.Helper()
	status, answer, err := p.ask(method, path, "application/json", []byte(body))
	if err != nil || status >= 300 {
		p.t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
	return answer
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestServeOnEtcd: a platform whose store is etcd deploys, is there again after kill -9, serves messages while etcd is away, and hears of changes
// after etcd has come back and forgotten the revisions between; its API speaks TLS with the certificate of now.
func TestServeOnEtcd(t *testing.T) {
	store, redis := newServer(t), redistest.Start(t)
	p := newPlatform(t, store.client.String(), redis.URL)
	p.start()
	wasm, err := os.ReadFile(filepath.Join("..", "examples", "c-echo", "echo.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join("..", "examples", "c-echo", "spin.toml"))
	if err != nil {
		t.Fatal(err)
	}
	const app = "/v1/tenants/acme/apps/c-echo"
	p.does("POST", "/v1/tenants", `{"name":"acme"}`)
	p.does("PUT", app, "")
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(wasm))
	if status, answer, err := p.ask("PUT", app+"/blobs/"+digest, "application/octet-stream", wasm); err != nil || status >= 300 {
		t.Fatal(status, answer, err)
	}
	in, err := json.Marshal(map[string]any{"manifest": string(manifest), "components": map[string]string{"echo": digest}})
	if err != nil {
		t.Fatal(err)
	}
	p.does("POST", app+"/versions", string(in))
	if live := p.does("POST", app+"/deployments", `{"version":1}`); !strings.Contains(live, `"state":"live"`) {
		t.Fatal(live)
	}
	out := redis.Client().PSubscribe(t.Context(), "acme:*.out")
	defer out.Close()
	if _, err := out.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	echoes := func(want string) bool { // by way of Redis alone
		t.Helper()
		if err := redis.Client().Publish(t.Context(), "acme:echo", "x").Err(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		m, err := out.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return m.Channel == want
	}
	if !echoes("acme:echo.out") {
		t.Error("the answer came on another channel")
	}

	p.kill()
	if ready := p.start(); !strings.Contains(ready, "with 1 application") {
		t.Fatalf("after kill -9: %s", ready)
	}
	eventually(t, "it is subscribed again", func() bool {
		n, err := redis.Client().PubSubNumSub(t.Context(), "acme:echo").Result()
		return err == nil && n["acme:echo"] > 0
	})
	if !echoes("acme:echo.out") {
		t.Error("the answer came on another channel")
	}

	store.stop()
	if !echoes("acme:echo.out") {
		t.Error("messages wait for the store")
	}
	store.start(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{store.client.String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range 10 { // revisions that a watch from before has not seen
		if _, err := c.Put(t.Context(), "/elsewhere", fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	head, err := c.Get(t.Context(), "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(t.Context(), head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API reaches its store again", func() bool {
		status, _, err := p.ask("PUT", app+"/variables/echo_to", "application/json", []byte(`{"value":"other.out"}`))
		return err == nil && status < 300
	})
	eventually(t, "handlers have the variable that was set after the compaction", func() bool { return echoes("acme:other.out") })

	p.certify(2)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it shows the new certificate", func() bool {
		status, _, err := p.ask("GET", "/v1/whoami", "application/json", nil)
		return err == nil && status == http.StatusOK
	})
}
