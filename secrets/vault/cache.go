package vault

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenloom/tenloom/secrets"
)

// cache remembers secrets of KV engines by their path. At its bound, in number or bytes, one of those goes that were asked for longest ago.
type cache struct {
	mu      sync.Mutex
	entries map[string]*entry
	most    int
	bytes   int
}

// victims is how many entries are compared to find one that was not asked for lately.
const victims = 16

func (c *cache) init(most int) { c.entries, c.most = map[string]*entry{}, most }

// entry is one secret. Readers take state and never wait for Vault while it is not too old; one request at a time fills it.
type entry struct {
	at    at
	state atomic.Pointer[reading] // nil until it was read once
	used  atomic.Int64            // when it was asked for last, as Unix time in ns
	gone  atomic.Bool             // it is not in the cache any more
	job   *job

	mu       sync.Mutex
	loading  chan struct{} // closed when the request that is under way has ended; nil without one
	trouble  error         // of the last request; nil after a good one
	failures int
	retry    time.Time // nobody who waits causes another request before
}

// idle is how long a secret that nobody asks for is kept and refreshed, in multiples of Config.Refresh.
const idle = 20

func (c *Client) entry(a at) *entry {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	key := a.api()
	if e := c.cache.entries[key]; e != nil {
		return e
	}
	e := &entry{at: a}
	e.used.Store(time.Now().UnixNano())
	e.job = newJob(func(ctx context.Context) time.Time { return c.refresh(ctx, e) })
	c.cache.entries[key] = e
	c.makeRoom(e)
	return e
}

// makeRoom holds the cache's bounds. The caller holds cache.mu.
func (c *Client) makeRoom(keep *entry) {
	for len(c.cache.entries) > 1 && (len(c.cache.entries) > c.cache.most || c.cache.bytes > maxMemory) {
		var oldest *entry
		seen := 0
		for _, e := range c.cache.entries { // the order of a map is as good as drawing lots
			if e != keep && (oldest == nil || e.used.Load() < oldest.used.Load()) {
				oldest = e
			}
			if seen++; seen > victims {
				break
			}
		}
		c.drop(oldest)
	}
}

// drop forgets an entry. The caller holds cache.mu.
func (c *Client) drop(e *entry) {
	if e.gone.Swap(true) {
		return
	}
	delete(c.cache.entries, e.at.api())
	if r := e.state.Load(); r != nil {
		c.cache.bytes -= r.size
	}
	c.agenda.remove(e.job)
}

// keep takes what was read.
func (c *Client) keep(e *entry, r *reading) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	former := e.state.Swap(r)
	if e.gone.Load() {
		return
	}
	c.cache.bytes += r.size
	if former != nil {
		c.cache.bytes -= former.size
	}
	c.makeRoom(e)
}

// get is what the secret holds, at most Config.Stale old: without a request while it is remembered.
func (c *Client) get(ctx context.Context, e *entry) (*reading, error) {
	now := time.Now()
	e.used.Store(now.UnixNano())
	if r := e.state.Load(); r != nil && now.Sub(r.when) < c.config.Stale {
		return r, nil
	}
	return c.load(ctx, e)
}

// load waits for a request that somebody has sent, or sends one. After a failure it says so again until it is time to try again.
func (c *Client) load(ctx context.Context, e *entry) (*reading, error) {
	e.mu.Lock()
	if r := e.state.Load(); r != nil && time.Since(r.when) < c.config.Stale {
		e.mu.Unlock()
		return r, nil
	}
	if e.trouble != nil && time.Now().Before(e.retry) {
		defer e.mu.Unlock()
		return nil, e.trouble
	}
	if e.loading == nil {
		e.loading = make(chan struct{})
		go c.fill(e) // ends after three time-outs at most
	}
	loading := e.loading
	e.mu.Unlock()
	select {
	case <-loading:
	case <-ctx.Done():
		return nil, fmt.Errorf("vault: read %s: %w", e.at.api(), ctx.Err())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.state.Load(); r != nil && time.Since(r.when) < c.config.Stale {
		return r, nil
	}
	return nil, e.trouble
}

// fill reads a secret that somebody waits for.
func (c *Client) fill(e *entry) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*c.config.Timeout)
	defer cancel()
	err := c.urgent.Wait(ctx)
	if err == nil {
		err = c.fetch(ctx, e)
	} else {
		err = &Error{Unreachable, e.at.api(), "read", "too many wait for Vault", "raise the rate"}
		e.failed(err)
	}
	e.mu.Lock()
	close(e.loading)
	e.loading = nil
	e.mu.Unlock()
	if err == nil {
		c.agenda.set(e.job, time.Now().Add(c.ahead()))
	}
}

// ahead is when a secret is read again.
func (c *Client) ahead() time.Duration {
	c.cache.mu.Lock()
	n := len(c.cache.entries)
	c.cache.mu.Unlock()
	return c.interval(n)
}

// fetch is one request.
func (c *Client) fetch(ctx context.Context, e *entry) error {
	r, err := c.kv(ctx, e.at)
	if err != nil {
		e.failed(err)
		return err
	}
	c.keep(e, r)
	e.mu.Lock()
	e.trouble, e.failures = nil, 0
	e.mu.Unlock()
	return nil
}

func (e *entry) failed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures++
	e.trouble, e.retry = err, time.Now().Add(pause(e.failures))
}

// refresh is the job of an entry. It ends with the first that finds it unused.
func (c *Client) refresh(ctx context.Context, e *entry) time.Time {
	if time.Since(time.Unix(0, e.used.Load())) > idle*c.config.Refresh {
		c.cache.mu.Lock()
		c.drop(e)
		c.cache.mu.Unlock()
		return time.Time{}
	}
	if c.fetch(ctx, e) == nil {
		return time.Now().Add(c.ahead())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retry
}

// provider is secrets.Provider over a KV engine.
type provider struct {
	*KV
	tenant, app string
	places      sync.Map // of variables by name: *place. As many as the application declares
}

// place is where one variable stands.
type place struct {
	entry *entry
	field string
}

// Lookup implements secrets.Provider: false where there is no such secret.
func (p *provider) Lookup(ctx context.Context, name string) (secrets.Value, bool, error) {
	known, ok := p.places.Load(name)
	if !ok || known.(*place).entry.gone.Load() {
		made, err := p.place(name)
		if err != nil {
			return secrets.Value{}, false, err
		}
		p.places.Store(name, made)
		known = made
	}
	at := known.(*place)
	r, err := p.c.get(ctx, at.entry)
	if err != nil {
		return secrets.Value{}, false, err
	}
	if r.fields == nil {
		return secrets.Value{}, false, nil
	}
	if _, there := r.fields[at.field]; !there && !p.own {
		return secrets.Value{}, false, nil
	}
	value, err := r.text(at.entry.at, at.field)
	return value, err == nil, err
}

func (p *provider) place(name string) (*place, error) {
	path, err := p.path.Render(whose(p.tenant, p.app, name))
	if err != nil {
		return nil, err
	}
	field, err := p.field.Render(whose(p.tenant, p.app, name))
	if err != nil {
		return nil, err
	}
	return &place{p.c.entry(at{p.config.Mount, p.config.Version, path}), field}, nil
}

// String implements secrets.Provider.
func (p *provider) String() string { return "Vault (" + p.PolicyPath(p.tenant, p.app) + ")" }
