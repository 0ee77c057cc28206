package telemetry

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// stub says where an invocation stands, and what lists are filtered by. Names are their hashes: what they let through is held against the names
// themselves.
type stub struct {
	id                               tenants.InvocationID
	at, ran                          int64 // received, Unix nanoseconds; nanoseconds
	segment, offset, size            uint32
	app, version, component, channel uint32
	outcome                          tenants.Outcome
	dead                             bool // no longer wanted
}

// shelf is what an Archive has of one tenant.
type shelf struct {
	stubs   []stub                                     // by id
	dead    int                                        // of them
	handled map[tenants.AppName][]tenants.InvocationID // by id, up to ArchiveConfig.Handled
}

func byID(s stub, id tenants.InvocationID) int { return bytes.Compare(s.id[:], id[:]) }

// put adds an invocation to its tenant's shelf. Of an application's handled ones the oldest gives way. The caller holds the lock.
func (a *Archive) put(of account, s stub) {
	sh := a.shelves[of.tenant]
	if sh == nil {
		sh = &shelf{handled: map[tenants.AppName][]tenants.InvocationID{}}
		a.shelves[of.tenant] = sh
	}
	i := len(sh.stubs)
	if i > 0 && byID(sh.stubs[i-1], s.id) > 0 { // one that took longer than others that began later
		i, _ = slices.BinarySearchFunc(sh.stubs, s.id, byID)
	}
	sh.stubs = slices.Insert(sh.stubs, i, s)
	a.live++
	a.liveSize += int64(s.size)
	if s.outcome != tenants.Handled {
		return
	}
	ids := sh.handled[of.app]
	at := len(ids)
	if at > 0 && bytes.Compare(ids[at-1][:], s.id[:]) > 0 {
		at, _ = slices.BinarySearchFunc(ids, s.id, func(a, b tenants.InvocationID) int { return bytes.Compare(a[:], b[:]) })
	}
	ids = slices.Insert(ids, at, s.id)
	if len(ids) > a.config.Handled {
		if i, ok := slices.BinarySearchFunc(sh.stubs, ids[0], byID); ok {
			a.drop(sh, i)
		}
		ids = ids[1:]
	}
	sh.handled[of.app] = ids
	sh.tidy()
}

func (a *Archive) drop(sh *shelf, i int) {
	if s := &sh.stubs[i]; !s.dead {
		s.dead = true
		sh.dead++
		a.live--
		a.liveSize -= int64(s.size)
	}
}

// tidy removes what is dead once it is most of the shelf.
func (sh *shelf) tidy() {
	if sh.dead > 1024 && sh.dead > len(sh.stubs)/2 {
		sh.stubs = slices.DeleteFunc(sh.stubs, func(s stub) bool { return s.dead })
		sh.dead = 0
	}
}

// Filter says which invocations are wanted. What is "" or zero asks for nothing.
type Filter struct {
	App               tenants.AppName
	Component         tenants.ComponentID
	Version           tenants.VersionID
	Channels          []string // one of them, as the server has it
	Outcome           *tenants.Outcome
	Failed            bool // any outcome but handled
	Since, Until      time.Time
	AtLeast, LessThan time.Duration
	After             tenants.InvocationID // older than this one
}

// prepared is a Filter as stubs have it.
type prepared struct {
	Filter
	app, component, version uint32
	channels                []uint32
	since, until            int64
}

func (f Filter) prepare(oldest time.Time) *prepared {
	p := &prepared{Filter: f, app: hashOf(string(f.App)), component: hashOf(string(f.Component)), version: hashOf(string(f.Version)), since: oldest.UnixNano()}
	for _, c := range f.Channels {
		p.channels = append(p.channels, hashOf(c))
	}
	if f.Since.After(oldest) {
		p.since = f.Since.UnixNano()
	}
	if !f.Until.IsZero() {
		p.until = f.Until.UnixNano()
	}
	return p
}

func (p *prepared) maybe(s *stub) bool {
	return !s.dead && s.at >= p.since && (p.until == 0 || s.at < p.until) && s.ran >= int64(p.AtLeast) && (p.LessThan == 0 || s.ran < int64(p.LessThan)) &&
		(p.Outcome == nil || s.outcome == *p.Outcome) && (!p.Failed || s.outcome != tenants.Handled) && (p.App == "" || s.app == p.app) &&
		(p.Component == "" || s.component == p.component) && (p.Version == "" || s.version == p.version) &&
		(p.channels == nil || slices.Contains(p.channels, s.channel))
}

// takes holds an invocation against the names.
func (f *Filter) takes(in *Invocation) bool {
	return (f.App == "" || in.App == f.App) && (f.Component == "" || in.Component == f.Component) && (f.Version == "" || in.Version == f.Version) &&
		(f.Channels == nil || slices.Contains(f.Channels, in.Channel))
}

// Takes holds a Record against the whole Filter, but for After.
func (f *Filter) Takes(r *Record) bool {
	t := r.Trigger
	return (f.App == "" || t.App == f.App) && (f.Component == "" || t.Component == f.Component) && (f.Version == "" || t.Version == f.Version) &&
		(f.Channels == nil || slices.Contains(f.Channels, string(r.Channel))) && (f.Outcome == nil || r.Outcome == *f.Outcome) &&
		(!f.Failed || r.Outcome != tenants.Handled) && !r.Received.Before(f.Since) && (f.Until.IsZero() || r.Received.Before(f.Until)) &&
		r.Ran >= f.AtLeast && (f.LessThan == 0 || r.Ran < f.LessThan)
}

// Select returns up to n of a tenant's invocations that the Filter takes, the newest first, without their payloads. What waits is written first, so
// that nothing is missing.
func (a *Archive) Select(tenant tenants.ID, n int, f Filter) (found []Invocation) {
	a.Flush()
	p, after := f.prepare(time.Now().Add(-a.config.Age)), f.After
	for len(found) < n {
		some := a.candidates(tenant, n-len(found), after, p)
		if len(some) == 0 {
			break
		}
		for i := range some {
			after = some[i].id
			if in, ok := a.read(&some[i]); ok && f.takes(&in) {
				in.Payload = nil
				found = append(found, in)
			}
		}
	}
	return found
}

// candidates are up to n stubs, the newest first, that are older than after.
func (a *Archive) candidates(tenant tenants.ID, n int, after tenants.InvocationID, p *prepared) (some []stub) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	sh := a.shelves[tenant]
	if sh == nil {
		return nil
	}
	i := len(sh.stubs)
	if after != (tenants.InvocationID{}) {
		i, _ = slices.BinarySearchFunc(sh.stubs, after, byID)
	}
	for i--; i >= 0 && len(some) < n; i-- {
		if s := &sh.stubs[i]; p.maybe(s) {
			some = append(some, *s)
		}
	}
	return some
}

// Find returns one invocation of a tenant, with its payload.
func (a *Archive) Find(tenant tenants.ID, id tenants.InvocationID) (in Invocation, ok bool) {
	a.Flush()
	a.mu.RLock()
	var at stub
	if sh := a.shelves[tenant]; sh != nil {
		var i int
		if i, ok = slices.BinarySearchFunc(sh.stubs, id, byID); ok {
			at = sh.stubs[i]
		}
	}
	a.mu.RUnlock()
	if !ok || at.dead {
		return in, false
	}
	return a.read(&at)
}

// read reads an invocation. One whose segment went away meanwhile is gone.
func (a *Archive) read(s *stub) (in Invocation, ok bool) {
	a.mu.RLock()
	i, found := slices.BinarySearchFunc(a.segments, s.segment, func(seg *archiveSegment, n uint32) int { return int(seg.number) - int(n) })
	if !found {
		a.mu.RUnlock()
		return in, false
	}
	file := a.segments[i].file
	a.mu.RUnlock()
	b := make([]byte, s.size)
	if _, err := file.ReadAt(b, int64(s.offset)); err != nil {
		return in, false
	}
	doc, _, _, good := splitInvocation(b)
	if !good || json.Unmarshal(doc, (*storedInvocation)(&in)) != nil {
		return in, false
	}
	return in, true
}
