package manifest

import (
	"fmt"

	"github.com/tenloom/tenloom/tenants"
)

// v1 reads version 1 (spin.md 1.1): one trigger type for the application, one trigger for each component.
func (d *decoder) v1(m *Manifest, root *node) {
	redis := d.v1Trigger(root)
	version := may("spin_manifest_version", checked)
	if root.get("spin_manifest_version") == nil {
		version = may("spin_version", checked) // the older name; both at once is one too many
	}
	d.table("", root, version,
		need("name", d.filled(&m.Name)),
		may("version", d.text(&m.Version)),
		may("description", d.text(&m.Description)),
		may("authors", d.texts(&m.Authors)),
		may("variables", d.variables(&m.Variables)),
		need("trigger", func(path string, v *node) {
			if redis {
				d.table(path, v, may("type", checked), need("address", d.template(&m.Address)))
			}
		}),
		may("component", d.list(func(path string, v *node) { d.v1Component(m, path, v, redis) })),
		gone("application", "version 1 keeps name, version, description and authors at the top; or set spin_manifest_version = 2"),
	)
	if len(m.Components) == 0 && root.get("component") == nil {
		d.warn(root.at, "component", "add a [[component]]", "the application has no components, so nothing runs")
	}
}

// v1Trigger tells whether the application's trigger is a Redis trigger.
func (d *decoder) v1Trigger(root *node) bool {
	trigger := root.get("trigger")
	if trigger == nil || !d.is("trigger", trigger, table) {
		return false
	}
	t := trigger.get("type")
	if t == nil {
		d.fault(trigger.at, "trigger.type", `write type = "redis"`, "is missing")
		return false
	}
	if !d.is("trigger.type", t, text) {
		return false
	}
	if t.text != "redis" {
		d.fault(t.at, "trigger.type", nextForType(t.text), "the application's trigger is of type %q, and tenloom runs Redis triggers only", clip(t.text))
	}
	return t.text == "redis"
}

func (d *decoder) v1Component(m *Manifest, path string, v *node, redis bool) {
	c := Component{Line: v.at.line}
	t := Trigger{}
	d.table(path, v,
		need("id", func(path string, v *node) {
			if !d.is(path, v, text) {
				return
			}
			id := kebab(v.text)
			if err := checkID(id, '-'); err != nil {
				d.fault(v.at, path, nextID(id, '-'), "invalid ID %q: %v", clip(id), err)
			} else if m.component(tenants.ComponentID(id)) != nil {
				d.fault(v.at, path, "give each component an id of its own", "component %q is defined twice", id)
			}
			c.ID = tenants.ComponentID(id)
		}),
		need("source", d.source(&c.Source)),
		need("trigger", func(path string, v *node) {
			t.Line = v.at.line
			if redis {
				d.table(path, v, need("channel", d.filledTemplate(&t.Channel)), may("address", d.filledTemplate(&t.Address)),
					gone("executor", "Spin refuses it too since version 2: remove it"))
			} else {
				d.is(path, v, table)
			}
		}),
		may("description", d.text(&c.Description)),
		may("config", d.componentVariables(&c)),
		may("environment", d.environment(&c.Environment)),
		may("files", d.mounts(&c.Files)),
		may("exclude_files", d.globs(&c.ExcludeFiles)),
		may("allowed_http_hosts", d.httpHosts(&c)),
		may("allowed_outbound_hosts", d.hosts(&c)),
		may("key_value_stores", d.labels(&c.KeyValueStores)),
		may("sqlite_databases", d.labels(&c.SQLiteDatabases)),
		may("ai_models", d.texts(&c.AIModels)),
		may("build", d.build(&c.Build)),
		gone("variables", `version 1 names it "config"`),
		gone("tool", "settings for tools need version 2, which \"spin doctor\" converts to"),
	)
	t.ID = fmt.Sprintf("trigger-%s", c.ID)
	t.Component = c.ID
	m.Components = append(m.Components, c)
	m.Triggers = append(m.Triggers, t)
}

// nextForType says what to do about a trigger that tenloom does not run.
func nextForType(name string) string {
	if near, ok := tenants.Nearest(name, []string{"redis"}); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return `"spin up" runs it`
}

// component finds a component, nil where there is none.
func (m *Manifest) component(id tenants.ComponentID) *Component {
	for i := range m.Components {
		if m.Components[i].ID == id {
			return &m.Components[i]
		}
	}
	return nil
}
