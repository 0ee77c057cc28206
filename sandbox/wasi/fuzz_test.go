package wasi_test

import (
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

// FuzzImports calls functions with core values that no compiler would make. They may trap; a Misuse or any other panic is a mistake of the host.
func FuzzImports(f *testing.F) {
	hosttest.Seed(f, wasi.Interfaces()...)
	f.Fuzz(func(t *testing.T, program []byte) {
		r := newRig(t, &wasi.System{Env: [][2]string{{"A", "b"}}, Args: []string{"x"}})
		hosttest.Run(r.ctx, t, r.Guest, program)
	})
}
