package telemetry_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

var ids tenants.ULIDs

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func trigger(tenant tenants.ID, target string) *tenants.Trigger {
	return &tenants.Trigger{
		Tenant: tenant, App: "shop", Version: "sha256:1", ID: "t1", Component: "mailer", Endpoint: "e1",
		Target: tenants.Target{Kind: tenants.Pattern, Name: target},
	}
}

func TestCounts(t *testing.T) {
	r := telemetry.New(1)
	account, other := r.Account("a"), r.Account("b")
	if r.Account("a") != account || account == other {
		t.Fatal("an account is not its tenant's")
	}
	account.Receive(7)
	account.Gap(time.Second)
	mine := trigger("a", "x")
	for _, rec := range []telemetry.Record{
		{Outcome: tenants.Handled, Ran: 2 * time.Second, Fuel: 1000, Memory: 1000 << 16},
		{Outcome: tenants.Handled, Ran: time.Second, Fuel: 1<<40 + 1, Memory: 4 << 30},
		{Outcome: tenants.Failed, Err: "trap"},
		{Outcome: tenants.Dropped, Reason: tenants.Oldest},
		{Outcome: tenants.Dropped, Reason: tenants.Stopping},
		{Outcome: tenants.Throttled},
	} {
		if rec.Trigger = mine; rec.Ran > 0 {
			rec.Invocation = tenants.InvocationID(ids.Next(epoch))
		}
		account.Record(&rec)
	}
	account.Begin(7)
	account.Begin(-1)
	c := account.Counts()
	if c.Received != 7 || c.Ended() != 6 || c.Queued != 1 || c.InFlight != 0 || c.Ran != 3*time.Second || c.Gaps != 1 || c.Fuel != 1<<40+1001 || c.Held != 0.131072+4.294967296 {
		t.Errorf("%+v", c)
	}
	if u := account.Apps()["shop"]; len(account.Apps()) != 1 || u.Invocations != 2 || u.Seconds != 3 || u.Fuel != c.Fuel || u.Held != c.Held {
		t.Errorf("of the app: %+v", u)
	}
	outcomes := map[string]int64{"handled": 2, "failed": 1, "timed_out": 0, "throttled": 1, "dropped": 2, "expired": 0, "dead_lettered": 0}
	if !maps.Equal(c.Outcomes, outcomes) {
		t.Errorf("outcomes %v, want %v", c.Outcomes, outcomes)
	}
	reasons := map[string]int64{"queue_full": 0, "queue_bytes": 0, "oldest": 1, "coalesced": 0, "removed": 0, "stopping": 1, "breaker_open": 0,
		"spill_bytes": 0, "spill_total": 0, "spill_behind": 0, "spill_failed": 0, "spill_corrupt": 0}
	if !maps.Equal(c.Reasons, reasons) {
		t.Errorf("reasons %v, want %v", c.Reasons, reasons)
	}
	if n := other.Counts().Ended(); n != 0 {
		t.Errorf("another tenant has %d", n)
	}
}

// TestKeep: an Invocation owns all its bytes, and is valid JSON whatever a guest or a publisher put into it.
func TestKeep(t *testing.T) {
	channel, output := []byte("orders:\xff"), []byte("caf\xe9")
	rec := telemetry.Record{
		Trigger: trigger("a", "orders:*"), Message: tenants.MessageID{15: 1}, Invocation: tenants.InvocationID{15: 2}, Channel: channel, Bytes: 3,
		Received: epoch, Waited: 1500 * time.Microsecond, Ran: 2 * time.Millisecond, Outcome: tenants.Failed, Err: "exit 1",
		Output: output, Truncated: 4, Memory: 65536, Fuel: 77, Instance: telemetry.Cold, Started: 500 * time.Microsecond,
	}
	in := rec.Keep()
	clear(channel)
	clear(output)
	want := telemetry.Invocation{
		ID: "inv_00000000000000000000000002", Message: "msg_00000000000000000000000001", Tenant: "a", App: "shop", Version: "sha256:1",
		Component: "mailer", Channel: "orders:\uFFFD", Target: "orders:*", Kind: "pattern", Bytes: 3, Received: epoch, QueuedMS: 1.5, RanMS: 2,
		Outcome: tenants.Failed, Error: "exit 1", Output: "caf\uFFFD", Truncated: 4, Memory: 65536, Endpoint: "e1", Fuel: 77, Attempt: 1,
		Stages: []telemetry.Stage{{Name: "queued", Took: 1.5}, {Name: "instance", At: 1.5, Detail: "cold", Took: 0.5}, {Name: "handler", At: 2, Took: 1.5}},
	}
	if !reflect.DeepEqual(in, want) {
		t.Errorf("got  %+v\nwant %+v", in, want)
	}
	b, err := json.Marshal(in)
	if err != nil || !strings.Contains(string(b), `"outcome":"failed"`) || strings.Contains(string(b), `"reason"`) {
		t.Errorf("%s %v", b, err)
	}
	refused := telemetry.Record{Trigger: rec.Trigger, Outcome: tenants.Dropped, Reason: tenants.QueueFull}
	if in := refused.Keep(); in.ID != "" || in.Reason != tenants.QueueFull {
		t.Errorf("what reached no handler is invocation %q, dropped for %v", in.ID, in.Reason)
	}
}

// TestAccountHammer: writers of several tenants and readers at once; at the end every record is counted, and the history holds the newest.
func TestAccountHammer(t *testing.T) {
	const writers, each, remembered = 4, 2000, 64
	r := telemetry.New(remembered)
	var wg sync.WaitGroup
	for w := range writers {
		tenant := tenants.ID(fmt.Sprint("t", w%2))
		mine := trigger(tenant, "orders:*")
		wg.Go(func() {
			for i := range each {
				account := r.Account(tenant)
				account.Receive(1)
				account.Record(&telemetry.Record{
					Trigger: mine, Invocation: tenants.InvocationID(ids.Next(epoch)), Channel: []byte(tenant), Output: []byte(tenant),
					Outcome: tenants.Outcome(i) % tenants.Outcomes,
				})
				if i%100 > 0 {
					continue
				}
				for _, in := range r.History.Last(tenant, remembered) {
					if _, ok := r.History.Find(tenant, in.ID); in.Tenant != tenant || in.Channel != string(tenant) || in.Output != string(tenant) {
						t.Errorf("%v: %+v, found %v", tenant, in, ok)
					}
				}
				if c := account.Counts(); c.Ended() > writers*each {
					t.Errorf("%+v", c)
				}
			}
		})
	}
	wg.Wait()
	for _, tenant := range []tenants.ID{"t0", "t1"} {
		if c := r.Account(tenant).Counts(); c.Received != writers/2*each || c.Ended() != c.Received {
			t.Errorf("%v: %+v", tenant, c)
		}
	}
	if n := len(r.History.Last("t0", 1000)) + len(r.History.Last("t1", 1000)); n != remembered {
		t.Errorf("%d are remembered, want %d", n, remembered)
	}
}
