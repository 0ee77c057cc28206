package hosttest

import (
	"context"
	"encoding/binary"

	"github.com/tenloom/tenloom/sandbox/canon"
)

// Task runs body as the code of an asynchronous function of the guest, in which Start and Wait can be called. The error is what has ended it.
func (g *Guest) Task(ctx context.Context, body func()) error {
	t, err := g.table.Func(nil, nil, true)
	if err != nil {
		g.t.Fatal(err)
	}
	f, err := g.program.Func(t)
	if err != nil {
		g.t.Fatal(err)
	}
	o := canon.Options{Memory: &g.memory, Realloc: function(g.realloc), Async: true}
	done := g.Store.NewReturn(0, nil, o)
	l := g.Store.NewLift(0, f, "task", o)
	l.SetCore(function(func([]uint64) {
		body()
		done.Call(ctx, nil)
	}), nil)
	return l.Call(ctx, func(*canon.Writer) {}, nil)
}

// Start calls a function asynchronously, for parameters of at most four flat values. The result can be read when Wait has given the subtask, or
// at once where that is 0.
func (g *Guest) Start(ctx context.Context, iface, name string, args ...canon.Value) (subtask uint32, result func() canon.Value) {
	imp := g.lowers[iface+"#"+name]
	var flat []uint64
	for i, p := range imp.Type.Params() {
		flat = append(flat, g.flatten(p.Type, args[i])...)
	}
	r := imp.Type.Result()
	at := g.alloc(r.Size(), r.Align())
	stack := append(flat, uint64(at))
	imp.async.Call(ctx, stack)
	return uint32(stack[0]) >> 4, func() canon.Value { return g.load(r, at) }
}

// Wait waits for all of some subtasks.
func (g *Guest) Wait(ctx context.Context, subtasks ...uint32) {
	i := g.Store.Instance(0)
	set, event := i.WaitableSetNew(), g.alloc(8, 8)
	for _, s := range subtasks {
		i.WaitableJoin(s, set)
	}
	for range subtasks {
		for state := uint32(0); state < 2; {
			i.WaitableSetWait(ctx, &g.memory, false, set, event)
			state = binary.LittleEndian.Uint32(g.memory[event+4:])
		}
		i.SubtaskDrop(binary.LittleEndian.Uint32(g.memory[event:]))
	}
	i.WaitableSetDrop(set)
}
