package manifest

import (
	"fmt"

	"github.com/tenloom/tenloom/tenants"
)

// Where keys went that people write in the wrong table.
const (
	inApplication = "version 2 keeps it under [application]"
	inTool        = "tenloom's settings stand under [component.<id>.tool.tenloom], where Spin lets them be"
)

// v2 reads version 2 (spin.md 1.2).
func (d *decoder) v2(m *Manifest, root *node) {
	triggers := v2Triggers{decoder: d, manifest: m, taken: map[string]bool{}, defined: map[tenants.ComponentID]bool{}, used: map[tenants.ComponentID]bool{}}
	d.table("", root, append(goneAll(inApplication, "name", "version", "description", "authors"),
		may("spin_manifest_version", checked), // its absence is a fault already
		need("application", func(path string, v *node) { d.application(m, path, v) }),
		may("variables", d.variables(&m.Variables)),
		may("component", func(path string, v *node) {
			if v.kind == array {
				d.fault(v.at, path, "version 2 writes each component as [component.<id>]", "must be a table, not an array")
				return
			}
			d.each(func(path string, e entry) {
				d.checkComponentID(path, e.at, e.key)
				triggers.define(d.component(path, e.key, e.at, e.value))
			})(path, v)
		}),
		need("trigger", triggers.read),
		gone("spin_version", "version 2 names it spin_manifest_version"),
	)...)
	triggers.settle()
	d.checkDependencies(m)
	for _, c := range m.Components {
		for _, dep := range c.Dependencies {
			triggers.used[dep.Component] = true
		}
	}
	for _, c := range m.Components {
		if !triggers.used[c.ID] {
			d.warn(position{c.Line, 1}, join("component", string(c.ID)), "add a [[trigger.redis]] for it, or remove it", "no trigger wakes this component")
		}
	}
}

func (d *decoder) application(m *Manifest, path string, v *node) {
	d.table(path, v,
		need("name", d.filled(&m.Name)),
		may("version", d.text(&m.Version)),
		may("description", d.text(&m.Description)),
		may("authors", d.texts(&m.Authors)),
		may("targets", d.targets),
		may("trigger", d.each(func(path string, e entry) {
			if e.key == "redis" {
				d.table(path, e.value, need("address", d.template(&m.Address)))
			} else {
				d.is(path, e.value, table) // Spin reads the settings of a trigger type only where that trigger is used
			}
		})),
		may("tool", d.tools(&d.tool)), // before the components, which take its defaults
	)
}

// targets are the environments an author builds for: text, {url} or {path}. They matter to "spin build" alone, so they are checked and not kept.
func (d *decoder) targets(path string, v *node) {
	d.list(func(path string, v *node) {
		var s string
		switch {
		case v.kind == text:
		case v.kind == table && v.get("path") != nil:
			d.table(path, v, need("path", d.text(&s)))
		case v.kind == table:
			d.table(path, v, need("url", d.text(&s)))
		default:
			d.fault(v.at, path, `write "spin-up:3.3", { url = "..." } or { path = "..." }`, "must be a string or a table, not %s", v.kind)
		}
	})(path, v)
}

// v2Triggers reads [[trigger.redis]] and gives names to what has none, as Spin does (crates/manifest/src/normalize.rs): trigger ids first, in
// the order of the file, then the components written inside of triggers.
type v2Triggers struct {
	*decoder
	manifest *Manifest
	pending  []pendingTrigger
	taken    map[string]bool // trigger ids that the file gives or that were generated
	defined  map[tenants.ComponentID]bool
	used     map[tenants.ComponentID]bool
}

func (t *v2Triggers) define(c Component) {
	t.defined[c.ID] = true
	t.manifest.Components = append(t.manifest.Components, c)
}

// pendingTrigger is a trigger whose ids are not settled.
type pendingTrigger struct {
	Trigger
	path   string
	ref    *node // text or table; nil where it is missing
	inline bool
}

func (t *v2Triggers) read(path string, v *node) {
	t.each(func(path string, e entry) {
		if e.value.kind != array {
			name := "redis"
			if e.value.kind == table {
				name = dotted(e.key)
			}
			t.fault(e.at, path, fmt.Sprintf("version 2 writes each trigger as [[trigger.%s]]", name), "must be an array of tables, not %s", e.value.kind)
			return
		}
		for i, item := range e.value.items {
			path := fmt.Sprintf("%s[%d]", path, i)
			if e.key == "redis" {
				t.redis(path, item)
			} else {
				t.foreign(path, e.key, item)
			}
		}
	})(path, v)
	if v.kind == table && len(v.entries) == 0 {
		t.warn(v.at, path, "add a [[trigger.redis]]", "the application has no triggers, so nothing runs")
	}
}

func (t *v2Triggers) redis(path string, v *node) {
	p := pendingTrigger{path: path, Trigger: Trigger{Line: v.at.line}}
	t.table(path, v, append(goneAll(inTool, "pattern", "sharded", "stream", "group"),
		may("id", func(path string, v *node) {
			t.text(&p.ID)(path, v)
			if p.ID != "" && t.taken[p.ID] {
				t.fault(v.at, path, "give each trigger an id of its own, or leave it out", "trigger %q is defined twice", clip(p.ID))
			}
			t.taken[p.ID] = true
		}),
		need("component", func(path string, v *node) {
			switch v.kind {
			case text:
				t.checkComponentID(path, v.at, v.text)
				p.Component, p.ref = tenants.ComponentID(v.text), v
			case table:
				p.inline, p.ref = true, v
			default:
				t.fault(v.at, path, `write component = "id", or component = { source = "..." }`, "must be a string or a table, not %s", v.kind)
			}
		}),
		may("components", t.refused("the Redis trigger wakes one component: use \"component\"", "this trigger should not have several components")),
		may("dependencies", t.refused("remove it", "this trigger should not have dependencies")),
		need("channel", t.filledTemplate(&p.Channel)),
		may("address", t.filledTemplate(&p.Address)),
	)...)
	t.pending = append(t.pending, p)
}

// refused takes a table that may stand there only if it is empty.
func (d *decoder) refused(next, problem string) reader {
	return func(path string, v *node) {
		if d.is(path, v, table) && len(v.entries) > 0 {
			d.fault(v.at, path, next, "%s", problem)
		}
	}
}

// foreign refuses a trigger of another type. What it wakes counts as used.
func (t *v2Triggers) foreign(path, kind string, v *node) {
	name := "trigger"
	if v.kind == table {
		if c := v.get("component"); c != nil && c.kind == text {
			t.used[tenants.ComponentID(c.text)] = true
			name = fmt.Sprintf("the trigger of component %q", clip(c.text))
		}
		if id := v.get("id"); id != nil && id.kind == text {
			name = fmt.Sprintf("trigger %q", clip(id.text))
		}
	}
	t.fault(v.at, path, nextForType(kind), "%s is of type %q, and tenloom runs Redis triggers only", name, clip(kind))
}

// settle gives every trigger its id and its component.
func (t *v2Triggers) settle() {
	counter := 1
	for i := range t.pending {
		p := &t.pending[i]
		if p.ID != "" {
			continue
		}
		natural := fmt.Sprintf("%s-redis-trigger", p.Component)
		if p.Component != "" && !t.taken[natural] {
			p.ID = natural
		}
		for p.ID == "" {
			if id := fmt.Sprintf("redis-trigger%d", counter); !t.taken[id] {
				p.ID = id
			} else {
				counter++
			}
		}
		t.taken[p.ID] = true
	}
	for _, p := range t.pending {
		if p.inline {
			p.Component = t.inlineID(p.ID)
			t.define(t.component(join(p.path, "component"), string(p.Component), p.ref.at, p.ref))
		} else if p.ref != nil {
			t.checkReference(join(p.path, "component"), p.ref)
		}
		t.used[p.Component] = true
		t.manifest.Triggers = append(t.manifest.Triggers, p.Trigger)
	}
}

func (t *v2Triggers) inlineID(trigger string) tenants.ComponentID {
	id := tenants.ComponentID(trigger + "-component")
	if checkID(string(id), '-') == nil && !t.defined[id] {
		return id
	}
	for n := 1; ; n++ {
		if id := tenants.ComponentID(fmt.Sprintf("inline-component%d", n)); !t.defined[id] {
			return id
		}
	}
}

// checkReference holds a component's id against the components that are defined.
func (t *v2Triggers) checkReference(path string, ref *node) {
	if checkID(ref.text, '-') != nil || t.defined[tenants.ComponentID(ref.text)] {
		return
	}
	if t.full() {
		t.more++
		return
	}
	var known []string
	for _, c := range t.manifest.Components {
		known = append(known, string(c.ID))
	}
	next := fmt.Sprintf("define it: [component.%s]", ref.text)
	if near, ok := tenants.Nearest(ref.text, known); ok {
		next = fmt.Sprintf("did you mean %q?", near)
	}
	t.fault(ref.at, path, next, "component %q is not defined", clip(ref.text))
}
