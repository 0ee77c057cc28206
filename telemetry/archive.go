package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of an Archive where nothing else is said.
const (
	DefaultInvocations      = 100_000
	DefaultInvocationBytes  = 256 << 20
	DefaultInvocationAge    = 30 * 24 * time.Hour
	DefaultHandled          = 1000 // of each application
	MaxKeptPayload          = 4 << 10
	maxUnwrittenInvocations = 4096 // that wait for the disk; one more is lost, and counted
	spareInvocations        = 512
	archiveDelay            = 200 * time.Millisecond
)

// Of each application so many invocations a second go to the Archive for as long as that lasts; one second's worth may come at once. What somebody
// waits for always does. Others are counted as cut.
const (
	handledRate = 200
	failedRate  = 1000
)

// ArchiveConfig says how much an Archive keeps, and where. 0 means the default.
type ArchiveConfig struct {
	Dir     string        // one process at a time
	Most    int           // invocations of all tenants; each takes about 100 bytes of memory
	Bytes   int64         // on disk; half of it at the most is what is still wanted, before that goes too
	Age     time.Duration // after which they go
	Handled int           // of each application, beside those that failed
	Log     *slog.Logger
}

// Archive keeps invocations on disk: of each application the last that were handled, and every one that was not. Beyond its bounds the oldest go.
//
//	message path ─► waiting ─► one goroutine ─► the last segment ─► ... ─► the first segment ─► gone, or to the last again
//
// The message path copies, and never waits: what finds no room is lost, and counted. Segments are files that grow at the end. When all of
// them are too large together, what is still wanted of the first goes behind the last, and the first is removed. Where invocations stand is in
// memory, by tenant and in the order of their ids, with what lists are filtered by.
type Archive struct {
	config ArchiveConfig
	lock   *os.File
	wake   chan struct{} // capacity 1
	lost   atomic.Int64  // that found no room, or that the disk did not take
	cut    atomic.Int64  // that were too many in a second

	queueMu sync.Mutex
	waiting []*unwritten // up to maxUnwrittenInvocations
	empty   []*unwritten // takes its place while that is written
	spare   []*unwritten // up to spareInvocations, with their bytes

	writeMu  sync.Mutex // one writes at a time; before mu
	encoding []byte
	failed   bool // the last write was

	mu       sync.RWMutex
	shelves  map[tenants.ID]*shelf // of tenants that have some
	segments []*archiveSegment     // the oldest first; the last is written to
	live     int
	liveSize int64
}

// unwritten is a Record that waits for the disk, with bytes of its own.
type unwritten struct {
	rec  Record
	text []byte // channel, output and payload
}

// OpenArchive reads what there is. Run writes; Close ends it.
func OpenArchive(c ArchiveConfig) (*Archive, error) {
	c.Most, c.Handled = orElse(c.Most, DefaultInvocations), orElse(c.Handled, DefaultHandled)
	if c.Bytes <= 0 {
		c.Bytes = DefaultInvocationBytes
	}
	c.Age = orElse(c.Age, DefaultInvocationAge)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open invocations: %w", err)
	}
	a := &Archive{config: c, lock: lock, wake: make(chan struct{}, 1), shelves: map[tenants.ID]*shelf{}}
	if err := a.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open invocations: %w", err), a.release())
	}
	return a, nil
}

// offer takes a Record as far as its application's rate allows.
func (a *Archive) offer(rec *Record, w *work) {
	bucket, rate := 0, int64(handledRate)
	if rec.Outcome != tenants.Handled {
		bucket, rate = 1, failedRate
	}
	if !takeOne(&w.of(rec.Trigger.App).archived[bucket], rec.Received.UnixNano()+int64(rec.Waited+rec.Ran), rate) && !rec.Awaited {
		a.cut.Add(1)
		return
	}
	a.add(rec)
}

// add takes a Record, or counts it as lost.
func (a *Archive) add(rec *Record) {
	a.queueMu.Lock()
	if len(a.waiting) >= maxUnwrittenInvocations {
		a.queueMu.Unlock()
		a.lost.Add(1)
		return
	}
	var u *unwritten
	if n := len(a.spare); n > 0 {
		u, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		u = &unwritten{}
	}
	u.copy(rec)
	a.waiting = append(a.waiting, u)
	full := len(a.waiting) == maxUnwrittenInvocations/4
	a.queueMu.Unlock()
	if full {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

func (u *unwritten) copy(rec *Record) {
	u.rec = *rec
	channel := rec.Channel[:min(len(rec.Channel), 4096)]
	payload := rec.Payload[:min(len(rec.Payload), MaxKeptPayload)]
	u.text = append(append(append(u.text[:0], channel...), rec.Output...), payload...)
	u.rec.Channel, u.rec.Output, u.rec.Payload = u.text[:len(channel)], u.text[len(channel):len(channel)+len(rec.Output)], u.text[len(channel)+len(rec.Output):]
	u.rec.Calls = slices.Clone(rec.Calls)
}

// Run writes until ctx ends, and once more then.
func (a *Archive) Run(ctx context.Context) {
	tick := time.NewTicker(archiveDelay)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.Flush()
			return
		case <-a.wake:
		case <-tick.C:
		}
		a.Flush()
	}
}

// Flush writes what waits. What the disk does not take is lost; the first time that happens is logged.
func (a *Archive) Flush() {
	a.writeMu.Lock()
	defer a.writeMu.Unlock()
	a.queueMu.Lock()
	batch := a.waiting
	a.waiting = a.empty
	a.empty = nil
	a.queueMu.Unlock()
	if len(batch) == 0 {
		a.queueMu.Lock()
		a.empty = batch
		a.queueMu.Unlock()
		return
	}
	err := a.write(batch)
	if err == nil {
		err = a.bound(time.Now())
	}
	if err != nil && !a.failed {
		a.config.Log.Error("invocations are not kept", "cause", err)
	}
	a.failed = err != nil
	for _, u := range batch {
		u.rec = Record{}
	}
	a.queueMu.Lock()
	a.spare = append(a.spare, batch[:min(len(batch), spareInvocations-len(a.spare))]...)
	clear(batch)
	a.empty = batch[:0]
	a.queueMu.Unlock()
}

// write appends a batch to the last segment and puts it on its shelves.
func (a *Archive) write(batch []*unwritten) error {
	a.encoding = a.encoding[:0]
	stubs := make([]stub, 0, len(batch))
	whose := make([]account, 0, len(batch))
	for _, u := range batch {
		from := len(a.encoding)
		var s stub
		var err error
		if a.encoding, s, err = appendInvocation(a.encoding, &u.rec); err != nil {
			a.lost.Add(int64(len(batch)))
			return fmt.Errorf("encode an invocation: %w", err)
		}
		s.offset, s.size = uint32(from), uint32(len(a.encoding)-from)
		stubs, whose = append(stubs, s), append(whose, account{u.rec.Trigger.Tenant, u.rec.Trigger.App})
	}
	seg, at, err := a.append(a.encoding, len(batch))
	if err != nil {
		a.lost.Add(int64(len(batch)))
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range stubs {
		stubs[i].segment, stubs[i].offset = seg.number, stubs[i].offset+uint32(at)
		a.put(whose[i], stubs[i])
	}
	return nil
}

// Counts tells how many are kept, how many bytes these take on disk, how many were lost, and how many cut.
func (a *Archive) Counts() (kept int, bytes, lost, cut int64) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, s := range a.segments {
		bytes += s.size
	}
	return a.live, bytes, a.lost.Load(), a.cut.Load()
}

// Observe is a Source.
func (a *Archive) Observe(add func(Family)) {
	kept, bytes, lost, cut := a.Counts()
	add(GaugeOf("tenloom.invocations.kept", "{invocation}", "Invocations that can be looked at.", float64(kept)))
	add(GaugeOf("tenloom.invocations.disk", "By", "Bytes that these take on disk.", float64(bytes)))
	f := family("tenloom.invocations.missing", "{invocation}", Counter, "Invocations that cannot be looked at: lost because the disk was slow or full, cut because there were too many in a second.")
	f.add(float64(lost), Label{"reason", "lost"})
	f.add(float64(cut), Label{"reason", "cut"})
	add(*f)
}

// Close writes what waits and gives the directory free.
func (a *Archive) Close() error {
	a.Flush()
	a.writeMu.Lock()
	defer a.writeMu.Unlock()
	return a.release()
}

func (a *Archive) release() error {
	var err error
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.segments {
		err = errors.Join(err, s.file.Close())
	}
	a.segments = nil
	return errors.Join(err, a.lock.Close())
}
