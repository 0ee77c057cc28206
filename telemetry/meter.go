package telemetry

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// DefaultLabelled is how many tenants have series of their own where nothing else is said.
const DefaultLabelled = 100

// OtherTenants is the tenant label of those that have none of their own, together.
const OtherTenants = "_other"

// Meter makes Families of the accounts of a Recorder and of what other rooms know, whenever somebody reads: nothing is counted twice, and
// nothing is done for messages.
//
// So many tenants have series of their own: those that come while there is room, of several at once those with the most deliveries, and they keep
// them. All others are summed up as OtherTenants. So no series ever falls, and sums are right.
type Meter struct {
	recorder *Recorder
	most     int

	mu      sync.Mutex
	loads   func(func(tenants.ID, QueueLoad))
	named   map[tenants.ID]bool // those with series of their own
	sources []Source
}

// QueueLoad is what waits for a tenant's handlers.
type QueueLoad struct {
	Bytes        int64
	Oldest       time.Duration // how long the oldest has waited, of those in memory
	Spilled      int           // deliveries on disk, or on their way there or back
	SpilledBytes int64
	// Unaccounted is by how many deliveries the tenant's account is off from what waits, either way. Anything but 0 is a fault of ours.
	Unaccounted int64
}

// NewMeter makes a Meter with so many tenants that have series of their own; a negative number means none.
func NewMeter(r *Recorder, labelled int) *Meter {
	if labelled == 0 {
		labelled = DefaultLabelled
	}
	return &Meter{recorder: r, most: max(labelled, 0), named: map[tenants.ID]bool{}}
}

// Loads sets who tells what waits, tenant by tenant.
func (m *Meter) Loads(all func(tell func(tenants.ID, QueueLoad))) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads = all
}

// Add has a source asked at each reading, behind those before it.
func (m *Meter) Add(s Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources = append(m.sources, s)
}

// reading is what one tenant has counted, or several together.
type reading struct {
	received, queued, inFlight int64
	outcomes                   [tenants.Outcomes]int64
	reasons                    [tenants.Reasons]int64
	gaps                       int64
	gapTime                    time.Duration
	cutLines                   int64
	ran, waited                Distribution
	instances                  [Instances]int64
	redelivered, payload       int64
	calls                      [Systems]int64
	callsFailed                int64
	used                       Used
	load                       QueueLoad
	exemplars                  []*Exemplar
}

// read reads an account. What has ended is read before what has begun, and that before what was received, so that no difference is negative.
func (a *Account) read() *reading {
	r := &reading{gaps: a.gaps.Load(), gapTime: time.Duration(a.gapNanos.Load()), cutLines: a.cutLines.Load()}
	var ended int64
	for o := range a.outcomes {
		r.outcomes[o] = a.outcomes[o].Load()
		ended += r.outcomes[o]
	}
	for n := range a.reasons {
		r.reasons[n] = a.reasons[n].Load()
	}
	begun := a.begun.Load()
	r.received = a.received.Load()
	r.queued, r.inFlight = r.received-begun, begun-ended
	w := a.work.Load()
	if w == nil {
		return r
	}
	r.ran, r.waited = w.ran.Read(), w.waited.Read()
	for i := range w.instances {
		r.instances[i] = w.instances[i].Load()
	}
	for i := range w.calls {
		r.calls[i] = w.calls[i].Load()
	}
	r.redelivered, r.payload, r.callsFailed, r.used = w.redelivered.Load(), w.payload.Load(), w.callsFailed.Load(), w.total()
	for i := range w.exemplars {
		if e := w.exemplars[i].Load(); e != nil {
			if r.exemplars == nil {
				r.exemplars = make([]*Exemplar, buckets)
			}
			r.exemplars[i] = e
		}
	}
	return r
}

// plus adds another's.
func (r *reading) plus(o *reading) {
	r.received += o.received
	r.queued += o.queued
	r.inFlight += o.inFlight
	for i := range r.outcomes {
		r.outcomes[i] += o.outcomes[i]
	}
	for i := range r.reasons {
		r.reasons[i] += o.reasons[i]
	}
	r.gaps += o.gaps
	r.gapTime += o.gapTime
	r.cutLines += o.cutLines
	for i := range r.instances {
		r.instances[i] += o.instances[i]
	}
	for i := range r.calls {
		r.calls[i] += o.calls[i]
	}
	r.redelivered += o.redelivered
	r.payload += o.payload
	r.callsFailed += o.callsFailed
	r.ran.plus(&o.ran)
	r.waited.plus(&o.waited)
	r.used.Plus(o.used)
	r.load.Bytes += o.load.Bytes
	r.load.Spilled += o.load.Spilled
	r.load.SpilledBytes += o.load.SpilledBytes
	r.load.Unaccounted += o.load.Unaccounted
	r.load.Oldest = max(r.load.Oldest, o.load.Oldest)
}

// tenantReadings reads all accounts: those with series of their own, by name, and then the others, where there are some.
func (m *Meter) tenantReadings() (names []string, all []*reading) {
	read := map[tenants.ID]*reading{}
	for id, a := range m.recorder.all() {
		read[id] = a.read()
	}
	if m.loads != nil {
		m.loads(func(id tenants.ID, l QueueLoad) {
			if r := read[id]; r != nil {
				r.load = l
			}
		})
	}
	m.name(read)
	for _, id := range slices.Sorted(maps.Keys(m.named)) {
		if r := read[id]; r != nil {
			names, all = append(names, string(id)), append(all, r)
			delete(read, id)
		}
	}
	if len(read) == 0 {
		return names, all
	}
	others := &reading{}
	for _, r := range read {
		others.plus(r)
	}
	return append(names, OtherTenants), append(all, others)
}

// name gives series of their own to those with the most deliveries, as long as there is room.
func (m *Meter) name(read map[tenants.ID]*reading) {
	if len(m.named) >= m.most {
		return
	}
	type candidate struct {
		id       tenants.ID
		received int64
	}
	var all []candidate
	for id, r := range read {
		if !m.named[id] && (r.received > 0 || r.gaps > 0) {
			all = append(all, candidate{id, r.received})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.received, a.received), cmp.Compare(a.id, b.id)) })
	for _, c := range all[:min(len(all), m.most-len(m.named))] {
		m.named[c.id] = true
	}
}

// Read makes all Families, in an order that stays.
func (m *Meter) Read() []Family {
	m.mu.Lock()
	defer m.mu.Unlock()
	names, all := m.tenantReadings()
	families := tenantFamilies()
	for i, r := range all {
		t := Label{"tenant", names[i]}
		for _, f := range families {
			f.fill(f.Family, t, r)
		}
	}
	out := make([]Family, 0, len(families)+32)
	for _, f := range families {
		out = append(out, *f.Family)
	}
	m.recorder.own(func(f Family) { out = append(out, f) })
	for _, s := range m.sources {
		s(func(f Family) { out = append(out, f) })
	}
	return out
}

// own is what the Recorder knows of itself.
func (r *Recorder) own(add func(Family)) {
	r.mu.RLock()
	n := len(r.accounts)
	r.mu.RUnlock()
	add(GaugeOf("tenloom.tenants", "{tenant}", "Tenants that this process knows.", float64(n)))
	t := r.tracer.Load()
	if t == nil {
		return
	}
	sent, lost, waiting := t.Counts()
	f := family("tenloom.spans", "{span}", Counter, "Spans, by what became of them.")
	f.add(float64(sent), Label{"state", "sent"})
	f.add(float64(lost), Label{"state", "lost"})
	add(*f)
	add(GaugeOf("tenloom.spans.waiting", "{delivery}", "Deliveries that wait to be sent as spans.", float64(waiting)))
}
