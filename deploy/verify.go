package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// verify holds the manifest against what the platform offers and the tenant's policy grants, without reading any module.
func verify(ctx context.Context, v *Version, sys System) error {
	r := refusal{m: v.Manifest}
	if err := sys.Required(ctx); err != nil {
		r.add(0, "variables", next(err), err)
		return r.err() // everything below would say the same again
	}
	for i := range v.Manifest.Components {
		c := &v.Manifest.Components[i]
		r.offered(c)
		r.granted(c, sys.Policy.Max)
		r.hosts(ctx, c, sys)
	}
	return r.err()
}

// offered refuses by name what Spin has and this platform has not.
func (r *refusal) offered(c *manifest.Component) {
	path := "component." + string(c.ID)
	refuse := func(key, what, next string) {
		r.add(c.Line, path+"."+key, next, fmt.Errorf("%s not offered here", what))
	}
	if len(c.SQLiteDatabases) > 0 {
		refuse("sqlite_databases", "SQLite databases are", "use a key-value store: key_value_stores = [\"default\"]")
	}
	if len(c.AIModels) > 0 {
		refuse("ai_models", "language models are", "call one over outbound HTTP")
	}
	if len(c.Dependencies) > 0 {
		refuse("dependencies", "component dependencies are", "compose the component before deploying it (wac plug), and name the result as source")
	}
	tool := path + ".tool.tenloom"
	if c.Tool.Stream != nil {
		r.add(c.Line, tool+".stream", "use a channel or a pattern", errors.New("stream triggers are not offered here"))
	}
	if c.Tool.Sharded != nil {
		r.add(c.Line, tool+".sharded", "use a channel or a pattern", errors.New("sharded channels are not offered here"))
	}
	if c.Tool.Isolation == "reuse" {
		r.add(c.Line, tool+".isolation", `use isolation = "fresh"`, errors.New("instances that keep state between messages are not offered here"))
	}
	if o := c.Tool.Overflow; o != nil && *o == tenants.Spill {
		r.add(c.Line, tool+".overflow", "use drop_newest, drop_oldest or coalesce", errors.New("spilling to a stream is not offered here"))
	}
}

// granted holds what a component asks for against its tenant's ceilings.
func (r *refusal) granted(c *manifest.Component, most tenants.Limits) {
	path := "component." + string(c.ID) + ".tool.tenloom."
	most = most.WithDefaults()
	over := func(key string, asked, allowed any) {
		r.add(c.Line, path+key, fmt.Sprintf("ask for %v or less, or ask the operator for more", allowed),
			fmt.Errorf("%v is above the %v that the tenant's policy allows", asked, allowed))
	}
	asked := limits(c.Tool)
	if asked.Concurrency > most.Concurrency {
		over("concurrency", asked.Concurrency, most.Concurrency)
	}
	if asked.Timeout > most.Timeout {
		over("timeout", asked.Timeout, most.Timeout)
	}
	if asked.Memory > most.Memory {
		over("memory", mebibytes(asked.Memory), mebibytes(most.Memory))
	}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

func limits(t manifest.Tool) tenants.Limits {
	var l tenants.Limits
	if t.Concurrency != nil {
		l.Concurrency = *t.Concurrency
	}
	if t.Timeout != nil {
		l.Timeout = *t.Timeout
	}
	if t.Memory != nil {
		l.Memory = *t.Memory
	}
	if t.Overflow != nil {
		l.Overflow = *t.Overflow
	}
	if t.MaxWait != nil {
		l.MaxWait = *t.MaxWait
	}
	return l.WithDefaults()
}

// hosts renders a component's allow list and checks its grammar.
func (r *refusal) hosts(ctx context.Context, c *manifest.Component, sys System) {
	for _, entry := range c.AllowedOutboundHosts {
		text, err := sys.Render(ctx, entry.Template)
		if err == nil && strings.TrimSpace(text) != "" {
			err = sys.CheckHosts([]string{text})
		}
		if err != nil {
			r.add(entry.Line, "component."+string(c.ID)+".allowed_outbound_hosts", next(err), err)
		}
	}
}

// triggers resolves addresses and channels and opens the endpoints.
func triggers(ctx context.Context, v *Version, sys System) ([]tenants.Trigger, error) {
	r := refusal{m: v.Manifest}
	units := map[tenants.ComponentID]*Unit{}
	for i := range v.Units {
		units[v.Units[i].Component.ID] = &v.Units[i]
	}
	var all []tenants.Trigger
	for _, t := range v.Manifest.Triggers {
		u := units[t.Component]
		endpoint, err := endpoint(ctx, v.Manifest, t, sys)
		if err != nil {
			r.add(t.Line, "trigger.redis["+t.ID+"].address", next(err), err)
			continue
		}
		channel, err := sys.Render(ctx, t.Channel.Template)
		if err == nil && channel == "" {
			err = errors.New("the channel is empty")
		}
		if err != nil {
			r.add(t.Line, "trigger.redis["+t.ID+"].channel", next(err), err)
			continue
		}
		one := tenants.Trigger{
			Tenant: v.Tenant, App: v.App, Version: v.ID, ID: t.ID, Component: t.Component, Endpoint: endpoint,
			Target: tenants.Target{Kind: tenants.Exact, Name: channel}, Limits: u.Limits,
		}
		all = append(all, one)
		pattern, err := pattern(ctx, u.Component, sys)
		if err != nil {
			r.add(u.Component.Line, "component."+string(t.Component)+".tool.tenloom.pattern", next(err), err)
			continue
		}
		if pattern != "" {
			one.ID, one.Target = t.ID+"-pattern", tenants.Target{Kind: tenants.Pattern, Name: pattern}
			all = append(all, one)
		}
	}
	return all, r.err()
}

func endpoint(ctx context.Context, m *manifest.Manifest, t manifest.Trigger, sys System) (tenants.EndpointID, error) {
	address := t.Address
	if address.Raw == "" {
		address = m.Address
	}
	text, err := sys.Render(ctx, address.Template)
	if err != nil {
		return "", err
	}
	return sys.Endpoint(ctx, text)
}

func pattern(ctx context.Context, c *manifest.Component, sys System) (string, error) {
	if c.Tool.Pattern == nil {
		return "", nil
	}
	return sys.Render(ctx, c.Tool.Pattern.Template)
}
