package api

import (
	"container/list"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants/store"
)

// Bounds of replays.
const (
	maxRemembered = 10_000   // requests; at the bound the oldest that has ended is forgotten
	maxKept       = 32 << 20 // bytes of answers together; likewise
)

// replays are the answers of a platform without a store. They live as long as the process.
type replays struct {
	mu      sync.Mutex
	byKey   map[string]*list.Element
	order   *list.List // of *aged, oldest first
	bytes   int
	running int
}

type aged struct {
	replay
	key   string
	since time.Time
}

func newReplays() *replays { return &replays{byKey: map[string]*list.Element{}, order: list.New()} }

func (p *replays) begin(c *call, key string) (*replay, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(c.now)
	if e := p.byKey[key]; e != nil {
		r := e.Value.(*aged).replay
		return &r, nil
	}
	if p.running >= maxRunningKeys {
		return nil, tooMany()
	}
	p.running++
	p.byKey[key] = p.order.PushBack(&aged{key: key, since: c.now})
	return nil, nil
}

// forget drops what is too old, and what is over the bounds.
func (p *replays) forget(now time.Time) {
	var next *list.Element
	for e := p.order.Front(); e != nil; e = next {
		next = e.Next()
		r := e.Value.(*aged)
		old := now.Sub(r.since) >= store.RememberedFor
		if !old && p.order.Len() < maxRemembered && p.bytes <= maxKept {
			return
		}
		if r.done {
			p.drop(e)
		}
	}
}

func (p *replays) drop(e *list.Element) {
	r := e.Value.(*aged)
	p.order.Remove(e)
	delete(p.byKey, r.key)
	p.bytes -= len(r.body)
}

func (p *replays) end(_ *call, key string, keep *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	e := p.byKey[key]
	if keep == nil {
		p.drop(e)
		return
	}
	e.Value.(*aged).replay = *keep
	p.bytes += len(keep.body)
}
