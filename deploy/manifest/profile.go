package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Profile gives the manifest as "--profile name" sees it: components that define the profile take their source, environment, dependencies and
// build command from it, others stay as they are. A profile that no component defines is an error; "" is the manifest itself.
func (m *Manifest) Profile(name string) (*Manifest, error) {
	if name == "" {
		return m, nil
	}
	out, found := *m, false
	out.Components = slices.Clone(m.Components)
	for i := range out.Components {
		if p, ok := out.Components[i].Profiles[name]; ok {
			out.Components[i].apply(p)
			found = true
		}
	}
	if !found {
		return nil, fmt.Errorf("%s: Profile %s is not defined in this application; %s", m.File, name, m.profileNames())
	}
	d := &decoder{file: m.File}
	d.checkDependencies(&out)
	if err := d.result(); err != nil {
		return nil, err
	}
	return &out, nil
}

func (m *Manifest) profileNames() string {
	names := map[string]bool{}
	for _, c := range m.Components {
		for name := range c.Profiles {
			names[name] = true
		}
	}
	if len(names) == 0 {
		return "no component defines one"
	}
	return "defined are " + strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// apply changes a component; maps and slices that the original manifest holds are copied first.
func (c *Component) apply(p Profile) {
	if p.Source != nil {
		c.Source = *p.Source
	}
	if len(p.Environment) > 0 {
		environment := maps.Clone(p.Environment)
		for k, v := range c.Environment {
			if _, ok := environment[k]; !ok {
				environment[k] = v
			}
		}
		c.Environment = environment
	}
	if p.Commands != nil {
		b := Build{}
		if c.Build != nil {
			b = *c.Build
		}
		b.Commands = p.Commands
		c.Build = &b
	}
	deps := slices.Clone(c.Dependencies)
	for _, dep := range p.Dependencies {
		if i := slices.IndexFunc(deps, func(d Dependency) bool { return d.Name == dep.Name }); i >= 0 {
			deps[i] = dep
		} else {
			deps = append(deps, dep)
		}
	}
	c.Dependencies = deps
}
