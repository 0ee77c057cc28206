package wasi_test

import (
	"testing"
	"testing/fstest"

	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/spin"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

// FuzzImports calls functions with core values that no compiler would make. They may trap; a Misuse or any other panic is a mistake of the host.
func FuzzImports(f *testing.F) {
	hosttest.Seed(f, wasi.Interfaces()...)
	f.Fuzz(func(t *testing.T, program []byte) {
		call := spin.NewCall(&spin.Host{}, nil)
		r := newRig(t, &wasi.System{Env: [][2]string{{"A", "b"}}, Args: []string{"x"}, Files: fstest.MapFS{"a/b": {Data: []byte("c")}}, Call: call})
		hosttest.Run(r.ctx, t, r.Guest, program)
	})
}
