package manifest_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/tenloom/tenloom/deploy/manifest"
)

// FuzzParse holds every manifest that is accepted against what its readers rely on, and every refusal against what people rely on.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		input, _ := readGolden(f, file)
		f.Add([]byte(input))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Parse("spin.toml", data)
		if err != nil {
			checkFaults(t, err)
			return
		}
		if m.Name == "" || m.SpinVersion != 1 && m.SpinVersion != 2 {
			t.Errorf("name %q, version %d", m.Name, m.SpinVersion)
		}
		components, triggers := map[string]bool{}, map[string]bool{}
		for _, c := range m.Components {
			if c.ID == "" || components[string(c.ID)] {
				t.Errorf("component %q is empty or there twice", c.ID)
			}
			components[string(c.ID)] = true
			if c.Source.Path == "" && c.Source.URL == "" && c.Source.Package == "" {
				t.Errorf("component %s has no source", c.ID)
			}
		}
		for _, g := range m.Triggers {
			if g.ID == "" || triggers[g.ID] || g.Channel.Raw == "" || !components[string(g.Component)] {
				t.Errorf("trigger %+v", g)
			}
			triggers[g.ID] = true
		}
		for _, v := range m.Variables {
			if v.Name == "" || v.Required == (v.Default != nil) {
				t.Errorf("variable %+v", v)
			}
		}
	})
}

func checkFaults(t *testing.T, err error) {
	var faults manifest.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("%T is not Faults", err)
	}
	for i, f := range faults {
		if f.Problem == "" || f.Next == "" || f.File == "" || (f.Line == 0) != (f.Column == 0) {
			t.Errorf("fault %+v", f)
		}
		if i > 0 && f.Line > 0 && f.Line < faults[i-1].Line {
			t.Errorf("faults are not in the order of the file: %d after %d", f.Line, faults[i-1].Line)
		}
	}
}
