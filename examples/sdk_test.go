package examples_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// TestSDK drives each package of the SDK over the real ABI.
func TestSDK(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Answer", "because "+r.Header.Get("X-Question"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.Method+" "+string(body))
	})
	h := newHost(t, url)
	guest := h.bind(t, goGuest(t))
	known := attributes{"tenloom_channel": "a.b", "tenloom_pattern": "a.*", "tenloom_message_id": "msg_1", "tenloom_attempt": "3", "tenloom_traceparent": "00-1-2-01"}
	const failed = "refused by the host or failed on the server; the component's log has the reason"
	for _, c := range []struct {
		payload string
		known   attributes
		want    string
	}{
		{"message", known, "a.b|a.*|msg_1|3|00-1-2-01\n"},
		{"message", nil, "|||0|\n"},
		{"redis", nil, `0 set hello true 1 redis: incr "text": ` + failed + ` 3 1 [member-a member-c] [OK] [-7] [2] [(nil)] [hello (nil) 2] ` +
			"redis: PING: argument 1 must be a string, a byte slice or an integer that fits int64 published \n"},
		{"large", nil, "large ok\n"},
		{"refused", nil, ""},
		{"variables", nil, "true true\n"},
		{"kv", nil, "true false\nvalue [key] true true\n"},
		{"http " + url + "/path", nil, "418 because why POST body\n" +
			"http: GET https://refused.example/path: destination not allowed: list it in allowed_outbound_hosts\n"},
		{"length " + strings.Repeat("x", 65536-7), nil, "65536\n"}, // the size that adapters ask for
	} {
		if got := handled(t, guest, c.payload, c.known); got != c.want {
			t.Errorf("%.20q printed:\n%s\nwant:\n%s", c.payload, got, c.want)
		}
	}
}

// TestSDKFailures: an error and a panic are one line and an answer; an exit is the end of the instance.
func TestSDKFailures(t *testing.T) {
	guest := newHost(t).bind(t, goGuest(t))
	for _, c := range []struct {
		payload, prints string
		kind            sandbox.FailureKind
	}{
		{"error", "handler: first line\\nsecond line\n", sandbox.HandlerError},
		{"panic 123", "handler: panic at main.go:LINE: runtime error: index out of range [3] with length 0\n", sandbox.HandlerError},
		{"nonsense", "handler: no mode \"nonsense\"\n", sandbox.HandlerError},
		{"redis", "handler: panic at variables.go:LINE: variable redis_address: undefined, or its provider failed", sandbox.HandlerError},
		{"exit", "", sandbox.Exited},
	} {
		h := newHost(t)
		if c.payload == "redis" {
			delete(h.variables, "redis_address")
			guest = h.bind(t, goGuest(t))
		}
		r := invoke(guest, c.payload, nil)
		output := regexp.MustCompile(`go:\d+:`).ReplaceAllString(string(r.Output), "go:LINE:")
		var f *sandbox.Failure
		if !errors.As(r.Err, &f) || f.Kind != c.kind || !strings.HasPrefix(output, c.prints) || strings.Count(output, "\n") > 1 {
			t.Errorf("%q: %v, printed %q; want %s and %q", c.payload, r.Err, output, c.kind, c.prints)
		}
	}
}

func goGuest(t *testing.T) []byte {
	t.Helper()
	wasm, err := sdkGuest()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// kept is one instance that gets message after message, as under isolation = "reuse".
type kept struct {
	t      *testing.T
	ctx    context.Context
	host   *spin.Host
	module api.Module
	stderr strings.Builder
}

// keptRuntime has no limits and no deadlines: what is looked at is the guest.
func keptRuntime(t *testing.T) wazero.Runtime {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	t.Cleanup(func() { r.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	if err := spin.Define(ctx, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func keep(t *testing.T, h *host, r wazero.Runtime, code wazero.CompiledModule) *kept {
	t.Helper()
	ctx := context.Background()
	k := &kept{t: t, ctx: ctx, host: h.spin}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").WithStderr(&k.stderr).WithStdout(&k.stderr)
	call := spin.NewCall(h.spin, nil)
	defer call.Close()
	var err error
	if k.module, err = r.InstantiateModule(spin.With(ctx, call), code, config); err != nil {
		t.Fatal(err)
	}
	return k
}

// handle gives the instance a message and answers the two bytes of its result.
func (k *kept) handle(payload string) [2]byte {
	k.t.Helper()
	call := spin.NewCall(k.host, nil)
	defer call.Close()
	ctx := spin.With(k.ctx, call)
	k.stderr.Reset()
	at := uint32(1)
	if payload != "" {
		var err error
		if at, err = spin.Alloc(ctx, call, k.module, 1, uint32(len(payload))); err != nil {
			k.t.Fatal(err)
		}
		k.module.Memory().WriteString(at, payload)
	}
	out, err := k.module.ExportedFunction("handle-redis-message").Call(ctx, uint64(at), uint64(len(payload)))
	if err != nil {
		k.t.Fatal(err)
	}
	b, ok := k.module.Memory().Read(uint32(out[0]), 2)
	if !ok {
		k.t.Fatalf("result at %#x is out of memory", out[0])
	}
	return [2]byte(b)
}

// TestKeptInstance: what was allocated for a message is given back, and a failure leaves the instance as it was.
func TestKeptInstance(t *testing.T) {
	r := keptRuntime(t)
	compile := func(wasm []byte) wazero.CompiledModule {
		code, err := r.CompileModule(context.Background(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	c, inGo := compile(committed(t, "operations/shape_a.wasm")), compile(goGuest(t))
	for _, guest := range []struct {
		name     string
		code     wazero.CompiledModule
		messages []string
		want     [2]byte
		warm     int
	}{
		{"C", c, []string{"go", "", strings.Repeat("x", 30000)}, [2]byte{0, 0}, 3},
		{"Go", inGo, []string{"redis", "large", "kv", "length " + strings.Repeat("x", 65536-7)}, [2]byte{0, 0}, 8},
		{"Go, failing", inGo, []string{"panic", "error", "", "panic " + strings.Repeat("x", 30000)}, [2]byte{1, 1}, 100},
	} {
		t.Run(guest.name, func(t *testing.T) {
			k := keep(t, newHost(t), r, guest.code)
			round := func() {
				for _, payload := range guest.messages {
					if got := k.handle(payload); got != guest.want {
						t.Fatalf("%.20q answered %x, want %x; it printed:\n%s", payload, got, guest.want, k.stderr.String())
					}
				}
			}
			for range guest.warm {
				round()
			}
			before := k.module.Memory().Size()
			for range guest.warm {
				round()
			}
			// A collector may settle a little higher; the messages of the second half are many times that slack.
			if after := k.module.Memory().Size(); after > before+before/4 {
				t.Errorf("memory grew from %d to %d bytes", before, after)
			}
		})
	}
}
