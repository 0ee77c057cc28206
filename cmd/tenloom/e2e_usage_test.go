package main

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestUsageOutlivesAKill: what "up" has written down is there after SIGKILL and a new start, once. So are invocations.
func TestUsageOutlivesAKill(t *testing.T) {
	dir := example(t, "hello")
	up := func() *running { return stage{}.up(t, dir) }
	r := up()
	for range 3 {
		r.post(t, "greetings", []byte("Ada"))
	}
	eventually(t, "usage is on disk", func() bool {
		files, err := filepath.Glob(filepath.Join(dir, ".tenloom", "usage", "*.log"))
		return err == nil && len(files) > 0 && strings.Contains(string(readFile(t, files[len(files)-1])), `"invocations":3,`)
	})
	var before, after struct{ Data []struct{ ID string } }
	r.askJSON(t, "/v1/tenants/demo/invocations", &before)
	r.signal(t, syscall.SIGKILL)
	r.wait(t)
	r = up()
	r.post(t, "greetings", []byte("Ada"))
	var u struct{ Rows []struct{ Invocations int } }
	r.askJSON(t, "/v1/tenants/demo/usage", &u)
	if len(u.Rows) != 1 || u.Rows[0].Invocations != 4 {
		t.Errorf("%+v, want 4 invocations", u)
	}
	r.askJSON(t, "/v1/tenants/demo/invocations", &after)
	if len(before.Data) != 3 || len(after.Data) != 4 || !slices.Equal(after.Data[1:], before.Data) {
		t.Errorf("invocations %v before and %v after the kill", before, after)
	}
}
