// Package examples_test runs the examples, and the SDK, in the sandbox against an embedded Redis.
package examples_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/examples/hello"
	"github.com/tenloom/tenloom/sandbox"
)

func TestGreet(t *testing.T) {
	greet := newHost(t).bind(t, committed(t, "hello/greet.wasm"))
	for _, c := range []struct{ payload, want string }{
		{`{"name":"Ada"}`, "Ada"},
		{` { "age" : 3e+2 , "name" : "Ada" } `, "Ada"},
		{`{"who":{"name":"inner","list":[1,{"name":"x"}]},"name":"outer"}`, "outer"},
		{`{"name":"first","name":"second"}`, "second"},
		{`{"n\u0061me":"Ad\u0061"}`, "Ada"},
		{`{"name":"\u00c9ric \ud83d\ude00 \"\\\/"}`, `Éric 😀 "\/`},
		{`{"name":"\ud83d alone"}`, "\ufffd alone"},
		{`{"name":"two\nlines\u001b[2J"}`, "two lines [2J"},
		{`{"name":"Zoë"}`, "Zoë"},
		{`{"name":""}`, ""},
		{`{"surname":"}\"{","name":"Ada","x":[true,null,-1.5]}`, "Ada"},
		// What is no JSON object with a name is greeted as it is.
		{"", ""},
		{"world", "world"},
		{"line\nbreak", "line break"},
		{`{}`, `{}`},
		{`{"name":42}`, `{"name":42}`},
		{`{"name":"Ada"`, `{"name":"Ada"`},
		{`{"name":"Ada"} x`, `{"name":"Ada"} x`},
		{`{"name":"Ada\`, `{"name":"Ada\`},
		{`{"name":"A\u12"}`, `{"name":"A\u12"}`},
		{`{"name":"A\q"}`, `{"name":"A\q"}`},
		{`{"name"}`, `{"name"}`},
		{`{"a":}`, `{"a":}`},
		{`["name","Ada"]`, `["name","Ada"]`},
		{strings.Repeat("[", 100000), strings.Repeat("[", 8000)},
		{`{"deep":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `,"name":"Ada"}`, "Ada"},
	} {
		got := handled(t, greet, c.payload, nil)
		if want := "Hello, " + c.want; len(got) < 8000 && got != want+"\n" || !strings.HasPrefix(got, want) {
			t.Errorf("%.60q: printed %.60q, want %.60q", c.payload, got, want)
		}
	}
}

func TestAudit(t *testing.T) {
	audit := newHost(t).bind(t, committed(t, "hello/audit.wasm"))
	for _, c := range []struct {
		payload string
		known   attributes
		want    string
	}{
		{"good day", attributes{"tenloom_channel": "greetings.morning"}, "greetings.morning: 8 bytes\n"},
		{"x", attributes{"tenloom_channel": "greetings.x"}, "greetings.x: 1 byte\n"},
		{"", attributes{"tenloom_channel": "greetings.x"}, "greetings.x: 0 bytes\n"},
		{strings.Repeat("x", 1<<20), attributes{"tenloom_channel": "greetings.x"}, "greetings.x: 1048576 bytes\n"},
		{"as on Spin", nil, "(a channel the host does not tell): 10 bytes\n"},
	} {
		if got := handled(t, audit, c.payload, c.known); got != c.want {
			t.Errorf("%.20q by %v: printed %q, want %q", c.payload, c.known, got, c.want)
		}
	}
}

// receive runs f and gives what was published to a channel.
func receive(t *testing.T, server *miniredis.Miniredis, channel string, f func()) string {
	t.Helper()
	sub := server.NewSubscriber()
	defer sub.Close()
	sub.Subscribe(channel)
	got := make(chan string, 1)
	go func() { // ends with the one message, or with the subscriber
		if m, ok := <-sub.Messages(); ok {
			got <- m.Message
		}
		close(got)
	}()
	f()
	return <-got
}

func TestEcho(t *testing.T) {
	h := newHost(t)
	h.variables["to"] = "echo.out"
	echo := h.bind(t, committed(t, "c-echo/echo.wasm"))
	got := receive(t, h.redis, "echo.out", func() { handled(t, echo, "anybody \x00\xff there?", nil) })
	if got != "anybody \x00\xff there?" {
		t.Errorf("echoed %q", got)
	}

	h.variables["redis_address"] = "redis://refused.example"
	r := invoke(echo, "x", nil)
	if !strings.Contains(string(r.Output), "could not publish to echo.out") || !isHandlerError(r) {
		t.Errorf("refused host: %v, printed %q", r.Err, r.Output)
	}
}

func isHandlerError(r sandbox.Result) bool {
	var f *sandbox.Failure
	return errors.As(r.Err, &f) && f.Kind == sandbox.HandlerError
}

func TestOperations(t *testing.T) {
	const common = "publish=ok\nset=ok\nget=hello\nincr=42\ndel=2\nsadd=2\nsmembers=bar,baz\nsrem=1\n" +
		"execute=OK,-7,-6,nil\nkv_open=ok\nkv_set=ok\nkv_get=kept\n"
	for _, c := range []struct{ name, want string }{
		{"shape_a", "variable=ok\n" + common},
		{"shape_b", "variable=ok\nopen=ok\n" + common},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			guest := h.bind(t, committed(t, "operations/"+c.name+".wasm"))
			for range 2 { // a second run finds what the first has left
				if got := handled(t, guest, "go", nil); got != c.want {
					t.Errorf("printed:\n%s\nwant:\n%s", got, c.want)
				}
			}
		})
	}
}

func TestOperationsSayWhatFailed(t *testing.T) {
	refused := func(h *host) { h.variables["redis_address"] = "redis://refused.example" }
	undefined := func(h *host) { delete(h.variables, "redis_address") }
	noStore := func(h *host) { h.spin.Stores = nil }
	for _, c := range []struct {
		name, guest string
		change      func(*host)
		want        string
	}{
		{"refused", "shape_a", refused, "publish=failed: error\n"},
		{"refused", "shape_b", refused, "publish=failed: invalid-address\n"},
		{"undefined", "shape_a", undefined, "variable=failed: "},
		{"undefined", "shape_b", undefined, "variable=failed: "},
		{"no store", "shape_a", noStore, "kv_open=failed: "},
		{"no store", "shape_b", noStore, "kv_open=failed: access-denied\n"},
	} {
		t.Run(c.name+" "+c.guest, func(t *testing.T) {
			h := newHost(t)
			c.change(h)
			r := invoke(h.bind(t, committed(t, "operations/"+c.guest+".wasm")), "go", nil)
			last := strings.SplitAfter(strings.TrimSuffix(string(r.Output), "\n"), "\n")
			got := last[len(last)-1] + "\n"
			if c.guest == "shape_b" && c.name == "refused" {
				c.want = strings.Replace(c.want, "publish", "open", 1)
			}
			if !strings.HasPrefix(got, c.want) || !isHandlerError(r) {
				t.Errorf("%v, last line %q, want %q", r.Err, got, c.want)
			}
		})
	}
}

func TestShapes(t *testing.T) {
	const redis, config, kv, wasi = "outbound-redis", "spin-config", "key-value", "wasi_snapshot_preview1"
	for path, want := range map[string][]string{
		"hello/greet.wasm":        {wasi},
		"hello/audit.wasm":        {config, wasi},
		"c-echo/echo.wasm":        {redis, config, wasi},
		"operations/shape_a.wasm": {kv, redis, config, wasi},
		"operations/shape_b.wasm": {"fermyon:spin/key-value@2.0.0", "fermyon:spin/redis@2.0.0", "fermyon:spin/variables@2.0.0", wasi},
	} {
		wasm := committed(t, path)
		if got := compile(t, wasm).Imports(); !slices.Equal(got, want) {
			t.Errorf("%s imports from %v, want %v", path, got, want)
		}
		if most := 16 << 10; len(wasm) > most {
			t.Errorf("%s has %d bytes, want at most %d", path, len(wasm), most)
		}
	}
}

// TestManifests: what the examples ship is what tenloom and Spin read, and every module but Go's is there.
func TestManifests(t *testing.T) {
	files, err := filepath.Glob("*/spin.toml")
	if err != nil || len(files) != 4 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		m, err := manifest.Load(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Name != filepath.Dir(file) {
			t.Errorf("%s: the application is called %q", file, m.Name)
		}
		for _, c := range m.Components {
			if c.Source.Path != "main.wasm" {
				committed(t, filepath.Dir(file)+"/"+c.Source.Path)
			}
		}
	}
}

func TestHello(t *testing.T) {
	text, err := hello.FS.ReadFile("spin.toml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse("spin.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range m.Components {
		if _, err := hello.FS.ReadFile(c.Source.Path); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
		if c.ID == "audit" && (c.Tool.Pattern == nil || c.Tool.Pattern.Raw != "greetings.*") {
			t.Errorf("audit listens to pattern %v", c.Tool.Pattern)
		}
	}
}

func TestGoCounter(t *testing.T) {
	wasm, err := buildGo("go-counter", ".", filepath.Join(t.TempDir(), "main.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	// The linker leaves out what the handler does not call: no key-value, no HTTP.
	if got, want := compile(t, wasm).Imports(), []string{"outbound-redis", "spin-config", "wasi_snapshot_preview1"}; !slices.Equal(got, want) {
		t.Errorf("imports from %v, want %v", got, want)
	}
	h := newHost(t)
	h.variables["greeting"] = "good day"
	counter := h.bind(t, wasm)
	if err := counter.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	from := attributes{"tenloom_channel": "count"}
	if got := handled(t, counter, "Ada", from); got != "1: good day Ada\n" {
		t.Errorf("printed %q", got)
	}
	got := receive(t, h.redis, "count.replies", func() { handled(t, counter, "Bob", from) })
	if got != "2: good day Bob" {
		t.Errorf("replied %q", got)
	}
	if n, err := h.redis.Get("counted:count"); err != nil || n != "2" {
		t.Errorf("counted %q, %v", n, err)
	}
}
