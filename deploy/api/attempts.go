package api

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of wrong tokens from one address.
const (
	wrongBurst   = 20          // at once
	wrongEach    = time.Second // one more is allowed after this
	maxAddresses = 10_000      // remembered; at the bound the one that was wrong longest ago is forgotten, and begins anew
	maxGood      = 10_000      // tokens remembered as good once; at the bound the one used longest ago is forgotten
)

// attempts bounds what guessing tokens costs the platform: an address that was wrong too often is answered without a look into the store,
// unless its token was good before, so that nobody is locked out by a neighbour behind the same address.
type attempts struct {
	mu        sync.Mutex
	addresses lru[netip.Prefix, *attempt]
	good      lru[tenants.TokenHash, struct{}]
}

type attempt struct {
	left float64
	at   time.Time
}

func newAttempts() *attempts {
	return &attempts{addresses: newLRU[netip.Prefix, *attempt](maxAddresses), good: newLRU[tenants.TokenHash, struct{}](maxGood)}
}

// wait tells how long an address has to wait before a token that is not known to be good is looked at; 0 means not at all.
func (a *attempts) wait(from netip.Prefix, h tenants.TokenHash, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.good.get(h); ok {
		return 0
	}
	one, ok := a.addresses.get(from)
	if !ok {
		return 0
	}
	one.refill(now)
	if one.left >= 1 {
		return 0
	}
	return time.Duration((1 - one.left) * float64(wrongEach))
}

// wrong counts a token that was not good.
func (a *attempts) wrong(from netip.Prefix, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one, ok := a.addresses.get(from)
	if !ok {
		one = &attempt{left: wrongBurst, at: now}
		a.addresses.put(from, one)
	}
	one.refill(now)
	one.left = max(0, one.left-1)
}

// right notes that a token was good.
func (a *attempts) right(h tenants.TokenHash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.good.put(h, struct{}{})
}

// refill gives back what time has. A clock that goes back gives nothing.
func (a *attempt) refill(now time.Time) {
	if d := now.Sub(a.at); d > 0 {
		a.left = min(wrongBurst, a.left+float64(d)/float64(wrongEach))
	}
	a.at = now
}

// addressOf is what attempts are counted by: an IPv4 address, or the /64 that one customer has of IPv6 (RFC 6177). What is no address, as on a
// local socket, is one of its own.
func addressOf(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

// lru is a map with a bound; beyond it the entry that was used longest ago goes. Its owner locks.
type lru[K comparable, V any] struct {
	most    int
	entries map[K]*list.Element
	order   *list.List // newest first
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](most int) lru[K, V] {
	return lru[K, V]{most, map[K]*list.Element{}, list.New()}
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e := l.entries[k]
	if e == nil {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

func (l *lru[K, V]) put(k K, v V) {
	if e := l.entries[k]; e != nil {
		e.Value.(*lruEntry[K, V]).value = v
		l.order.MoveToFront(e)
		return
	}
	l.entries[k] = l.order.PushFront(&lruEntry[K, V]{k, v})
	if l.order.Len() > l.most {
		l.drop(l.order.Back())
	}
}

func (l *lru[K, V]) drop(e *list.Element) {
	l.order.Remove(e)
	delete(l.entries, e.Value.(*lruEntry[K, V]).key)
}
