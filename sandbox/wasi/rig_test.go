package wasi_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host/hosttest"
	"github.com/tenloom/tenloom/sandbox/wasi"
)

// rig is a guest on a system.
type rig struct {
	*hosttest.Guest
	t      testing.TB
	ctx    context.Context
	system *wasi.System
	stdout bytes.Buffer
}

func newRig(t testing.TB, s *wasi.System) *rig {
	t.Helper()
	r := &rig{Guest: hosttest.New(t, wasi.Interfaces()...), t: t, system: s}
	if s.Stdout == nil {
		s.Stdout = &r.stdout
	}
	r.ctx = wasi.With(t.Context(), s)
	t.Cleanup(r.Store.Reset)
	return r
}

// must calls a function that does not trap.
func (r *rig) must(iface, name string, args ...canon.Value) canon.Value {
	r.t.Helper()
	v, err := r.Call(r.ctx, "wasi:"+iface+"@0.2.12", name, args...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", iface, name, err)
	}
	return v
}

// ok calls a function whose result is ok.
func (r *rig) ok(iface, name string, args ...canon.Value) canon.Value {
	r.t.Helper()
	v := r.must(iface, name, args...)
	payload, ok := hosttest.OK(v)
	if !ok {
		r.t.Fatalf("%s %s: error %v", iface, name, v)
	}
	return payload
}

// fails calls a function whose result is an error, and gives it.
func (r *rig) fails(iface, name string, args ...canon.Value) canon.Value {
	r.t.Helper()
	v := r.must(iface, name, args...)
	payload, ok := hosttest.OK(v)
	if ok {
		r.t.Fatalf("%s %s: ok %v, want an error", iface, name, v)
	}
	return payload
}

func (r *rig) traps(text, iface, name string, args ...canon.Value) {
	r.t.Helper()
	_, err := r.Call(r.ctx, "wasi:"+iface+"@0.2.12", name, args...)
	if trap := (*canon.Trap)(nil); !errors.As(err, &trap) || !strings.Contains(trap.Error(), text) {
		r.t.Errorf("%s %s: %v, want a trap with %q", iface, name, err, text)
	}
}

func (r *rig) drop(iface, resource string, h canon.Value) {
	r.t.Helper()
	if err := r.Drop(r.ctx, "wasi:"+iface+"@0.2.12", resource, h.(hosttest.H)); err != nil {
		r.t.Fatalf("drop %s: %v", resource, err)
	}
}

// list makes a list of handles.
func list(all ...canon.Value) []canon.Value { return all }
