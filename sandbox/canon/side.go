package canon

import (
	"context"
	"encoding/binary"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Encoding is how a component keeps its strings.
type Encoding uint8

// The encodings, by their canonical options.
const (
	UTF8        Encoding = iota
	UTF16                // little-endian
	Latin1UTF16          // bit 31 of the length says which
)

// Options are canonical options with what they name in one instance. A Memory or function that is not given is nil; one whose core instance does
// not exist yet is too, and can be set until it is needed.
type Options struct {
	Encoding   Encoding
	Memory     Memory
	Realloc    Function // (old, old size, align, new size) -> address
	PostReturn Function // of a sync lift: takes the core results
	Callback   Function // of an async lift: (event, index, payload) -> code
	Async      bool
}

// side is the one end of a call on which a component instance is: whose memory and table values are lifted from or lowered to. It is the
// specification's LiftLowerContext.
type side struct {
	ctx     context.Context
	inst    *Instance
	opts    *Options
	bytes   []byte // the whole memory, until guest code runs
	left    int64  // bytes that may still pass
	lenders *[]uint32
	task    *Task // that borrow handles are counted on when they are lowered
	stack   [4]uint64
}

// refresh looks at the memory anew, after guest code ran.
func (s *side) refresh() {
	if s.opts.Memory == nil {
		s.bytes = nil
		return
	}
	s.bytes, _ = s.opts.Memory.Read(0, s.opts.Memory.Size())
}

// charge counts bytes against what one call may pass.
func (s *side) charge(n uint64) {
	if s.left -= int64(n); s.left < 0 {
		s.left = 0
		trap("a call passes more than %d bytes in strings and lists, which is the limit", s.inst.store.limits.Lifted)
	}
}

// alloc asks the component's realloc for memory, also for none, and checks the answer. what is "list" or "string".
func (s *side) alloc(size uint64, align uint32, what string) uint32 {
	if s.opts.Realloc == nil {
		trap("the component gives no realloc to allocate a %s with, or its instance does not exist yet", what)
	}
	if size > types.MaxBytes {
		trap("%s content out-of-bounds: %d bytes exceed the maximum of %d", what, size, types.MaxBytes)
	}
	s.stack = [4]uint64{0, 0, uint64(align), size}
	s.inst.reallocate(s.ctx, s.opts.Realloc, s.stack[:])
	s.refresh()
	p := uint32(s.stack[0])
	if p&(align-1) != 0 {
		trap("unaligned pointer: realloc return: result not aligned: %#x to %d", p, align)
	}
	if uint64(p)+size > uint64(len(s.bytes)) {
		trap("%s content out-of-bounds: realloc return: beyond end of memory: %d bytes at %#x of %#x", what, size, p, len(s.bytes))
	}
	return p
}

// reallocate runs a realloc as the specification does: as a call of its own, with context slots of its own, that may not leave the instance.
func (i *Instance) reallocate(ctx context.Context, realloc Function, stack []uint64) {
	context := i.context()
	slots := *context
	*context = [2]uint32{}
	i.sealed = true
	call(ctx, realloc, stack)
	i.sealed = false
	*context = slots
}

// tuple checks the place of values that are passed in memory.
func (s *side) tuple(p uint32, b *block) {
	if p&(b.align-1) != 0 {
		trap("unaligned pointer: pointer not aligned: %#x to %d", p, b.align)
	}
	if uint64(p)+uint64(b.size) > uint64(len(s.bytes)) {
		trap("pointer out of bounds of memory: %d bytes at %#x of %#x", b.size, p, len(s.bytes))
	}
}

// list checks the place of a list and counts its bytes.
func (s *side) list(p, n uint32, b *block) {
	size := uint64(n) * uint64(b.size)
	if size > types.MaxBytes {
		trap("list content out-of-bounds: list pointer/length out of bounds of memory: %d bytes exceed the maximum of %d", size, types.MaxBytes)
	}
	if p&(b.align-1) != 0 {
		trap("unaligned pointer: list pointer is not aligned: %#x to %d", p, b.align)
	}
	if uint64(p)+size > uint64(len(s.bytes)) {
		trap("list content out-of-bounds: list pointer/length out of bounds of memory: %d bytes at %#x of %#x", size, p, len(s.bytes))
	}
	s.charge(size)
}

// load gives the little-endian integer of width bytes.
func load(b []byte, at uint32, width uint8) uint64 {
	switch width {
	case 1:
		return uint64(b[at])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b[at:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b[at:]))
	}
	return binary.LittleEndian.Uint64(b[at:])
}

func store(b []byte, at uint32, width uint8, v uint64) {
	switch width {
	case 1:
		b[at] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b[at:], uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b[at:], uint32(v))
	default:
		binary.LittleEndian.PutUint64(b[at:], v)
	}
}
