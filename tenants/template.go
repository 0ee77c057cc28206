package tenants

import (
	"errors"
	"fmt"
	"strings"
)

// Template is text with {{ name }} expressions over an application's variables, as Spin's manifests have them: literal text and names,
// spaces around a name ignored, no filters, escapes or nesting. "}}" outside of an expression is literal.
type Template struct {
	parts []templatePart
}

type templatePart struct {
	text     string // literal text, or the name of a variable
	variable bool
}

// ErrUnmatched is a "{{" that no "}}" ends.
var ErrUnmatched = errors.New("invalid variable template: unmatched '{{' in template")

// ParseTemplate reads a template. Names are held against the rules for variable keys.
func ParseTemplate(s string) (Template, error) {
	var t Template
	for {
		open := strings.Index(s, "{{")
		if open < 0 {
			break
		}
		end := strings.Index(s[open:], "}}")
		if end < 0 {
			return Template{}, ErrUnmatched
		}
		name := strings.TrimSpace(s[open+2 : open+end])
		if err := CheckVariableKey(name); err != nil {
			return Template{}, fmt.Errorf("invalid variable template: %w", err)
		}
		if open > 0 {
			t.parts = append(t.parts, templatePart{text: s[:open]})
		}
		t.parts = append(t.parts, templatePart{text: name, variable: true})
		s = s[open+end+2:]
	}
	if s != "" {
		t.parts = append(t.parts, templatePart{text: s})
	}
	return t, nil
}

// Variables lists the names a template needs, in order of appearance, each once.
func (t Template) Variables() []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range t.parts {
		if p.variable && !seen[p.text] {
			seen[p.text] = true
			names = append(names, p.text)
		}
	}
	return names
}

// Literal returns the text of a template without expressions.
func (t Template) Literal() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && !t.parts[0].variable:
		return t.parts[0].text, true
	}
	return "", false
}

// Render puts values in place of names. The first lookup that fails ends it.
func (t Template) Render(lookup func(name string) (string, error)) (string, error) {
	if s, ok := t.Literal(); ok {
		return s, nil
	}
	var out strings.Builder
	for _, p := range t.parts {
		if !p.variable {
			out.WriteString(p.text)
			continue
		}
		v, err := lookup(p.text)
		if err != nil {
			return "", err
		}
		out.WriteString(v)
	}
	return out.String(), nil
}

// String gives the template back, with one space inside each pair of braces.
func (t Template) String() string {
	var out strings.Builder
	for _, p := range t.parts {
		if p.variable {
			out.WriteString("{{ " + p.text + " }}")
		} else {
			out.WriteString(p.text)
		}
	}
	return out.String()
}

// CheckVariableKey holds a name against Spin's rule: lower-case ASCII letters, digits and "_"; it starts with a letter, ends with a letter
// or digit, and has no two "_" in a row.
func CheckVariableKey(name string) error {
	if name == "" {
		return errors.New("a variable name must not be empty")
	}
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z':
		case '0' <= c && c <= '9' && i > 0:
		case c == '_' && i > 0 && i < len(name)-1 && name[i-1] != '_':
		default:
			return fmt.Errorf("variable name %.64q: lower-case letters, digits and single inner \"_\" only, a letter first; got %q at %d", name, c, i)
		}
	}
	return nil
}
