package secrets

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// ParseFlag reads one --variable, as Spin has it: "name=value"; "name=@path", the whole text of a file, its last newline included;
// "@path.json" or "@path.toml", a file of names and strings. Files are read now, up to 1 MiB. Errors repeat neither the value nor what
// stands in place of the name, which is part of a value when the name was forgotten.
func ParseFlag(s string) (map[string]string, error) {
	if path, ok := strings.CutPrefix(s, "@"); ok {
		switch filepath.Ext(path) {
		case ".json":
			return readTable(path, parseJSON)
		case ".toml":
			return readTable(path, parseTOML)
		}
		return nil, fmt.Errorf("--variable @%s: want a file that ends in .json or .toml, or name=@file for one value", path)
	}
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return nil, errors.New("--variable: want name=value, name=@file, @file.json or @file.toml")
	}
	if tenants.CheckVariableKey(name) != nil {
		return nil, errors.New(`--variable: what stands before "=" is not a variable name: lower-case letters, digits and single inner "_" only, a letter first`)
	}
	if path, ok := strings.CutPrefix(value, "@"); ok {
		text, err := readText(path)
		if err != nil {
			return nil, fmt.Errorf("--variable %s: %w", name, err)
		}
		value = text
	}
	return map[string]string{name: value}, nil
}
