package scheduler

// ring is a first-in first-out of messages. It grows by doubling up to what admission lets in and gives its memory back when it runs empty.
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
	grown := make([]*Message, max(2*len(r.items), 8))
	for i := range r.n {
		grown[i] = *r.at(i)
	}
	r.items, r.head = grown, 0
}

func (r *ring) pop() *Message {
	m := r.items[r.head]
	r.items[r.head] = nil
	r.head = (r.head + 1) & (len(r.items) - 1)
	if r.n--; r.n == 0 {
		if r.head = 0; len(r.items) > keepRing {
			r.items = nil
		}
	}
	return m
}

// at returns the i-th oldest.
func (r *ring) at(i int) **Message { return &r.items[(r.head+i)&(len(r.items)-1)] }
