package tenants_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
)

func TestTemplate(t *testing.T) {
	values := map[string]string{"name": "Ada", "host": "localhost", "braces": "{{ name }}", "empty": ""}
	rows := []struct {
		in, rendered string
		variables    []string
	}{
		{"", "", nil},
		{"plain", "plain", nil},
		{"{{ name }}", "Ada", []string{"name"}},
		{"{{name}}", "Ada", []string{"name"}},
		{"{{  \t name\n}}", "Ada", []string{"name"}},
		{"a-{{ name }}-b", "a-Ada-b", []string{"name"}},
		{"{{ name }}{{ host }}", "Adalocalhost", []string{"name", "host"}},
		{"{{ name }}{{ host }}{{ name }}", "AdalocalhostAda", []string{"name", "host"}},
		{"redis://{{ host }}:6379", "redis://localhost:6379", []string{"host"}},
		{"}}", "}}", nil},
		{"}} {{ name }} }}", "}} Ada }}", []string{"name"}},
		{"{ name }", "{ name }", nil},
		{"{{ name }}}", "Ada}", []string{"name"}},
		{"{{ braces }}", "{{ name }}", []string{"braces"}}, // a value is not a template
		{"{{ empty }}", "", []string{"empty"}},
		{`\{{ name }}`, `\Ada`, []string{"name"}}, // no escapes
		{"ß{{ name }}ß", "ßAdaß", []string{"name"}},
	}
	for _, row := range rows {
		template, err := tenants.ParseTemplate(row.in)
		if err != nil {
			t.Errorf("%q: %v", row.in, err)
			continue
		}
		got, err := template.Render(func(name string) (string, error) { return values[name], nil })
		if err != nil || got != row.rendered {
			t.Errorf("%q rendered %q, %v, want %q", row.in, got, err, row.rendered)
		}
		if names := template.Variables(); !slices.Equal(names, row.variables) {
			t.Errorf("%q needs %q, want %q", row.in, names, row.variables)
		}
		literal, ok := template.Literal()
		if ok != (len(row.variables) == 0) || ok && literal != row.in {
			t.Errorf("%q: Literal() = %q, %v", row.in, literal, ok)
		}
	}
}

func TestTemplateRefuses(t *testing.T) {
	rows := []struct{ in, want string }{
		{"{{", "invalid variable template: unmatched '{{' in template"},
		{"{{ matched }} {{ unmatched", "invalid variable template: unmatched '{{' in template"},
		{"{{ name }", "invalid variable template: unmatched '{{' in template"},
		{"{{}}", "invalid variable template: a variable name must not be empty"},
		{"{{ }}", "invalid variable template: a variable name must not be empty"},
		{"{{ {{ name }} }}", `invalid variable template: variable name "{{ name": lower-case letters`},
		{"{{{ name }}}", `invalid variable template: variable name "{ name": lower-case letters`},
		{"{{ name | upper }}", `invalid variable template: variable name "name | upper": lower-case letters`},
		{"{{ Name }}", `invalid variable template: variable name "Name": lower-case letters`},
	}
	for _, row := range rows {
		_, err := tenants.ParseTemplate(row.in)
		if err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%q: %v, want %s", row.in, err, row.want)
		}
		if errors.Is(err, tenants.ErrUnmatched) != strings.Contains(row.want, "unmatched") {
			t.Errorf("%q: errors.Is(%v, ErrUnmatched) is wrong", row.in, err)
		}
	}
}

func TestRenderEndsAtTheFirstError(t *testing.T) {
	template, err := tenants.ParseTemplate("{{ a }}{{ b }}{{ c }}")
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	broken := errors.New("broken")
	got, err := template.Render(func(name string) (string, error) {
		asked = append(asked, name)
		if name == "b" {
			return "half", broken
		}
		return "x", nil
	})
	if got != "" || !errors.Is(err, broken) || !slices.Equal(asked, []string{"a", "b"}) {
		t.Errorf("got %q, %v after asking for %q", got, err, asked)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"", "a", "a-{{ expr }}-b", "{{ a }}{{b}}", "{{ a }} {{ b", "}}{{a}}}}", "{{{a}}", "{ {{a}}", "é{{ a_1 }}\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		template, err := tenants.ParseTemplate(s)
		if err != nil {
			return
		}
		again, err := tenants.ParseTemplate(template.String())
		if err != nil || !reflect.DeepEqual(again, template) {
			t.Fatalf("%q printed as %q, which reads as %q, %v", s, template, again, err)
		}
		if text, ok := template.Literal(); ok && text != s {
			t.Fatalf("%q is the literal %q", s, text)
		}
		for _, name := range template.Variables() {
			if err := tenants.CheckVariableKey(name); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
		// An expression that renders to itself gives the printed form back: nothing is lost between the parts.
		same, err := template.Render(func(name string) (string, error) { return "{{ " + name + " }}", nil })
		if err != nil || same != template.String() {
			t.Fatalf("%q rendered %q, %v, want %q", s, same, err, template)
		}
	})
}

func TestCheckVariableKey(t *testing.T) {
	for _, key := range []string{"a", "abc", "a1b2c3", "a_1", "a_1_b_3"} {
		if err := tenants.CheckVariableKey(key); err != nil {
			t.Errorf("CheckVariableKey(%q): %v", key, err)
		}
	}
	rule := ": lower-case letters, digits and single inner \"_\" only, a letter first; got "
	for key, want := range map[string]string{
		"":     "a variable name must not be empty",
		"aX":   `variable name "aX"` + rule + `'X' at 1`,
		"1bc":  `variable name "1bc"` + rule + `'1' at 0`,
		"_x":   `variable name "_x"` + rule + `'_' at 0`,
		"x.y":  `variable name "x.y"` + rule + `'.' at 1`,
		"x_":   `variable name "x_"` + rule + `'_' at 1`,
		"a__b": `variable name "a__b"` + rule + `'_' at 2`,
		"x-y":  `variable name "x-y"` + rule + `'-' at 1`,
		"clé":  `variable name "clé"` + rule + `'é' at 2`,
	} {
		if err := tenants.CheckVariableKey(key); err == nil || err.Error() != want {
			t.Errorf("CheckVariableKey(%q) = %v, want %s", key, err, want)
		}
	}
	// A guest may ask for a name of any length; what it asked for must not fill the log.
	if err := tenants.CheckVariableKey(strings.Repeat("A", 1<<20)); len(err.Error()) > 300 {
		t.Errorf("the error repeats %d bytes of its input", len(err.Error()))
	}
}
