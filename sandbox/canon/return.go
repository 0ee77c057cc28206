package canon

import (
	"context"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Return is canon task.return in one Store.
type Return struct {
	Options Options
	inst    *Instance
	result  *types.Type
}

// NewReturn makes task.return of a component instance for a result type, which is nil for none.
func (s *Store) NewReturn(component int, result *types.Type, o Options) *Return {
	return &Return{Options: o, inst: &s.instances[component], result: result}
}

// Call takes the result of the task that runs, in core values.
func (r *Return) Call(ctx context.Context, stack []uint64) {
	t := r.inst.async("task.return")
	o := &t.lift.Options
	switch {
	case r.result != t.lift.fn.t.Result():
		trap("invalid `task.return` signature: the task's function returns another type")
	case r.Options.Encoding != o.Encoding || r.Options.Memory != o.Memory:
		trap("invalid `task.return` options: the task's lift has another memory or string encoding")
	case t.state == taskResolved:
		trap("task.return or task.cancel is called a second time by the same task")
	}
	t.side.begin(ctx, r.inst, o)
	t.resolve(stack)
}
