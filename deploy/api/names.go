package api

import (
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// On a server that tenants share, a tenant's names begin with its own there: what it calls orders is acme:orders to Redis, unless its policy
// grants the raw name (tenants.Grants). Requests and answers have the name as the tenant wrote it.

// shared tells whether other tenants use the same channels of a server.
func (s *server) shared(on tenants.EndpointID) bool { return s.Shared != nil && s.Shared(on) }

// published is a channel's name on a server.
func (c *call) published(on tenants.EndpointID, channel string) string {
	if !c.s.shared(on) {
		return channel
	}
	return c.policy.Grants.Published(c.tenant.Value.ID, channel)
}

// watchedAs are targets as a server knows them.
func (c *call) watchedAs(on tenants.EndpointID, targets []tenants.Target) []tenants.Target {
	if !c.s.shared(on) {
		return targets
	}
	out := make([]tenants.Target, len(targets))
	for i, t := range targets {
		out[i] = c.policy.Grants.Subscribed(c.tenant.Value.ID, t)
	}
	return out
}

// written is a name as the tenant wrote it, and the one on the server where that is another.
func (s *server) written(t tenants.ID, on tenants.EndpointID, name string) (wrote, actual string) {
	if rest, own := strings.CutPrefix(name, string(t)+":"); own && s.shared(on) {
		return rest, name
	}
	return name, ""
}
