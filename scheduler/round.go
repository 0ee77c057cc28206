package scheduler

import "time"

// quantum is what each turn adds to a member's credit, times its weight.
const quantum = time.Millisecond

// round is deficit round robin (Shreedhar and Varghese, 1995) over members that have work, charged after the fact: a member is served as
// long as it has credit; when its turn comes without credit it gets its quantum and goes to the back. Time that was measured is charged
// when it is known, so credit may be negative: a debt that later turns pay.
//
// No member waits for more than one turn of each other member, and over time each gets handler time in proportion to its weight.
type round[T any] struct {
	head *member[T] // a ring; nil when nobody has work
	n    int
}

// member is one tenant in the round of all tenants, or one trigger in the round of its tenant's.
type member[T any] struct {
	owner      *T
	weight     time.Duration // 1 and more
	credit     time.Duration
	left       time.Time // when it last left the round
	prev, next *member[T]
}

// add lets a member in: behind everybody else, or, with credit left of a turn that it could not use up (it was at its cap, or out of work),
// before them.
func (r *round[T]) add(m *member[T], now time.Time) {
	if m.next != nil {
		return
	}
	if m.credit < 0 { // a debt fades while its owner asks for nothing
		m.credit = min(0, m.credit+now.Sub(m.left))
	}
	if r.head == nil {
		m.prev, m.next, r.head = m, m, m
	} else {
		m.prev, m.next = r.head.prev, r.head
		m.prev.next, m.next.prev = m, m
		if m.credit > 0 {
			r.head = m
		}
	}
	r.n++
}

// remove takes a member out. It keeps its credit, which is never above the quantum of one turn.
func (r *round[T]) remove(m *member[T], now time.Time) {
	if m.next == nil {
		return
	}
	if r.head == m {
		r.head = m.next
	}
	if m.prev.next, m.next.prev = m.next, m.prev; r.n == 1 {
		r.head = nil
	}
	m.prev, m.next, m.left = nil, nil, now
	r.n--
}

// pick returns whose turn it is, or nil.
func (r *round[T]) pick() *T {
	for turns := 0; r.head != nil; turns++ {
		m := r.head
		if m.credit > 0 {
			return m.owner
		}
		if turns == r.n { // everybody is in debt: skip the turns in which nobody would be served
			r.payDebts()
			continue
		}
		m.credit += quantum * m.weight
		r.head = m.next
	}
	return nil
}

func (r *round[T]) payDebts() {
	turns := time.Duration(1<<62 - 1)
	for i, m := 0, r.head; i < r.n; i, m = i+1, m.next {
		turns = min(turns, -m.credit/(quantum*m.weight))
	}
	for i, m := 0, r.head; i < r.n; i, m = i+1, m.next {
		m.credit += turns * quantum * m.weight
	}
}

// charge takes used time from a member's credit; a negative amount gives it back.
func (m *member[T]) charge(used time.Duration) { m.credit -= used }
