package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// listMillion is the longest of several lists over a million stored invocations of one tenant, with the filters that the console has: from one that
// takes the newest to one that takes none at all, and a page from the middle.
func listMillion(b *testing.B) float64 {
	const stored = 1_000_000
	a, err := telemetry.OpenArchive(telemetry.ArchiveConfig{Dir: b.TempDir(), Most: 2 * stored, Bytes: 8 << 30, Handled: stored})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	r := telemetry.New(1)
	r.Keep(a)
	one := newAccounted(r)
	begin := time.Now().Add(-stored * 100 * time.Millisecond)
	var middle tenants.InvocationID
	for n := range stored {
		now := begin.Add(time.Duration(n) * 100 * time.Millisecond)
		rec := telemetry.Record{Trigger: one.trigger, Invocation: tenants.InvocationID(one.ids.Next(now)), Channel: fmt.Append(nil, "orders:", n%1000), Received: now,
			Ran: time.Duration(n%1000) * time.Microsecond, Awaited: true, Payload: one.payload, Bytes: len(one.payload)}
		if n%10_000 == 5000 {
			rec.Outcome, rec.Err = tenants.Failed, "trap"
		}
		if n == stored/2 {
			middle = rec.Invocation
		}
		one.account.Record(&rec)
		if n%1000 == 0 {
			a.Flush()
		}
	}
	a.Flush()
	if kept, _, lost, _ := a.Counts(); kept != stored || lost > 0 {
		b.Fatalf("%d kept, %d lost", kept, lost)
	}
	failed := tenants.Failed
	worst := 0.0
	for _, f := range []struct {
		what string
		want int
		telemetry.Filter
	}{
		{"the newest", 101, telemetry.Filter{}},
		{"those that failed", 100, telemetry.Filter{Outcome: &failed}},
		{"of one channel", 101, telemetry.Filter{Channels: []string{"orders:17"}}},
		{"slow ones of a channel where none is", 0, telemetry.Filter{Channels: []string{"orders:17"}, AtLeast: 900 * time.Microsecond}},
		{"of another app", 0, telemetry.Filter{App: "nobody's"}},
		{"behind the middle", 101, telemetry.Filter{After: middle}},
		{"of the first hour", 101, telemetry.Filter{Until: begin.Add(time.Hour)}},
	} {
		took := median(b, 5, func() float64 {
			began := time.Now()
			if n := len(a.Select("acme", 101, f.Filter)); n != f.want {
				b.Fatalf("%s: %d", f.what, n)
			}
			return float64(time.Since(began).Microseconds()) / 1000
		})
		b.Logf("%s: %.2f ms", f.what, took)
		worst = max(worst, took)
	}
	return worst
}
