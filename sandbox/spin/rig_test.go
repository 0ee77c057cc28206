package spin_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// generation is one test guest and what it is called in tables.
type generation struct {
	name, file, handle string
	v2                 bool
}

var generations = []generation{
	{"A", "v1.wasm", "handle-redis-message", false},
	{"B unversioned", "v1_unversioned.wasm", "fermyon:spin/inbound-redis#handle-message", false},
	{"B 2.0.0", "v2.wasm", "fermyon:spin/inbound-redis#handle-message", true},
}

var (
	shapeA  = generations[0]
	version = generations[2]
)

// rig is a wazero runtime with our host modules, and one guest compiled in it.
type rig struct {
	t       testing.TB
	runtime wazero.Runtime
	program wazero.CompiledModule
	handle  string
}

func newRig(t testing.TB, g generation) *rig {
	t.Helper()
	return newRigWith(t, g, wazero.NewRuntimeConfig())
}

func newRigWith(t testing.TB, g generation, config wazero.RuntimeConfig) *rig {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, config)
	t.Cleanup(func() { r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	if err := spin.Define(ctx, r); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile("testdata/" + g.file)
	if err != nil {
		t.Fatal(err)
	}
	program, err := r.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, r, program, g.handle}
}

// message is the tests' Attributes.
type message map[string]string

func (m message) Attribute(name string) (string, bool) {
	value, ok := m[name]
	return value, ok
}

// payload packs fields as the guests read them.
func payload(fields ...string) []byte {
	var p []byte
	for _, f := range fields {
		p = binary.LittleEndian.AppendUint32(p, uint32(len(f)))
		p = append(p, f...)
	}
	return p
}

// run handles one message in a fresh instance and returns what the guest printed.
func (r *rig) run(ctx context.Context, h *spin.Host, a spin.Attributes, fields ...string) (string, error) {
	r.t.Helper()
	c := spin.NewCall(h, a)
	defer c.Close()
	ctx = spin.With(ctx, c)
	var out bytes.Buffer
	m, err := r.runtime.InstantiateModule(ctx, r.program, wazero.NewModuleConfig().WithName("").WithStdout(&out).WithStartFunctions())
	if err != nil {
		r.t.Fatal(err)
	}
	defer m.Close(context.Background())
	p := payload(fields...)
	at, err := spin.Alloc(ctx, c, m, 1, uint32(len(p)))
	if err != nil {
		return "", err
	}
	m.Memory().Write(at, p)
	_, err = m.ExportedFunction(r.handle).Call(ctx, uint64(at), uint64(len(p)))
	return out.String(), err
}

// says runs mode 0 and wants the guest to end well.
func (r *rig) says(h *spin.Host, fields ...string) string {
	r.t.Helper()
	out, err := r.run(context.Background(), h, nil, append([]string{"0"}, fields...)...)
	if err != nil {
		r.t.Fatalf("%q: %v", fields, err)
	}
	return out
}

// raw is a field for the raw operations.
func raw(values ...uint32) []string {
	var fields []string
	for _, v := range values {
		fields = append(fields, string(binary.LittleEndian.AppendUint32(nil, v)))
	}
	return fields
}

// i64 and bin are redis-parameters.
func i64(n int64) string { return "i" + le64(n) }

func le64(n int64) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

func bin(s string) string { return "b" + s }

// newGate allows the given hosts, as a deployment would.
func newGate(t testing.TB, hosts ...string) *outbound.Gate {
	t.Helper()
	allowed, err := outbound.Parse(hosts, nil)
	if err != nil {
		t.Fatal(err)
	}
	dial := (&outbound.Dialer{}).DialContext
	pool := outbound.NewPool(outbound.PoolConfig{Dial: dial, Open: openRedis, MaxClients: 2})
	t.Cleanup(func() { pool.Close() })
	return &outbound.Gate{
		Allowed: func(context.Context) (*outbound.Allowed, error) { return allowed, nil },
		Pool:    pool,
		HTTP:    outbound.NewHTTPClient(dial),
	}
}

func openRedis(address string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, err
	}
	o.Dialer = dial
	o.MaxRetries = -1
	if !strings.Contains(address, "protocol=") {
		o.Protocol = 2
	}
	return redis.NewClient(o), nil
}
