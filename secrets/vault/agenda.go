package vault

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// job is something to do at a time. Its place in the agenda is guarded by the agenda's lock.
type job struct {
	run   func(ctx context.Context) (next time.Time) // the zero time: not again
	at    time.Time
	index int  // in the heap, -1 outside
	busy  bool // it runs; its next time is what run returns, or an earlier one asked for meanwhile
	again time.Time
	gone  bool
}

// agenda is all that is to be done, the earliest first: one heap and no goroutine for each. It is as large as the credentials and remembered
// secrets, which are bounded.
type agenda struct {
	mu   sync.Mutex
	jobs jobs
	wake chan struct{} // capacity 1: the first job may be another
}

func (a *agenda) init() { a.wake = make(chan struct{}, 1) }

// set puts a job at a time, wherever it stood.
func (a *agenda) set(j *job, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(j, at)
}

// sooner is set, unless the job stands earlier already.
func (a *agenda) sooner(j *job, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !j.busy && j.index >= 0 && j.at.Before(at) {
		return
	}
	a.put(j, at)
}

func (a *agenda) put(j *job, at time.Time) {
	switch {
	case j.gone:
		return
	case j.busy:
		if j.again.IsZero() || at.Before(j.again) {
			j.again = at
		}
		return
	}
	j.at = at
	if j.index < 0 {
		heap.Push(&a.jobs, j)
	} else {
		heap.Fix(&a.jobs, j.index)
	}
	if j.index == 0 {
		select {
		case a.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// remove takes a job out for good.
func (a *agenda) remove(j *job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	j.gone = true
	if j.index >= 0 {
		heap.Remove(&a.jobs, j.index)
	}
}

// take is the first job if it is due, and else how long until it is; 0 where there is none.
func (a *agenda) take(now time.Time) (*job, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.jobs) == 0 {
		return nil, 0
	}
	j := a.jobs[0]
	if wait := j.at.Sub(now); wait > 0 {
		return nil, wait
	}
	heap.Pop(&a.jobs)
	j.busy, j.again = true, time.Time{}
	return j, 0
}

// done puts a job back.
func (a *agenda) done(j *job, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	j.busy = false
	if !j.again.IsZero() && (next.IsZero() || j.again.Before(next)) {
		next = j.again
	}
	if !next.IsZero() {
		a.put(j, next)
	}
}

func newJob(run func(context.Context) time.Time) *job { return &job{run: run, index: -1} }

// workers is how many requests of the agenda may be under way together.
const workers = 4

// carryOut does what is due, at the rate of the configuration, until ctx ends. While Vault is away it tries one job after each pause.
func (c *Client) carryOut(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, workers)
	for ctx.Err() == nil {
		wait, alone := c.absence.wait()
		if wait > 0 {
			sleep(ctx, wait)
			continue
		}
		j, until := c.agenda.take(time.Now())
		if j == nil {
			c.agenda.rest(ctx, until)
			continue
		}
		if c.later.Wait(ctx) != nil {
			c.agenda.done(j, j.at)
			return
		}
		if alone {
			c.agenda.done(j, j.run(ctx))
			continue
		}
		slots <- struct{}{}
		running.Go(func() {
			c.agenda.done(j, j.run(ctx))
			<-slots
		})
	}
}

// rest waits until something may be due.
func (a *agenda) rest(ctx context.Context, until time.Duration) {
	var due <-chan time.Time
	if until > 0 {
		t := time.NewTimer(until)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-a.wake:
	case <-ctx.Done():
	}
}

// jobs is a heap by time (container/heap).
type jobs []*job

func (h jobs) Len() int           { return len(h) }
func (h jobs) Less(a, b int) bool { return h[a].at.Before(h[b].at) }
func (h jobs) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}

func (h *jobs) Push(x any) {
	j := x.(*job)
	j.index = len(*h)
	*h = append(*h, j)
}

func (h *jobs) Pop() any {
	last := len(*h) - 1
	j := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	j.index = -1
	return j
}
