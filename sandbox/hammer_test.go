package sandbox_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/tenants"
)

// Two components of one program, from many goroutines: no invocation may see the other's environment, files or message.
func TestComponentsNeverMix(t *testing.T) {
	r := newRuntime(t, sandbox.Config{})
	p := compile(t, r, guest(t, "reader"))
	evil := compile(t, r, guest(t, "evil")).Bind(sandbox.Binding{Timeout: 20 * time.Millisecond})
	var all sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		var lines collector
		c := p.Bind(sandbox.Binding{
			Env:   map[string]string{"WHO": name},
			Files: fstest.MapFS{"who": {Data: []byte(name)}},
			Lines: lines.add,
		})
		for range 8 {
			all.Go(func() {
				for i := range 100 {
					for payload, want := range map[string]string{"env": "WHO=" + name + "\n", "file who": name} {
						if got := invoke(c, payload); got.Err != nil || string(got.Output) != want {
							t.Errorf("%s: %q, %v", name, got.Output, got.Err)
						}
					}
					if i%20 == 0 {
						if got := invoke(evil, "loop"); got.Outcome != tenants.TimedOut {
							t.Errorf("loop: %v", got.Err)
						}
					}
				}
			})
		}
	}
	for i := range 4 {
		all.Go(func() { // programs come and go beside them
			for n := range 20 {
				wasm := append(guest(t, "echo-a"), section(0, append([]byte{1, 'x'}, fmt.Append(nil, i, n)...)...)...)
				fresh, err := r.Compile(context.Background(), wasm)
				if err != nil {
					t.Error(err)
					return
				}
				if got := invoke(fresh.Bind(sandbox.Binding{}), "x"); string(got.Output) != "1 x\n" {
					t.Errorf("%q, %v", got.Output, got.Err)
				}
				fresh.Close()
			}
		})
	}
	all.Wait()
}
