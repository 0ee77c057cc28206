package sandbox

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"time"
)

// An instance that nobody needed for restAfter gives back the pages that it has written, and is closed after idleFor unless it is one of its
// component's warm ones.
const (
	trimEvery = 10 * time.Second
	restAfter = 10 * time.Second
	idleFor   = time.Minute
)

// trim gives back what waits too long, until Close.
func (r *Runtime) trim() {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case now := <-tick.C:
			for _, c := range r.all() {
				c.trim(now)
			}
		case <-r.full:
			r.squeeze()
		}
	}
}

// all lists the components that may have instances waiting.
func (r *Runtime) all() []*Component {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.components))
}

// room tells whether one more instance may wait, and has others make room where it may not.
func (r *Runtime) room() bool {
	if r.idleBytes.Load() < r.maxIdle {
		return true
	}
	select {
	case r.full <- struct{}{}:
	default:
	}
	return false
}

// squeeze closes the instances that were not used for longest, whosever they are and warm ones too, until a quarter of the budget is free.
// Otherwise those that nobody needs would keep out those that are needed.
func (r *Runtime) squeeze() {
	var ages []age
	components := r.all()
	for _, c := range components {
		ages = c.pool.ages(ages)
	}
	slices.SortFunc(ages, func(a, b age) int { return a.used.Compare(b.used) })
	over := r.idleBytes.Load() - r.maxIdle/4*3
	var until time.Time
	for k := 0; k < len(ages) && over > 0; k++ {
		over -= ages[k].cost
		until = ages[k].used.Add(1)
	}
	for _, c := range components {
		c.discard(c.pool.before(until, 0))
	}
}

// trim closes the instances that nobody has needed for long, and lets the others rest.
func (c *Component) trim(now time.Time) {
	c.discard(c.pool.before(now.Add(-idleFor), c.binding.Warm))
	resting := c.pool.before(now.Add(-restAfter), 0) // a message that comes meanwhile makes an instance of its own
	for k, i := range resting {
		if err := c.rest(i); err != nil {
			c.program.runtime.log.Error("an instance could not be reset and is closed", "digest", c.program.Digest(), "error", err)
			c.discard(resting[k:])
			resting = resting[:k]
			break
		}
	}
	c.discard(c.pool.back(resting))
}

// rest gives back the pages that an instance has written; they are the snapshot's again. The next message pays their faults.
func (c *Component) rest(i *instance) error {
	if c.binding.Reuse || i.snapshot == nil {
		return nil
	}
	var err error
	for k, m := range i.memories {
		err = errors.Join(err, m.restorer.forget(&m.region, i.snapshot.memories[k].image))
	}
	cost := c.program.idleCost() + i.private()
	c.program.runtime.idleBytes.Add(cost - i.cost)
	i.cost = cost
	return err
}

// discard closes instances that a pool has given up.
func (c *Component) discard(all []*instance) {
	for _, i := range all {
		c.program.runtime.idleBytes.Add(-i.cost)
		i.close()
	}
}

// warm makes instances ahead of the messages that they are for, as many as the component keeps. Nothing of the guest runs: they are made
// from the snapshot, and a component without one has none.
func (c *Component) warm(ctx context.Context) error {
	if c.snapshot.Load() == nil || c.binding.Files != nil && c.program.assembly == nil {
		return nil
	}
	for n := c.pool.size(); n < c.binding.Warm && c.program.runtime.room(); n++ {
		i := c.newInstance()
		i.begin(ctx, Call{})
		if err := i.ahead(); err != nil {
			defer i.close()
			return c.failure(ctx, i, err)
		}
		c.keep(i)
	}
	return nil
}

// ahead makes the instance equal to the snapshot, and forgets the thread that it was on.
func (i *instance) ahead() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer i.moved()
	return i.run(func(*instance) error { return nil })
}
