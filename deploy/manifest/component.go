package manifest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// component reads a component of version 2: [component.<id>], or the table inside of a trigger.
func (d *decoder) component(path, id string, at position, v *node) Component {
	c := Component{ID: tenants.ComponentID(id), Line: at.line}
	inherit := false
	d.table(path, v, append(goneAll(inTool, toolKeys...),
		need("source", d.source(&c.Source)),
		may("description", d.text(&c.Description)),
		may("variables", d.componentVariables(&c)),
		may("environment", d.environment(&c.Environment)),
		may("files", d.mounts(&c.Files)),
		may("exclude_files", d.globs(&c.ExcludeFiles)),
		may("allowed_http_hosts", func(path string, v *node) {
			d.warn(v.at, path, "write them in allowed_outbound_hosts as http://host and https://host", "is deprecated")
			d.httpHosts(&c)(path, v)
		}),
		may("allowed_outbound_hosts", d.hosts(&c)),
		may("key_value_stores", d.labels(&c.KeyValueStores)),
		may("sqlite_databases", d.labels(&c.SQLiteDatabases)),
		may("ai_models", d.texts(&c.AIModels)),
		may("targets", d.targets),
		may("build", d.build(&c.Build)),
		may("tool", d.tools(&c.Tool)),
		may("dependencies", d.dependencies(&c.Dependencies)),
		may("dependencies_inherit_configuration", func(path string, v *node) {
			d.flag(&inherit)(path, v)
			if slices.ContainsFunc(c.Dependencies, func(dep Dependency) bool { return dep.inheritGiven }) {
				d.fault(v.at, path, "use one or the other", "a dependency has inherit_configuration of its own, which excludes this key")
			}
		}),
		may("profile", d.profiles(&c.Profiles)),
		gone("id", "version 2 writes the id in the table's name: [component.<id>]"),
		gone("config", `version 2 names it "variables"`),
		gone("trigger", "version 2 writes triggers as [[trigger.redis]]"),
	)...)
	for i := range c.Dependencies {
		c.Dependencies[i].InheritAll = c.Dependencies[i].InheritAll || inherit
	}
	d.completeTool(path, v, &c.Tool)
	return c
}

var (
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// https://semver.org, numbers without leading zeros
	versionForm = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
)

func (d *decoder) source(to *Source) reader {
	return func(path string, v *node) {
		to.Line, to.Column = v.at.line, v.at.column
		switch {
		case v.kind == text:
			d.filled(&to.Path)(path, v)
		case v.kind != table:
			d.fault(v.at, path, `write the path of a Wasm file in quotes, or { url = "...", digest = "sha256:..." }`, "must be a string or a table, not %s", v.kind)
		case v.get("package") != nil || v.get("registry") != nil || v.get("version") != nil:
			d.table(path, v, may("registry", d.filled(&to.Registry)), need("package", d.pkg(&to.Package)), need("version", func(path string, v *node) {
				if d.is(path, v, text) && !versionForm.MatchString(v.text) {
					d.fault(v.at, path, `write it as "1.2.3"`, "%q is not a semantic version", clip(v.text))
				}
				to.Version = v.text
			}))
		default:
			d.table(path, v, need("url", d.url(&to.URL)), need("digest", d.digest(&to.Digest)))
		}
	}
}

func (d *decoder) url(to *string) reader {
	return func(path string, v *node) {
		if !d.is(path, v, text) {
			return
		}
		u, err := url.Parse(v.text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			// The text stays out of the message: it may hold a password.
			d.fault(v.at, path, "write it as https://host/path", "is not an http or https URL")
		}
		*to = v.text
	}
}

func (d *decoder) digest(to *string) reader {
	return func(path string, v *node) {
		if d.is(path, v, text) && !digestForm.MatchString(v.text) {
			d.fault(v.at, path, `write "sha256:" and the 64 lower-case hex digits that sha256sum prints`, "invalid digest %q", clip(v.text))
		}
		*to = v.text
	}
}

// pkg reads a package of a registry: namespace:name.
func (d *decoder) pkg(to *string) reader {
	return func(path string, v *node) {
		if d.is(path, v, text) && !isPackage(v.text) {
			d.fault(v.at, path, "write it as namespace:name", "%q is not a package name", clip(v.text))
		}
		*to = v.text
	}
}

func isPackage(s string) bool {
	namespace, name, ok := strings.Cut(s, ":")
	return ok && checkID(namespace, '-') == nil && checkID(name, '-') == nil
}

func (d *decoder) componentVariables(c *Component) reader {
	c.Variables = map[string]Text{}
	return d.each(func(path string, e entry) {
		d.checkVariable(path, e.at, e.key)
		var t Text
		d.template(&t)(path, e.value)
		c.Variables[e.key] = t
	})
}

func (d *decoder) environment(to *map[string]string) reader {
	return d.each(func(path string, e entry) {
		var s string
		d.text(&s)(path, e.value)
		if e.key == "" || strings.ContainsAny(e.key, "=\x00") {
			d.fault(e.at, path, "rename it", "%q cannot name an environment variable", clip(e.key))
		}
		if strings.Contains(s, "\x00") {
			d.fault(e.value.at, path, "remove the zero byte", "an environment variable cannot hold a zero byte")
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[e.key] = s
	})
}

func (d *decoder) hosts(c *Component) reader {
	return func(path string, v *node) {
		c.HostsGiven = true
		d.templates(&c.AllowedOutboundHosts)(path, v)
	}
}

// httpHosts reads the deprecated list, which knows no expressions.
func (d *decoder) httpHosts(c *Component) reader {
	return d.list(func(path string, v *node) {
		if v.kind == text && strings.Contains(v.text, "{{") {
			d.fault(v.at, path, "write it in allowed_outbound_hosts", "allowed_http_hosts takes no {{ }} expressions")
			return
		}
		var t Text
		d.template(&t)(path, v)
		c.AllowedHTTPHosts = append(c.AllowedHTTPHosts, t)
	})
}

func (d *decoder) mounts(to *[]Mount) reader {
	return d.list(func(path string, v *node) {
		m := Mount{Line: v.at.line, Column: v.at.column}
		switch v.kind {
		case text:
			m.Pattern = v.text
			if problem, next := checkPattern(v.text); problem != "" {
				d.fault(v.at, path, next, "%s", problem)
			}
			if v.text == "*" || v.text == "**/*" {
				d.warn(v.at, path, fmt.Sprintf("write %q if that is meant", "./"+v.text), "includes all of the application's directory, sources and secrets too")
			}
			d.warnDirectories(path, v)
		case table:
			d.table(path, v, need("source", d.filled(&m.Source)), need("destination", d.filled(&m.Destination)))
			if m.Source != "" && !withinDir(m.Source) {
				d.fault(v.at, join(path, "source"), "move what is needed beside the manifest", "%q is outside of the application's directory", clip(m.Source))
			}
			if !withinDir(strings.TrimLeft(m.Destination, "/")) {
				d.fault(v.at, join(path, "destination"), "write an absolute path without \"..\"", "%q leads out of the guest's root", clip(m.Destination))
			}
		default:
			d.fault(v.at, path, `write a glob in quotes, or { source = "dir", destination = "/dir" }`, "must be a string or a table, not %s", v.kind)
		}
		*to = append(*to, m)
	})
}

func (d *decoder) globs(to *[]string) reader {
	return d.list(func(path string, v *node) {
		if !d.is(path, v, text) {
			return
		}
		if _, err := compileGlob(v.text); err != nil {
			d.fault(v.at, path, "see https://docs.rs/glob for the patterns", "invalid glob pattern %q: %v", clip(v.text), err)
		}
		d.warnDirectories(path, v)
		*to = append(*to, v.text)
	})
}

// warnDirectories names the surprise of Spin's globs: "a/**" means the directories below a, not their files.
func (d *decoder) warnDirectories(path string, v *node) {
	if v.text == "**" || strings.HasSuffix(v.text, "/**") {
		d.warn(v.at, path, fmt.Sprintf("write %q", clip(v.text)+"/*"), "%q matches directories and no files", clip(v.text))
	}
}

func (d *decoder) build(to **Build) reader {
	return func(path string, v *node) {
		b := &Build{}
		d.table(path, v, need("command", d.commands(&b.Commands)), may("workdir", d.text(&b.Workdir)), may("watch", d.texts(&b.Watch)))
		*to = b
	}
}

func (d *decoder) commands(to *[]string) reader {
	return func(path string, v *node) {
		switch v.kind {
		case text:
			*to = []string{v.text}
		case array:
			d.texts(to)(path, v)
		default:
			d.fault(v.at, path, `write "command", or ["first", "second"]`, "must be a string or an array, not %s", v.kind)
		}
	}
}

func (d *decoder) profiles(to *map[string]Profile) reader {
	*to = map[string]Profile{}
	return d.each(func(path string, e entry) {
		var p Profile
		d.table(path, e.value,
			may("source", func(path string, v *node) {
				p.Source = &Source{}
				d.source(p.Source)(path, v)
			}),
			may("environment", d.environment(&p.Environment)),
			may("dependencies", d.dependencies(&p.Dependencies)),
			may("build", func(path string, v *node) { d.table(path, v, need("command", d.commands(&p.Commands))) }),
		)
		(*to)[e.key] = p
	})
}
