package manifest

import (
	"fmt"
	"strings"
)

// checkID holds an id against Spin's rule (spin.md 1.2, crates/serde/src/id.rs): words joined by a delimiter, each a letter and then letters
// and digits, all lower or all upper case.
func checkID(id string, delimiter rune) error {
	if id == "" {
		return fmt.Errorf("must not be empty")
	}
	wrong := '_'
	if delimiter == '_' {
		wrong = '-'
	}
	if strings.ContainsRune(id, wrong) {
		return fmt.Errorf("words must be separated with %q, not %q", delimiter, wrong)
	}
	for word := range strings.SplitSeq(id, string(delimiter)) {
		if err := checkWord(word, delimiter); err != nil {
			return err
		}
	}
	return nil
}

func checkWord(word string, delimiter rune) error {
	if word == "" {
		return fmt.Errorf("%q-separated words must not be empty", delimiter)
	}
	upper := 'A' <= word[0] && word[0] <= 'Z'
	for i, r := range word {
		isLower, isUpper := 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z'
		switch {
		case i == 0 && !isLower && !isUpper:
			return fmt.Errorf("%q-separated words must start with an ASCII letter; got %q", delimiter, r)
		case '0' <= r && r <= '9':
		case !isLower && !isUpper:
			return fmt.Errorf("%q-separated words may only contain alphanumeric ASCII; got %q", delimiter, r)
		case isUpper != upper:
			return fmt.Errorf("%q-separated words must be all lowercase or all UPPERCASE; got %q", delimiter, clip(word))
		}
	}
	return nil
}

// checkVariableName is checkID for variables: "_" and lower case.
func checkVariableName(name string) error {
	if err := checkID(name, '_'); err != nil {
		return err
	}
	if name != strings.ToLower(name) {
		return fmt.Errorf("lower-case identifiers must be all lowercase; got %q", clip(name))
	}
	return nil
}

// kebab gives the id that version 1 makes of one that is not valid as it stands (spin.md 1.1).
func kebab(id string) string {
	if checkID(id, '-') == nil {
		return id
	}
	return strings.ToLower(strings.ReplaceAll(id, "_", "-"))
}

// nextID says what to write instead of a wrong id.
func nextID(id string, delimiter rune) string {
	guess := strings.ToLower(strings.NewReplacer("_", string(delimiter), "-", string(delimiter), " ", string(delimiter)).Replace(id))
	if checkID(guess, delimiter) == nil && guess != id {
		return fmt.Sprintf("write %q", guess)
	}
	return fmt.Sprintf("use words of a-z and 0-9, a letter first, joined by %q", delimiter)
}

func (d *decoder) checkComponentID(path string, at position, id string) bool {
	err := checkID(id, '-')
	if err != nil {
		d.fault(at, path, nextID(id, '-'), "component id %q: %v", clip(id), err)
	}
	return err == nil
}

func (d *decoder) checkVariable(path string, at position, name string) {
	if err := checkVariableName(name); err != nil {
		d.fault(at, path, nextID(name, '_'), "variable name %q: %v", clip(name), err)
	}
}

// labels reads names of key-value stores and databases. Version 2 holds them against the id rules, version 1 takes any text.
func (d *decoder) labels(to *[]string) reader {
	return d.list(func(path string, v *node) {
		var s string
		d.filled(&s)(path, v)
		if s == "" {
			return
		}
		if d.version == 2 && checkID(s, '-') != nil && checkID(s, '_') != nil {
			d.fault(v.at, path, nextID(s, '-'), "label %q: expected kebab-case or snake_case", clip(s))
		}
		*to = append(*to, s)
	})
}
