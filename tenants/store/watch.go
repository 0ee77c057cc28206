package store

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// Change is what became of one configured resource.
type Change struct {
	Noun     string // tenant, policy, member, token, connection, app, version, deployment, variable, secret
	Tenant   tenants.ID
	App      tenants.AppName // "" for what belongs to the tenant as a whole
	Name     string          // name, subject, id or number within the tenant or App; "" for tenant and policy
	Deleted  bool
	Revision Revision
	Value    any // tenants.Tenant, tenants.Policy, tenants.Member, and so on by Noun; nil where Deleted
}

// Changes came at once, or close to each other.
type Changes struct {
	Reset    bool     // Items are all that there is: forget what is not among them
	Revision Revision // where to watch from to see what comes next
	Items    []Change // in the order of their revisions; of several changes of a resource the last one only, for certain
}

// Watch tells what changes in the configuration after a revision, and begins with everything for 0. It outlives compaction, by a Reset, and
// outages: an error that wraps kv.ErrUnavailable is told once at most for each, and the watch goes on. Every other error ends it. A restore or a
// restart of the process ends watches; a revision of another store is worth nothing, so begin with 0 then.
func (s *Store) Watch(ctx context.Context, after Revision) iter.Seq2[Changes, error] {
	return func(yield func(Changes, error) bool) {
		for b, err := range s.kv.Watch(ctx, configured, after) {
			if err != nil {
				if !yield(Changes{}, fmt.Errorf("watch store: %w", err)) {
					return
				}
				continue
			}
			c := Changes{Reset: b.Reset, Revision: b.Revision, Items: make([]Change, 0, len(b.Records))}
			for _, r := range b.Records {
				change, err := changed(r)
				if err != nil {
					yield(Changes{}, fmt.Errorf("watch store: %w", err))
					return
				}
				c.Items = append(c.Items, change)
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// changed reads a record and its key: c/noun/tenant[/app]/name.
func changed(r kv.Record) (Change, error) {
	parts := strings.Split(r.Key, "/")
	if len(parts) < 3 || decoders[parts[1]] == nil {
		return Change{}, fmt.Errorf("%w: %q is no key of a resource", kv.ErrDamaged, r.Key)
	}
	c := Change{Noun: parts[1], Tenant: tenants.ID(parts[2]), Revision: r.Revision, Deleted: r.Value == nil}
	if c.Tenant == tenants.Platform {
		c.Tenant = ""
	}
	switch {
	case len(parts) == 5:
		c.App, c.Name = tenants.AppName(parts[3]), parts[4]
	case c.Noun == "app":
		c.App, c.Name = tenants.AppName(parts[3]), parts[3]
	case len(parts) == 4:
		c.Name = parts[3]
	}
	switch c.Noun {
	case "member":
		if subject, err := url.PathUnescape(c.Name); err == nil {
			c.Name = subject
		}
	case "version":
		c.Name = strings.TrimLeft(c.Name, "0")
	}
	if c.Deleted {
		return c, nil
	}
	var err error
	c.Value, err = decoders[c.Noun](r)
	return c, err
}

// decoders read the records of each noun.
var decoders = map[string]func(kv.Record) (any, error){
	"tenant":     plain[tenants.Tenant],
	"policy":     plain[tenants.Policy],
	"member":     plain[tenants.Member],
	"app":        plain[tenants.App],
	"version":    plain[tenants.Version],
	"deployment": plain[tenants.Deployment],
	"variable":   plain[tenants.Variable],
	"token":      wrapped(fromToken),
	"connection": wrapped(fromConnection),
	"secret":     wrapped(fromSecret),
}

func plain[T any](r kv.Record) (any, error) {
	have, err := decode[T](r)
	return have.Value, err
}

func wrapped[A, B any](f func(Record[A]) Record[B]) func(kv.Record) (any, error) {
	return func(r kv.Record) (any, error) {
		have, err := decode[A](r)
		return f(have).Value, err
	}
}
