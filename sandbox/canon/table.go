package canon

import "github.com/tenloom/tenloom/sandbox/component/types"

// table is the handle table of one component instance: resources, subtasks and waitable sets share its indices. Index 0 is never given; freed
// indices are given again, the last one first. Source: CanonicalABI.md, Table State.
type table struct {
	entries []entry // 0 is unused
	free    uint32  // the last freed index, 0 for none; a free entry's rep is the one freed before it
	most    uint32  // of entries; one more traps
}

type holds uint8

const (
	holdsNothing holds = iota
	holdsResource
	holdsSubtask
	holdsSet
)

type entry struct {
	holds    holds
	own      bool
	lends    uint32    // calls under way that the handle is lent to
	rep      uint32    // of a resource that a component defines
	resource *Resource // of handles
	object   any       // of a resource that the host defines
	scope    *Task     // that a borrow handle belongs to
	subtask  *Call
	set      *waitableSet
}

func (t *table) add(e entry) uint32 {
	if i := t.free; i != 0 {
		t.free = t.entries[i].rep
		t.entries[i] = e
		return i
	}
	if len(t.entries) == 0 {
		t.entries = append(t.entries, entry{})
	}
	if n := uint32(len(t.entries)); n > t.most {
		trap("the handle table is full: %d handles are in use, which is the limit", t.most)
	}
	t.entries = append(t.entries, e)
	return uint32(len(t.entries) - 1)
}

// get gives the entry of an index, which stays where it is until the table grows.
func (t *table) get(i uint32) *entry {
	if uint64(i) >= uint64(len(t.entries)) || t.entries[i].holds == holdsNothing {
		trap("unknown handle index %d", i)
	}
	return &t.entries[i]
}

func (t *table) remove(i uint32) {
	t.entries[i] = entry{rep: t.free}
	t.free = i
}

// handle gives the entry of a handle of resource r.
func (t *table) handle(i uint32, r *Resource) *entry {
	e := t.get(i)
	if e.holds != holdsResource || e.resource != r {
		wrongType(i, r.name(), e)
	}
	return e
}

func (t *table) subtask(i uint32) *Call {
	e := t.get(i)
	if e.holds != holdsSubtask {
		wrongType(i, "subtask", e)
	}
	return e.subtask
}

func (t *table) set(i uint32) *waitableSet {
	e := t.get(i)
	if e.holds != holdsSet {
		wrongType(i, "waitable set", e)
	}
	return e.set
}

func wrongType(i uint32, expected string, e *entry) {
	found := "waitable set"
	switch e.holds {
	case holdsSubtask:
		found = "subtask"
	case holdsResource:
		if found = e.resource.name(); found == expected {
			found = "different " + found
		}
		found = "a " + found
	}
	trap("handle index %d used with the wrong type, expected %s but found %s", i, expected, found)
}

// liftOwn takes the handle out of the table.
func (t *table) liftOwn(i uint32, r *Resource) Handle {
	e := t.handle(i, r)
	if e.lends > 0 {
		trap("cannot remove owned resource while borrowed")
	}
	if !e.own {
		trap("cannot lift own resource from a borrow: handle index %d", i)
	}
	h := e.handle()
	t.remove(i)
	return h
}

// Handle is a resource on its way from one table to another, or to the host.
type Handle struct {
	Resource *Resource
	Rep      uint32 // where a component defines the resource
	Object   any    // where the host does
}

func (e *entry) handle() Handle { return Handle{e.resource, e.rep, e.object} }

func (h Handle) entry(own bool, scope *Task) entry {
	return entry{holds: holdsResource, own: own, rep: h.Rep, resource: h.Resource, object: h.Object, scope: scope}
}

// Handles counts the handles of one component instance that are in use, with its subtasks and waitable sets.
func (i *Instance) Handles() int {
	n := 0
	for _, e := range i.table.entries {
		if e.holds != holdsNothing {
			n++
		}
	}
	return n
}

// MaxHandles is the default of Limits.Handles.
const MaxHandles = 1 << 16

func clampHandles(n int) uint32 {
	if n <= 0 {
		n = MaxHandles
	}
	return uint32(min(n, types.MaxHandles))
}
