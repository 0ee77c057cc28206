package tenants

import (
	"cmp"
	"fmt"
	"time"
)

// Overflow says what a full queue does with the next message.
type Overflow uint8

const (
	DropNewest Overflow = iota // refuse the new one
	DropOldest                 // give up the one that waited longest
	Coalesce                   // keep the newest of each channel
	Spill                      // keep it on disk, behind what waits, for as long as the process lives
)

var overflowNames = []string{"drop_newest", "drop_oldest", "coalesce", "spill"}

func (o Overflow) String() string {
	if int(o) < len(overflowNames) {
		return overflowNames[o]
	}
	return fmt.Sprintf("overflow(%d)", uint8(o))
}

// ParseOverflow reads the name that the manifest uses.
func ParseOverflow(s string) (Overflow, error) {
	for i, name := range overflowNames {
		if name == s {
			return Overflow(i), nil
		}
	}
	return 0, fmt.Errorf("overflow %.40q is not one of drop_newest, drop_oldest, coalesce, spill", s)
}

// Limits bound what one trigger of one component may take. Zero means the default.
type Limits struct {
	Concurrency int           // invocations at once; default 16; 1 keeps publish order
	Timeout     time.Duration // of one invocation; default 30 s
	Memory      uint64        // bytes of linear memory; default 128 MiB
	Fuel        uint64        // units of one invocation, about one for each instruction; default unlimited
	HostCalls   int           // calls of Spin's interfaces in one invocation; default 100,000
	BytesOut    uint64        // that one invocation may send through them; default 256 MiB
	BytesIn     uint64        // that it may receive; default 256 MiB
	Handles     int           // connections, stores and the like that it may hold open, of each kind; default 1024
	Output      uint64        // bytes of each output stream in one invocation; default 1 MiB
	LogRate     int           // lines of output in a second, over all invocations; default 1000
	Overflow    Overflow      // of the tenant's queue; default DropNewest
	MaxWait     time.Duration // in the queue, then expired; default unlimited
	OrderBy     string        // a Pointer into the payload: deliveries with the same value there are handled one at a time, in order, and 64 values at most at once; those without one in no order. Default: no order among them
}

// Defaults of Limits.
const (
	DefaultConcurrency        = 16
	DefaultTimeout            = 30 * time.Second
	DefaultMemory      uint64 = 128 << 20
	DefaultHostCalls          = 100_000
	DefaultBytes       uint64 = 256 << 20 // in each direction
	DefaultHandles            = 1024
	DefaultOutput      uint64 = 1 << 20
	DefaultLogRate            = 1000
)

// WithDefaults fills what was left zero.
func (l Limits) WithDefaults() Limits {
	if l.Concurrency == 0 {
		l.Concurrency = DefaultConcurrency
	}
	if l.Timeout == 0 {
		l.Timeout = DefaultTimeout
	}
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	l.HostCalls = cmp.Or(l.HostCalls, DefaultHostCalls)
	l.BytesOut = cmp.Or(l.BytesOut, DefaultBytes)
	l.BytesIn = cmp.Or(l.BytesIn, DefaultBytes)
	l.Handles = cmp.Or(l.Handles, DefaultHandles)
	l.Output = cmp.Or(l.Output, DefaultOutput)
	l.LogRate = cmp.Or(l.LogRate, DefaultLogRate)
	return l
}

// Policy is what an operator grants a tenant. The zero Policy is not useful; start from DefaultPolicy.
type Policy struct {
	Weight      int     // share under contention, relative to other tenants; default 1
	Concurrency int     // invocations at once over all components, however idle the workers are; default all slots. Above half of the slots a tenant gets what others leave
	QueueCount  int     // deliveries waiting; default 10,000
	QueueBytes  int64   // payload and channel bytes waiting, plus 256 for each delivery; default 64 MiB
	SpillBytes  int64   // on disk for each trigger with overflow "spill", beyond the queue; 0 means DefaultSpillBytes, negative none
	SpillTotal  int64   // on disk for all its triggers; 0 means DefaultSpillTotal, negative none
	Rate        float64 // deliveries admitted per second; 0 means unlimited
	Burst       int     // deliveries admitted at once above Rate; default one second's worth
	BreakAfter  int     // time-outs of a component in a row that open its breaker; 0 means DefaultBreakAfter, negative never
	CPU         float64 // processors that all its handlers together may keep busy, such as 0.5; 0 means unlimited
	FreshOnly   bool    // isolation = "reuse" is refused
	Max         Limits  // ceilings for what a manifest may ask; zero fields mean the default is also the ceiling; for Fuel and MaxWait that there is none
	Grants      Grants  // what it may reach and keep
}

// Defaults of Policy.SpillBytes and SpillTotal.
const (
	DefaultSpillBytes int64 = 64 << 20
	DefaultSpillTotal int64 = 256 << 20
)

// DefaultBreakAfter is the default of Policy.BreakAfter.
const DefaultBreakAfter = 5

// DefaultPolicy is what a tenant gets where nothing else is said.
func DefaultPolicy() Policy {
	return Policy{
		Weight: 1, QueueCount: 10_000, QueueBytes: 64 << 20, SpillBytes: DefaultSpillBytes, SpillTotal: DefaultSpillTotal,
		Max: Limits{Concurrency: 1024, Timeout: 5 * time.Minute, Memory: 1 << 30,
			HostCalls: 10_000_000, BytesOut: 4 << 30, BytesIn: 4 << 30, Handles: 16 << 10, Output: 64 << 20, LogRate: 100_000},
		Grants: DefaultGrants(),
	}
}
