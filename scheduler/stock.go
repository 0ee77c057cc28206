package scheduler

import "sync"

// stock is where one goroutine takes messages from and gives them back to. What lies in it is its own; it goes to the pool, which all share,
// once for each batch. It holds two batches at most, 32 KiB: a reader keeps them beside its buffer, which is larger, and a worker that has
// nothing to do empties its stock into the pool, where the garbage collector finds them.
type stock struct {
	fresh, used *batch // nil or not empty
	taken       int    // of fresh
}

// batch is an array of messages in the order in which they were given back: who takes them in that order walks through memory as whoever
// used them last did, which processors foresee.
type batch struct {
	n        int
	messages [batchSize]*Message
}

const batchSize = 64

var (
	batches = sync.Pool{New: newBatch}                         // full ones, or nearly so
	empties = sync.Pool{New: func() any { return new(batch) }} // what they hold is of no meaning
)

func newBatch() any {
	b := &batch{n: batchSize}
	for i := range b.messages {
		b.messages[i] = new(Message)
	}
	return b
}

func (s *stock) take() *Message {
	if s.fresh == nil {
		s.refill()
	}
	b := s.fresh
	m := b.messages[s.taken]
	if s.taken++; s.taken == b.n {
		s.fresh = nil
		empties.Put(b)
	}
	return m
}

func (s *stock) refill() {
	if s.fresh, s.taken = s.used, 0; s.fresh == nil {
		s.fresh = batches.Get().(*batch)
	}
	s.used = nil
}

func (s *stock) give(m *Message) {
	if s.used == nil {
		s.used = empties.Get().(*batch)
		s.used.n = 0
	}
	b := s.used
	b.messages[b.n] = m
	if b.n++; b.n == batchSize {
		s.used = nil
		batches.Put(b)
	}
}

// empty gives everything to the pool.
func (s *stock) empty() {
	if b := s.fresh; b != nil {
		b.n = copy(b.messages[:], b.messages[s.taken:b.n])
		batches.Put(b)
	}
	if s.used != nil {
		batches.Put(s.used)
	}
	*s = stock{}
}

// buffer holds the bytes of a message that is too large for its own.
type buffer struct{ bytes []byte }

// keepBuffer is the largest buffer that the pool keeps; a larger one is left to the garbage collector.
const keepBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func (b *buffer) release() {
	if cap(b.bytes) > keepBuffer {
		b.bytes = nil
	}
	buffers.Put(b)
}
