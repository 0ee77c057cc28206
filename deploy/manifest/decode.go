package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// maxFaults is how many faults are kept; what comes after is counted in one last fault.
const maxFaults = 100

// decoder turns the tree into a Manifest, table by table, and collects what is wrong on the way instead of stopping at it.
type decoder struct {
	file     string
	version  int
	faults   Faults
	more     int // faults beyond maxFaults
	warnings Faults
	declared map[string]bool // the application's variables; filled before any template is read
	tool     Tool            // [application.tool.tenloom]
}

// reader takes one value; path names it in faults.
type reader func(path string, v *node)

// field is one key of a table. A key with a hint and no reader is not known there, and the hint says where it went.
type field struct {
	name     string
	required bool
	read     reader
	hint     string
}

func need(name string, r reader) field { return field{name: name, required: true, read: r} }
func may(name string, r reader) field  { return field{name: name, read: r} }
func gone(name, hint string) field     { return field{name: name, hint: hint} }

func goneAll(hint string, names ...string) []field {
	fields := make([]field, len(names))
	for i, name := range names {
		fields[i] = gone(name, hint)
	}
	return fields
}

func (d *decoder) fault(at position, path, next, problem string, args ...any) {
	if d.full() {
		d.more++
		return
	}
	d.faults = append(d.faults, Fault{d.file, at.line, at.column, path, fmt.Sprintf(problem, args...), next})
}

// full tells that another fault would only be counted, so that its words are not worth finding.
func (d *decoder) full() bool { return len(d.faults) >= maxFaults }

func (d *decoder) warn(at position, path, next, problem string, args ...any) {
	if len(d.warnings) < maxFaults {
		d.warnings = append(d.warnings, Fault{d.file, at.line, at.column, path, fmt.Sprintf(problem, args...), next})
	}
}

// result gives all faults, nil where there are none.
func (d *decoder) result() error {
	d.warnings.sort()
	if len(d.faults) == 0 {
		return nil
	}
	d.faults.sort()
	if d.more > 0 {
		d.faults = append(d.faults, Fault{File: d.file, Problem: fmt.Sprintf("%d more faults", d.more), Next: "mend these first"})
	}
	return d.faults
}

// join appends a key to a path, in quotes where TOML would need them.
func join(path, key string) string {
	if path == "" {
		return dotted(key)
	}
	return path + "." + dotted(key)
}

func dotted(keys ...string) string {
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = k
		if k == "" || strings.ContainsFunc(k, func(r rune) bool { return !bareKey(r) }) {
			parts[i] = strconv.Quote(clip(k))
		}
	}
	return strings.Join(parts, ".")
}

func bareKey(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// clip keeps what a person typed short enough for one line.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}

// is holds a value against the kind it should have.
func (d *decoder) is(path string, v *node, want kind) bool {
	if v.kind == want {
		return true
	}
	next := map[kind]string{
		text: "put the value in quotes", integer: "write a whole number", boolean: "write true or false",
		array: "write a list in [ ]", table: "write key = value, in { } or below a [header]",
	}[want]
	d.fault(v.at, path, next, "must be %s, not %s", want, v.kind)
	return false
}

// table reads a table whose keys are all known: it takes the fields in their order here, then names the unknown keys.
func (d *decoder) table(path string, v *node, fields ...field) {
	if !d.is(path, v, table) {
		return
	}
	var names []string
	hints := map[string]string{}
	for _, f := range fields {
		if f.read == nil {
			hints[f.name] = f.hint
			continue
		}
		names = append(names, f.name)
		if value := v.get(f.name); value != nil {
			f.read(join(path, f.name), value)
		}
	}
	meant := map[string]bool{} // names that a mistyped key stands for: they are not missing too
	for _, e := range v.entries {
		if !slices.Contains(names, e.key) {
			meant[d.unknown(path, e, names, hints[e.key])] = true
		}
	}
	for _, f := range fields {
		if f.required && v.get(f.name) == nil && !meant[f.name] {
			d.fault(v.at, join(path, f.name), "add it", "is missing")
		}
	}
}

// unknown names a key that is not known, and returns the known one that it likely stands for.
func (d *decoder) unknown(path string, e entry, names []string, next string) string {
	near, ok := tenants.Nearest(e.key, names)
	switch {
	case next != "":
		near = ""
	case ok:
		next = fmt.Sprintf("did you mean %q?", near)
	default:
		next, near = "known here: "+strings.Join(names, ", "), ""
	}
	d.fault(e.at, join(path, e.key), next, "unknown key %q", clip(e.key))
	return near
}

// each reads a table with keys of the writer's choosing.
func (d *decoder) each(read func(path string, e entry)) reader {
	return func(path string, v *node) {
		if !d.is(path, v, table) {
			return
		}
		for _, e := range v.entries {
			read(join(path, e.key), e)
		}
	}
}

// list reads an array.
func (d *decoder) list(read reader) reader {
	return func(path string, v *node) {
		if !d.is(path, v, array) {
			return
		}
		for i, item := range v.items {
			read(fmt.Sprintf("%s[%d]", path, i), item)
		}
	}
}

// checked takes a value that something else has read already.
func checked(string, *node) {}

func (d *decoder) text(to *string) reader {
	return func(path string, v *node) {
		if d.is(path, v, text) {
			*to = v.text
		}
	}
}

// filled reads a string that must say something.
func (d *decoder) filled(to *string) reader {
	return func(path string, v *node) {
		if !d.is(path, v, text) {
			return
		}
		if *to = v.text; v.text == "" {
			d.fault(v.at, path, "give it a value", "must not be empty")
		}
	}
}

func (d *decoder) flag(to *bool) reader {
	return func(path string, v *node) {
		if d.is(path, v, boolean) {
			*to = v.text == "true"
		}
	}
}

func (d *decoder) texts(to *[]string) reader {
	return d.list(func(path string, v *node) {
		var s string
		d.text(&s)(path, v)
		*to = append(*to, s)
	})
}

// template reads text with {{ }} over the application's variables.
func (d *decoder) template(to *Text) reader {
	return func(path string, v *node) {
		if !d.is(path, v, text) {
			return
		}
		t, err := tenants.ParseTemplate(v.text)
		if err != nil {
			next := "write {{ name }} with the name of a variable from [variables]"
			if errors.Is(err, tenants.ErrUnmatched) {
				next = "close the expression with }}"
			}
			d.fault(v.at, path, next, "%v", err)
			return
		}
		for _, name := range t.Variables() {
			d.checkDeclared(path, v.at, name)
		}
		*to = Text{Raw: v.text, Template: t, Line: v.at.line, Column: v.at.column}
	}
}

// filledTemplate reads a template that must say something.
func (d *decoder) filledTemplate(to *Text) reader {
	return func(path string, v *node) {
		d.template(to)(path, v)
		if v.kind == text && v.text == "" {
			d.fault(v.at, path, "give it a value", "must not be empty")
		}
	}
}

func (d *decoder) checkDeclared(path string, at position, name string) {
	if d.declared[name] {
		return
	}
	if d.full() {
		d.more++
		return
	}
	next := fmt.Sprintf("declare it: [variables] %s = { required = true }", name)
	if near, ok := tenants.Nearest(name, slices.Sorted(maps.Keys(d.declared))); ok {
		next = fmt.Sprintf("did you mean %q?", near)
	}
	d.fault(at, path, next, "invalid variable template: unknown variable %q", name)
}

func (d *decoder) templates(to *[]Text) reader {
	return d.list(func(path string, v *node) {
		var t Text
		d.template(&t)(path, v)
		*to = append(*to, t)
	})
}
