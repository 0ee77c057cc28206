package scheduler

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// spiller moves deliveries between memory and disk: one goroutine for the whole Scheduler, which is there while a trigger wants something of
// it. Readers and workers hand it work under the queue's lock and never wait for it; it touches files without the lock.
//
// Nothing is synced: what is spilled need not survive the process, since Redis' pub/sub does not either.
type spiller struct {
	s     *Scheduler
	dir   string
	began time.Time      // what times on disk are relative to
	group sync.WaitGroup // the goroutine; Shutdown waits for it

	// Under the queue's lock.
	todo    []*triggerQueue // those it has to look at, each once; as many as there are triggers
	running bool
	cost    int64     // bytes of messages that are unwritten or being written
	retry   time.Time // after a failure: nothing is written before

	// The goroutine's alone.
	out, in []byte
	files   int
	told    time.Time // when a failure was last logged
	record  telemetry.Record
	stock   stock
}

const (
	spillBuffer = 256 << 10   // bytes of one write or read; a larger message has one of its own
	maxFiles    = 1024        // segments at once, of all tenants, and with it the disk; one more fails like a full disk
	retryAfter  = time.Second // after a failure
	tellAfter   = time.Minute // at most one line in that time
)

func newSpiller(s *Scheduler, dir string) *spiller {
	if dir == "" {
		return nil
	}
	cleanSpill(dir)
	return &spiller{s: s, dir: dir, began: time.Now()}
}

// list has the spiller look at a trigger. The caller holds the queue's lock.
func (s *spiller) list(t *triggerQueue) {
	if t.spill.listed {
		return
	}
	t.spill.listed = true
	s.todo = append(s.todo, t)
	if !s.running {
		s.running = true
		s.group.Go(s.work) // ends when there is nothing to do; Shutdown waits for it
	}
}

// wait returns when the goroutine has ended. Nothing may be spilled any more.
func (s *spiller) wait() {
	if s != nil {
		s.group.Wait()
	}
}

// visit is one look at a trigger.
type visit struct {
	trigger *triggerQueue
	spill   *spill
	gone    tenants.Reason // why all that is spilled is dropped, or none
	n       int            // deliveries that may come back
	bytes   int64          // of them; the last may go beyond
	span    int64          // what so many take on disk, by the mean
	out     []arrival      // what was unwritten
	cost    int64          // of it in memory
	direct  int            // of out: came back without having been on disk
	written int            // of out: came back or is on disk
	in      []arrival      // came back; or is lost, with its outcome and reason
	read    int64          // bytes of their records
	disk    int            // by how many there are more on disk
	err     error          // of writing
}

func (s *spiller) work() {
	q := &s.s.queue
	var x visit
	q.mu.Lock()
	for len(s.todo) > 0 {
		t := s.todo[0]
		s.todo = s.todo[1:]
		if t.spill == nil || !t.spill.listed { // it ran empty meanwhile
			continue
		}
		s.begin(&x, t)
		q.mu.Unlock()

		s.fetch(&x)
		s.store(&x)

		q.mu.Lock()
		refused := s.end(&x)
		empty := t.spill == nil
		w := s.s.wake()
		q.mu.Unlock()
		s.s.submit(w)
		now := time.Now()
		for _, a := range refused {
			s.s.refuse(&s.record, &s.stock, a, now)
		}
		for empty && len(x.spill.segments) > 0 {
			s.drop(x.spill)
		}
		x.reset()
		q.mu.Lock()
	}
	s.stock.empty()
	s.todo, s.running, s.record = nil, false, telemetry.Record{} // from the unlock on there may be another goroutine
	q.mu.Unlock()
}

// reset keeps the memory and nothing that lies in it.
func (x *visit) reset() {
	clear(x.out)
	clear(x.in)
	*x = visit{out: x.out[:0], in: x.in[:0]}
}

// begin takes what is to be done, under the lock.
func (s *spiller) begin(x *visit, t *triggerQueue) {
	q, p := &s.s.queue, t.spill
	p.listed = false
	x.trigger, x.spill, x.gone, x.cost = t, p, q.gone(t), p.cost
	if x.n, x.bytes = q.room(t); x.gone != tenants.NoReason {
		x.n, x.bytes = refillCount, refillBytes
	}
	x.span = p.bytes / int64(p.count) * int64(x.n)
	x.out, p.unwritten = p.unwritten, x.out[:0]
	if p.disk > 0 {
		return
	}
	for ; x.n > 0 && x.bytes > 0 && x.direct < len(x.out); x.direct++ { // without a detour over the disk
		a := x.out[x.direct]
		x.in = append(x.in, a)
		x.n--
		x.bytes -= a.message.cost()
		x.read += recordSize(a.message)
	}
	x.written, x.n = x.direct, 0
}

// fetch reads deliveries back.
func (s *spiller) fetch(x *visit) {
	p, v := x.spill, x.trigger.version.Load()
	for x.n > 0 && x.bytes > 0 && p.disk+x.disk > 0 {
		g, before := p.segments[0], len(x.in)
		if g.left == 0 {
			s.drop(p)
			continue
		}
		if err := s.scan(x, g, v); err != nil {
			s.fail("read", err)
			s.lose(x, g, v, err)
		}
		x.disk -= len(x.in) - before
		x.n -= len(x.in) - before
	}
}

// scan reads records of a segment through one buffer. An error is of the next one, and with it of all that follow.
func (s *spiller) scan(x *visit, g *segment, v *version) error {
	if s.in == nil {
		s.in = make([]byte, spillBuffer)
	}
	buf, err := g.fill(s.in[:min(max(x.span, spillBuffer/64), spillBuffer)])
	if err != nil {
		return err
	}
	for n := x.n; n > 0 && x.bytes > 0 && len(buf) >= recordHead; n-- {
		size, err := recordLength(buf)
		if err != nil || size > int64(len(buf)) {
			return nil // cut by the buffer; or the next fill finds the fault
		}
		a, err := s.restore(x, v, buf[:size])
		if err != nil {
			s.fail("read", err)
			a = s.lost(x.trigger, v, tenants.SpillCorrupt)
		}
		x.in = append(x.in, a)
		x.bytes -= size
		x.read += size
		g.read += size
		g.left--
		buf = buf[size:]
	}
	return nil
}

// restore makes a delivery of its record.
func (s *spiller) restore(x *visit, v *version, record []byte) (a arrival, err error) {
	m, err := s.stock.readRecord(record, v.public.Target, s.began)
	if err != nil {
		return a, err
	}
	if m.follow = x.spill.follows[m.ID]; m.follow != nil {
		delete(x.spill.follows, m.ID)
	}
	a = arrival{trigger: x.trigger, message: m, version: v}
	if v.orderBy != nil {
		a.key = keyed(v.orderBy, m.Payload())
	}
	return a, nil
}

// lost is a delivery of which nothing is known any more but that it was one of this trigger.
func (s *spiller) lost(t *triggerQueue, v *version, why tenants.Reason) arrival {
	target := v.public.Target
	var channel []byte
	if target.Kind != tenants.Pattern {
		channel = []byte(target.Name)
	}
	m := s.stock.restored(target, channel, nil, time.Now())
	m.ID = tenants.MessageID{}
	return arrival{trigger: t, message: m, version: v, outcome: tenants.Dropped, reason: why}
}

// lose gives up all that a segment still has.
func (s *spiller) lose(x *visit, g *segment, v *version, err error) {
	why := tenants.SpillFailed
	if errors.Is(err, errTorn) {
		why = tenants.SpillCorrupt
	}
	for ; g.left > 0; g.left-- {
		x.in = append(x.in, s.lost(x.trigger, v, why))
	}
	x.read += g.size - g.read
	g.read = g.size
}

// drop gives up the first segment, which was read to its end or is of no use any more.
func (s *spiller) drop(p *spill) {
	p.segments[0].close()
	p.segments[0] = nil
	p.segments = p.segments[1:]
	s.files--
}

// store writes what did not come back at once, in its order. After a failure the rest is dropped.
func (s *spiller) store(x *visit) {
	if x.gone != tenants.NoReason {
		return
	}
	for x.written < len(x.out) && x.err == nil {
		x.err = s.flush(x)
	}
	if x.err != nil {
		s.fail("write", x.err)
	}
}

// flush writes one buffer of messages.
func (s *spiller) flush(x *visit) error {
	p := x.spill
	g, err := s.last(p, p.disk+x.disk == 0)
	if err != nil {
		return err
	}
	out, from := s.out[:0], x.written
	to := from
	for ; to < len(x.out) && len(out) < spillBuffer && g.size+int64(len(out)) < segmentSize; to++ {
		out = appendRecord(out, x.out[to].message, s.began)
	}
	if s.out = out; cap(out) > 2*spillBuffer {
		s.out = nil // there was a large message
	}
	if err := g.write(out, to-from); err != nil {
		return err
	}
	for _, a := range x.out[from:to] {
		if f := a.message.follow; f != nil {
			if p.follows == nil {
				p.follows = map[tenants.MessageID]*Follow{}
			}
			p.follows[a.message.ID] = f
		}
		a.message.release(&s.stock)
	}
	x.written = to
	x.disk += to - from
	return nil
}

// last is the segment to write to; empty says that all there are were read to their end.
func (s *spiller) last(p *spill, empty bool) (*segment, error) {
	for empty && len(p.segments) > 1 {
		s.drop(p)
	}
	if n := len(p.segments); n > 0 {
		g := p.segments[n-1]
		if empty {
			g.reuse()
		}
		if g.size < segmentSize {
			return g, nil
		}
	}
	if s.files >= maxFiles {
		return nil, fmt.Errorf("%d files of %d bytes hold spilled messages already, and there may be no more", s.files, segmentSize)
	}
	g, err := openSegment(s.dir)
	if err != nil {
		return nil, err
	}
	s.files++
	p.segments = append(p.segments, g)
	return g, nil
}

// fail says so, where that was not said of late.
func (s *spiller) fail(doing string, err error) {
	now := time.Now()
	if !s.told.IsZero() && now.Sub(s.told) < tellAfter {
		return
	}
	s.told = now
	s.s.config.Log.Error("spilled messages were dropped", "dir", s.dir, "doing", doing, "cause", err)
}

// end brings what has become of one look to the queue, under the lock, and returns what is dropped.
func (s *spiller) end(x *visit) (refused []arrival) {
	q, t, p, now := &s.s.queue, x.trigger, x.spill, time.Now()
	failed, gone := x.out[x.written:], q.gone(t)
	for _, a := range failed {
		x.read += recordSize(a.message)
		if a.outcome, a.reason = tenants.Dropped, tenants.SpillFailed; gone != tenants.NoReason {
			a.reason = gone
		}
		refused = append(refused, a)
	}
	for _, a := range x.in {
		switch {
		case a.outcome == tenants.Dropped:
			refused = append(refused, a)
		case gone != tenants.NoReason:
			a.outcome, a.reason = tenants.Dropped, gone
			refused = append(refused, a)
		default:
			a.rekey()
			q.put(a, now)
		}
	}
	t.tenant.account.Begin(len(refused))
	q.unspill(t, len(x.in)+len(failed), x.read, x.cost)
	p.disk += x.disk
	switch {
	case x.err != nil:
		s.retry = now.Add(retryAfter)
	case x.written > x.direct:
		s.retry = time.Time{}
	}
	switch {
	case p.count == 0:
		t.spill = nil
		s.s.quiet()
	case len(p.unwritten) > 0:
		s.list(t)
	default:
		q.refill(t)
	}
	return refused
}
