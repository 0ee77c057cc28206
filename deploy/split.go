package deploy

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Split shares messages between two versions. A message's choice follows from its id, or from a value in its payload, alone: the same key
// keeps to one version, in every process, and a larger share of the first version takes keys from the second without giving any back.
type Split struct {
	percent uint64           // of the first version
	by      *tenants.Pointer // nil is the message id
	guard   *tenants.Guard   // nil judges nothing

	mu    sync.Mutex
	since time.Time // of slices[now]
	now   int
	parts [windowParts][2]tally // a ring: the present part of the window and those before it
}

// windowParts is how finely a guard's window moves.
const windowParts = 10

// tally is what became of a version's invocations in a part of the window.
type tally struct {
	count, bad int
	ran        [buckets]int // by duration, see bucket
}

// buckets of durations: four for each doubling, from 1 µs up to 2^32 µs, about an hour.
const buckets = 4 * 32

func newSplit(d tenants.Deployment) (*Split, error) {
	s := &Split{percent: uint64(d.Weights[0].Percent), guard: d.Guard}
	if d.Affinity == "" {
		return s, nil
	}
	p, err := affinity(d.Affinity)
	s.by = p
	return s, err
}

// affinity reads the name of a top-level field, or a JSON pointer.
func affinity(s string) (*tenants.Pointer, error) {
	if !strings.HasPrefix(s, "/") {
		s = "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
	}
	return tenants.ParsePointer(s)
}

// Choose gives the version for a message: 0 or 1, in the order of the deployment's weights. A payload without the value goes by its id.
func (s *Split) Choose(id tenants.MessageID, payload []byte) int {
	key := id[:]
	if s.by != nil {
		if value, ok := s.by.Find(payload); ok {
			key = value
		}
	}
	if spread(key)%100 < s.percent {
		return 0
	}
	return 1
}

// spread is FNV-1a with a finish that lets every bit count in a remainder.
func spread(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Note counts how an invocation of a version ended, for the guard.
func (s *Split) Note(version int, o tenants.Outcome, ran time.Duration) {
	if s.guard == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(time.Now())
	t := &s.parts[s.now][version]
	t.count++
	if o == tenants.Failed || o == tenants.TimedOut {
		t.bad++
	}
	t.ran[bucket(ran)]++
}

// turn moves the window to the present. The caller holds mu.
func (s *Split) turn(now time.Time) {
	part := s.guard.Window / windowParts
	if s.since.IsZero() || now.Sub(s.since) > 2*s.guard.Window {
		s.parts, s.since = [windowParts][2]tally{}, now
		return
	}
	for now.Sub(s.since) >= part {
		s.now = (s.now + 1) % windowParts
		s.parts[s.now] = [2]tally{}
		s.since = s.since.Add(part)
	}
}

// bucket is the place of a duration among buckets: four in each power of two of microseconds.
func bucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	top := bits.Len64(us) - 1 // the power of two
	quarter := 0
	if top >= 2 {
		quarter = int(us >> (top - 2) & 3)
	} else if top == 1 {
		quarter = int(us&1) * 2
	}
	return min(4*top+quarter, buckets-1)
}

// edge is the duration at which a bucket begins.
func edge(b int) time.Duration {
	return time.Duration(math.Exp2(float64(b/4))*(1+float64(b%4)/4)) * time.Microsecond
}

// judge tells why the first version should give its traffic back, or "".
func (s *Split) judge(now time.Time, names [2]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now)
	var all [2]tally
	for i := range s.parts {
		for v := range all {
			all[v].add(&s.parts[i][v])
		}
	}
	tried, other := &all[0], &all[1]
	if tried.count < s.guard.Least {
		return ""
	}
	if share := float64(tried.bad) / float64(tried.count); share > s.guard.Errors {
		return fmt.Sprintf("%s failed %d of %d (%.1f %%), more than %.1f %% within %v", names[0], tried.bad, tried.count, 100*share, 100*s.guard.Errors, s.guard.Window)
	}
	if s.guard.Slower == 0 || other.count < s.guard.Least {
		return ""
	}
	if a, b := tried.p95(), other.p95(); float64(a) > s.guard.Slower*float64(b) {
		return fmt.Sprintf("the 95th percentile of %s is %v, more than %v times the %v of %s", names[0], a, s.guard.Slower, b, names[1])
	}
	return ""
}

func (t *tally) add(o *tally) {
	t.count += o.count
	t.bad += o.bad
	for i, n := range o.ran {
		t.ran[i] += n
	}
}

// p95 is the 95th percentile of durations, to within a quarter.
func (t *tally) p95() time.Duration {
	left := t.count / 20 // those above
	for i, n := range slices.Backward(t.ran[:]) {
		if left -= n; left < 0 {
			return edge(i)
		}
	}
	return 0
}
