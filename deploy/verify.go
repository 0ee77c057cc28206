package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// verify holds the manifest against what the platform offers and the tenant's policy grants, without reading any module, and returns what
// its triggers want.
func verify(ctx context.Context, v *Version, sys System) ([]wanted, error) {
	r := refusal{m: v.Manifest}
	missing := sys.Required(ctx)
	r.fail(0, "variables", missing)
	render := func(t manifest.Text) (text string, ok bool, err error) {
		if missing != nil && !literal(t) {
			return "", false, nil // it would say the same again
		}
		text, err = sys.Render(ctx, t.Template)
		return text, err == nil, err
	}
	for i := range v.Manifest.Components {
		c := &v.Manifest.Components[i]
		r.offered(c)
		if !sys.Live {
			r.granted(c, sys.Policy.Max)
		}
		if c.Tool.Isolation == manifest.Reuse && sys.Policy.FreshOnly && !sys.Live {
			r.fail(c.Line, "component."+string(c.ID)+".tool.tenloom.isolation", hintf(`use isolation = "fresh", or ask the operator`,
				"the tenant's policy does not allow instances that keep state between messages"))
		}
		if o := c.Tool.Overflow; o != nil && *o == tenants.Spill && (sys.Policy.SpillBytes < 0 || sys.Policy.SpillTotal < 0) {
			r.fail(c.Line, "component."+string(c.ID)+".tool.tenloom.overflow", hintf(`use drop_newest, drop_oldest or coalesce, or ask the operator`,
				"the tenant's policy keeps no messages on disk (spill_bytes, spill_total)"))
		}
		r.hosts(c, render, sys)
	}
	triggers := r.triggers(render)
	return triggers, r.err(ctx)
}

// renderer gives a text its variables; not ok means that there is nothing to look at, because of the error or of one told before.
type renderer func(t manifest.Text) (text string, ok bool, err error)

func literal(t manifest.Text) bool { return len(t.Template.Variables()) == 0 }

// hosts renders a component's allow list and holds it against the grammar and the policy.
func (r *refusal) hosts(c *manifest.Component, render renderer, sys System) {
	path := "component." + string(c.ID) + ".allowed_outbound_hosts"
	for _, entry := range c.AllowedOutboundHosts {
		text, ok, err := render(entry)
		switch {
		case !ok:
			r.fail(entry.Line, path, err)
		case !literal(entry) && nowhere(text): // switched off
		case internal(text):
			r.fail(entry.Line, path, hintf("let the components publish to each other's channels", "%q: requests to other components are not offered here", entry.Raw))
		default:
			err := sys.CheckHosts([]string{text})
			if err == nil && sys.GrantedHosts != nil && !sys.Live {
				err = sys.GrantedHosts(text)
			}
			r.fail(entry.Line, path, err)
		}
	}
}

// nowhere tells whether a rendered entry names no host: with an empty variable an author switches a destination off.
func nowhere(entry string) bool {
	entry = strings.TrimSpace(entry)
	_, host, found := strings.Cut(entry, "://")
	return entry == "" || found && host == ""
}

// internalHosts is where Spin's components find each other by HTTP, which its own Redis trigger does not offer either.
const internalHosts = ".spin.internal"

func internal(entry string) bool {
	_, host, _ := strings.Cut(strings.TrimSpace(entry), "://")
	if end := strings.IndexAny(host, ":/"); end >= 0 {
		host = host[:end]
	}
	return strings.HasSuffix(strings.ToLower(host), internalHosts)
}

// granted holds what a component asks for against its tenant's ceilings.
func (r *refusal) granted(c *manifest.Component, most tenants.Limits) {
	path := "component." + string(c.ID) + ".tool.tenloom."
	most = most.WithDefaults()
	over := func(key string, asked, allowed any) {
		r.fail(c.Line, path+key, hintf(fmt.Sprintf("ask for %v or less, or ask the operator for more", allowed),
			"%v is above the %v that the tenant's policy allows", asked, allowed))
	}
	if n := c.Tool.Concurrency; n != nil && *n > most.Concurrency {
		over("concurrency", *n, most.Concurrency)
	}
	if d := c.Tool.Timeout; d != nil && *d > most.Timeout {
		over("timeout", *d, most.Timeout)
	}
	if n := c.Tool.Memory; n != nil && *n > most.Memory {
		over("memory", size(*n), size(most.Memory))
	}
	if n := c.Tool.Fuel; n != nil && most.Fuel > 0 && *n > most.Fuel {
		over("fuel", *n, most.Fuel)
	}
	for _, count := range []struct {
		key   string
		asked *int
		most  int
	}{{"host_calls", c.Tool.HostCalls, most.HostCalls}, {"handles", c.Tool.Handles, most.Handles}, {"log_rate", c.Tool.LogRate, most.LogRate}} {
		if count.asked != nil && *count.asked > count.most {
			over(count.key, *count.asked, count.most)
		}
	}
	for _, amount := range []struct {
		key   string
		asked *uint64
		most  uint64
	}{{"bytes_out", c.Tool.BytesOut, most.BytesOut}, {"bytes_in", c.Tool.BytesIn, most.BytesIn}, {"output", c.Tool.Output, most.Output}} {
		if amount.asked != nil && *amount.asked > amount.most {
			over(amount.key, size(*amount.asked), size(amount.most))
		}
	}
	if d := c.Tool.MaxWait; d != nil && most.MaxWait > 0 && *d > most.MaxWait {
		over("max_wait", *d, most.MaxWait)
	}
}
