package outbound

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	defaultMaxClients = 64

	// maxIdle is how long a client that nobody uses is kept. It is closed by the first Get after that.
	maxIdle = 5 * time.Minute
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// PoolConfig is what a Pool is made of. Open and Dial are required.
type PoolConfig struct {
	// Open makes the client of a Redis URL: it reads the options of the URL and hands dial to the client, which connects later. The URL
	// has a canonical host, a port, and a percent-encoded user name and password.
	Open func(address string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) (redis.UniversalClient, error)

	// Dial is the guarded way out, usually Dialer.DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// MaxClients bounds the addresses that have a client at the same time; default 64. Beyond it the client that has been idle longest
	// is closed; if none is idle, Get fails with ErrTooManyConnections.
	MaxClients int
}

// Pool holds the Redis clients of one tenant, one for each address, shared by all of its components and invocations. Addresses that
// differ in anything, credentials included, have clients of their own.
//
// A client reaches the host and port of its address and nothing else: redirections to other cluster nodes and further servers that
// options might name are refused, because no allow list was asked about them.
type Pool struct {
	open dialOpener
	dial dialFunc
	max  int

	mu      sync.Mutex
	clients map[string]*pooled // by address, at most max; opening, in use and idle ones, without those that were retired
	idle    *list.List         // of *pooled that nobody uses, longest idle in front
	closed  bool
}

type dialOpener = func(address string, dial dialFunc) (redis.UniversalClient, error)

// pooled is one client and its users. Fields without a comment are guarded by Pool.mu.
type pooled struct {
	address string                // set at birth
	ready   chan struct{}         // closed once client and err are final
	client  redis.UniversalClient // written by the opener before ready is closed
	err     error                 // likewise

	uses  int
	since time.Time     // when uses fell to 0
	place *list.Element // in Pool.idle while uses is 0
}

// errNotOpened stands until an opener returns; who waits sees it when the opener panicked.
var errNotOpened = errors.New("the client was not opened")

// NewPool returns an empty Pool. It panics if Open or Dial is missing: a pool without its guard must not exist.
func NewPool(c PoolConfig) *Pool {
	if c.Open == nil || c.Dial == nil {
		panic("outbound: NewPool needs Open and Dial")
	}
	limit := c.MaxClients
	if limit <= 0 {
		limit = defaultMaxClients
	}
	return &Pool{open: c.Open, dial: c.Dial, max: limit, clients: map[string]*pooled{}, idle: list.New()}
}

// Get returns the client of an address, opening it if there is none; callers that come while it opens wait for the same one. The client
// stays open at least until release is called, which may be done more than once and from any goroutine. The client must not be closed by
// its users. Errors wrap ErrTooManyConnections, ErrInvalidAddress, ErrPoolClosed or the context's.
func (p *Pool) Get(ctx context.Context, address string) (client redis.UniversalClient, release func(), err error) {
	e, first, stale, err := p.take(address)
	closeAll(stale)
	if err != nil {
		return nil, nil, err
	}
	if first {
		p.openClient(e)
	}
	select {
	case <-e.ready:
	case <-ctx.Done():
		p.put(e)
		return nil, nil, fmt.Errorf("wait for a redis client: %w", ctx.Err())
	}
	if e.err != nil {
		p.put(e)
		return nil, nil, e.err
	}
	return e.client, sync.OnceFunc(func() { p.put(e) }), nil
}

// take counts a use of an address's entry and says whether the caller has to open it. It also takes out the clients that must be closed,
// which the caller does without the lock.
func (p *Pool) take(address string) (e *pooled, first bool, stale []redis.UniversalClient, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, nil, ErrPoolClosed
	}
	stale = p.expire(time.Now())
	if e = p.clients[address]; e != nil {
		p.use(e)
		return e, false, stale, nil
	}
	if len(p.clients) >= p.max {
		oldest := p.idle.Front()
		if oldest == nil {
			return nil, false, stale, fmt.Errorf("%w: all %d redis clients are in use", ErrTooManyConnections, p.max)
		}
		stale = append(stale, p.evict(oldest.Value.(*pooled)))
	}
	e = &pooled{address: address, ready: make(chan struct{}), uses: 1}
	p.clients[address] = e
	return e, true, stale, nil
}

func (p *Pool) use(e *pooled) {
	e.uses++
	if e.place != nil {
		p.idle.Remove(e.place)
		e.place = nil
	}
}

func (p *Pool) expire(now time.Time) (stale []redis.UniversalClient) {
	for front := p.idle.Front(); front != nil; front = p.idle.Front() {
		e := front.Value.(*pooled)
		if now.Sub(e.since) <= maxIdle {
			break
		}
		stale = append(stale, p.evict(e))
	}
	return stale
}

func (p *Pool) evict(e *pooled) redis.UniversalClient {
	p.idle.Remove(e.place)
	e.place = nil
	delete(p.clients, e.address)
	return e.client
}

// openClient fills an entry in and lets its waiters go. A failure is told to those who wait and not kept: the next Get tries again.
func (p *Pool) openClient(e *pooled) {
	e.err = errNotOpened
	defer func() {
		if e.err != nil {
			p.forget(e)
		}
		close(e.ready)
	}()
	dial, err := pinned(e.address, p.dial)
	if err != nil {
		e.err = err
		return
	}
	e.client, err = p.open(e.address, dial)
	if err != nil {
		err = fmt.Errorf("%w: open redis client: %w", ErrInvalidAddress, err)
	}
	e.err = err
}

func (p *Pool) forget(e *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[e.address] == e {
		delete(p.clients, e.address)
	}
}

// put gives a use back.
func (p *Pool) put(e *pooled) {
	if last := p.drop(e); last != nil {
		closeAll([]redis.UniversalClient{last})
	}
}

// drop counts a use down, and returns the client if it was the last use of one that was retired, or of a closed pool.
func (p *Pool) drop(e *pooled) redis.UniversalClient {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.uses--
	if e.uses > 0 {
		return nil
	}
	if p.clients[e.address] != e { // retired, or never opened
		return e.client
	}
	if p.closed {
		delete(p.clients, e.address)
		return e.client
	}
	e.since = time.Now()
	e.place = p.idle.PushBack(e)
	return nil
}

// Retire has the next Get of each address that which names open a new client. Idle ones are closed before it returns, and those in use when their
// last user releases them.
func (p *Pool) Retire(which func(address string) bool) {
	closeAll(p.retire(which))
}

func (p *Pool) retire(which func(address string) bool) (idle []redis.UniversalClient) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, e := range p.clients {
		switch {
		case !which(address):
		case e.place != nil:
			idle = append(idle, p.evict(e))
		default:
			delete(p.clients, address)
		}
	}
	return idle
}

// Close ends the pool: Get fails from now on, idle clients are closed before it returns, and clients in use when they are released.
func (p *Pool) Close() {
	closeAll(p.shut())
}

func (p *Pool) shut() (idle []redis.UniversalClient) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for front := p.idle.Front(); front != nil; front = p.idle.Front() {
		idle = append(idle, p.evict(front.Value.(*pooled)))
	}
	return idle
}

// closeAll closes clients that nobody uses. Their errors are about sockets that are gone either way.
func closeAll(clients []redis.UniversalClient) {
	for _, c := range clients {
		_ = c.Close()
	}
}

// pinned lets a client dial the host and port of its own address only.
func pinned(address string, dial dialFunc) (dialFunc, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		// The parser's error would repeat the address.
		return nil, invalidAddress("it is not a redis:// or rediss:// URL")
	}
	port := u.Port()
	if port == "" {
		port = strconv.Itoa(redisPort)
	}
	own := net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.ToLower(addr) != own {
			return nil, fmt.Errorf("dial %s: %w: the client was opened for %s only", addr, ErrProhibited, own)
		}
		return dial(ctx, network, addr)
	}, nil
}
