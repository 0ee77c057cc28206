package telemetry_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// anyRecord is one of a delivery to an app's handler, or of one that reached none.
func anyRecord(r *rand.Rand, all []*tenants.Trigger) telemetry.Record {
	rec := telemetry.Record{
		Trigger: all[r.IntN(len(all))], Invocation: tenants.InvocationID{1}, Bytes: r.IntN(100), Waited: time.Duration(r.Int64N(int64(time.Second))),
		Ran: time.Duration(r.ExpFloat64() * float64(30*time.Microsecond)), Memory: r.Uint64N(1 << 30), Fuel: r.Uint64N(1000), Attempt: r.IntN(2),
	}
	switch r.IntN(10) {
	case 0:
		rec.Outcome = tenants.Failed
	case 1:
		rec.CallsMade[telemetry.HTTP], rec.CallsFailed, rec.Sent, rec.Replied = 3, 1, 100, 1000
	case 2:
		rec.Attempt = 2
	case 3:
		rec.Invocation, rec.Outcome, rec.Reason, rec.Ran = tenants.InvocationID{}, tenants.Dropped, tenants.QueueFull, 0
	}
	return rec
}

func triggersOf(apps int) (all []*tenants.Trigger) {
	for i := range apps {
		all = append(all, &tenants.Trigger{Tenant: "acme", App: tenants.AppName(fmt.Sprint("app", i)), ID: "t"})
	}
	return all
}

// TestTallyCountsWhatAccountsCount gives the same records to an Account one by one and to another through a Tally in runs of all lengths. After
// each run both say the same.
func TestTallyCountsWhatAccountsCount(t *testing.T) {
	r, triggers := rand.New(rand.NewPCG(3, 4)), triggersOf(2)
	one, both := telemetry.New(10), telemetry.New(10)
	var tally telemetry.Tally
	for range 300 {
		apps := triggers[:1+r.IntN(2)]
		n := 1 + r.IntN(70)
		for i := range n {
			rec := anyRecord(r, apps)
			one.Account("acme").Record(&rec)
			tally.Record(both.Account("acme"), &rec, i < n-1)
		}
		if r.IntN(2) == 0 { // the next run begins otherwise
			tally.Flush()
		}
		want, got := one.Account("acme").Counts(), both.Account("acme").Counts()
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("after a run of %d:\n%+v, want\n%+v", n, got, want)
		}
	}
}

// TestTallyIsInTime runs several workers' Tallies on one account while somebody reads it: outcomes are there at once, and what the deliveries
// came to when their runs have ended.
func TestTallyIsInTime(t *testing.T) {
	const workers, runs, length = 4, 200, 10
	account, triggers := telemetry.New(10).Account("acme"), triggersOf(3)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			var tally telemetry.Tally
			for run := range runs {
				account.Receive(length)
				account.Begin(length)
				for i := range length {
					tally.Record(account, &telemetry.Record{Trigger: triggers[(w+run)%3], Invocation: tenants.InvocationID{1}, Ran: time.Microsecond, Fuel: 7}, i < length-1)
				}
			}
		})
	}
	for {
		c := account.Counts()
		if c.InFlight < 0 {
			t.Fatalf("%d are in flight", c.InFlight)
		}
		if c.Ended() == workers*runs*length {
			break
		}
	}
	wait.Wait()
	if c := account.Counts(); c.Fuel != 7*workers*runs*length || c.Ran != workers*runs*length*time.Microsecond {
		t.Errorf("fuel %d, handler time %v", c.Fuel, c.Ran)
	}
}
