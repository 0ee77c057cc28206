package tenants

import (
	"fmt"
	"slices"
	"strings"
)

// Grants are what a tenant may reach, how fast it may call the platform, and how much of what it may keep. The zero Grants grant nothing.
type Grants struct {
	Hosts     []string     // ceiling of allowed_outbound_hosts, in the manifest's grammar; none means no host; default all that a manifest lists
	Prefixes  []string     // of channels and streams beside its own "<tenant>:"; default none
	Channels  []string     // raw names of channels, patterns and streams that are granted as they stand; default none
	Endpoints []EndpointID // platform Redis servers that it may use beside its own Connections; default "default"

	DeploysPerMinute  int // default 10
	RequestsPerSecond int // to the API; default 50
	LogBytesPerSecond int // of all its handlers together; default 64 KiB; more is dropped and counted

	Apps        int   // default 1,000
	AppBytes    int64 // of one Version's artifacts; default 50 MiB
	Variables   int   // variables and secrets of one App; default 200
	Members     int   // default 100
	Tokens      int   // default 100
	Connections int   // default 20
}

// DefaultEndpoint is the platform's own Redis server.
const DefaultEndpoint EndpointID = "default"

// DefaultGrants are what a tenant gets where nothing else is said.
func DefaultGrants() Grants {
	return Grants{
		Hosts: []string{"*://*:*"}, Endpoints: []EndpointID{DefaultEndpoint},
		DeploysPerMinute: 10, RequestsPerSecond: 50, LogBytesPerSecond: 64 << 10,
		Apps: 1000, AppBytes: 50 << 20, Variables: 200, Members: 100, Tokens: 100, Connections: 20,
	}
}

// MaySubscribe tells whether a tenant may have a trigger on a target. Redis servers are shared and know no tenants, so names are: a tenant's
// own begin with "<tenant>:". A pattern is judged by what stands before its first wildcard.
func (g Grants) MaySubscribe(tenant ID, target Target) bool {
	if slices.Contains(g.Channels, target.Name) {
		return true
	}
	name := target.Name
	if target.Kind == Pattern {
		name = literalPrefix(name)
	}
	return g.within(tenant, name)
}

// MayPublish tells whether a tenant may send to a channel. A granted pattern grants subscribing only.
func (g Grants) MayPublish(tenant ID, channel string) bool {
	return slices.Contains(g.Channels, channel) || g.within(tenant, channel)
}

func (g Grants) within(tenant ID, name string) bool {
	if strings.HasPrefix(name, string(tenant)+":") {
		return true
	}
	return slices.ContainsFunc(g.Prefixes, func(p string) bool { return p != "" && strings.HasPrefix(name, p) })
}

// literalPrefix gives what every channel that a Redis glob matches begins with.
func literalPrefix(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*', '?', '[':
			return b.String()
		case '\\':
			if i++; i == len(pattern) {
				return b.String()
			}
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

func (g Grants) check(c *checker, at string) {
	lines(c, at+"/hosts", g.Hosts, 2048)
	lines(c, at+"/prefixes", g.Prefixes, 255)
	lines(c, at+"/channels", g.Channels, 1024)
	c.count(at+"/endpoints", len(g.Endpoints), 100, "endpoints")
	for i, e := range g.Endpoints {
		c.required(fmt.Sprintf("%s/endpoints/%d", at, i), string(e), 255)
	}
	for _, n := range []struct {
		name    string
		n, most int64
	}{
		{"deploys_per_minute", int64(g.DeploysPerMinute), 10_000},
		{"requests_per_second", int64(g.RequestsPerSecond), 1_000_000},
		{"log_bytes_per_second", int64(g.LogBytesPerSecond), 1 << 30},
		{"apps", int64(g.Apps), 100_000},
		{"app_bytes", g.AppBytes, 4 << 30},
		{"variables", int64(g.Variables), maxVariables},
		{"members", int64(g.Members), 10_000},
		{"tokens", int64(g.Tokens), 10_000},
		{"connections", int64(g.Connections), 1000},
	} {
		c.between(at+"/"+n.name, n.n, 0, n.most)
	}
}

// lines checks a list of up to 1,000 short texts.
func lines(c *checker, pointer string, list []string, most int) {
	c.count(pointer, len(list), 1000, "entries")
	for i, s := range list {
		c.required(fmt.Sprintf("%s/%d", pointer, i), s, most)
	}
}

// Subscribed is the target that a tenant means on a server that it shares: the name as it stands where MaySubscribe grants that, otherwise
// the tenant's own, "<tenant>:" and the name. So no name that a manifest holds is another tenant's.
func (g Grants) Subscribed(tenant ID, target Target) Target {
	if !g.MaySubscribe(tenant, target) {
		target.Name = string(tenant) + ":" + target.Name
	}
	return target
}

// Published is the channel that a tenant means on a server that it shares, by the rule of Subscribed.
func (g Grants) Published(tenant ID, channel string) string {
	if !g.MayPublish(tenant, channel) {
		channel = string(tenant) + ":" + channel
	}
	return channel
}
