package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
	"github.com/tenloom/tenloom/tenants/store"
)

// connections are the Redis servers that tenants bring along, each with a login of its own. Nobody shares them, so names mean there what they
// say. They follow the store: what is added can be used, a login that has changed is taken over by everything that is logged in with the old
// one, and what is removed is closed. Their number is bounded by the tenants' policies.
type connections struct {
	store  *store.Store
	sealer *secrets.Sealer
	on     *scheduler.Scheduler
	dial   dialFunc                                                                                     // with the platform's rules of what may be reached
	follow func(context.Context, tenants.EndpointID, *endpoint.Options)                                 // tells of other masters and moved slots, until its context ends
	retire func(t tenants.ID, which func(address string) bool)                                          // takes a tenant's outbound clients out of use
	lend   func(t tenants.ID, name string, moved func(context.Context, string) error) *vault.Credential // nil where Vault has none for tenants
	log    *slog.Logger

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup // each ends soon after life

	mu    sync.Mutex
	all   map[tenants.ID]map[string]*connection
	dying map[tenants.EndpointID]bool // removed, and not gone from the scheduler yet
}

// connection is one of them, with an address that stays as it is.
type connection struct {
	id      tenants.EndpointID
	tenant  tenants.ID
	name    string
	options *endpoint.Options
	clients *outbound.Pool // of one client, to publish with; another when the login has changed
	changed chan string    // why the login is another one; capacity 1: one that waits does for all
	sealer  *secrets.Sealer
	life    context.Context
	end     context.CancelFunc

	logins atomic.Uint64 // grows when the record names another login

	mu       sync.Mutex
	record   tenants.Connection
	revision store.Revision
	lease    *vault.Credential   // what the record's login is kept in where that comes from Vault; nil where it does not, or Vault has none
	former   []*vault.Credential // to be given up when nothing is logged in with them any more; a few
	attached bool
	stale    string // why the subscriber connections still have an older login; "" they have this one
}

func newConnections(c *connections) *connections {
	c.life, c.end = context.WithCancel(context.Background())
	c.all, c.dying = map[tenants.ID]map[string]*connection{}, map[tenants.EndpointID]bool{}
	return c
}

func (c *connections) close() {
	c.end()
	c.work.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, own := range c.all {
		for _, n := range own {
			n.clients.Close()
		}
	}
}

// take follows the store.
func (c *connections) take(changes store.Changes) {
	seen := map[tenants.EndpointID]bool{}
	for _, change := range changes.Items {
		if change.Noun != "connection" {
			continue
		}
		if change.Deleted {
			c.remove(change.Tenant, change.Name, change.Revision)
			continue
		}
		c.put(change.Value.(tenants.Connection), change.Revision)
		seen[ownID(change.Tenant, change.Name)] = true
	}
	if !changes.Reset {
		return
	}
	for _, n := range c.list() {
		if !seen[ownID(n.tenant, n.name)] {
			c.remove(n.tenant, n.name, changes.Revision)
		}
	}
}

// refresh reads a tenant's connections now: what was added before a deployment counts for it, heard of or not.
func (c *connections) refresh(ctx context.Context, t tenants.ID) error {
	q := store.Query{Limit: store.MaxPage}
	for {
		page, err := c.store.Connections(ctx, t, q)
		if err != nil {
			return err
		}
		for _, r := range page.Items {
			c.put(r.Value, r.Revision)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

func ownID(t tenants.ID, name string) tenants.EndpointID {
	return tenants.EndpointID(string(t) + "/" + name)
}

func (c *connections) list() (all []*connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, own := range c.all {
		for _, n := range own {
			all = append(all, n)
		}
	}
	return all
}

// put adds or changes a connection, unless what is here is newer.
func (c *connections) put(record tenants.Connection, revision store.Revision) {
	c.mu.Lock()
	have := c.all[record.Tenant][record.Name]
	switch {
	case have == nil:
	case have.sameServer(record):
		c.mu.Unlock()
		if c.update(have, record, revision) {
			c.renew(have, "its login was changed")
		}
		return
	case have.newer(revision):
		c.mu.Unlock()
		return
	default:
		c.drop(have)
	}
	n, err := c.make(record, revision)
	if err == nil {
		if c.all[record.Tenant] == nil {
			c.all[record.Tenant] = map[string]*connection{}
		}
		for i := 2; c.dying[n.id]; i++ {
			n.id = tenants.EndpointID(fmt.Sprintf("%s#%d", ownID(record.Tenant, record.Name), i))
		}
		c.all[record.Tenant][record.Name] = n
		if record.Vault {
			n.lease = c.borrow(n)
		}
	}
	c.mu.Unlock()
	if err != nil {
		c.log.Error("a connection cannot be used", "tenant", record.Tenant, "connection", record.Name, "error", err)
		return
	}
	c.retire(record.Tenant, n.named) // until now its name was a host's
}

// make is a connection that nothing uses yet.
func (c *connections) make(record tenants.Connection, revision store.Revision) (*connection, error) {
	n := &connection{id: ownID(record.Tenant, record.Name), tenant: record.Tenant, name: record.Name, record: record, revision: revision, sealer: c.sealer, changed: make(chan string, 1)}
	config, err := endpoint.ParseConfig(record.Address)
	if err != nil {
		return nil, err
	}
	config.Credentials, config.Refused, config.Version, config.Dial = n.credential, n.refused, n.version, c.dial
	if record.CA != "" && config.TLS != nil {
		config.TLS.CA = []byte(record.CA)
	}
	keys, err := c.openKeys(record)
	if err != nil {
		return nil, err
	}
	tuned(&config, record.Tuning, keys)
	if n.options, err = endpoint.New(config); err != nil {
		return nil, err
	}
	n.clients = outbound.NewPool(outbound.PoolConfig{MaxClients: 1, Dial: c.dial, Open: func(string, dialFunc) (redis.UniversalClient, error) {
		return n.options.Client(nil), nil
	}})
	n.life, n.end = context.WithCancel(c.life)
	return n, nil
}

// openKeys gives the secrets of a connection that are not its login.
func (c *connections) openKeys(record tenants.Connection) (keys tenants.LoginKeys, err error) {
	if len(record.Keys) == 0 {
		return keys, nil
	}
	text, err := c.sealer.Open(record.Keys)
	if err != nil {
		return keys, fmt.Errorf("open the keys: %w", err)
	}
	if json.Unmarshal([]byte(text.Reveal()), &keys) != nil {
		return keys, errors.New("the keys were not kept as they were given; set them again") // the decoder's error would repeat them
	}
	return keys, nil
}

func (n *connection) sameServer(record tenants.Connection) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.record.Address == record.Address && n.record.CA == record.CA && n.record.Tuning.SameSockets(record.Tuning) && bytes.Equal(n.record.Keys, record.Keys)
}

func (n *connection) newer(than store.Revision) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.revision >= than
}

// attach makes the scheduler keep connections for messages. Doing so again does nothing.
func (c *connections) attach(id tenants.EndpointID) {
	n := c.at(id)
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.attached || n.life.Err() != nil {
		return
	}
	n.attached = true
	c.on.AddEndpoint(attached(n.id, n.options, func(ctx context.Context, channel string, payload []byte) error {
		_, err := n.publish(ctx, tenants.Target{Name: channel}, payload)
		return err
	}))
	c.work.Go(func() { c.renewals(n) }) // ends with the connection's life
	if n.options.IsMaster() || n.options.IsCluster() {
		c.work.Go(func() { c.follow(n.life, n.id, n.options) }) // likewise
	}
}

func (c *connections) at(id tenants.EndpointID) *connection {
	tenant, _, own := strings.Cut(string(id), "/")
	if !own {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.all[tenants.ID(tenant)] {
		if n.id == id {
			return n
		}
	}
	return nil
}

// publishing is the key of the only client in a connection's pool.
const forPublishing = "redis://publishing:6379"

func (n *connection) publish(ctx context.Context, to tenants.Target, payload []byte) (int64, error) {
	client, release, err := n.clients.Get(ctx, forPublishing)
	if err != nil {
		return 0, err
	}
	defer release()
	return publishing(client)(ctx, to, payload)
}

// remove forgets a connection that was deleted at a revision.
func (c *connections) remove(t tenants.ID, name string, revision store.Revision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.all[t][name]; n != nil && !(n.newer(revision) && revision > 0) {
		c.drop(n)
	}
}

// drop ends a connection: nobody finds it any more, and it is closed when no trigger uses it. The caller holds mu.
func (c *connections) drop(n *connection) {
	delete(c.all[n.tenant], n.name)
	if len(c.all[n.tenant]) == 0 {
		delete(c.all, n.tenant)
	}
	c.dying[n.id] = true
	n.end()
	c.work.Go(func() { // ends when the scheduler has let go of it, or with life
		c.retire(n.tenant, func(address string) bool { return n.named(address) || n.addressed(address) })
		c.bury(n)
	})
}

// bury closes what is left of a connection. Triggers may use it for a moment: those of a tenant that is being removed.
func (c *connections) bury(n *connection) {
	defer n.clients.Close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := c.on.RemoveEndpoint(n.id)
		if err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-c.life.Done():
			return
		}
	}
	n.giveUp()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.dying, n.id)
}

// named tells whether an address has a connection's name for its host, as in redis://cache.
func (n *connection) named(address string) bool {
	options, err := endpoint.Parse(address)
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(options.Addresses()[0])
	return err == nil && strings.EqualFold(host, n.name) && port == "6379"
}

// addressed tells whether an address is a connection's own, without a login beside it.
func (n *connection) addressed(address string) bool {
	options, err := endpoint.Parse(address)
	if err != nil {
		return false
	}
	user, mark := options.Credential()
	return user+mark == "" && strings.EqualFold(options.Name(), n.options.Name())
}

// within says why a policy does not let a connection's own address be reached, or nil.
func (n *connection) within(ceiling *outbound.Allowed) error {
	for _, address := range n.options.Addresses() {
		if ok, err := ceiling.Covers("redis://" + address); !ok || err != nil {
			return hint{fmt.Errorf("the connection %q leads to %s, which the tenant's policy does not grant", n.name, address), "ask the operator to add it to grants.hosts"}
		}
	}
	return nil
}

// meant is a tenant's connection that an address means, or nil: the one that is its host's name, else the first that has the same address.
func (c *connections) meant(t tenants.ID, address string) *connection {
	if address == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var same *connection
	for _, n := range c.all[t] {
		if n.named(address) {
			return n
		}
		if n.addressed(address) && (same == nil || n.name < same.name) {
			same = n
		}
	}
	return same
}

// means tells of addresses whether they lead to a connection.
func (c *connections) means(n *connection) func(address string) bool {
	return func(address string) bool { return c.meant(n.tenant, address) == n }
}

// client is what a tenant's handlers get where they ask for a connection: in the database that they name.
func (n *connection) client(address string) (redis.UniversalClient, error) {
	asked, err := endpoint.Parse(address)
	if err != nil {
		return nil, err
	}
	options, err := n.options.With(func(c *endpoint.Config) {
		if asked.DB() != 0 {
			c.DB = asked.DB()
		}
		if asked.Protocol() != 0 {
			c.Protocol = asked.Protocol()
		}
	})
	if err == nil {
		options, err = asRESP2(options)
	}
	if err != nil {
		return nil, err
	}
	return options.Client(nil), nil
}
