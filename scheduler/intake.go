package scheduler

import (
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// maxArrivals bounds what one read hands to admit at once, and with it the memory that the reader keeps and the time that it holds the lock.
// The deliveries of one frame stay together.
const maxArrivals = 1024

// receive is the hub's sink: it takes the frames of one read through routes and admit into the queue, and wakes a worker. It runs on the
// reader's goroutine, holds one lock once for each maxArrivals, and calls no guest.
func (s *Scheduler) receive(in *reader, at time.Time, frames []frame) {
	routes := in.table.Load()
	if in.OncePerPatterns {
		frames = routes.spread(frames)
	}
	arrivals := in.arrivals[:0]
	for i := range frames {
		f := &frames[i]
		r := routes.find(f)
		if r == nil {
			continue
		}
		for _, tap := range r.taps {
			tap.offer(f, at)
		}
		if len(r.triggers) == 0 {
			continue
		}
		m := s.message(in, r, f, at)
		for _, t := range r.triggers {
			a := arrival{trigger: t, message: m, version: t.version.Load()}
			if a.version.orderBy != nil {
				a.key = keyed(a.version.orderBy, m.Payload())
			}
			arrivals = append(arrivals, a)
		}
		if len(arrivals) >= maxArrivals {
			s.enqueue(in, arrivals, at)
			arrivals = arrivals[:0]
		}
	}
	s.enqueue(in, arrivals, at)
	in.arrivals = arrivals
}

// enqueue takes arrivals through admit and wakes a worker.
func (s *Scheduler) enqueue(in *reader, arrivals []arrival, at time.Time) {
	if len(arrivals) == 0 {
		return
	}
	s.queue.mu.Lock()
	refused := s.queue.admit(arrivals, at)
	w := s.wake()
	s.queue.mu.Unlock()
	s.submit(w)
	for _, a := range refused {
		s.refuse(&in.record, &in.stock, a, at)
	}
	clear(arrivals) // the reader keeps no message alive
}

// message copies a frame and gives it its id.
func (s *Scheduler) message(in *reader, r *route, f *frame, at time.Time) *Message {
	m := in.stock.newMessage(f, r.name, at, len(r.triggers))
	if s.follows.some.Load() {
		m.follow = s.follows.claim(in.index, r, f)
	}
	if m.follow != nil {
		m.ID = m.follow.ID
	} else {
		m.ID = tenants.MessageID(in.ids.Next(at))
	}
	return m
}
