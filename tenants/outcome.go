package tenants

import "fmt"

// Outcome is how a Delivery ended. A Delivery ends exactly once.
type Outcome uint8

const (
	Handled      Outcome = iota // the handler answered ok
	Failed                      // the handler answered an error, trapped, exited, or broke a limit other than time
	TimedOut                    // the handler ran into its deadline
	Throttled                   // the tenant's rate was used up
	Dropped                     // refused or given up for the Reason beside it
	Expired                     // it waited longer than its trigger allows
	DeadLettered                // attempts used up, kept aside
	Outcomes                    // how many there are
)

var outcomeNames = [Outcomes]string{"handled", "failed", "timed_out", "throttled", "dropped", "expired", "dead_lettered"}

func (o Outcome) String() string {
	if o < Outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText gives the name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the name.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, name := range outcomeNames {
		if name == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %.40q", b)
}

// Reason says why a Delivery was dropped.
type Reason uint8

const (
	NoReason     Reason = iota
	QueueFull           // the tenant's queue held as many messages as it may
	QueueBytes          // the tenant's queue held as many bytes as it may
	Oldest              // a newer message took its place (overflow "drop_oldest")
	Coalesced           // a newer message of the same channel took its place (overflow "coalesce")
	Removed             // its trigger was removed while it waited
	Stopping            // the process stopped before its turn came
	BreakerOpen         // its component's calls timed out one after the other, and the breaker lets none through for a while
	SpillBytes          // its trigger had spilled as many bytes as Policy.SpillBytes allows (overflow "spill")
	SpillTotal          // the tenant's triggers together had spilled as many as Policy.SpillTotal allows
	SpillBehind         // the disk was slower than the messages, and as many waited for it as may
	SpillFailed         // the disk did not take it, or did not give it back
	SpillCorrupt        // what the disk gave back is not what it was given
	Reasons             // how many there are
)

var reasonNames = [Reasons]string{
	"", "queue_full", "queue_bytes", "oldest", "coalesced", "removed", "stopping", "breaker_open",
	"spill_bytes", "spill_total", "spill_behind", "spill_failed", "spill_corrupt",
}

func (r Reason) String() string {
	if r < Reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// MarshalText gives the name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the name.
func (r *Reason) UnmarshalText(b []byte) error {
	for i, name := range reasonNames {
		if name == string(b) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("unknown reason %.40q", b)
}
