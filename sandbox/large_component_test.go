//go:build !race

package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/tenants"
)

// TestLargeComponents runs what .ci/components has built, where TENLOOM_TEST_COMPONENTS names its folder: JavaScript engines, which the race detector
// would make compile for many minutes. Each handler looks a variable up that is named like the message and fails where it finds anything
// of an earlier one.
func TestLargeComponents(t *testing.T) {
	dir := os.Getenv("TENLOOM_TEST_COMPONENTS")
	r := newRuntime(t, sandbox.Config{CacheDir: filepath.Join(t.TempDir(), "code")})
	for _, name := range []string{"qjs-stub", "qjs", "js"} {
		t.Run(name, func(t *testing.T) {
			wasm, err := os.ReadFile(filepath.Join(dir, name+".wasm"))
			if dir == "" || errors.Is(err, os.ErrNotExist) {
				t.Logf("left out: %s.wasm is not there; make test builds it with .ci/components", name)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			p := compile(t, r, wasm)
			t.Logf("compiled in %v", time.Since(began))
			twoTenants(t, p)
		})
	}
}

// twoTenants gives messages to components of two tenants, from four goroutines each.
func twoTenants(t *testing.T, p *sandbox.Program) {
	var all sync.WaitGroup
	for _, tenant := range []string{"one", "two"} {
		var mu sync.Mutex
		asked := map[string]int{}
		host := &spin.Host{Variables: func(_ context.Context, name string) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			asked[name]++
			return "value of " + name, nil
		}}
		c := p.Bind(sandbox.Binding{Host: host, Owner: tenant, Timeout: time.Minute})
		if is, why := c.Isolation(); is != tenants.Reset {
			t.Errorf("isolation %v: %s", is, why)
		}
		for g := range 4 {
			all.Go(func() {
				for n := range 25 {
					payload := fmt.Sprintf("%s_%d_%d", tenant, g, n)
					got := invoke(c, payload)
					mu.Lock()
					if got.Err != nil || asked[payload] != 1 {
						t.Errorf("%s: %v, the variable was asked for %d times", payload, got.Err, asked[payload])
					}
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
}
