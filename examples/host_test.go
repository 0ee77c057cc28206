package examples_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/sandbox/spin"
)

// attributes are what the host knows of a message, by the guest's name for it.
type attributes map[string]string

func (a attributes) Attribute(name string) (string, bool) {
	v, ok := a[name]
	return v, ok
}

// host is a tenant's way out: an embedded Redis, variables, and one store.
type host struct {
	redis     *miniredis.Miniredis
	address   string
	variables map[string]string
	spin      *spin.Host
}

// newHost lets guests reach the embedded Redis and the allowed entries.
func newHost(t *testing.T, allowed ...string) *host {
	t.Helper()
	server := miniredis.RunT(t)
	h := &host{redis: server, address: "redis://" + server.Addr(), variables: map[string]string{"redis_address": "redis://" + server.Addr()}}
	list, err := outbound.Parse(append(allowed, h.address), nil)
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer // tests reach loopback
	pool := outbound.NewPool(outbound.PoolConfig{
		Open: func(address string, dial func(context.Context, string, string) (net.Conn, error)) (redis.UniversalClient, error) {
			options, err := redis.ParseURL(address)
			if err != nil {
				return nil, err
			}
			options.Dialer = dial
			return redis.NewClient(options), nil
		},
		Dial: dialer.DialContext,
	})
	t.Cleanup(pool.Close)
	client := outbound.NewHTTPClient(dialer.DialContext)
	t.Cleanup(client.CloseIdleConnections)
	h.spin = &spin.Host{
		Gate: &outbound.Gate{
			Allowed: func(context.Context) (*outbound.Allowed, error) { return list, nil },
			Pool:    pool,
			HTTP:    client,
		},
		Variables: h.variable,
		Stores:    map[string]spin.Store{"default": spin.NewMemoryStore(1 << 20)},
	}
	return h
}

func (h *host) variable(_ context.Context, name string) (string, error) {
	if strings.ToLower(name) != name {
		return "", spin.ErrInvalidName
	}
	if v, ok := h.variables[name]; ok {
		return v, nil
	}
	return "", spin.ErrUndefined
}

// bind compiles a module and binds it to the host.
func (h *host) bind(t *testing.T, wasm []byte) *sandbox.Component {
	t.Helper()
	return compile(t, wasm).Bind(sandbox.Binding{Host: h.spin})
}

// runtime is one for all tests of the package, so that a large guest is compiled once.
var runtime = sync.OnceValues(func() (*sandbox.Runtime, error) {
	return sandbox.New(context.Background(), sandbox.Config{Log: slog.New(slog.DiscardHandler), CompileTime: time.Hour})
})

func TestMain(m *testing.M) {
	code := m.Run()
	r, err := runtime()
	if err == nil {
		err = r.Close(context.Background())
	}
	if err != nil {
		slog.Error("sandbox", "error", err)
		code = 1
	}
	os.Exit(code)
}

func compile(t *testing.T, wasm []byte) *sandbox.Program {
	t.Helper()
	r, err := runtime()
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Compile(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	return p // closed with the runtime
}

// committed reads a guest that is in the repository.
func committed(t *testing.T, path string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// buildGo builds a Go guest as its users do, with nothing to download.
func buildGo(dir, pkg, out string) ([]byte, error) {
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "PWD=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(text))
	}
	return os.ReadFile(out)
}

// sdkGuest builds sdk/testdata/guest, once for all tests.
var sdkGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return buildGo("../sdk", "./testdata/guest", filepath.Join(dir, "guest.wasm"))
})

func invoke(c *sandbox.Component, payload string, a attributes) sandbox.Result {
	return c.Invoke(context.Background(), sandbox.Call{Payload: []byte(payload), Attributes: a, KeepOutput: 8192})
}

// handled runs a message and gives what the guest printed.
func handled(t *testing.T, c *sandbox.Component, payload string, a attributes) string {
	t.Helper()
	r := invoke(c, payload, a)
	if r.Err != nil {
		t.Fatalf("%.40q: %v; it printed:\n%s", payload, r.Err, r.Output)
	}
	return string(r.Output)
}

// serve answers HTTP on loopback.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: f}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }() // ends with Close below, which waits for it
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}
