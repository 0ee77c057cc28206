package canon

import "context"

// mayBlock tells whether a task, with all that wait for it, may wait for others.
func (t *Task) mayBlock() bool {
	if t == nil {
		return false
	}
	for ; t != nil; t = t.up {
		if t.lift == nil || !t.lift.fn.t.Async() && t.state != taskResolved {
			return false
		}
	}
	return true
}

// block lets other tasks go on until a condition holds.
func (i *Instance) block(ctx context.Context, until func() bool) {
	if until() {
		return
	}
	if !i.task.mayBlock() {
		trap("cannot block a synchronous task before returning: deadlock detected: event loop cannot make further progress")
	}
	i.store.drive(ctx, until)
}

// blockCancellable is block, for a task that may take cancellation instead; it tells whether it does.
func (i *Instance) blockCancellable(ctx context.Context, cancellable bool, until func() bool) (cancelled bool) {
	t := i.task
	if !cancellable || t == nil {
		i.block(ctx, until)
		return false
	}
	t.interruptible = true
	before := t.state
	i.block(ctx, func() bool {
		cancelled = before == taskStarted && t.state == taskCancelDelivered
		return cancelled || until()
	})
	t.interruptible = false
	return cancelled
}

// drive is the event loop: it goes on with the tasks that can until a condition holds, the one that waits longest first, and waits for deferred
// calls of the host where none can. Tasks that wait in the middle of their code are below it on the stack, so meanwhile their instances
// are left, and what keeps others out of them is that they are exclusive.
func (s *Store) drive(ctx context.Context, until func() bool) {
	now := s.now
	entered := make([]bool, len(s.instances))
	for i := range s.instances {
		entered[i], s.instances[i].entered = s.instances[i].entered, false
	}
	for s.collect(); !until(); s.collect() {
		if err := ctx.Err(); err != nil {
			panic(context.Cause(ctx))
		}
		switch t := s.ready(); {
		case t != nil:
			t.resume(ctx, nil, false)
		case len(s.deferred) > 0:
			s.wait(ctx)
		default:
			trap("deadlock detected: event loop cannot make further progress")
		}
	}
	for i := range s.instances {
		s.instances[i].entered = entered[i]
	}
	s.now = now
}

func (s *Store) ready() *Task {
	for _, t := range s.waiting {
		if t.ready() {
			return t
		}
	}
	return nil
}

// Pending is a call of the host that is not over when its function returns. Any goroutine may complete it.
type Pending struct {
	store *Store
	call  *Call
	done  chan struct{}
	once  bool // guarded by Store.mu
}

type completion struct {
	pending *Pending
	write   func(out *Writer)
}

// Defer leaves the result of a host function for later: it is written when Complete is called. The function must have read its arguments, and
// have copied what it needs of guest memory, before it returns.
func (c *Call) Defer() *Pending {
	s := c.store
	if len(s.deferred) >= s.limits.Calls {
		trap("%d calls are under way at once, which is the limit", len(s.deferred))
	}
	c.pending = &Pending{store: s, call: c, done: make(chan struct{})}
	s.deferred[c.pending] = struct{}{}
	return c.pending
}

// Done is closed when nobody waits for the call any more: the guest has cancelled it, or has ended.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Complete hands in the result. write is called on the guest's goroutine, and not at all where nobody waits for it any more; nil stands for a
// function without a result. Only the first Complete of a Pending counts.
func (p *Pending) Complete(write func(out *Writer)) {
	s := p.store
	s.mu.Lock()
	if !p.once {
		p.once = true
		s.completed = append(s.completed, completion{p, write}) // one for each Pending, so at most as many as Limits.Calls, and late ones
	}
	s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// giveUp forgets a deferred call.
func (c *Call) giveUp() {
	if p := c.pending; p != nil {
		c.pending = nil
		delete(c.store.deferred, p)
		close(p.done)
	}
}

// collect resolves the calls that were completed.
func (s *Store) collect() {
	s.mu.Lock()
	completed := s.completed
	s.completed = nil
	s.mu.Unlock()
	for _, done := range completed {
		c := done.pending.call
		if c.pending != done.pending {
			continue
		}
		c.giveUp()
		now := s.now
		s.now = c.lower.name
		c.side.refresh()
		if done.write != nil {
			done.write(&c.out)
		}
		c.out.finish()
		c.over(callReturned)
		s.now = now
	}
}

// wait waits for a completion.
func (s *Store) wait(ctx context.Context) {
	if s.OnWait != nil {
		s.OnWait(true)
		defer s.OnWait(false)
	}
	select {
	case <-s.signal:
	case <-ctx.Done():
		panic(context.Cause(ctx))
	}
}
