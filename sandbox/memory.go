package sandbox

import (
	"fmt"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// quota holds all memories of an instance together to the tenant's cap. One goroutine uses it, the invoking one.
type quota struct {
	cap     uint64 // bytes
	used    uint64 // bytes, of all memories
	peak    uint64 // bytes; the most that the guest had
	refused uint64 // bytes; the size that was asked for when growth was refused, 0 if it never was
	err     error  // the host had no memory to give
}

// begin forgets what the message before has done.
func (q *quota) begin() { q.peak, q.refused = q.used, 0 }

// memory is one linear memory of an instance: wazero's allocator, within the quota.
//
// The whole of what the guest may reach is reserved at once, so it never moves; pages cost nothing until they are written. wazero may call
// Free while guest code still stands on the stack, so Free does nothing: release gives the memory back when the call has returned.
type memory struct {
	quota    *quota
	of       api.Memory // nil until its module is there
	region   region
	restorer restorer
	size     uint64 // bytes
	rewind   uint64 // bytes; not 0: the next growth answers this size instead
}

// shrink sets a memory back to a smaller size, which wazero has no door for: the length of what Reallocate returns becomes the memory's
// size, whatever was asked for. It needs room for one page below the maximum.
func (m *memory) shrink(size uint64) bool {
	m.rewind = size
	_, ok := m.of.Grow(1)
	m.rewind = 0
	return ok && uint64(m.of.Size()) == size
}

// Allocate implements experimental.MemoryAllocator.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	m.quota.err = m.region.reserve(min(most, m.quota.cap))
	return m
}

// Reallocate implements experimental.LinearMemory. nil refuses, and memory.grow answers -1.
func (m *memory) Reallocate(size uint64) []byte {
	q := m.quota
	if q.err != nil {
		return nil
	}
	if m.rewind > 0 {
		size = m.rewind
	}
	others := q.used - m.size
	if others+size > q.cap {
		q.refused = others + size
		return nil
	}
	b := m.region.prefix(size)
	if b == nil && size > 0 {
		q.err = fmt.Errorf("no memory for %d bytes", size)
		return nil
	}
	m.size, q.used = size, others+size
	q.peak = max(q.peak, q.used)
	return b
}

// Free implements experimental.LinearMemory.
func (m *memory) Free() {}

func (m *memory) release() { m.region.release() }

// bytesText writes a size as people set it: in whole KiB, MiB or GiB where it is.
func bytesText(n uint64) string {
	for _, unit := range []struct {
		name  string
		shift uint
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n >= 1<<unit.shift && n&(1<<unit.shift-1) == 0 {
			return fmt.Sprintf("%d %s", n>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
