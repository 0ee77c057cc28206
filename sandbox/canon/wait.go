package canon

import "context"

// waitableSet is what a task waits for: any of the calls in it. Its members are in a table, and so are as many as a table holds at most.
type waitableSet struct {
	members []*Call // in the order in which they joined
	waiting int     // tasks that wait
}

// pending gives the first member that has an event.
func (w *waitableSet) pending() *Call {
	for _, c := range w.members {
		if c.event {
			return c
		}
	}
	return nil
}

// take gives the event of the first member that has one.
func (w *waitableSet) take() event { return w.pending().take() }

// take gives the call's event. Lent handles come back when the caller is told that it is over.
func (c *Call) take() event {
	c.event = false
	if c.state >= callReturned && !c.delivered {
		c.deliver()
	}
	return event{eventSubtask, c.index, uint32(c.state)}
}

func (c *Call) join(set *waitableSet) {
	if old := c.set; old != nil {
		for i, m := range old.members {
			if m == c {
				old.members = append(old.members[:i], old.members[i+1:]...)
				break
			}
		}
	}
	if c.set = set; set != nil {
		set.members = append(set.members, c)
	}
}

// WaitableSetNew is canon waitable-set.new.
func (i *Instance) WaitableSetNew() uint32 {
	i.leave()
	return i.table.add(entry{holds: holdsSet, set: &waitableSet{}})
}

// WaitableSetDrop is canon waitable-set.drop.
func (i *Instance) WaitableSetDrop(index uint32) {
	i.leave()
	set := i.table.set(index)
	switch {
	case set.waiting > 0:
		trap("cannot drop waitable set with waiters")
	case len(set.members) > 0:
		trap("cannot drop waitable set with members: %d", len(set.members))
	}
	i.table.remove(index)
}

// WaitableJoin is canon waitable.join: the waitable leaves the set that it is in, and joins another unless that is 0.
func (i *Instance) WaitableJoin(waitable, index uint32) {
	i.leave()
	c := i.table.subtask(waitable)
	if c.syncWaiter {
		trap("waitable cannot be used synchronously while added to a waitable set")
	}
	var set *waitableSet
	if index != 0 {
		set = i.table.set(index)
	}
	c.join(set)
}

// WaitableSetWait is canon waitable-set.wait: it blocks the task until a member has an event, stores what it is about at an address of the memory
// and gives its code.
func (i *Instance) WaitableSetWait(ctx context.Context, memory Memory, cancellable bool, index, address uint32) uint32 {
	i.leave()
	set := i.table.set(index)
	t := i.task
	if cancellable && t != nil && t.takeCancel() {
		return storeEvent(memory, address, event{code: eventCancelled})
	}
	set.waiting++
	cancelled := i.blockCancellable(ctx, cancellable, func() bool { return set.pending() != nil })
	set.waiting--
	if cancelled {
		return storeEvent(memory, address, event{code: eventCancelled})
	}
	return storeEvent(memory, address, set.take())
}

// WaitableSetPoll is canon waitable-set.poll: WaitableSetWait that gives code 0 where no member has an event.
func (i *Instance) WaitableSetPoll(memory Memory, cancellable bool, index, address uint32) uint32 {
	i.leave()
	set := i.table.set(index)
	i.store.collect()
	var e event
	if t := i.task; cancellable && t != nil && t.takeCancel() {
		e.code = eventCancelled
	} else if set.pending() != nil {
		e = set.take()
	}
	return storeEvent(memory, address, e)
}

func storeEvent(memory Memory, address uint32, e event) uint32 {
	if address&3 != 0 {
		trap("unaligned pointer: %#x to 4", address)
	}
	var b []byte
	if memory != nil {
		b, _ = memory.Read(address, 8)
	}
	if len(b) < 8 {
		trap("pointer out of bounds of memory: 8 bytes at %#x", address)
	}
	store(b, 0, 4, uint64(e.index))
	store(b, 4, 4, uint64(e.payload))
	return e.code
}

// SubtaskDrop is canon subtask.drop.
func (i *Instance) SubtaskDrop(index uint32) {
	i.leave()
	c := i.table.subtask(index)
	if !c.delivered {
		trap("cannot drop a subtask which has not yet resolved")
	}
	c.join(nil)
	i.table.remove(index)
	c.finish()
}

// blocked is the result of SubtaskCancel where the call goes on for now.
const blocked = 0xffffffff

// SubtaskCancel is canon subtask.cancel: it asks the callee to end without a result, and gives the state that the call has then. With async it
// does not wait for it and may give 0xffffffff.
func (i *Instance) SubtaskCancel(ctx context.Context, async bool, index uint32) uint32 {
	i.leave()
	c := i.table.subtask(index)
	switch {
	case c.delivered:
		trap("subtask.cancel is called after the subtask's end was delivered")
	case c.cancelRequested:
		trap("subtask.cancel is called a second time")
	case c.set != nil && !async:
		trap("waitable cannot be used synchronously while added to a waitable set")
	}
	if c.state < callReturned {
		c.cancelRequested = true
		c.requestCancel(ctx)
		if c.state < callReturned {
			if async {
				return blocked
			}
			c.syncWaiter = true
			i.block(ctx, func() bool { return c.event })
			c.syncWaiter = false
		}
	}
	c.take()
	return uint32(c.state)
}

func (c *Call) requestCancel(ctx context.Context) {
	if c.task != nil {
		c.task.requestCancel(ctx, c.lower.inst)
		return
	}
	c.giveUp()
	c.cancelled()
}

// ThreadYield is canon thread.yield: others go on first. It gives 1 where the task is told to cancel, else 0.
func (i *Instance) ThreadYield(ctx context.Context, cancellable bool) uint32 {
	i.leave()
	t := i.task
	if cancellable && t != nil && t.takeCancel() {
		return 1
	}
	if !t.mayBlock() {
		return 0 // a synchronous task is the only one that can go on
	}
	turns := 0
	before := t.state
	t.interruptible = cancellable
	i.store.drive(ctx, func() bool {
		turns++
		return turns > 1 || i.store.ready() == nil
	})
	t.interruptible = false
	if before == taskStarted && t.state == taskCancelDelivered {
		return 1
	}
	return 0
}
