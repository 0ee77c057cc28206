package scheduler

import "time"

// quantum is what each turn adds to a member's credit, times its weight.
const quantum = time.Millisecond

// round is deficit round robin (Shreedhar and Varghese, 1995) over members that have work, charged after the fact: a member whose turn comes
// gets its quantum and is served as long as it has credit, then goes to the back. Time that was measured is charged when it is known, so
// credit may be negative: a debt that later turns pay. A member that is held is passed over; it keeps its place, and what its turns give it
// up to a bound.
//
// No member waits for more than one turn of each other member, and over time each gets handler time in proportion to its weight.
type round[T any] struct {
	head *member[T] // a ring; nil when nobody has work
	n    int
	held int // of n
}

// member is one tenant in the round of all tenants, or one trigger in the round of its tenant's.
type member[T any] struct {
	owner      *T
	weight     time.Duration // 1 and more
	credit     time.Duration
	left       time.Time // when it last left the round
	granted    bool      // this turn's quantum
	held       bool
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

// remove takes a member out. It keeps its credit.
func (r *round[T]) remove(m *member[T], now time.Time) {
	if m.next == nil {
		return
	}
	r.hold(m, false)
	if r.head == m {
		r.head = m.next
	}
	if m.prev.next, m.next.prev = m.next, m.prev; r.n == 1 {
		r.head = nil
	}
	m.prev, m.next, m.left = nil, nil, now
	m.granted = m.granted && m.credit > 0 // its turn goes on when it comes back
	r.n--
}

// hold has a member passed over, or not any more.
func (r *round[T]) hold(m *member[T], held bool) {
	switch {
	case m.held == held:
		return
	case held:
		r.held++
	default:
		r.held--
	}
	m.held = held
}

// pick returns whose turn it is, or nil. With lend, those that are held have theirs where there is nobody else.
func (r *round[T]) pick(lend bool) *T {
	lend = lend && r.held == r.n
	if r.n == 0 || r.held == r.n && !lend {
		return nil
	}
	for turns := 0; ; turns++ {
		m := r.head
		serve := lend || !m.held
		if serve && m.credit > 0 {
			return m.owner
		}
		if !m.granted {
			m.granted = true
			m.grant(1)
			if serve && m.credit > 0 {
				return m.owner
			}
		}
		m.granted = false
		r.head = m.next
		if turns == r.n { // everybody is in debt: skip the turns in which nobody would be served
			r.payDebts(lend)
		}
	}
}

func (r *round[T]) payDebts(lend bool) {
	turns := time.Duration(1<<62 - 1)
	for i, m := 0, r.head; i < r.n; i, m = i+1, m.next {
		if lend || !m.held {
			turns = min(turns, max(-m.credit, 0)/(quantum*m.weight))
		}
	}
	for i, m := 0, r.head; i < r.n; i, m = i+1, m.next {
		m.grant(turns)
	}
}

// heldTurns is how many turns a member that is held may save.
const heldTurns = 10

// grant gives a member so many turns' credit. More than one turn's is for those alone that could not use it.
func (m *member[T]) grant(turns time.Duration) {
	most := time.Duration(1)
	if m.held {
		most = heldTurns
	}
	if most *= quantum * m.weight; m.credit < most {
		m.credit = min(m.credit+turns*quantum*m.weight, most)
	}
}

// charge takes used time from a member's credit; a negative amount gives it back.
func (m *member[T]) charge(used time.Duration) { m.credit -= used }
