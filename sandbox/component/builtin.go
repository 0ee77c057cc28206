package component

import (
	"fmt"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Builtin is a canonical built-in function, by its byte in the binary format.
type Builtin byte

// The built-ins that can be planned. Of the others Decode refuses what is gated, and Load what is not offered.
const (
	ResourceNew        Builtin = 0x02
	ResourceDrop       Builtin = 0x03
	ResourceRep        Builtin = 0x04
	TaskCancel         Builtin = 0x05
	SubtaskCancel      Builtin = 0x06
	TaskReturn         Builtin = 0x09
	ContextGet         Builtin = 0x0a
	ContextSet         Builtin = 0x0b
	ThreadYield        Builtin = 0x0c
	SubtaskDrop        Builtin = 0x0d
	StreamNew          Builtin = 0x0e
	StreamRead         Builtin = 0x0f
	StreamWrite        Builtin = 0x10
	StreamCancelRead   Builtin = 0x11
	StreamCancelWrite  Builtin = 0x12
	StreamDropReadable Builtin = 0x13
	StreamDropWritable Builtin = 0x14
	FutureNew          Builtin = 0x15
	FutureRead         Builtin = 0x16
	FutureWrite        Builtin = 0x17
	FutureCancelRead   Builtin = 0x18
	FutureCancelWrite  Builtin = 0x19
	FutureDropReadable Builtin = 0x1a
	FutureDropWritable Builtin = 0x1b
	WaitableSetNew     Builtin = 0x1f
	WaitableSetWait    Builtin = 0x20
	WaitableSetPoll    Builtin = 0x21
	WaitableSetDrop    Builtin = 0x22
	WaitableJoin       Builtin = 0x23
	BackpressureInc    Builtin = 0x24
	BackpressureDec    Builtin = 0x25
)

// builtins are the forms of the built-ins: what they are called, take and give (in letters, i for i32 and I for i64), and which bytes follow.
var builtins = map[Builtin]struct{ name, params, results, follow string }{
	ResourceNew:        {"resource.new", "i", "i", "local"},
	ResourceDrop:       {"resource.drop", "i", "", "resource"},
	ResourceRep:        {"resource.rep", "i", "i", "local"},
	TaskCancel:         {"task.cancel", "", "", ""},
	SubtaskCancel:      {"subtask.cancel", "i", "i", "async"},
	TaskReturn:         {"task.return", "", "", "result"},
	ContextGet:         {"context.get", "", "i", "slot"},
	ContextSet:         {"context.set", "i", "", "slot"},
	ThreadYield:        {"thread.yield", "", "i", "cancel"},
	SubtaskDrop:        {"subtask.drop", "i", "", ""},
	StreamNew:          {"stream.new", "", "I", "stream"},
	StreamRead:         {"stream.read", "iii", "i", "stream options"},
	StreamWrite:        {"stream.write", "iii", "i", "stream options"},
	StreamCancelRead:   {"stream.cancel-read", "i", "i", "stream async"},
	StreamCancelWrite:  {"stream.cancel-write", "i", "i", "stream async"},
	StreamDropReadable: {"stream.drop-readable", "i", "", "stream"},
	StreamDropWritable: {"stream.drop-writable", "i", "", "stream"},
	FutureNew:          {"future.new", "", "I", "future"},
	FutureRead:         {"future.read", "ii", "i", "future options"},
	FutureWrite:        {"future.write", "ii", "i", "future options"},
	FutureCancelRead:   {"future.cancel-read", "i", "i", "future async"},
	FutureCancelWrite:  {"future.cancel-write", "i", "i", "future async"},
	FutureDropReadable: {"future.drop-readable", "i", "", "future"},
	FutureDropWritable: {"future.drop-writable", "i", "", "future"},
	WaitableSetNew:     {"waitable-set.new", "", "i", ""},
	WaitableSetWait:    {"waitable-set.wait", "ii", "i", "cancel memory"},
	WaitableSetPoll:    {"waitable-set.poll", "ii", "i", "cancel memory"},
	WaitableSetDrop:    {"waitable-set.drop", "i", "", ""},
	WaitableJoin:       {"waitable.join", "ii", "", ""},
	BackpressureInc:    {"backpressure.inc", "", "", ""},
	BackpressureDec:    {"backpressure.dec", "", "", ""},
}

// gatedBuiltins are those that belong to features which are off everywhere.
var gatedBuiltins = map[byte]string{
	0x07: "resource.drop with async", 0x08: "backpressure.set, which newer components do without", 0x1c: "error-context.new", 0x1d: "error-context.debug-message",
	0x1e: "error-context.drop", 0x26: "thread.index", 0x27: "thread.new-indirect", 0x28: "thread.resume-later", 0x29: "thread.suspend",
	0x2a: "thread.suspend-then-resume", 0x2b: "thread.yield-then-resume", 0x2c: "thread.suspend-then-promote", 0x2d: "thread.yield-then-promote",
	0x40: "thread.spawn-ref", 0x41: "thread.spawn-indirect", 0x42: "thread.available-parallelism",
}

func (b Builtin) String() string {
	if form, ok := builtins[b]; ok {
		return form.name
	}
	return fmt.Sprintf("canon %#02x", byte(b))
}

// offered tells whether a plan can hold the built-in.
func (b Builtin) offered() bool { return b < StreamNew || b > FutureDropWritable }

func coreTypes(letters string) []CoreType {
	var all []CoreType
	for _, l := range letters {
		if l == 'I' {
			all = append(all, types.CoreI64)
		} else {
			all = append(all, types.CoreI32)
		}
	}
	return all
}

// builtin reads a canonical definition that is neither lift nor lower.
func (d *decoder) builtin(b byte) {
	if what, ok := gatedBuiltins[b]; ok && d.err == nil {
		d.gated(what)
		return
	}
	form, ok := builtins[Builtin(b)]
	if !ok {
		if d.err == nil {
			d.wrong(b, "a canonical definition")
		}
		return
	}
	s := stepBuiltin{builtin: Builtin(b), options: options{memory: -1, realloc: -1, postReturn: -1, callback: -1}}
	fn := &CoreFuncType{coreTypes(form.params), coreTypes(form.results)}
	switch form.follow {
	case "resource", "local":
		d.resourceBuiltin(&s, form.name, form.follow == "local")
	case "async":
		s.async = d.flag("whether it is async")
	case "cancel":
		s.cancellable = d.flag("whether it is cancellable")
	case "cancel memory":
		s.cancellable = d.flag("whether it is cancellable")
		s.options.memory = int64(d.index())
		if d.err == nil {
			d.checkOptions(s.options)
		}
	case "slot":
		if t := d.byte(); t != 0x7f && d.err == nil {
			d.invalid("the type of a context slot must be i32")
		}
		if s.slot = d.u32(); s.slot > 1 {
			d.invalid("there are 2 context slots, %d is none of them", s.slot)
		}
	case "result":
		d.taskReturn(&s, fn)
	case "stream", "future", "stream options", "future options", "stream async", "future async":
		d.channelBuiltin(&s, form.follow)
	}
	if d.err == nil {
		d.defineCore(coreExtern{sort: CoreFunc, fn: fn})
		d.add(s)
	}
}

func (d *decoder) resourceBuiltin(s *stepBuiltin, name string, local bool) {
	t := d.resourceAt(d.index())
	if d.err != nil {
		return
	}
	if local && !d.scope.local[t.resource] {
		d.invalid("%s: type is not a local resource", name)
	}
	s.resource = t.resource
}

func (d *decoder) taskReturn(s *stepBuiltin, fn *CoreFuncType) {
	s.result, _ = d.resultList()
	s.options = d.options()
	if d.err != nil {
		return
	}
	o := s.options
	if o.async || o.realloc >= 0 || o.postReturn >= 0 || o.callback >= 0 {
		d.invalid("task.return takes a memory and a string encoding alone as canonical options")
		return
	}
	if s.result != nil && s.result.HasBorrow() {
		d.invalid("function result cannot contain a `borrow` type")
		return
	}
	sig := types.TaskReturn(s.result)
	d.needs("memory", o.memory >= 0, s.result != nil && s.result.HasPointer() || sig.SpilledParams)
	fn.Params = sig.Params
}

func (d *decoder) channelBuiltin(s *stepBuiltin, follow string) {
	i := d.index()
	kind := types.Future
	if follow[0] == 's' {
		kind = types.Stream
	}
	t, ok := index(d, d.scope.types, SortType, i)
	if !ok {
		return
	}
	if t.kind != defValue || t.value.Kind() != kind {
		d.invalid("type index %d is not a %s type", i, kind)
		return
	}
	s.result = t.value
	switch follow[len("stream"):] {
	case " options":
		s.options = d.options()
		if d.err != nil {
			return
		}
		d.lowers(s.options)
		elem := t.value.Elem()
		d.needs("memory", s.options.memory >= 0, elem != nil)
		reads := s.builtin == StreamRead || s.builtin == FutureRead
		d.needs("realloc", s.options.realloc >= 0, reads && elem != nil && elem.HasPointer())
	case " async":
		s.async = d.flag("whether it is async")
	}
}
