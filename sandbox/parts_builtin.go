package sandbox

import (
	"context"
	"fmt"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/component"
)

// builtin is a canonical built-in as a core function: its parameters lie at the beginning of the stack, its result goes there.
func (p *parts) builtin(c *component.Canon) func(ctx context.Context, stack []uint64) {
	in := p.store.Instance(c.Component)
	switch c.Builtin {
	case component.ResourceNew, component.ResourceDrop, component.ResourceRep:
		return resourceBuiltin(in, c.Builtin, p.assembly.resources[c.Resource.Index])
	case component.ContextGet:
		return func(_ context.Context, stack []uint64) { stack[0] = uint64(in.ContextGet(c.Slot)) }
	case component.ContextSet:
		return func(_ context.Context, stack []uint64) { in.ContextSet(c.Slot, uint32(stack[0])) }
	case component.TaskReturn:
		r := p.store.NewReturn(c.Component, c.Result, encoded(&c.Options))
		p.returns[c.Index] = r
		return r.Call
	case component.WaitableSetNew:
		return func(_ context.Context, stack []uint64) { stack[0] = uint64(in.WaitableSetNew()) }
	case component.WaitableSetWait:
		return func(ctx context.Context, stack []uint64) {
			stack[0] = uint64(in.WaitableSetWait(ctx, p.memories[c.Index], c.Cancellable, uint32(stack[0]), uint32(stack[1])))
		}
	case component.WaitableSetPoll:
		return func(_ context.Context, stack []uint64) {
			stack[0] = uint64(in.WaitableSetPoll(p.memories[c.Index], c.Cancellable, uint32(stack[0]), uint32(stack[1])))
		}
	}
	return taskBuiltin(in, c)
}

func resourceBuiltin(in *canon.Instance, b component.Builtin, r *canon.Resource) func(ctx context.Context, stack []uint64) {
	switch b {
	case component.ResourceNew:
		return func(_ context.Context, stack []uint64) { stack[0] = uint64(in.ResourceNew(r, uint32(stack[0]))) }
	case component.ResourceRep:
		return func(_ context.Context, stack []uint64) { stack[0] = uint64(in.ResourceRep(r, uint32(stack[0]))) }
	}
	return func(ctx context.Context, stack []uint64) { in.ResourceDrop(ctx, r, uint32(stack[0])) }
}

// taskBuiltin are those of the asynchronous ABI that need no memory.
func taskBuiltin(in *canon.Instance, c *component.Canon) func(ctx context.Context, stack []uint64) {
	switch c.Builtin {
	case component.TaskCancel:
		return func(context.Context, []uint64) { in.TaskCancel() }
	case component.ThreadYield:
		return func(ctx context.Context, stack []uint64) { stack[0] = uint64(in.ThreadYield(ctx, c.Cancellable)) }
	case component.SubtaskCancel:
		return func(ctx context.Context, stack []uint64) {
			stack[0] = uint64(in.SubtaskCancel(ctx, c.Async, uint32(stack[0])))
		}
	case component.SubtaskDrop:
		return func(_ context.Context, stack []uint64) { in.SubtaskDrop(uint32(stack[0])) }
	case component.WaitableSetDrop:
		return func(_ context.Context, stack []uint64) { in.WaitableSetDrop(uint32(stack[0])) }
	case component.WaitableJoin:
		return func(_ context.Context, stack []uint64) { in.WaitableJoin(uint32(stack[0]), uint32(stack[1])) }
	case component.BackpressureInc:
		return func(context.Context, []uint64) { in.BackpressureInc() }
	case component.BackpressureDec:
		return func(context.Context, []uint64) { in.BackpressureDec() }
	}
	panic(fmt.Errorf("the plan has the built-in %s, which nobody provides", c.Builtin))
}
