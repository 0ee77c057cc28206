package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// platformServers are the Redis servers that the platform offers to its tenants, by the names that policies grant. All tenants share them, so
// each one's channels and keys begin with its name there.
type platformServers struct {
	*servers

	at      sync.Mutex
	reached map[string]bool // addresses that sockets to these servers have led to; at the bound it begins anew
}

// maxReached is more addresses than the nodes of all clusters that a platform offers.
const maxReached = 10_000

func newPlatformServers(s *servers) *platformServers {
	return &platformServers{servers: s, reached: map[string]bool{}}
}

// open opens those of the configured servers that are not open yet, and says which. One that does not answer now is tried for as long as the
// program runs.
func (p *platformServers) open(c *configuration, v *vaultPart) (fresh []string, err error) {
	for _, name := range c.redisNames() {
		if p.is(tenants.EndpointID(name)) {
			continue
		}
		given := c.redis(name)
		options, err := given.parse()
		if err == nil {
			options, err = options.With(func(c *endpoint.Config) { c.Dial = p.dial })
		}
		if err != nil {
			return fresh, fail(exitUsage, "redis.%s: %w", name, err)
		}
		if path := c.text("redis." + name + ".vault"); path != "" {
			if options, err = v.credential(tenants.EndpointID(name), options, path, p.renew); err != nil {
				return fresh, fail(exitUsage, "redis.%s.vault: %w", name, err)
			}
		}
		p.add(tenants.EndpointID(name), options)
		fresh = append(fresh, name)
	}
	return fresh, nil
}

// dial notes where it leads, so that nobody takes another way there.
func (p *platformServers) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	p.at.Lock()
	defer p.at.Unlock()
	if len(p.reached) >= maxReached {
		clear(p.reached)
	}
	p.reached[c.RemoteAddr().String()] = true
	return c, nil
}

// leadsTo tells whether an address is one of the platform's servers.
func (p *platformServers) leadsTo(addr net.Addr) bool {
	p.at.Lock()
	defer p.at.Unlock()
	return p.reached[addr.String()]
}

func (p *platformServers) add(id tenants.EndpointID, options *endpoint.Options) {
	for _, warning := range options.Warnings() {
		p.log.Warn(warning, "redis", id)
	}
	one := &server{id: id, options: options, client: options.Client(nil)}
	p.mu.Lock()
	p.known[id] = one
	p.mu.Unlock()
	p.listen(one)
}

// names lists the servers.
func (p *platformServers) names() []tenants.EndpointID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.known))
}

// is tells whether an endpoint is one of the platform's.
func (p *platformServers) is(id tenants.EndpointID) bool { return p.one(id) != nil }

func (p *platformServers) one(id tenants.EndpointID) *server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id]
}

// meant is the platform's server that an address means: "" and port 6379 of this machine, where applications expect a Redis, are the default
// one; a host that is a server's name, or a server's own host and port, is that one.
func (p *platformServers) meant(address string) (tenants.EndpointID, bool, error) {
	if address == "" {
		return tenants.DefaultEndpoint, true, nil
	}
	options, err := endpoint.Parse(address)
	if err != nil {
		return "", false, err
	}
	if standing(options) {
		return tenants.DefaultEndpoint, true, nil
	}
	host, port, err := net.SplitHostPort(options.Addresses()[0])
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, own := range p.known {
		if err == nil && host == string(id) && port == "6379" || strings.EqualFold(own.options.Name(), options.Name()) {
			return id, true, nil
		}
	}
	return "", false, nil
}

// granted finds the server for a tenant's address, and refuses what its policy does not grant.
func (p *platformServers) granted(address string, g tenants.Grants) (*server, error) {
	id, ours, err := p.meant(address)
	if err != nil {
		return nil, err
	}
	if !ours {
		return nil, hint{fmt.Errorf("the platform offers no Redis at %s", addressName(address)),
			"leave the address out, name one of these: " + joinIDs(p.grantedNames(g)) + ", or add a Redis of yours: tenloom connections add NAME ADDRESS"}
	}
	if !slices.Contains(g.Endpoints, id) {
		return nil, hint{fmt.Errorf("the policy does not grant the Redis %q", id),
			"ask an operator, or name one of these: " + joinIDs(p.grantedNames(g))}
	}
	return p.one(id), nil
}

func addressName(address string) string {
	if options, err := endpoint.Parse(address); err == nil {
		return options.Name()
	}
	return "this address"
}

func (p *platformServers) grantedNames(g tenants.Grants) []tenants.EndpointID {
	return slices.DeleteFunc(p.names(), func(id tenants.EndpointID) bool { return !slices.Contains(g.Endpoints, id) })
}

func joinIDs(ids []tenants.EndpointID) string {
	var names []string
	for _, id := range ids {
		names = append(names, "redis://"+string(id))
	}
	if names == nil {
		return "none is granted"
	}
	return strings.Join(names, ", ")
}

// tenantClient is what a tenant's handlers get where they ask for one of the platform's servers.
func (p *platformServers) tenantClient(one *server, t tenants.ID, grants func() tenants.Grants) (redis.UniversalClient, error) {
	options, err := asRESP2(one.options)
	if err != nil {
		return nil, err
	}
	c := options.Client(nil)
	c.AddHook(ownNames{t, grants})
	return c, nil
}

// ownNames puts a tenant's name before each channel and key that its handlers name on a server that others use too. A command whose keys it
// does not know, and one that speaks of the whole server, is refused.
type ownNames struct {
	tenant tenants.ID
	grants func() tenants.Grants // as they are now
}

// DialHook implements redis.Hook.
func (o ownNames) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (o ownNames) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := o.let(cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (o ownNames) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if err := o.let(cmd); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmds)
	}
}

// let looks at a command. Handlers' own are all raw ones (sandbox/spin); what is not is the client's, at the beginning of a connection.
func (o ownNames) let(cmd redis.Cmder) error {
	if _, handlers := cmd.(*redis.RawWriteToCmd); !handlers && greets[strings.ToLower(cmd.Name())] {
		return nil
	}
	return o.rename(cmd.Args())
}

// greets are what go-redis itself sends on a new connection, and around a transaction, whose own commands are looked at one by one.
var greets = map[string]bool{"hello": true, "auth": true, "select": true, "client": true, "readonly": true, "multi": true, "exec": true}

func (o ownNames) rename(args []any) error {
	if len(args) == 0 {
		return nil
	}
	name, _ := text(args[0])
	name = strings.ToLower(name)
	if name == "publish" && len(args) == 3 {
		channel, ok := text(args[1])
		if !ok {
			return fmt.Errorf("the channel is no text")
		}
		args[1] = o.grants().Published(o.tenant, channel)
		return nil
	}
	keys, known := keysOf[name]
	if !known {
		return fmt.Errorf("the command %q is not offered on a Redis that tenants share; a Redis of your own takes all", clipped(name))
	}
	for i := 1; i < len(args) && keys.step > 0; i += keys.step {
		key, ok := text(args[i])
		if !ok {
			return fmt.Errorf("argument %d of %s is no key", i, name)
		}
		args[i] = string(o.tenant) + ":" + key
		if keys.first {
			break
		}
	}
	return nil
}

func text(arg any) (string, bool) {
	switch v := arg.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

func clipped(s string) string { return cut(plain(s), 40) }

// keyPlaces says which arguments of a command are keys.
type keyPlaces struct {
	first bool // the first argument alone
	step  int  // otherwise the first and each step-th after it; 0 none
}

// keysOf are the commands that handlers have on a shared server: those whose keys stand where this table says, and nowhere else.
var keysOf = func() map[string]keyPlaces {
	all := map[string]keyPlaces{"ping": {}, "echo": {}, "time": {}, "mset": {step: 2}, "msetnx": {step: 2}}
	for name := range strings.FieldsSeq("del unlink exists touch mget sinter sunion sdiff pfcount") {
		all[name] = keyPlaces{step: 1}
	}
	for name := range strings.FieldsSeq(`get set setnx setex psetex getset getdel getex append strlen getrange setrange incr incrby incrbyfloat decr decrby
		getbit setbit bitcount bitpos expire pexpire expireat pexpireat expiretime pexpiretime ttl pttl persist type
		hget hset hsetnx hdel hgetall hmget hmset hincrby hincrbyfloat hkeys hvals hlen hexists hstrlen hscan hrandfield
		lpush rpush lpushx rpushx lpop rpop llen lrange lindex linsert lset lrem ltrim lpos
		sadd srem smembers sismember smismember scard spop srandmember sscan
		zadd zrem zrange zrangebyscore zrevrange zrevrangebyscore zrangebylex zscore zmscore zincrby zcard zrank zrevrank zcount zlexcount
		zpopmin zpopmax zrandmember zremrangebyrank zremrangebyscore zremrangebylex zscan
		xadd xlen xrange xrevrange xdel xtrim pfadd geoadd geopos geodist geosearch`) {
		all[name] = keyPlaces{first: true, step: 1}
	}
	return all
}()
