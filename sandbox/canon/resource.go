package canon

import (
	"context"
	"errors"
)

// ResourceNew is canon resource.new: an own handle for a rep of a resource that the instance defines.
func (i *Instance) ResourceNew(r *Resource, rep uint32) uint32 {
	i.leave()
	return i.table.add(Handle{Resource: r, Rep: rep}.entry(true, nil))
}

// ResourceRep is canon resource.rep: the rep behind a handle of a resource that the instance defines.
func (i *Instance) ResourceRep(r *Resource, index uint32) uint32 { return i.table.handle(index, r).rep }

// ResourceDrop is canon resource.drop. Dropping an own handle runs the destructor; the call of one that a component defines follows the rules of
// any other call.
func (i *Instance) ResourceDrop(ctx context.Context, r *Resource, index uint32) {
	i.leave()
	e := i.table.handle(index, r)
	if e.lends > 0 {
		trap("cannot remove owned resource while borrowed")
	}
	h, own, scope := e.handle(), e.own, e.scope
	i.table.remove(index)
	if !own {
		scope.borrows--
		return
	}
	i.store.destroy(ctx, h, i)
}

// destroy runs the destructor of a resource that nobody owns any more; caller is nil for the host.
func (s *Store) destroy(ctx context.Context, h Handle, caller *Instance) {
	r := h.Resource
	if r.Component == Host {
		if r.drop != nil {
			r.drop(s, h.Object)
		}
		return
	}
	definer := &s.instances[r.Component]
	definer.enter(caller)
	if dtor := &s.dtors[r.index]; dtor.f != nil {
		t := s.task()
		t.inst, t.up = definer, callerTask(caller)
		before := definer.task
		definer.task = t
		t.stack[0] = uint64(h.Rep)
		dtor.call(ctx, t.stack[:1])
		t.checkBorrows()
		definer.task = before
		s.release(t)
	}
	definer.setEntered(caller, false)
}

// Drop gives up a resource that the host owns: that of an own handle which a function of a component has returned to it.
func (s *Store) Drop(ctx context.Context, h Handle) (err error) {
	defer s.end(&err)
	s.destroy(ctx, h, nil)
	return nil
}

// door is a core function that can be entered again while it runs.
type door struct {
	f     Function
	fresh func() Function
	inner int
}

// call enters the function; where it runs already, through another Function for it, because one must not be on the stack twice.
func (d *door) call(ctx context.Context, stack []uint64) {
	f := d.f
	if d.inner > 0 {
		if d.fresh == nil {
			trap("cannot enter component instance")
		}
		f = d.fresh()
	}
	d.inner++
	call(ctx, f, stack)
	d.inner--
}

// call calls a core function. An error of the guest goes on as a panic.
func call(ctx context.Context, f Function, stack []uint64) {
	if err := f.CallWithStack(ctx, stack); err != nil {
		panic(err)
	}
}

// end is deferred by what the host calls: it turns what was thrown into an error, and the Store is dead.
func (s *Store) end(err *error) {
	v := recover()
	if v == nil {
		return
	}
	defer func() { // a bug goes on, and the Store is dead all the same
		if s.err == nil {
			s.err = *err
			if *err == nil {
				s.err = &Trap{Why: "a host function failed"}
			}
		}
	}()
	*err = caught(v)
	if t := (*Trap)(nil); errors.As(*err, &t) && t.Func == "" {
		t.Func = s.now
	}
}
