package telemetry

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// archiveSegment is a file of invocations:
//
//	u32 length of the body, u32 its CRC-32C, then the body:
//	16 id, i64 received, i64 ran, u32 hashes of version, component and channel, u8 outcome, u8 and u8 lengths of tenant and app, these, JSON
type archiveSegment struct {
	number uint32
	file   *os.File
	size   int64
	count  int
	newest int64 // received, Unix nanoseconds
}

// segmentsInAll is in how many segments the bounds are met: what goes at once is about one part of so many.
const segmentsInAll = 16

const (
	archiveHead   = 8
	archiveFields = 16 + 8 + 8 + 3*4 + 3
)

// storedInvocation is an Invocation with its payload.
type storedInvocation Invocation

// MarshalJSON implements json.Marshaler.
func (s *storedInvocation) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		*Invocation
		Payload []byte `json:"payload,omitempty"`
	}{(*Invocation)(s), s.Payload})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *storedInvocation) UnmarshalJSON(doc []byte) error {
	both := struct {
		*Invocation
		Payload []byte `json:"payload"`
	}{Invocation: (*Invocation)(s)}
	if err := json.Unmarshal(doc, &both); err != nil {
		return err
	}
	s.Payload = both.Payload
	return nil
}

// hashOf is FNV-1a.
func hashOf(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

func appendInvocation(to []byte, rec *Record) ([]byte, stub, error) {
	in := rec.Keep()
	in.Payload = rec.Payload
	doc, err := json.Marshal((*storedInvocation)(&in))
	if err != nil {
		return to, stub{}, err
	}
	s := stub{id: rec.Invocation, at: rec.Received.UnixNano(), ran: int64(rec.Ran), app: hashOf(string(in.App)), version: hashOf(string(in.Version)),
		component: hashOf(string(in.Component)), channel: hashOf(in.Channel), outcome: rec.Outcome}
	from := len(to)
	to = append(to, make([]byte, archiveHead)...)
	to = append(to, s.id[:]...)
	to = binary.LittleEndian.AppendUint64(to, uint64(s.at))
	to = binary.LittleEndian.AppendUint64(to, uint64(s.ran))
	for _, h := range []uint32{s.version, s.component, s.channel} {
		to = binary.LittleEndian.AppendUint32(to, h)
	}
	tenant, app := in.Tenant[:min(len(in.Tenant), 255)], in.App[:min(len(in.App), 255)]
	to = append(to, byte(s.outcome), byte(len(tenant)), byte(len(app)))
	to = append(append(append(to, tenant...), app...), doc...)
	body := to[from+archiveHead:]
	binary.LittleEndian.PutUint32(to[from:], uint32(len(body)))
	binary.LittleEndian.PutUint32(to[from+4:], crc32.Checksum(body, castagnoli))
	return to, s, nil
}

// splitInvocation reads a record: its JSON, whose it is, and what lists are filtered by.
func splitInvocation(b []byte) (doc []byte, of account, s stub, ok bool) {
	if len(b) < archiveHead+archiveFields {
		return nil, of, s, false
	}
	body := b[archiveHead:]
	if int(binary.LittleEndian.Uint32(b)) != len(body) || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, of, s, false
	}
	copy(s.id[:], body)
	s.at, s.ran = int64(binary.LittleEndian.Uint64(body[16:])), int64(binary.LittleEndian.Uint64(body[24:]))
	s.version, s.component, s.channel = binary.LittleEndian.Uint32(body[32:]), binary.LittleEndian.Uint32(body[36:]), binary.LittleEndian.Uint32(body[40:])
	s.outcome = tenants.Outcome(body[44])
	tenant, app := int(body[45]), int(body[46])
	rest := body[archiveFields:]
	if len(rest) < tenant+app {
		return nil, of, s, false
	}
	of = account{tenants.ID(rest[:tenant]), tenants.AppName(rest[tenant : tenant+app])}
	s.app, s.size = hashOf(string(of.app)), uint32(len(b))
	return rest[tenant+app:], of, s, true
}

func (a *Archive) segmentPath(n uint32) string {
	return filepath.Join(a.config.Dir, fmt.Sprintf("%08d.seg", n))
}

// load reads all segments. Of each what stands behind the first record that is not whole is lost; the last one's is cut off, and written over.
func (a *Archive) load() error {
	entries, err := os.ReadDir(a.config.Dir) // sorted by name
	if err != nil {
		return err
	}
	for _, e := range entries {
		var n uint32
		if _, err := fmt.Sscanf(e.Name(), "%08d.seg", &n); err != nil || e.Name() != filepath.Base(a.segmentPath(n)) {
			continue
		}
		file, err := os.OpenFile(a.segmentPath(n), os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		seg := &archiveSegment{number: n, file: file}
		a.segments = append(a.segments, seg)
		if err := a.loadSegment(seg); err != nil {
			return fmt.Errorf("read %s: %w", file.Name(), err)
		}
	}
	if len(a.segments) == 0 {
		return a.rotate()
	}
	last := a.segments[len(a.segments)-1]
	if err := last.file.Truncate(last.size); err != nil {
		return err
	}
	return a.bound(time.Now())
}

func (a *Archive) loadSegment(seg *archiveSegment) error {
	in := bufio.NewReaderSize(io.NewSectionReader(seg.file, 0, 1<<40), 1<<20)
	var b []byte
	for {
		b = slices.Grow(b[:0], archiveHead)[:archiveHead]
		if _, err := io.ReadFull(in, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		size := int(binary.LittleEndian.Uint32(b))
		if size > 1<<20 {
			return nil
		}
		b = slices.Grow(b, size)[:archiveHead+size]
		if _, err := io.ReadFull(in, b[archiveHead:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		_, of, s, ok := splitInvocation(b)
		if !ok {
			return nil
		}
		s.segment, s.offset = seg.number, uint32(seg.size)
		seg.size += int64(len(b))
		seg.count++
		seg.newest = max(seg.newest, s.at)
		a.take(of, s)
	}
}

// take puts what was read on its shelf: in place of itself where it stands twice, since a crash can leave what goes from one segment to another in both.
func (a *Archive) take(of account, s stub) {
	if sh := a.shelves[of.tenant]; sh != nil {
		if i, there := slices.BinarySearchFunc(sh.stubs, s.id, byID); there {
			sh.stubs[i].segment, sh.stubs[i].offset = s.segment, s.offset
			return
		}
	}
	a.put(of, s)
}

// append writes records of count invocations at the end of the last segment, and tells where they begin.
func (a *Archive) append(b []byte, count int) (*archiveSegment, int64, error) {
	last := a.segments[len(a.segments)-1]
	if last.size > 0 && (last.size+int64(len(b)) > min(a.config.Bytes/segmentsInAll, 64<<20) || last.count+count > max(a.config.Most/segmentsInAll, 1)) {
		if err := a.rotate(); err != nil {
			return nil, 0, fmt.Errorf("begin a file of invocations: %w", err)
		}
		last = a.segments[len(a.segments)-1]
	}
	at := last.size
	if _, err := last.file.WriteAt(b, at); err != nil {
		return nil, 0, fmt.Errorf("write invocations: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last.size += int64(len(b))
	last.count += count
	last.newest = time.Now().UnixNano()
	return last, at, nil
}

// rotate begins a segment.
func (a *Archive) rotate() error {
	n := uint32(1)
	if len(a.segments) > 0 {
		n = a.segments[len(a.segments)-1].number + 1
	}
	file, err := os.OpenFile(a.segmentPath(n), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.segments = append(a.segments, &archiveSegment{number: n, file: file})
	return nil
}

// bound removes the first segments until the bounds hold.
func (a *Archive) bound(now time.Time) error {
	for len(a.segments) > 1 {
		first := a.segments[0]
		total := int64(0)
		for _, s := range a.segments {
			total += s.size
		}
		old := first.newest < now.Add(-a.config.Age).UnixNano()
		switch {
		case old, a.live > a.config.Most, total > a.config.Bytes && a.liveSize > a.config.Bytes/2:
			a.bury(first)
		case total > a.config.Bytes:
			a.age(first, now)
			if err := a.carry(first); err != nil {
				return err
			}
		default:
			return nil
		}
		if err := a.remove(first); err != nil {
			return fmt.Errorf("remove a file of invocations: %w", err)
		}
	}
	return nil
}

// bury gives up all that is in a segment.
func (a *Archive) bury(seg *archiveSegment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, sh := range a.shelves {
		for i := range sh.stubs {
			if sh.stubs[i].segment == seg.number {
				a.drop(sh, i)
			}
		}
		if sh.tidy(); sh.dead == len(sh.stubs) {
			delete(a.shelves, id)
		}
	}
}

// age gives up what is too old in a segment.
func (a *Archive) age(seg *archiveSegment, now time.Time) {
	oldest := now.Add(-a.config.Age).UnixNano()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, sh := range a.shelves {
		for i := range sh.stubs {
			if s := &sh.stubs[i]; s.segment == seg.number && s.at < oldest {
				a.drop(sh, i)
			}
		}
	}
}

// carry writes what is wanted of a segment behind the last.
func (a *Archive) carry(seg *archiveSegment) error {
	a.mu.RLock()
	var wanted []*stub // only those who write move them, and that is us
	for _, sh := range a.shelves {
		for i := range sh.stubs {
			if s := &sh.stubs[i]; s.segment == seg.number && !s.dead {
				wanted = append(wanted, s)
			}
		}
	}
	a.mu.RUnlock()
	for part := range slices.Chunk(wanted, 256) {
		b := a.encoding[:0]
		from := make([]int, len(part))
		for i, s := range part {
			from[i] = len(b)
			b = append(b, make([]byte, s.size)...)
			if _, err := seg.file.ReadAt(b[from[i]:], int64(s.offset)); err != nil {
				return fmt.Errorf("read invocations: %w", err)
			}
		}
		a.encoding = b
		to, at, err := a.append(b, len(part))
		if err != nil {
			return err
		}
		a.mu.Lock()
		for i, s := range part {
			s.segment, s.offset = to.number, uint32(at)+uint32(from[i])
		}
		a.mu.Unlock()
	}
	return nil
}

func (a *Archive) remove(seg *archiveSegment) error {
	a.mu.Lock()
	a.segments = slices.DeleteFunc(a.segments, func(s *archiveSegment) bool { return s == seg })
	a.mu.Unlock()
	return errors.Join(seg.file.Close(), os.Remove(a.segmentPath(seg.number)))
}
