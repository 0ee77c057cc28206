package sandbox_test

import (
	"context"
	"testing"

	"github.com/tenloom/tenloom/sandbox"
)

// TestSessionIsCleanAfterEachMessage has the host write to one page after the other, each for the first time, and asks after each whether the
// next message of the same session finds a trace.
func TestSessionIsCleanAfterEachMessage(t *testing.T) {
	c := bind(t, "dice", sandbox.Binding{})
	s := c.Open()
	defer s.Close()
	for page := byte(2); page < 32; page++ {
		if got := s.Invoke(context.Background(), sandbox.Call{Payload: []byte{page}}); got.Err != nil {
			t.Fatal(got.Err)
		}
		if got := s.Invoke(context.Background(), sandbox.Call{Payload: []byte{0}}); got.Err != nil {
			t.Fatalf("after page %d was written: %v", page, got.Err)
		}
	}
}

// TestSessionGoesOn mixes messages that cost the instance, the turn or nothing.
func TestSessionGoesOn(t *testing.T) {
	c := bind(t, "evil", sandbox.Binding{})
	s := c.Open()
	defer s.Close()
	for _, mode := range []string{"ok", "trap", "ok", "exit3", "ok", "ok", "error", "recurse", "ok", "error", "ok"} {
		got := s.Invoke(context.Background(), sandbox.Call{Payload: []byte(mode)})
		if failed := got.Err != nil; failed != (mode != "ok") {
			t.Fatal(mode, got.Err)
		}
	}
}
