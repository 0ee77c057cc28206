package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Credential is the user and password for one Redis, kept in force: leases are renewed at two thirds of their life, and replaced when Vault gives
// less than before, which is the role's max_ttl; what has no lease is read again. It is safe for concurrent use.
type Credential struct {
	c      *Client
	source Source
	moved  func(ctx context.Context, why string) error
	job    *job

	version atomic.Uint64
	moves   sync.Mutex // held while connections are moved: one change at a time

	mu       sync.Mutex
	cur      *grant        // nil until there was one
	spare    []string      // leases of former grants that are still to be revoked; a few
	asking   chan struct{} // closed when the request that is under way has ended; nil without one
	trouble  error         // of the last request; nil after a good one
	failures int
	retry    time.Time // nobody who waits causes another request before
	doubted  time.Time // when Redis last refused what is in force
	closed   bool
}

const (
	// grace is how long a former lease stays after the connections were moved: commands that began before end within it.
	grace = 10 * time.Second
	// doubtEvery is how often a credential is asked for anew because Redis refuses it.
	doubtEvery = time.Second
)

// Open begins to keep a credential. moved is called after another user or password has come into force, with the reason, and returns when
// connections use it, or why they do not: then it is called again for as long as the former one lasts. It may be nil. The former lease is
// revoked after it.
func (c *Client) Open(s Source, moved func(ctx context.Context, why string) error) *Credential {
	if moved == nil {
		moved = func(context.Context, string) error { return nil }
	}
	k := &Credential{c: c, source: s, moved: moved}
	k.job = newJob(k.work)
	c.mu.Lock()
	c.credentials[k] = struct{}{}
	c.mu.Unlock()
	c.agenda.set(k.job, time.Now())
	return k
}

// Source is where the credential comes from.
func (k *Credential) Source() Source { return k.source }

// Version grows whenever another user or password has come into force.
func (k *Credential) Version() uint64 { return k.version.Load() }

// Close ends the credential: nobody gets it from here any more, and its lease is revoked as soon as the agenda comes to it.
func (k *Credential) Close() { k.end(0) }

// Retire is Close for a credential whose connections have just moved to another: its lease stays for the 10 s in which commands under way end.
func (k *Credential) Retire() { k.end(grace) }

func (k *Credential) end(after time.Duration) {
	k.mu.Lock()
	closed := k.closed
	k.closed = true
	lease := ""
	if k.cur != nil && k.cur.lease != "" {
		lease = k.cur.lease
		k.spare = append(k.spare, lease)
	}
	owes := len(k.spare) > 0
	k.mu.Unlock()
	if closed {
		return
	}
	k.c.agenda.remove(k.job)
	k.c.mu.Lock()
	delete(k.c.credentials, k)
	if owes {
		k.c.leaving[k] = struct{}{}
	}
	k.c.mu.Unlock()
	k.revoke(lease, after)
}

var errClosed = errors.New("vault: the credential is closed")

// Login is the user and password in force. Without one it asks Vault, at most once at a time; while Vault does not give one, it says why at
// once. It fits endpoint.Config.Credentials.
func (k *Credential) Login(ctx context.Context) (user, password string, err error) {
	for first := true; ; first = false {
		k.mu.Lock()
		switch {
		case k.closed:
			k.mu.Unlock()
			return "", "", errClosed
		case k.cur != nil && !k.cur.ended():
			defer k.mu.Unlock()
			return k.cur.user, k.cur.password.Reveal(), nil
		case k.trouble != nil && (!first || time.Now().Before(k.retry)):
			defer k.mu.Unlock()
			return "", "", k.none()
		}
		asking := k.ask("its lease has ended")
		k.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return "", "", fmt.Errorf("vault: read %s: %w", k.source.path, ctx.Err())
		}
	}
}

// none says why there is no credential. The caller holds mu.
func (k *Credential) none() error {
	if k.cur != nil {
		return fmt.Errorf("the lease of %s ended at %s and was not replaced: %w", k.source.path, k.cur.until.UTC().Format("15:04:05 UTC"), k.trouble)
	}
	return k.trouble
}

// Refused is told when Redis refuses a user and password. It returns nil when another one is in force now, so that it is worth another try, after
// asking Vault at most once a second.
func (k *Credential) Refused(ctx context.Context, user, password string) error {
	k.mu.Lock()
	refused := k.cur
	if refused == nil || k.closed || refused.user != user || refused.password.Reveal() != password {
		closed := k.closed
		k.mu.Unlock()
		if closed {
			return errClosed
		}
		return nil
	}
	asking := k.asking
	if asking == nil {
		if time.Since(k.doubted) < doubtEvery {
			defer k.mu.Unlock()
			return k.disbelieved()
		}
		k.doubted = time.Now()
		asking = k.ask("Redis did not take the former one")
	}
	k.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
		return fmt.Errorf("vault: read %s: %w", k.source.path, ctx.Err())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cur.same(refused) {
		return k.disbelieved()
	}
	return nil
}

func (k *Credential) disbelieved() error {
	if k.trouble != nil {
		return k.trouble
	}
	next := "compare it with the user on the Redis server"
	if k.source.shape != inKV {
		next = fmt.Sprintf("does the Redis of %s/config have its users? ACL users live on one node and are lost when it restarts", k.source.mount)
	}
	return &Error{Refused, k.source.path, "read", "Redis does not take the user and password that Vault gives", next}
}

// ask has the credential asked for now, for somebody who waits. The caller holds mu.
func (k *Credential) ask(why string) (asking chan struct{}) {
	if k.asking != nil {
		return k.asking
	}
	asking = make(chan struct{})
	k.asking = asking
	go func() { // ends after three time-outs at most
		ctx, cancel := context.WithTimeout(context.Background(), 3*k.c.config.Timeout)
		defer cancel()
		err := k.c.urgent.Wait(ctx)
		var g *grant
		if err != nil {
			err = &Error{Unreachable, k.source.path, "read", "too many wait for Vault", "raise the rate"}
		} else {
			g, err = k.obtain(ctx)
		}
		k.c.agenda.set(k.job, k.take(g, err, why))
	}()
	return asking
}

// work is the job: what is due for this credential now.
func (k *Credential) work(ctx context.Context) time.Time {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return time.Time{}
	}
	if k.asking != nil { // who waits goes before
		k.mu.Unlock()
		return time.Now().Add(time.Second)
	}
	k.asking = make(chan struct{})
	cur := k.cur
	k.mu.Unlock()

	why := "it was changed in Vault"
	if cur != nil && k.source.shape == dynamic {
		why = "its lease is near its max_ttl"
		switch {
		case cur.replace:
			why = "Vault was signed in to anew"
		case cur.ended():
			why = "its lease had ended"
		case cur.renewable:
			life, err := k.renew(ctx, cur)
			switch {
			case err == nil && life*10 >= cur.life*9:
				return k.prolong(cur, life)
			case isAway(err), err != nil && ctx.Err() != nil:
				return k.take(nil, err, "")
			case err == nil: // near max_ttl
				k.prolong(cur, life)
				k.mu.Lock()
				k.asking = make(chan struct{})
				k.mu.Unlock()
			case kind(err) == Denied:
				k.c.config.Log.Warn("vault: a lease is replaced because it cannot be renewed", "cause", err)
			default:
				why = "its lease was revoked"
			}
			if err := k.c.later.Wait(ctx); err != nil {
				return k.take(nil, err, "")
			}
		}
	}
	g, err := k.obtain(ctx)
	return k.take(g, err, why)
}

// prolong notes a renewed lease, and returns when to renew it again.
func (k *Credential) prolong(g *grant, life time.Duration) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	next := *g
	next.until = now.Add(life)
	if k.cur == g {
		k.cur = &next
	}
	k.trouble, k.failures = nil, 0
	k.answered()
	return now.Add(jitter(life*2/3, 0.05))
}

// answered lets those go who wait. The caller holds mu.
func (k *Credential) answered() {
	close(k.asking)
	k.asking = nil
}

// take puts what was obtained in force, has connections moved to it, and returns when to look again.
func (k *Credential) take(g *grant, err error, why string) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.answered()
	now := time.Now()
	if err != nil {
		k.failures++
		k.trouble, k.retry = err, now.Add(pause(k.failures))
		return k.retry
	}
	if k.closed { // meanwhile
		k.revoke(g.lease, 0)
		return time.Time{}
	}
	former := k.cur
	k.cur, k.trouble, k.failures = g, nil, 0
	if former == nil || !g.same(former) {
		k.version.Add(1)
	}
	if former != nil && !g.same(former) {
		if former.lease != "" {
			k.spare = append(k.spare, former.lease)
		}
		k.c.moving.Go(func() { k.move(former, why) })
	}
	return k.nextLook(g, now)
}

// nextLook is when a fresh grant needs care.
func (k *Credential) nextLook(g *grant, now time.Time) time.Time {
	switch {
	case k.source.shape == dynamic: // those that were made together are not renewed together: the first time between one and two thirds
		return now.Add(jitter(g.life/2, 1.0/3))
	case k.source.shape == static && g.life > 0: // until Vault changes it, and a moment for it to do so
		return now.Add(min(g.life+jitter(time.Second, 0.5), k.c.interval(k.c.opened())))
	}
	return now.Add(k.c.interval(k.c.opened()))
}

func (c *Client) opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.credentials)
}

// interval is the time between two looks at each of n things: Config.Refresh, and more where that would take more than half of the rate.
func (c *Client) interval(n int) time.Duration {
	share := time.Duration(float64(n) / (c.config.Rate / 2) * float64(time.Second))
	return jitter(max(c.config.Refresh*4/5, share), 0.2)
}
