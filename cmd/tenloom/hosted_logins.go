package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

var errNoVault = errors.New("the platform has no credentials in Vault for tenants' connections; give a user and password, or ask an operator to set vault.connections")

// credential is the one place where the login of a connection is found out, at each dial. Whoever changes what it answers calls renew.
func (n *connection) credential(ctx context.Context) (user, password string, err error) {
	n.mu.Lock()
	record, lease := n.record, n.lease
	n.mu.Unlock()
	switch {
	case !record.Vault:
		return n.unsealed(record.Login)
	case lease == nil:
		return "", "", errNoVault
	}
	return lease.Login(ctx)
}

// unsealed is a login that the tenant gave.
func (n *connection) unsealed(sealed tenants.Sealed) (user, password string, err error) {
	if len(sealed) == 0 {
		return "", "", nil
	}
	address, err := n.sealer.Open(sealed)
	if err != nil {
		return "", "", fmt.Errorf("open the login: %w", err)
	}
	u, err := url.Parse(address.Reveal())
	if err != nil || u.User == nil {
		return "", "", errors.New("the login was not kept as it was given; set it again") // the parser's error would repeat it
	}
	password, _ = u.User.Password()
	return u.User.Username(), password, nil
}

// refused is endpoint.Config.Refused.
func (n *connection) refused(ctx context.Context, user, password string) error {
	n.mu.Lock()
	record, lease := n.record, n.lease
	n.mu.Unlock()
	if record.Vault && lease != nil {
		return lease.Refused(ctx, user, password)
	}
	if now, word, err := n.credential(ctx); err != nil || now != user || word != password {
		return err
	}
	return fmt.Errorf("give it another login: tenloom connections add %s ADDRESS --user USER --password", n.name)
}

// version is endpoint.Config.Version: it grows with each login that the record names, and between these with what Vault gives.
func (n *connection) version() uint64 {
	n.mu.Lock()
	lease := n.lease
	n.mu.Unlock()
	given := n.logins.Load() << 32
	if lease != nil {
		given += lease.Version()
	}
	return given
}

// borrow has Vault give a connection's login from now on.
func (c *connections) borrow(n *connection) *vault.Credential {
	return c.lend(n.tenant, n.name, func(ctx context.Context, why string) error {
		return c.moved(ctx, n, "another credential is in force: "+why)
	})
}

// lent has a connection that is only tried use the credential of the one that it is tried for, so that Vault makes no user for a trial.
func (c *connections) lent(ctx context.Context, trial *connection) error {
	for _, again := range []bool{false, true} {
		if again { // it was added a moment ago
			if err := c.refresh(ctx, trial.tenant); err != nil {
				return err
			}
		}
		c.mu.Lock()
		live := c.all[trial.tenant][trial.name]
		c.mu.Unlock()
		if live == nil {
			continue
		}
		live.mu.Lock()
		trial.lease = live.lease
		live.mu.Unlock()
		if trial.lease != nil {
			return nil
		}
	}
	return errNoVault
}

// update takes a newer record, and tells whether its login is another one.
func (c *connections) update(n *connection, record tenants.Connection, revision store.Revision) (other bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.revision >= revision {
		return false
	}
	before := n.record
	n.record, n.revision = record, revision
	switch {
	case record.Vault && before.Vault: // Vault tells itself of what changes there
		return false
	case record.Vault:
		n.lease, other = c.borrow(n), true
	case before.Vault:
		if other = true; n.lease != nil {
			n.former, n.lease = append(n.former, n.lease), nil
		}
	default:
		other = !n.sameLogin(before.Login, record.Login)
	}
	if other {
		n.logins.Add(1)
	}
	return other
}

// sameLogin compares what was sealed. What cannot be opened is another one.
func (n *connection) sameLogin(one, two tenants.Sealed) bool {
	user, password, err := n.unsealed(one)
	nextUser, nextPassword, failed := n.unsealed(two)
	return err == nil && failed == nil && user == nextUser && password == nextPassword
}

// renew has everything that is logged in at a connection log in anew: outbound clients and the one that publishes give way to others and end
// with their last command, and subscriber connections are handed over without losing a message.
func (c *connections) renew(n *connection, why string) {
	c.retireClients(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.attached {
		n.giveBack(len(n.former))
		return
	}
	n.stale = "not tried yet"
	select {
	case n.changed <- why:
	default:
	}
}

func (c *connections) retireClients(n *connection) {
	n.clients.Retire(func(string) bool { return true })
	c.retire(n.tenant, c.means(n))
}

// moved is renew for a credential of Vault's: it returns when nothing is subscribed with the former one, or why something still is. Then Vault's
// agenda calls it again.
func (c *connections) moved(ctx context.Context, n *connection, why string) error {
	c.retireClients(n)
	n.mu.Lock()
	attached := n.attached
	n.mu.Unlock()
	if !attached {
		return nil
	}
	if err := c.handOver(ctx, n, why); err != nil && n.life.Err() == nil {
		return err
	}
	return nil
}

// handOver replaces the subscriber connections, and notes whether they have the login in force.
func (c *connections) handOver(ctx context.Context, n *connection, why string) error {
	n.mu.Lock()
	known := len(n.former)
	n.mu.Unlock()
	err := c.on.Renew(ctx, n.id, why)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.stale = err.Error()
		return err
	}
	n.stale = ""
	n.giveBack(known) // one that came meanwhile waits for the next time
	return nil
}

// A handover that fails, most often because the login is wrong, is tried again.
const (
	firstRenewal = time.Second
	lastRenewal  = time.Minute
)

// renewals hands the subscriber connections of a connection over whenever its login has changed, until its life ends.
func (c *connections) renewals(n *connection) {
	var again <-chan time.Time
	pause, why := firstRenewal, ""
	for {
		select {
		case <-n.life.Done():
			return
		case why = <-n.changed:
			pause = firstRenewal
		case <-again:
		}
		err := c.handOver(n.life, n, why)
		if n.life.Err() != nil {
			return
		}
		again = nil
		if err != nil {
			c.log.Warn("subscriber connections still have the login before", "endpoint", n.id, "cause", err)
			again = time.After(pause)
			pause = min(2*pause, lastRenewal)
		}
	}
}

// giveBack lets the first of those credentials go that nothing is logged in with any more, but for commands under way. The caller holds n.mu.
func (n *connection) giveBack(first int) {
	first = min(first, len(n.former))
	for _, k := range n.former[:first] {
		k.Retire()
	}
	n.former = n.former[first:]
}

// giveUp lets all credentials of a connection go that has been closed.
func (n *connection) giveUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range append(n.former, n.lease) {
		if k != nil {
			k.Close()
		}
	}
	n.former = nil
}

// showsCredential is how a login from Vault stands, nil for another.
func (n *connection) showsCredential() *api.ConnectionCredential {
	n.mu.Lock()
	record, lease := n.record, n.lease
	n.mu.Unlock()
	switch {
	case !record.Vault:
		return nil
	case lease == nil:
		return &api.ConnectionCredential{State: string(vault.Lacking), Reason: string(vault.Missing), Detail: errNoVault.Error()}
	}
	s := lease.State()
	out := &api.ConnectionCredential{State: string(s.Phase), Path: s.Path, User: s.User, Renewable: s.Renewable, Detail: s.Detail}
	if !s.Until.IsZero() {
		until := s.Until.UTC().Truncate(time.Second)
		out.Until = &until
	}
	if s.Trouble != nil {
		out.Reason = string(s.Trouble.Kind)
		if s.Trouble.Kind == vault.Denied {
			out.Denied = &api.Denied{Path: s.Trouble.Path, Capability: s.Trouble.Capability}
		}
	}
	return out
}

// advise says what to do where Redis refuses to let a user of Vault's subscribe.
func (n *connection) advise(reason string) string {
	n.mu.Lock()
	lease := n.lease
	n.mu.Unlock()
	if lease == nil {
		return ""
	}
	return statementAdvice(lease, reason, fmt.Sprintf("--vault-role %s --connection %s --triggers", n.tenant, n.name))
}
