package sandbox

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Budget is a tenant's share of the processors, which all guests of the tenant have in common: time to compute comes in evenly and is taken
// by the time that they compute. Where none is left they give up their turns and wait until there is some again, as a group of processes does
// under cgroup's cpu.max. It is safe for concurrent use.
//
// A guest is looked at at the end of each slice of fuel and of its message, so it may take some time before it has it; what it took too
// much, it or its neighbours wait for.
type Budget struct {
	share atomic.Uint64 // bits of a float64: processors; 0 has no bound

	mu   sync.Mutex
	left time.Duration // to compute; below 0 is what was computed without having it
	at   time.Time     // when left was so
}

// budgetPeriod bounds what is saved up: a tenant whose guests have done nothing may compute at once what comes in during this time.
const budgetPeriod = 100 * time.Millisecond

// NewBudget makes a Budget of so many processors, 0.5 for one of them half of the time. 0 has no bound; nor has a nil *Budget.
func NewBudget(processors float64) *Budget {
	b := &Budget{at: time.Now()}
	b.SetShare(processors)
	b.left = saved(processors)
	return b
}

// SetShare changes how many processors there are to share. It takes effect with each guest's next slice; what was computed stays computed, but
// what one share has owed another does not wait for.
func (b *Budget) SetShare(processors float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.processors() == processors {
		return
	}
	b.share.Store(math.Float64bits(processors))
	b.left = max(b.left, 0)
}

func (b *Budget) processors() float64 { return math.Float64frombits(b.share.Load()) }

// bounds tells whether there is anything to count.
func (b *Budget) bounds() bool { return b != nil && b.share.Load() != 0 }

// saved is the most that a share saves up.
func saved(processors float64) time.Duration {
	return time.Duration(processors * float64(budgetPeriod))
}

// spend takes what was computed, and tells how long to wait before there is something left.
func (b *Budget) spend(computed time.Duration, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	share := b.processors()
	if share == 0 {
		return 0
	}
	if since := now.Sub(b.at); since > 0 {
		b.left = min(saved(share), b.left+time.Duration(share*float64(since)))
		b.at = now
	}
	if b.left -= computed; b.left >= 0 {
		return 0
	}
	return time.Duration(float64(-b.left)/share) + 1
}

// sleep waits for so long, or for the end of the invocation, and tells which: its deadline and its caller are held to as by refuel.
func (v *invocation) sleep(d time.Duration) (goesOn bool) {
	left := time.Until(v.deadline)
	timer := time.NewTimer(min(d, left))
	defer timer.Stop()
	select {
	case <-timer.C:
		return d < left
	case <-v.parent.Done():
		return false
	}
}

// charge takes what the session's guest has computed since its clock was set. A guest without a Budget has no clock.
func (s *Session) charge() (wait time.Duration) {
	b := s.component.binding.Budget
	if !b.bounds() {
		s.clock = time.Time{}
		return 0
	}
	now := time.Now()
	computed := time.Duration(0)
	if !s.clock.IsZero() {
		computed = now.Sub(s.clock)
	}
	s.clock = now
	return b.spend(computed, now)
}

// rewind sets the clock where the guest begins to compute.
func (s *Session) rewind() {
	if s.component.binding.Budget.bounds() {
		s.clock = time.Now()
	}
}

// afford waits, before a message, until its tenant has something left or the message no time.
func (s *Session) afford() {
	s.clock = time.Time{}
	for wait := s.charge(); wait > 0; wait = s.charge() {
		s.leave()
		if s.instance.starve(wait) != nil {
			return
		}
		s.clock = time.Time{}
	}
}

// pay takes a slice from the budget and waits, without turn and thread, while nothing is left.
func (s *Session) pay() error {
	for wait := s.charge(); wait > 0; wait = s.charge() {
		s.pause()
		err := s.instance.starve(wait)
		if err != nil {
			runtime.LockOSThread() // as it was; a turn is not worth waiting for
			return err
		}
		s.resume()
		s.clock = time.Time{}
	}
	return nil
}

// starve waits for the tenant's share, and looks now and then whether that is another one by now.
func (i *instance) starve(wait time.Duration) error {
	began, goesOn := time.Now(), true
	for ; wait > 0 && goesOn; wait = i.component.binding.Budget.spend(0, time.Now()) {
		goesOn = i.invocation.sleep(min(wait, budgetPeriod))
	}
	i.starved += time.Since(began)
	if !goesOn {
		return errInterrupted
	}
	return nil
}

// waited says how much of an invocation's time went by without its tenant's share; nothing where none did.
func (i *instance) waited() string {
	if i.starved == 0 {
		return ""
	}
	return fmt.Sprintf(", of which it waited %v for its tenant's share of the processors (cpu = %v in the tenant's policy)",
		i.starved.Round(time.Millisecond), i.component.binding.Budget.processors())
}
