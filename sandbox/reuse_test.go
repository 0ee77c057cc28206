package sandbox_test

import (
	"testing"
	"time"

	"github.com/tenloom/tenloom/sandbox"
)

// TestReuseHasAnEnd: an instance that keeps its state is closed after so many messages or so much time, after a failure that is not the
// handler's answer, and is never another component's.
func TestReuseHasAnEnd(t *testing.T) {
	seen := func(c *sandbox.Component) string { return string(invoke(c, spending('n', 0)).Output) }
	want := func(c *sandbox.Component, all ...string) {
		t.Helper()
		for i, one := range all {
			if got := seen(c); got != one {
				t.Errorf("message %d is number %s of its instance, want %s", i, got, one)
			}
		}
	}
	c := spender(t, sandbox.Binding{Reuse: true, ReuseMessages: 3})
	want(c, "1", "2", "3", "1", "2")
	if f := failure(t, invoke(c, spending('e', 1))); f.Kind != sandbox.HandlerError {
		t.Errorf("%+v", f)
	}
	want(c, "1")
	for _, end := range []byte{'t', 'x'} {
		c := spender(t, sandbox.Binding{Reuse: true})
		want(c, "1", "2")
		invoke(c, spending(end, 1))
		want(c, "1")
	}
	want(spender(t, sandbox.Binding{Reuse: true, ReuseFor: time.Nanosecond}), "1", "1")
	p := compile(t, newRuntime(t, sandbox.Config{}), guest(t, "echo-a"))
	one, other := p.Bind(sandbox.Binding{Reuse: true}), p.Bind(sandbox.Binding{Reuse: true})
	for _, n := range []string{"1", "2", "3"} {
		for _, c := range []*sandbox.Component{one, other} {
			if got := string(invoke(c, "x").Output); got != n+" x\n" {
				t.Errorf("%q, want number %s", got, n)
			}
		}
	}
}
