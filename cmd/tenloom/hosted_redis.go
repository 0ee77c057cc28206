package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/deploy/api"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint"
)

// platformServers are the Redis servers that the platform offers to its tenants, by the names that policies grant. All tenants share them, so
// each one's channels and keys begin with its name there.
type platformServers struct {
	*servers
	options map[tenants.EndpointID]*endpoint.Options
}

// newPlatformServers opens the configured servers. One that does not answer now is tried for as long as the program runs.
func newPlatformServers(c *configuration, s *servers, v *vaultPart) (*platformServers, error) {
	p := &platformServers{s, map[tenants.EndpointID]*endpoint.Options{}}
	for _, name := range c.redisNames() {
		given := c.redis(name)
		options, err := given.parse()
		if err != nil {
			return nil, fail(exitUsage, "redis.%s: %w", name, err)
		}
		if path := c.text("redis." + name + ".vault"); path != "" {
			if options, err = v.credential(tenants.EndpointID(name), options, path, s.renew); err != nil {
				return nil, fail(exitUsage, "redis.%s.vault: %w", name, err)
			}
		}
		p.add(tenants.EndpointID(name), options)
	}
	return p, nil
}

func (p *platformServers) add(id tenants.EndpointID, options *endpoint.Options) {
	for _, warning := range options.Warnings() {
		p.log.Warn(warning, "redis", id)
	}
	one := &server{id: id, options: options, client: options.Client(nil)}
	p.options[id] = options
	p.mu.Lock()
	p.known[id] = one
	p.mu.Unlock()
	p.listen(one)
}

// names lists the servers.
func (p *platformServers) names() (all []tenants.EndpointID) {
	for id := range p.options {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
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
	for id, own := range p.options {
		if err == nil && host == string(id) && port == "6379" || strings.EqualFold(own.Name(), options.Name()) {
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
			"leave the address out, or name one of these: " + joinIDs(p.grantedNames(g))}
	}
	if !slices.Contains(g.Endpoints, id) {
		return nil, hint{fmt.Errorf("the policy does not grant the Redis %q", id),
			"ask an operator, or name one of these: " + joinIDs(p.grantedNames(g))}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id], nil
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

// find is api.Config.Server: the server that a client named, or whose triggers the channel wakes, or the default one.
func (p *platformServers) find(t tenants.ID, g tenants.Grants, triggers []scheduler.TriggerState, address, channel string) (api.Server, error) {
	if address != "" && !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	var wakes []tenants.EndpointID
	for _, trigger := range triggers {
		own := g.Published(t, channel)
		hit := trigger.Target.Name == own || trigger.Target.Kind == tenants.Pattern && scheduler.Match(trigger.Target.Name, own)
		if hit && !slices.Contains(wakes, trigger.Endpoint) {
			wakes = append(wakes, trigger.Endpoint)
		}
	}
	switch {
	case address == "" && len(wakes) == 1:
		address = "redis://" + string(wakes[0])
	case address == "" && len(wakes) > 1:
		return api.Server{}, fmt.Errorf("triggers on %d servers listen to %q; name one of them as endpoint: %s", len(wakes), channel, joinIDs(wakes))
	}
	one, err := p.granted(address, g)
	if err != nil {
		return api.Server{}, err
	}
	return api.Server{ID: one.id, Publish: func(ctx context.Context, channel string, payload []byte) (int64, error) {
		return one.client.Publish(ctx, channel, payload).Result()
	}}, nil
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
		if err := o.rename(cmd.Args()); err != nil {
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
			if greets[strings.ToLower(cmd.Name())] {
				continue // the connection's own beginning
			}
			if err := o.rename(cmd.Args()); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmds)
	}
}

// greets are what go-redis itself sends on a new connection.
var greets = map[string]bool{"hello": true, "auth": true, "select": true, "client": true, "readonly": true}

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
