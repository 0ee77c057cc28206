package manifest

import (
	"fmt"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// dependencies reads what satisfies a component's imports, in each of the five forms of spin.md 1.2.
func (d *decoder) dependencies(to *[]Dependency) reader {
	return d.each(func(path string, e entry) {
		dep := Dependency{Name: e.key, Line: e.at.line, Column: e.at.column}
		if err := checkDependencyName(e.key); err != nil {
			d.fault(e.at, path, "write namespace:name, namespace:name/interface@1.0.0 or plain-name", "dependency %q: %v", clip(e.key), err)
		}
		switch e.value.kind {
		case text:
			d.filled(&dep.Version)(path, e.value)
		case table:
			d.table(path, e.value, d.dependencyFields(&dep, e.value)...)
		default:
			d.fault(e.value.at, path, `write a version in quotes, or { path = "..." }`, "must be a string or a table, not %s", e.value.kind)
		}
		d.checkDependency(path, e, &dep)
		*to = append(*to, dep)
	})
}

// dependencyFields chooses the form by its telling key.
func (d *decoder) dependencyFields(dep *Dependency, v *node) []field {
	shared := []field{
		may("export", d.text(&dep.Export)),
		may("inherit_configuration", func(path string, v *node) {
			dep.inheritGiven = true
			switch v.kind {
			case boolean:
				dep.InheritAll = v.text == "true"
			case array:
				d.texts(&dep.Inherit)(path, v)
			default:
				d.fault(v.at, path, "write true, false or a list of keys", "must be a boolean or an array, not %s", v.kind)
			}
		}),
	}
	switch {
	case v.get("path") != nil:
		return append(shared, need("path", d.filled(&dep.Path)))
	case v.get("url") != nil || v.get("digest") != nil:
		return append(shared, need("url", d.url(&dep.URL)), need("digest", d.digest(&dep.Digest)))
	case v.get("component") != nil:
		return append(shared, need("component", func(path string, v *node) {
			if d.is(path, v, text) && d.checkComponentID(path, v.at, v.text) {
				dep.Component = tenants.ComponentID(v.text)
			}
		}))
	}
	return append(shared, need("version", d.filled(&dep.Version)), may("registry", d.filled(&dep.Registry)), may("package", d.pkg(&dep.Package)))
}

// dependencyName is namespace:name/interface@version, taken apart.
type dependencyName struct{ pkg, iface, version string }

func (n dependencyName) plain() bool { return n.pkg == "" }

// splitDependency takes a name apart; a plain name has no parts.
func splitDependency(name string) dependencyName {
	if !strings.ContainsAny(name, ":/") {
		return dependencyName{}
	}
	var n dependencyName
	name, n.version, _ = strings.Cut(name, "@")
	n.pkg, n.iface, _ = strings.Cut(name, "/")
	return n
}

func checkDependencyName(name string) error {
	n := splitDependency(name)
	switch {
	case n.plain():
		return checkID(name, '-')
	case !isPackage(n.pkg):
		return fmt.Errorf("%q is not a package name", clip(n.pkg))
	case strings.Contains(name, "/"):
		if err := checkID(n.iface, '-'); err != nil {
			return fmt.Errorf("interface: %w", err)
		}
	}
	if strings.Contains(name, "@") && !versionForm.MatchString(n.version) {
		return fmt.Errorf("%q is not a semantic version", clip(n.version))
	}
	return nil
}

func (d *decoder) checkDependency(path string, e entry, dep *Dependency) {
	n := splitDependency(e.key)
	if n.plain() && dep.Version != "" && dep.Package == "" {
		d.fault(e.at, path, `add package = "namespace:name"`, "dependency %q must specify a package name", clip(e.key))
	}
	byFile := dep.Path != "" || dep.Version != ""
	if !n.plain() && n.iface == "" && dep.Export != "" && byFile {
		d.fault(e.at, path, "name the interface: namespace:name/interface", "using an export to satisfy the package dependency %q is not permitted", clip(e.key))
	}
}

// checkDependencies holds the dependencies of all components against each other and against the components they name.
func (d *decoder) checkDependencies(m *Manifest) {
	byID := make(map[tenants.ComponentID]*Component, len(m.Components))
	for i := range m.Components {
		byID[m.Components[i].ID] = &m.Components[i]
	}
	for i := range m.Components {
		c := &m.Components[i]
		path := join(join("component", string(c.ID)), "dependencies")
		d.checkDisjoint(path, c.Dependencies)
		for _, dep := range c.Dependencies {
			if dep.Component == "" {
				continue
			}
			at, path := position{dep.Line, dep.Column}, join(path, dep.Name)
			if other := byID[dep.Component]; other == nil {
				d.fault(at, path, fmt.Sprintf("define it: [component.%s]", dep.Component), "component %q is not defined", dep.Component)
			} else if has := other.resources(); len(has) > 0 {
				d.fault(at, path, "remove these from it", "component %q cannot be a dependency, because it has resources or permissions of its own: %s", dep.Component, strings.Join(has, ", "))
			}
		}
	}
}

// checkDisjoint refuses two dependencies that could both satisfy one import: of one package, and neither versions nor interfaces tell them apart.
func (d *decoder) checkDisjoint(path string, deps []Dependency) {
	earlier := map[string][]Dependency{} // by package
	for _, dep := range deps {
		n := splitDependency(dep.Name)
		if n.plain() || checkDependencyName(dep.Name) != nil {
			continue
		}
		for _, e := range earlier[n.pkg] {
			o := splitDependency(e.Name)
			versionsDiffer := n.version != "" && o.version != "" && compatible(n.version) != compatible(o.version)
			interfacesDiffer := n.iface != "" && o.iface != "" && n.iface != o.iface
			if !versionsDiffer && !interfacesDiffer {
				d.fault(position{dep.Line, dep.Column}, join(path, dep.Name), "keep one of them", "dependency %q conflicts with %q", clip(dep.Name), clip(e.Name))
				break
			}
		}
		earlier[n.pkg] = append(earlier[n.pkg], dep)
	}
}

// compatible gives the part of a version that has to be the same for two versions to replace each other (https://semver.org).
func compatible(version string) string {
	version, _, _ = strings.Cut(version, "+")
	parts := strings.SplitN(version, ".", 3)
	switch {
	case len(parts) < 3 || strings.Contains(version, "-"):
		return version
	case parts[0] != "0":
		return parts[0]
	case parts[1] != "0":
		return "0." + parts[1]
	}
	return version
}

// resources names the keys that would not apply to a component that is composed into another.
func (c *Component) resources() []string {
	var has []string
	for _, r := range []struct {
		name string
		n    int
	}{
		{"ai_models", len(c.AIModels)}, {"allowed_http_hosts", len(c.AllowedHTTPHosts)}, {"allowed_outbound_hosts", len(c.AllowedOutboundHosts)},
		{"dependencies", len(c.Dependencies)}, {"environment", len(c.Environment)}, {"files", len(c.Files)},
		{"key_value_stores", len(c.KeyValueStores)}, {"sqlite_databases", len(c.SQLiteDatabases)}, {"variables", len(c.Variables)},
	} {
		if r.n > 0 {
			has = append(has, r.name)
		}
	}
	return has
}
