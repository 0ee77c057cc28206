package vault

import (
	"context"
	"slices"
	"time"
)

// revoke puts the end of a lease on the agenda.
func (k *Credential) revoke(lease string, after time.Duration) {
	if lease == "" {
		return
	}
	failures := 0
	k.c.agenda.set(newJob(func(ctx context.Context) time.Time {
		_, err := k.c.write(ctx, "sys/leases/revoke", map[string]any{"lease_id": lease})
		if isAway(err) {
			if failures++; failures < 10 { // by then it has most likely ended by itself
				return time.Now().Add(pause(failures))
			}
		}
		if err != nil && kind(err) != Refused { // refused: it is gone
			k.c.config.Log.Warn("vault: a lease that is not needed any more stays until it ends", "path", k.source.path, "cause", err)
		}
		k.settle(lease)
		return time.Time{}
	}), time.Now().Add(after))
}

// settle forgets a lease that is gone.
func (k *Credential) settle(lease string) {
	k.mu.Lock()
	k.spare = slices.DeleteFunc(k.spare, func(one string) bool { return one == lease })
	done := k.closed && len(k.spare) == 0
	k.mu.Unlock()
	if done {
		k.c.mu.Lock()
		delete(k.c.leaving, k)
		k.c.mu.Unlock()
	}
}

// leases are all that Vault holds for this credential.
func (k *Credential) leases() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.Clone(k.spare)
	if k.cur != nil && k.cur.lease != "" && !k.closed {
		all = append(all, k.cur.lease)
	}
	return all
}

// reissue has leases replaced that hang on a former token: spread over what is left of it, or at once where it is gone.
func (c *Client) reissue(former signed) {
	c.mu.Lock()
	var all []*Credential
	for k := range c.credentials {
		all = append(all, k)
	}
	c.mu.Unlock()
	left := time.Until(former.until)
	if former.token == "" || former.until.IsZero() || left < 0 {
		left = 0
	}
	for i, k := range all {
		k.mu.Lock()
		hangs := k.cur != nil && k.cur.lease != "" && k.cur.generation <= former.generation
		if hangs {
			next := *k.cur
			next.replace = true
			if left > 0 && (next.until.IsZero() || next.until.After(former.until)) {
				next.until = former.until
			}
			k.cur = &next
		}
		k.mu.Unlock()
		if hangs {
			c.agenda.sooner(k.job, time.Now().Add(left*8/10*time.Duration(i)/time.Duration(len(all))))
		}
	}
}

// renew asks for the lease's first life again, and returns what Vault gives.
func (k *Credential) renew(ctx context.Context, g *grant) (time.Duration, error) {
	secret, err := k.c.write(ctx, "sys/leases/renew", map[string]any{"lease_id": g.lease, "increment": int(g.life.Seconds())})
	if err != nil {
		return 0, err
	}
	if secret == nil {
		return 0, &Error{Unfit, "sys/leases/renew", "update", "the answer says no time to live", ""}
	}
	return time.Duration(secret.LeaseDuration) * time.Second, nil
}

// move has connections leave a former credential, and revokes its lease then.
func (k *Credential) move(former *grant, why string) {
	select {
	case k.c.movers <- struct{}{}:
		defer func() { <-k.c.movers }()
	case <-k.c.life.Done():
		return
	}
	k.moves.Lock()
	defer k.moves.Unlock()
	for failures := 1; ; failures++ {
		err := k.moved(k.c.life, why)
		if err == nil {
			break
		}
		if k.c.life.Err() != nil {
			return
		}
		if former.ended() || former.until.IsZero() && failures > 5 {
			k.c.config.Log.Warn("vault: connections were not moved to a new credential; they get it when they are made anew", "path", k.source.path, "cause", err)
			break
		}
		k.c.config.Log.Info("vault: connections were not moved to a new credential; trying again", "path", k.source.path, "cause", err)
		if !sleep(k.c.life, pause(failures)) {
			return
		}
	}
	k.revoke(former.lease, grace)
}
