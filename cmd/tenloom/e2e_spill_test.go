package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

const spilling = `spin_manifest_version = 2
[application]
name = "spilling"
[application.trigger.redis]
address = "redis://localhost:6379"
[[trigger.redis]]
channel = "c"
component = "slow"
[component.slow]
source = "v1.wasm"
allowed_outbound_hosts = ["http://%s"]
[component.slow.tool.tenloom]
concurrency = 1
timeout = "5m"
overflow = "spill"
log_rate = 100_000
`

// A burst of ten times what the queue holds, behind a handler that takes its time: what is beyond waits on disk, and all of it is handled, in
// the order of its publication, and nothing is lost.
func TestUpSpills(t *testing.T) {
	t.Parallel()
	const burst, most = 100_000, 10_000
	server := redistest.Start(t)
	h := newHolding(t)
	dir := writeApp(t, fmt.Sprintf(spilling, h.Listener.Addr()))
	r := stage{server, []string{"--redis", server.URL}}.up(t, dir)
	c := server.Client()
	if err := c.Publish(t.Context(), "c", h.payload()).Err(); err != nil {
		t.Fatal(err)
	}
	h.await(t)
	for i := 0; i < burst; {
		p := c.Pipeline()
		for range 1000 {
			p.Publish(t.Context(), "c", fields("config", fmt.Sprint("n", i)))
			i++
		}
		if _, err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var triggers struct {
		Data []struct {
			Queued, Spilled int
			Bytes           int64 `json:"spilled_bytes"`
		}
	}
	eventually(t, "all are taken in", func() bool { return r.usage(t).Counts.Received == burst+1 })
	r.askJSON(t, "/v1/tenants/demo/triggers", &triggers)
	if d := triggers.Data; len(d) != 1 || d[0].Queued != burst || d[0].Spilled < burst-most || d[0].Bytes < int64(d[0].Spilled)*40 {
		t.Errorf("%+v", triggers)
	}
	u := r.usage(t)
	expect(t, "load", fmt.Sprint(u.Load.Queued, u.Load.InFlight, u.Counts.Outcomes["dropped"]), fmt.Sprint(burst, 1, 0))
	if left, _ := os.ReadDir(filepath.Join(dir, ".tenloom", "spill")); len(left) > 0 {
		t.Errorf("the files have names: %v", left)
	}
	close(h.let)
	eventually(t, "all are handled", func() bool { return r.usage(t).Counts.Outcomes["handled"] == burst+1 })
	expect(t, "exit code", r.stop(t), exitOK)
	inOrder(t, filepath.Join(dir, ".spin", "logs", "slow_stdout.txt"), burst)
}

// inOrder wants the numbers below n in the lines of a file, each once, in their order.
func inOrder(t *testing.T, path string, n int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	number, next := regexp.MustCompile(`\bn(\d+)\b`), 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		m := number.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if m[1] != strconv.Itoa(next) {
			t.Fatalf("%q where %d is next", lines.Text(), next)
		}
		next++
	}
	if next != n {
		t.Errorf("%d of %d lines", next, n)
	}
}
