package telemetry_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// remember adds an invocation whose output is its name.
func remember(r *telemetry.Recorder, tenant tenants.ID, name string) (id string) {
	rec := telemetry.Record{
		Trigger: trigger(tenant, "orders:*"), Invocation: tenants.InvocationID(ids.Next(epoch)), Received: epoch,
		Channel: []byte("orders:" + name), Output: []byte(name),
	}
	r.Account(tenant).Record(&rec)
	return rec.Invocation.String()
}

// TestHistorySamples: of more than the rate's worth of handled invocations, a sample; of what failed and of what is awaited, everything.
func TestHistorySamples(t *testing.T) {
	const rate = 10_000
	r := telemetry.New(1)
	at := func(now time.Duration, rec telemetry.Record) bool {
		rec.Trigger, rec.Invocation, rec.Received = trigger("a", "orders:*"), tenants.InvocationID(ids.Next(epoch)), epoch.Add(now)
		r.Account("a").Record(&rec)
		_, found := r.History.Find("a", rec.Invocation.String())
		return found
	}
	kept := 0
	for n := range 10 * rate { // in one second
		if at(time.Duration(n)*time.Second/(10*rate), telemetry.Record{}) {
			kept++
		}
	}
	if kept < 2*rate-10 || kept > 2*rate+10 {
		t.Errorf("of %d invocations in a second %d were kept, want the rate and one second's worth at once", 10*rate, kept)
	}
	if !at(time.Second, telemetry.Record{Outcome: tenants.Failed}) || !at(time.Second, telemetry.Record{Awaited: true}) {
		t.Error("one that failed or is awaited was not kept")
	}
	for n := range rate {
		if !at(time.Minute, telemetry.Record{}) {
			t.Fatalf("after a pause, only %d were kept at once", n)
		}
	}
}

func names(all []telemetry.Invocation) (out []string) {
	for _, in := range all {
		out = append(out, in.Output)
	}
	return out
}

func TestHistory(t *testing.T) {
	r := telemetry.New(4)
	var ids []string
	for i := range 7 {
		tenant := tenants.ID("a")
		if i%3 == 2 {
			tenant = "b"
		}
		ids = append(ids, remember(r, tenant, fmt.Sprint(i)))
	}
	for _, row := range []struct {
		tenant tenants.ID
		n      int
		want   []string
	}{
		{"a", 10, []string{"6", "4", "3"}}, // 0 and 1 gave way to 4 and 5
		{"a", 2, []string{"6", "4"}},
		{"a", 0, nil},
		{"b", 10, []string{"5"}},
		{"c", 10, nil},
	} {
		if got := names(r.History.Last(row.tenant, row.n)); !slices.Equal(got, row.want) {
			t.Errorf("Last(%s, %d) = %v, want %v", row.tenant, row.n, got, row.want)
		}
	}
	for i, found := range map[int]bool{0: false, 2: false, 3: true, 6: true, 5: false} { // 5 is b's
		if in, ok := r.History.Find("a", ids[i]); ok != found || ok && in.Output != fmt.Sprint(i) {
			t.Errorf("Find(%d) = %+v, %v", i, in, ok)
		}
	}
	for _, id := range []string{"", "inv_", "inv_1", strings.Repeat("z", 26)} {
		if _, ok := r.History.Find("a", id); ok {
			t.Errorf("found %q", id)
		}
	}
}

// TestHistoryIsBounded: what did not run is counted alone, and what guests and publishers choose the length of is cut.
func TestHistoryIsBounded(t *testing.T) {
	r := telemetry.New(10)
	account := r.Account("a")
	account.Record(&telemetry.Record{Trigger: trigger("a", "*"), Outcome: tenants.Dropped, Reason: tenants.QueueFull})
	if all := r.History.Last("a", 10); len(all) != 0 {
		t.Errorf("remembers %+v", all)
	}
	long := bytes.Repeat([]byte("x"), 100_000)
	account.Record(&telemetry.Record{Trigger: trigger("a", "*"), Invocation: tenants.InvocationID{1}, Channel: long, Output: long, Truncated: 5})
	clear(long)
	in := r.History.Last("a", 10)[0]
	if in.Channel != strings.Repeat("x", 256) || in.Output != strings.Repeat("x", 256) || in.Truncated != 100_000-256+5 {
		t.Errorf("kept %d of the channel, %d of the output, %d cut", len(in.Channel), len(in.Output), in.Truncated)
	}
}

func TestHistoryOfNone(t *testing.T) {
	r := telemetry.New(0) // one all the same
	remember(r, "a", "1")
	remember(r, "a", "2")
	if got := names(r.History.Last("a", 5)); !slices.Equal(got, []string{"2"}) {
		t.Errorf("%v", got)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := telemetry.New(1000)
	account := r.Account("a")
	rec := telemetry.Record{Trigger: trigger("a", "orders:*"), Invocation: tenants.InvocationID{1}, Channel: []byte("orders:new"), Output: []byte("ok\n")}
	b.ReportAllocs()
	for b.Loop() {
		account.Record(&rec)
	}
}
