package main

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// TestLogRate: what a tenant's handlers print beyond its policy is cut, and the log of each component says how much, once a second at most. Other
// tenants keep theirs.
func TestLogRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosted{log: slog.New(slog.DiscardHandler), observed: &observed{recorder: telemetry.New(1)}, tail: telemetry.NewTail(0, 0), guard: &outbound.Dialer{}, rooms: map[tenants.ID]*tenantRoom{}}
		policy := tenants.DefaultPolicy()
		policy.Grants.LogBytesPerSecond = 100
		h.room("acme").govern(policy, h.log)
		print := func(tenant tenants.ID, component tenants.ComponentID, text string) {
			h.line(telemetry.Line{At: time.Now(), Tenant: tenant, App: "app", Component: component, Text: []byte(text)})
		}
		texts := func(tenant tenants.ID, of tenants.ComponentID) string {
			kept, _ := h.tail.Last(tenant, telemetry.TailLines, func(k *telemetry.Kept) bool { return k.Component == of })
			var all []string
			for _, k := range kept {
				all = append(all, k.Text)
			}
			return strings.Join(all, "\n")
		}
		line := strings.Repeat("x", 49) // and its end
		for range 10 {
			print("acme", "loud", line)
			print("other", "loud", line)
		}
		print("acme", "quiet", "hush")
		if got := texts("acme", "loud"); got != line+"\n"+line {
			t.Errorf("kept at once: %q", got)
		}
		meter := telemetry.NewMeter(h.recorder, 0)
		h.recorder.Account("acme").Receive(1) // so that it has series
		counted := 0.0
		for _, f := range meter.Read() {
			if f.Name == "tenloom.log.cut" {
				counted = f.Series[0].Value
			}
		}
		if counted != 9 {
			t.Errorf("the metric says that %v lines were cut", counted)
		}
		time.Sleep(tellCutEvery)
		synctest.Wait()
		const cut = "tenloom: 8 lines (392 B) cut: the tenant's handlers together may print 100 B in a second (log_bytes_per_second)"
		if got := texts("acme", "loud"); got != line+"\n"+line+"\n"+cut {
			t.Errorf("after a second: %q", got)
		}
		if got := texts("acme", "quiet"); !strings.HasPrefix(got, "tenloom: 1 line (4 B) cut") {
			t.Errorf("of the other component: %q", got)
		}
		if got := texts("other", "loud"); strings.Count(got, line) != 10 || strings.Contains(got, "cut") {
			t.Errorf("another tenant: %q", got)
		}
		for range 10_000 { // ten seconds of too much
			print("acme", "loud", line)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(tellCutEvery)
		synctest.Wait()
		got := texts("acme", "loud")
		if told := strings.Count(got, "tenloom:"); told < 9 || told > 12 {
			t.Errorf("told %d times in ten seconds", told)
		}
		if kept := strings.Count(got, line); kept < 20 || kept > 24 {
			t.Errorf("%d lines were kept in ten seconds", kept)
		}
		h.room("acme").pool.Close()
		h.room("other").pool.Close()
	})
}
