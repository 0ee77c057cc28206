package scheduler

import (
	"math/bits"
	"sync"
)

// ring is a first-in first-out of messages. It grows by doubling up to what admission lets in and gives its memory back when it runs empty, to
// the next ring that grows: where traffic comes in bursts, that happens with each of them.
type ring struct {
	items   []*Message // length is a power of two, or 0
	head, n int
}

const keepRing = 64 // slots that an empty ring keeps

func (r *ring) push(m *Message) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.items[(r.head+r.n)&(len(r.items)-1)] = m
	r.n++
}

// pushFront makes m the oldest.
func (r *ring) pushFront(m *Message) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.head = (r.head - 1) & (len(r.items) - 1)
	r.items[r.head] = m
	r.n++
}

func (r *ring) grow() {
	var grown ring
	grown.reserve(max(2*len(r.items), 8))
	for i := range r.n {
		grown.items[i] = *r.at(i)
	}
	r.giveBack()
	r.items, r.head = grown.items, 0
}

// Rings that were given back lie in pools by the logarithm of their length; those shorter than the first size or longer than the last are left
// to the garbage collector. A ring without items is put aside for the next one that is given back.
const firstSpare, lastSpare = 7, 16 // 128 and 65,536 slots

var (
	spares [lastSpare + 1]sync.Pool
	shells = sync.Pool{New: func() any { return new(ring) }}
)

// reserve gives an empty ring so many slots, a power of two.
func (r *ring) reserve(slots int) {
	size := bits.TrailingZeros(uint(slots))
	if size >= firstSpare && size <= lastSpare {
		if spare, ok := spares[size].Get().(*ring); ok {
			r.items, spare.items = spare.items, nil
			shells.Put(spare)
			return
		}
	}
	r.items = make([]*Message, slots)
}

// giveBack takes the slots from a ring whose messages are elsewhere.
func (r *ring) giveBack() {
	size := bits.TrailingZeros(uint(len(r.items)))
	if size >= firstSpare && size <= lastSpare {
		clear(r.items)
		spare := shells.Get().(*ring)
		spare.items = r.items
		spares[size].Put(spare)
	}
	r.items = nil
}

func (r *ring) pop() *Message {
	m := r.items[r.head]
	r.items[r.head] = nil
	r.head = (r.head + 1) & (len(r.items) - 1)
	if r.n--; r.n == 0 {
		if r.head = 0; len(r.items) > keepRing {
			r.giveBack()
		}
	}
	return m
}

// at returns the i-th oldest.
func (r *ring) at(i int) **Message { return &r.items[(r.head+i)&(len(r.items)-1)] }
