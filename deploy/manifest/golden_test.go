package manifest_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/deploy/manifest"
)

var update = flag.Bool("update", false, "write what Parse gives into the golden files")

const divider = "\n---\n"

// TestParse runs testdata/*.golden: a manifest, a line of dashes, and what it means or what is wrong with it.
func TestParse(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			input, want := readGolden(t, file)
			m, err := manifest.Parse("spin.toml", []byte(input))
			got := render(m, err)
			if *update {
				if err := os.WriteFile(file, []byte(input+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if faults := (manifest.Faults)(nil); err != nil && (!errors.As(err, &faults) || len(faults) == 0) {
				t.Errorf("%T is not Faults", err)
			}
		})
	}
}

func readGolden(t testing.TB, file string) (input, want string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, _ = strings.Cut(string(data), divider)
	return input, want
}

// render writes a manifest with one thing on a line, and leaves out what is empty.
func render(m *manifest.Manifest, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	var r renderer
	r.line("manifest", fmt.Sprintf("version %d", m.SpinVersion), m.Name, m.Version, m.Description, strings.Join(m.Authors, ", "))
	r.text("address", m.Address)
	for _, v := range m.Variables {
		def := "required"
		if v.Default != nil {
			def = fmt.Sprintf("default %q", *v.Default)
		}
		r.line("variable", v.Name, def, when(v.Secret, "secret"), v.Description, fmt.Sprintf("line %d", v.Line))
	}
	for _, g := range m.Triggers {
		r.line("trigger", g.ID, "-> "+string(g.Component), fmt.Sprintf("line %d", g.Line))
		r.text("  channel", g.Channel)
		r.text("  address", g.Address)
	}
	for _, c := range m.Components {
		r.component(c)
	}
	for _, w := range m.Warnings {
		r.line("warning", w.Error())
	}
	return r.String()
}

type renderer struct{ strings.Builder }

func when(ok bool, s string) string {
	if ok {
		return s
	}
	return ""
}

func (r *renderer) line(name string, words ...string) {
	words = slices.DeleteFunc(words, func(s string) bool { return s == "" })
	if len(words) > 0 {
		fmt.Fprintf(r, "%s: %s\n", name, strings.Join(words, " | "))
	}
}

func (r *renderer) text(name string, t manifest.Text) {
	if t.Line > 0 {
		r.line(name, fmt.Sprintf("%q", t.Raw), strings.Join(t.Template.Variables(), ","), fmt.Sprintf("%d:%d", t.Line, t.Column))
	}
}

func (r *renderer) component(c manifest.Component) {
	r.line("component", string(c.ID), c.Description, fmt.Sprintf("line %d", c.Line))
	r.source("  source", c.Source)
	for _, k := range slices.Sorted(maps.Keys(c.Environment)) {
		r.line("  environment", fmt.Sprintf("%s=%q", k, c.Environment[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Variables)) {
		r.text("  variable "+k, c.Variables[k])
	}
	for _, f := range c.Files {
		r.line("  file", f.Pattern, f.Source, f.Destination, fmt.Sprintf("%d:%d", f.Line, f.Column))
	}
	r.line("  exclude", c.ExcludeFiles...)
	r.line("  hosts", when(!c.HostsGiven, "not given"), when(c.HostsGiven && len(c.AllowedOutboundHosts) == 0, "none"))
	for _, h := range c.AllowedOutboundHosts {
		r.text("  host", h)
	}
	for _, h := range c.AllowedHTTPHosts {
		r.text("  http host", h)
	}
	r.line("  key-value", c.KeyValueStores...)
	r.line("  sqlite", c.SQLiteDatabases...)
	r.line("  ai", c.AIModels...)
	if c.Build != nil {
		r.line("  build", fmt.Sprintf("%q", c.Build.Commands), c.Build.Workdir, strings.Join(c.Build.Watch, ","))
	}
	r.dependencies("  dependency", c.Dependencies)
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		p := c.Profiles[name]
		r.line("  profile", name, fmt.Sprintf("environment %v", p.Environment), fmt.Sprintf("build %q", p.Commands))
		if p.Source != nil {
			r.source("    source", *p.Source)
		}
		r.dependencies("    dependency", p.Dependencies)
	}
	r.tool(c.Tool)
}

func (r *renderer) source(name string, s manifest.Source) {
	r.line(name, s.Path, s.URL, s.Digest, s.Registry, s.Package, s.Version, fmt.Sprintf("%d:%d", s.Line, s.Column))
}

func (r *renderer) dependencies(name string, deps []manifest.Dependency) {
	for _, d := range deps {
		r.line(name, d.Name, d.Path, d.URL, d.Digest, d.Registry, d.Package, d.Version, string(d.Component), when(d.Export != "", "export "+d.Export),
			when(d.InheritAll, "inherits all"), when(len(d.Inherit) > 0, fmt.Sprintf("inherits %v", d.Inherit)), fmt.Sprintf("%d:%d", d.Line, d.Column))
	}
}

func (r *renderer) tool(t manifest.Tool) {
	for _, x := range []struct {
		name string
		text *manifest.Text
	}{{"pattern", t.Pattern}, {"sharded", t.Sharded}, {"stream", t.Stream}, {"group", t.Group}} {
		if x.text != nil {
			r.text("  "+x.name, *x.text)
		}
	}
	var words []string
	add := func(format string, given bool, value func() any) {
		if given {
			words = append(words, fmt.Sprintf(format, value()))
		}
	}
	add("concurrency %v", t.Concurrency != nil, func() any { return *t.Concurrency })
	add("isolation %v", t.Isolation != "", func() any { return t.Isolation })
	add("timeout %v", t.Timeout != nil, func() any { return *t.Timeout })
	add("memory %v", t.Memory != nil, func() any { return *t.Memory })
	add("host_calls %v", t.HostCalls != nil, func() any { return *t.HostCalls })
	add("bytes_out %v", t.BytesOut != nil, func() any { return *t.BytesOut })
	add("bytes_in %v", t.BytesIn != nil, func() any { return *t.BytesIn })
	add("handles %v", t.Handles != nil, func() any { return *t.Handles })
	add("output %v", t.Output != nil, func() any { return *t.Output })
	add("log_rate %v", t.LogRate != nil, func() any { return *t.LogRate })
	add("fuel %v", t.Fuel != nil, func() any { return *t.Fuel })
	add("overflow %v", t.Overflow != nil, func() any { return *t.Overflow })
	add("max_wait %v", t.MaxWait != nil, func() any { return *t.MaxWait })
	add("order_by %v", t.OrderBy != nil, func() any { return *t.OrderBy })
	add("retry %+v", t.Retry != nil, func() any { return *t.Retry })
	add("dead_letter %v", t.DeadLetter != nil, func() any { return *t.DeadLetter })
	r.line("  tool", words...)
}
