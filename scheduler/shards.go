package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// shards keep the sharded channels of a cluster: those whose hash slots one master serves are subscribed to on one connection to it.
//
//	channel ──► hash slot ──► shard ──► hub of one lane ──► the master's socket
//	               ▲                          │
//	               └── in question ◄──────────┘ sunsubscribe, -MOVED, another owner at a reconnect, Reshard
//
// A slot in question is asked for at DialShard, and its channels are taken to whoever serves it. That is a gap, which is announced: two masters
// have no order in common, so nothing could be handed over without one. A slot's channels are asked for at one master at a time, and the former
// one sends nothing any more when another serves the slot, so that nothing comes twice.
type shards struct {
	endpoint Endpoint
	config   hubConfig     // of each shard's hub
	limbo    *hub          // holds the channels whose shard is not known yet; it never connects
	wake     chan struct{} // capacity 1: there is a question
	parts    sync.WaitGroup

	mu        sync.Mutex // taken before that of any targets
	life      context.Context
	slots     map[int]*hashSlot     // that have channels
	all       map[string]*shard     // by owner; as many as the cluster has masters
	owner     func(slot int) string // what is thought of the cluster; nil before the first answer
	inquiries map[string]*inquiry   // by the presumed owner, "" for an unknown one
}

// hashSlot is one of a cluster's slots that has channels. Guarded by shards.mu.
type hashSlot struct {
	number   int
	refs     map[tenants.Target]int
	shard    *shard // nil: limbo
	question bool
	settled  time.Time
	wait     backoff // between two questions, where an answer did not hold
}

// shard is one master. Guarded by shards.mu.
type shard struct {
	owner string // host:port
	hub   *hub
	slots int
	first net.Conn // the socket that it begins with
	stop  context.CancelFunc
}

// inquiry is a question to one presumed owner; one at a time. Its fields are those of the goroutine that asks, busy is guarded by shards.mu.
type inquiry struct {
	busy bool
	wait backoff
}

var errNoChannels = errors.New("the shard has no channels any more")

// newShards makes the shards of an endpoint, and gives back the configuration of its hub, which tells through the same ears.
func newShards(e Endpoint, c hubConfig) (hubConfig, *shards) {
	var telling sync.Mutex // each hub tells from a goroutine of its own
	gap, changed := c.gap, c.changed
	if gap != nil {
		c.gap = func(g Gap, concerned []tenants.Target) {
			telling.Lock()
			defer telling.Unlock()
			gap(g, concerned)
		}
	}
	if changed != nil {
		c.changed = func() {
			telling.Lock()
			defer telling.Unlock()
			changed()
		}
	}
	s := &shards{
		endpoint: e, config: c, wake: make(chan struct{}, 1), life: context.Background(),
		slots: map[int]*hashSlot{}, all: map[string]*shard{}, inquiries: map[string]*inquiry{},
	}
	s.config.shardOf = e.Slot
	s.limbo = s.newHub("", s.config)
	s.limbo.targets.lanes[0].cause = "" // each slot has its own
	return c, s
}

func (s *shards) newHub(owner string, c hubConfig) *hub {
	name := s.endpoint.Name
	if owner != "" {
		name += " shard " + owner
	}
	return newHub(Endpoint{ID: s.endpoint.ID, Name: name, Connections: 1}, c)
}

func (s *shards) targetsOf(at *shard) *targets {
	if at == nil {
		return s.limbo.targets
	}
	return at.hub.targets
}

func (s *shards) add(t tenants.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := s.endpoint.Slot(t.Name)
	q := s.slots[number]
	if q == nil {
		q = &hashSlot{number: number, refs: map[tenants.Target]int{}}
		s.slots[number] = q
		if to := s.all[s.presumed(q)]; to != nil {
			q.shard = to
			to.slots++
		} else {
			s.ask(q)
		}
	}
	q.refs[t]++
	s.targetsOf(q.shard).add(t, time.Now())
}

func (s *shards) remove(t tenants.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.slots[s.endpoint.Slot(t.Name)]
	if q == nil || q.refs[t] == 0 {
		return
	}
	s.targetsOf(q.shard).remove(t, time.Now())
	if q.refs[t]--; q.refs[t] == 0 {
		delete(q.refs, t)
	}
	if len(q.refs) == 0 {
		delete(s.slots, q.number)
		s.leave(q)
	}
}

func (s *shards) states() (all []TargetState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = s.limbo.targets.states()
	for _, at := range s.all {
		all = append(all, at.hub.targets.states()...)
	}
	return all
}

func (s *shards) state(t tenants.Target) (TargetState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.slots[s.endpoint.Slot(t.Name)]
	if q == nil {
		return TargetState{}, false
	}
	return s.targetsOf(q.shard).state(t)
}

// renew replaces the connections of all shards.
func (s *shards) renew(ctx context.Context, why string) (all error) {
	s.mu.Lock()
	now := slices.Collect(maps.Values(s.all))
	s.mu.Unlock()
	for _, at := range now {
		if err := at.hub.Renew(ctx, why); !errors.Is(err, errClosed) { // closed: it has no channels any more
			all = errors.Join(all, err)
		}
	}
	return all
}

// run answers questions until ctx ends, and then ends all shards.
func (s *shards) run(ctx context.Context) {
	s.mu.Lock()
	s.life = ctx
	s.mu.Unlock()
	s.parts.Go(func() { s.limbo.herald(ctx) })
	for ctx.Err() == nil {
		for presumed, q := range s.questions() {
			s.parts.Go(func() { s.inquire(ctx, presumed, q) })
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	s.parts.Wait()
	s.limbo.targets.close(time.Now())
	s.limbo.announce()
}

// ask puts a slot in question. The caller holds mu.
func (s *shards) ask(q *hashSlot) {
	q.question = true
	poke(s.wake)
}

// questions are a slot for each presumed owner of slots in question whom nobody is asking about.
func (s *shards) questions() map[string]*hashSlot {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*hashSlot{}
	for _, q := range s.slots {
		presumed := s.presumed(q)
		in := s.inquiries[presumed]
		if !q.question || in != nil && in.busy {
			continue
		}
		if in == nil {
			in = &inquiry{}
			s.inquiries[presumed] = in
		}
		in.busy = true
		all[presumed] = q
	}
	maps.DeleteFunc(s.inquiries, func(_ string, in *inquiry) bool { return !in.busy })
	return all
}

func (s *shards) presumed(q *hashSlot) string {
	if s.owner == nil {
		return ""
	}
	return s.owner(q.number)
}

// prepare tells how long to wait before a slot is asked for: an answer that did not hold is not taken again at once.
func (s *shards) prepare(presumed string, q *hashSlot) (in *inquiry, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(q.settled) >= s.limbo.config.heartbeat {
		q.wait.reset()
		return s.inquiries[presumed], 0
	}
	return s.inquiries[presumed], q.wait.next()
}

// inquire asks who serves a slot.
func (s *shards) inquire(ctx context.Context, presumed string, q *hashSlot) {
	in, pause := s.prepare(presumed, q)
	wait(ctx, pause)
	within, cancel := context.WithTimeout(ctx, dialWithin)
	socket, owner, err := s.endpoint.DialShard(within, q.number)
	cancel()
	if err == nil {
		s.learn(q.number, owner, socket)
	} else if ctx.Err() == nil {
		s.unanswered(presumed, err)
		in.wait.wait(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.busy = false; err == nil {
		in.wait.reset()
	}
	poke(s.wake)
}

// unanswered says why slots in question stay so.
func (s *shards) unanswered(presumed string, err error) {
	s.limbo.complain(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.slots {
		if q.question && s.presumed(q) == presumed {
			s.targetsOf(q.shard).explain(q.names(), err.Error())
		}
	}
}

func (q *hashSlot) names() []tenants.Target { return slices.Collect(maps.Keys(q.refs)) }

// learn takes the word of the master that serves a slot, and a socket to it.
func (s *shards) learn(number int, owner func(slot int) string, socket net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = owner
	if q := s.slots[number]; q != nil && q.question && s.all[owner(number)] == nil && s.life.Err() == nil {
		s.begin(owner(number), socket)
	} else {
		socket.Close() // its error would say that it is closed already
	}
	moves := map[move][]*hashSlot{}
	for _, q := range s.slots {
		if to := s.all[owner(q.number)]; q.question && to != nil {
			moves[move{q.shard, to}] = append(moves[move{q.shard, to}], q)
		}
	}
	for m, all := range moves {
		s.settle(m, all)
	}
}

// move is from where to where slots go.
type move struct{ from, to *shard }

// begin makes a shard that is connected by a socket. The caller holds mu.
func (s *shards) begin(owner string, socket net.Conn) {
	ctx, stop := context.WithCancel(s.life)
	at := &shard{owner: owner, first: socket, stop: stop}
	c := s.config
	c.astray = func(channels []string) { s.strayed(at, channels) }
	at.hub = s.newHub(owner, c)
	at.hub.endpoint.Dial = func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, at) }
	s.all[owner] = at
	s.parts.Go(func() { // ends with the shard
		at.hub.Run(ctx) // always nil
		s.mu.Lock()
		defer s.mu.Unlock()
		if at.first != nil {
			at.first.Close()
		}
	})
}

// settle takes the channels of slots to the shard that serves them, all at once, so that a failover is one gap. The caller holds mu.
func (s *shards) settle(m move, all []*hashSlot) {
	now := time.Now()
	var names []tenants.Target
	for _, q := range all {
		q.question, q.settled = false, now
		names = append(names, q.names()...)
	}
	if m.from == m.to {
		m.to.hub.targets.retry(names)
		return
	}
	why := fmt.Sprintf("hash slot %d has moved to %s", all[0].number, m.to.owner)
	if len(all) > 1 {
		why = fmt.Sprintf("%d hash slots have moved to %s", len(all), m.to.owner)
	}
	m.to.hub.targets.take(s.targetsOf(m.from).give(names, why, now), now)
	for _, q := range all {
		s.leave(q)
		q.shard = m.to
		m.to.slots++
	}
}

// leave takes a slot from its shard, which ends with the last. The caller holds mu.
func (s *shards) leave(q *hashSlot) {
	at := q.shard
	if q.shard = nil; at == nil {
		return
	}
	if at.slots--; at.slots == 0 {
		delete(s.all, at.owner)
		at.stop()
	}
}

// strayed puts the slots of channels in question that a shard says it does not serve.
func (s *shards) strayed(at *shard, channels []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range channels {
		if q := s.slots[s.endpoint.Slot(name)]; q != nil && q.shard == at {
			s.ask(q)
		}
	}
}

// doubt puts the slots in question that somebody says are served by others than is known here.
func (s *shards) doubt(owner func(slot int) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.slots {
		if now := owner(q.number); q.shard != nil && now != "" && now != q.shard.owner {
			s.ask(q)
		}
	}
}

// dial connects to a shard anew. What others serve by now is taken to them.
func (s *shards) dial(ctx context.Context, at *shard) (net.Conn, error) {
	s.mu.Lock()
	first, number := at.first, -1
	at.first = nil
	for _, q := range s.slots {
		if q.shard == at {
			number = q.number
			break
		}
	}
	s.mu.Unlock()
	switch {
	case first != nil:
		return first, nil
	case number < 0:
		return nil, errNoChannels
	}
	socket, owner, err := s.endpoint.DialShard(ctx, number)
	if err != nil || owner(number) == at.owner {
		return socket, err
	}
	s.doubt(owner)
	s.learn(number, owner, socket)
	return nil, fmt.Errorf("hash slot %d has moved to %s", number, owner(number))
}
