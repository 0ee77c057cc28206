package canon

import (
	"context"
	"sync"
)

// Function is a core function. The stack holds the parameters when it is called and the results afterwards, at its beginning, and is as long as
// the longer of both; wazero's api.Function is one. An error means that the guest has trapped or was ended.
type Function interface {
	CallWithStack(ctx context.Context, stack []uint64) error
}

// Memory is a linear memory below 4 GiB. Read gives a view of it, which guest code may change, and false outside of it; wazero's api.Memory is
// one.
type Memory interface {
	Size() uint32
	Read(offset, size uint32) ([]byte, bool)
}

// Limits bound what one Store holds. A field of 0 means its default.
type Limits struct {
	Handles int   // in the table of one component instance: 65,536; one more traps
	Lifted  int64 // bytes of strings, lists and spilled values that one call may pass: 64 MiB; more traps
	Calls   int   // of the host that are deferred at once: 1,024; one more traps
}

// Store is the state that the canonical ABI keeps for one instance of a Program: of each component instance in it the handle table, the flags and
// the tasks. One goroutine at a time uses it, the one that calls the guest; only a Pending may be used by others.
type Store struct {
	// Host is for the functions of the host: whatever they need to know about the instance.
	Host any
	// OnWait is told when the goroutine begins to wait for a deferred call of the host, and when it ends: meanwhile somebody else can compute. May
	// be nil.
	OnWait func(begins bool)

	program   *Program
	instances []Instance
	dtors     []door // by Resource.index
	limits    Limits
	err       error
	now       string                // the lifted or lowered function under way, for Traps
	calls     []*Call               // for the next calls of imports
	tasks     []*Task               // for the next calls of exports
	waiting   []*Task               // that the event loop resumes: not begun, yielded or waiting for an event
	deferred  map[*Pending]struct{} // calls of the host under way, at most Limits.Calls

	mu        sync.Mutex // guards what follows, which other goroutines use
	completed []completion
	signal    chan struct{} // of capacity 1: completed has grown
}

// Instance is one component instance of a Store.
type Instance struct {
	store        *Store
	index        int
	depth        int
	parent       *Instance
	table        table
	slots        [2]uint32 // context slots of code that no task runs, as start functions are
	entered      bool      // the specification's may_enter, negated
	sealed       bool      // may_leave, negated
	task         *Task     // whose code runs, or nil
	exclusive    *Task     // of the async tasks the one that runs or waits in the middle of its code
	backpressure int
}

// NewStore makes the state for one instance of the program.
func (p *Program) NewStore(limits Limits) *Store {
	if limits.Lifted == 0 {
		limits.Lifted = 64 << 20
	}
	if limits.Calls == 0 {
		limits.Calls = 1024
	}
	s := &Store{program: p, instances: make([]Instance, len(p.parents)), dtors: make([]door, len(p.resources)), limits: limits, deferred: map[*Pending]struct{}{}, signal: make(chan struct{}, 1)}
	for i, parent := range p.parents {
		inst := &s.instances[i]
		inst.store, inst.index = s, i
		inst.table.most = clampHandles(limits.Handles)
		if parent >= 0 {
			inst.parent, inst.depth = &s.instances[parent], s.instances[parent].depth+1
		}
	}
	return s
}

// Instance gives the component instance of an index.
func (s *Store) Instance(component int) *Instance { return &s.instances[component] }

// SetDestructor sets the core function that takes the rep of a resource that a component defines when its own handle is dropped. fresh gives
// another Function for it, for a destructor that drops a resource of its own type; nil says that this traps.
func (s *Store) SetDestructor(r *Resource, dtor Function, fresh func() Function) {
	s.dtors[r.index] = door{f: dtor, fresh: fresh}
}

// Err is what has ended the Store: the first error of a call. Nothing can be called after it, and the core instances are to be discarded.
func (s *Store) Err() error { return s.err }

// Reset makes the state that of a new Store, for core instances that are as after their instantiation. Resources of the host that own handles
// are left of are dropped; destructors of components do not run, since their code was reset. Calls that are still deferred are given up.
// A Store that has ended stays so. It is also what to do with a Store that is not used any more.
func (s *Store) Reset() {
	for p := range s.deferred {
		p.call.giveUp()
	}
	clear(s.waiting)
	s.waiting = s.waiting[:0]
	for n := range s.instances {
		inst := &s.instances[n]
		entries := inst.table.entries
		inst.table = table{most: inst.table.most}
		inst.entered, inst.sealed, inst.task, inst.exclusive, inst.backpressure = false, false, nil, nil, 0
		for i := range entries {
			e := &entries[i]
			if e.own && e.resource.drop != nil {
				e.resource.drop(s, e.object)
			}
		}
		clear(entries)
		inst.table.entries = entries[:0]
	}
	s.mu.Lock()
	clear(s.completed)
	s.completed = s.completed[:0]
	s.mu.Unlock()
}

// within tells whether inst is outer or inside of it.
func (i *Instance) within(outer *Instance) bool {
	for ; i != nil && i.depth >= outer.depth; i = i.parent {
		if i == outer {
			return true
		}
	}
	return false
}

// mayEnter tells whether a caller, nil for the host, may call into the instance: neither it nor an ancestor that the caller is not inside of runs.
func (i *Instance) mayEnter(caller *Instance) bool {
	for ; i != nil && (caller == nil || !caller.within(i)); i = i.parent {
		if i.entered {
			return false
		}
	}
	return true
}

// setEntered marks the instance and the ancestors that the caller is not inside of.
func (i *Instance) setEntered(caller *Instance, entered bool) {
	for ; i != nil && (caller == nil || !caller.within(i)); i = i.parent {
		i.entered = entered
	}
}

func (i *Instance) enter(caller *Instance) {
	if i.store.err != nil || !i.mayEnter(caller) {
		trap("cannot enter component instance")
	}
	i.setEntered(caller, true)
}

// leave traps where guest code of the instance may not call out: in a realloc or a post-return.
func (i *Instance) leave() {
	if i.sealed {
		trap("cannot leave component instance")
	}
}
