package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

const tenant tenants.ID = "acme"

// running is the system that tests deploy to: the sandbox, the resolver of variables, the grammars of hosts and addresses are the real ones.
// It keeps what was done to it.
type running struct {
	runtime *sandbox.Runtime
	policy  tenants.Policy
	values  map[string]string
	lacks   tenants.EndpointID // a server without sharded channels

	mu      sync.Mutex
	loaded  []tenants.ComponentID
	opened  []string // addresses
	applied []*deploy.Version
}

func newRunning(t testing.TB) *running {
	t.Helper()
	runtime, err := sandbox.New(context.Background(), sandbox.Config{Log: slog.New(slog.DiscardHandler), CompileTime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &running{runtime: runtime, policy: tenants.DefaultPolicy(), values: map[string]string{}}
}

func (r *running) system(m *manifest.Manifest) deploy.System {
	vars := make([]secrets.Variable, len(m.Variables))
	for i, v := range m.Variables {
		vars[i] = secrets.Variable{Name: v.Name, Default: v.Default, Required: v.Required}
	}
	resolver := secrets.NewResolver(vars, secrets.Static(r.values))
	return deploy.System{
		Policy: r.policy, MaxModule: 64 << 20,
		Required: resolver.Check, Render: resolver.Render, CheckHosts: checkHosts, Endpoint: r.endpoint, Load: r.load,
		Sharded: func(on tenants.EndpointID) error {
			if on == r.lacks {
				return advice{"this Redis has no sharded channels", "use a channel"}
			}
			return nil
		},
		Apply: func(v *deploy.Version) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.applied = append(r.applied, v)
			return nil
		},
	}
}

func checkHosts(entries []string) error {
	_, err := outbound.Parse(entries, nil)
	var entry *outbound.EntryError
	if errors.As(err, &entry) {
		return advice{fmt.Sprintf("%q: %s", entry.Entry, entry.Problem), entry.Next}
	}
	return err
}

// advice is an error with its next step, as a program gives it to deploy.
type advice struct{ problem, next string }

func (a advice) Error() string    { return a.problem }
func (a advice) NextStep() string { return a.next }

func (r *running) endpoint(_ context.Context, address string) (tenants.EndpointID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened = append(r.opened, address)
	if address == "" {
		return "own", nil
	}
	o, err := endpoint.Parse(address)
	if err != nil {
		return "", err
	}
	return tenants.EndpointID(o.Name()), nil
}

func (r *running) load(ctx context.Context, u *deploy.Unit) error {
	program, err := r.runtime.Compile(ctx, u.Wasm)
	var refused *sandbox.CompileError
	if errors.As(err, &refused) {
		return advice{refused.Detail, refused.Next}
	}
	if err != nil {
		return err
	}
	defer program.Close() // the runtime's Close frees it otherwise
	bound := program.Bind(sandbox.Binding{
		Env: u.Component.Environment, Files: u.Files, Memory: u.Limits.Memory, Timeout: u.Limits.Timeout, Reuse: u.Component.Tool.Isolation == manifest.Reuse,
	})
	u.Isolation, u.Why = bound.Isolation()
	if err := bound.Check(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded = append(r.loaded, u.Component.ID)
	return nil
}

// guests are prebuilt modules: those of the sandbox's tests, and those of the examples.
func guest(t testing.TB, name string) []byte {
	t.Helper()
	for _, dir := range []string{"../sandbox/testdata/guests", "../examples/hello", "../examples/c-echo", "../examples/operations"} {
		if wasm, err := os.ReadFile(filepath.Join(dir, name+".wasm")); err == nil {
			return wasm
		}
	}
	t.Fatalf("there is no guest %s", name)
	return nil
}

func write(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// application writes a manifest and a module named a.wasm, which most tests need, and reads the manifest.
func application(t testing.TB, text string) *manifest.Manifest {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "a.wasm", guest(t, "echo-a"))
	return load(t, dir, text)
}

func load(t testing.TB, dir, text string) *manifest.Manifest {
	t.Helper()
	write(t, dir, manifest.FileName, []byte(text))
	m, err := manifest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
