package tenants

import (
	"math"
	"sync"
	"time"
)

// Meter is something that a Quota counts against time.
type Meter uint8

const (
	DeployMeter  Meter = iota // deployments, by Grants.DeploysPerMinute
	RequestMeter              // calls of the API, by Grants.RequestsPerSecond
	LogMeter                  // bytes of logs, by Grants.LogBytesPerSecond
	Meters                    // how many there are
)

var meterNames = [Meters]string{"deploy", "request", "log"}

func (m Meter) String() string {
	if m < Meters {
		return meterNames[m]
	}
	return "meter"
}

// Level is what a Meter says after a Take, in the words of the RateLimit header fields.
type Level struct {
	OK        bool
	Limit     int           // in Window
	Window    time.Duration // a minute or a second
	Remaining int           // that could be taken now
	Reset     time.Duration // until all of Limit can be taken again
	Wait      time.Duration // where not OK: until what was asked for could be taken; 0 means never, because it is more than Limit
}

// Quota is the live account of one tenant against its Policy's rates: a token bucket for each Meter, full at the start. It is safe for
// concurrent use. What it knows does not outlive the process, which errs on the tenant's side.
type Quota struct {
	mu      sync.Mutex
	limits  [Meters]int
	buckets [Meters]bucket
}

type bucket struct {
	left float64   // may be taken
	at   time.Time // when left was right; zero means full
}

// windows are what the limits of a Policy are per.
var windows = [Meters]time.Duration{time.Minute, time.Second, time.Second}

// NewQuota opens an account.
func NewQuota(p Policy) *Quota {
	q := new(Quota)
	q.SetPolicy(p)
	return q
}

// SetPolicy changes the limits. What was used stays used.
func (q *Quota) SetPolicy(p Policy) {
	q.mu.Lock()
	defer q.mu.Unlock()
	next := [Meters]int{p.Grants.DeploysPerMinute, p.Grants.RequestsPerSecond, p.Grants.LogBytesPerSecond}
	for m := range next {
		b := &q.buckets[m]
		if !b.at.IsZero() {
			b.left += float64(next[m] - q.limits[m]) // below 0 is debt
		}
	}
	q.limits = next
}

// Take takes n of a meter, all or nothing. A limit of 0 allows nothing. A clock that goes back gives nothing and takes nothing.
func (q *Quota) Take(m Meter, n int, now time.Time) Level {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit, b := float64(q.limits[m]), &q.buckets[m]
	perSecond := limit / windows[m].Seconds()
	switch {
	case b.at.IsZero():
		b.left, b.at = limit, now
	case now.After(b.at):
		b.left, b.at = min(limit, b.left+now.Sub(b.at).Seconds()*perSecond), now
	}
	l := Level{Limit: q.limits[m], Window: windows[m]}
	if want := float64(max(n, 0)); want <= b.left {
		b.left -= want
		l.OK = true
	} else if want <= limit {
		l.Wait = seconds((want - b.left) / perSecond)
	}
	l.Remaining = max(0, int(b.left))
	if perSecond > 0 {
		l.Reset = seconds((limit - b.left) / perSecond)
	}
	return l
}

// seconds rounds up to a nanosecond, so that who waits so long finds what it waited for.
func seconds(s float64) time.Duration { return time.Duration(math.Ceil(s * 1e9)) }
