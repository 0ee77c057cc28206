package secrets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"github.com/tenloom/tenloom/tenants"
)

// maxFile bounds each file that holds values, in bytes. A larger one is refused before it is read whole.
const maxFile = 1 << 20

type file struct {
	path   string
	values map[string]Value
}

// File reads the values in a .json, .toml or .env file, once, now. JSON and TOML hold one table of names and strings, as Spin's variable
// files do. A .env file holds NAME=value lines: names are those of the environment (EnvPrefix, then SpinEnvPrefix, then the plain
// variable key); other names belong to other programs and are passed over. All faults of a file are reported at once.
func File(path string) (Provider, error) {
	parse, ok := parserOf(path)
	if !ok {
		return nil, fmt.Errorf("variables file %s: want a name that ends in .json, .toml or .env", path)
	}
	texts, err := readTable(path, parse)
	if err != nil {
		return nil, err
	}
	return fileOf(path, texts), nil
}

func fileOf(path string, texts map[string]string) file {
	f := file{path: path, values: make(map[string]Value, len(texts))}
	for name, text := range texts {
		f.values[name] = NewValue(text)
	}
	return f
}

func (f file) Lookup(_ context.Context, name string) (Value, bool, error) {
	v, ok := f.values[name]
	return v, ok, nil
}

func (f file) String() string { return f.path }

type parser func(text string) (map[string]string, error)

func parserOf(path string) (parser, bool) {
	name := filepath.Base(path)
	switch ext := filepath.Ext(name); {
	case ext == ".json":
		return parseJSON, true
	case ext == ".toml":
		return parseTOML, true
	case ext == ".env", strings.HasPrefix(name, ".env."):
		return parseEnvFile, true
	}
	return nil, false
}

func readTable(path string, parse parser) (map[string]string, error) {
	text, err := readText(path)
	if err != nil {
		return nil, err
	}
	values, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("variables file %s: %w", path, err)
	}
	return values, nil
}

func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read variables: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read variables: %w", err)
	case len(text) > maxFile:
		return "", fmt.Errorf("variables file %s: larger than 1 MiB", path)
	case !utf8.Valid(text):
		return "", fmt.Errorf("variables file %s: not UTF-8", path)
	}
	return string(bytes.TrimPrefix(text, []byte("\ufeff"))), nil
}

// parseJSON walks tokens rather than decode into a map, which would keep the last of two equal names in silence.
func parseJSON(text string) (map[string]string, error) {
	d := json.NewDecoder(strings.NewReader(text))
	// The decoder's own message quotes the text near the fault; the line is all that may be said.
	syntax := func() error {
		return fmt.Errorf("line %d: not valid JSON", 1+strings.Count(text[:d.InputOffset()], "\n"))
	}
	if t, err := d.Token(); err != nil {
		return nil, syntax()
	} else if t != json.Delim('{') {
		return nil, errors.New(`want one JSON object of names and strings: {"name": "value"}`)
	}
	values := map[string]string{}
	var faults []error
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, syntax()
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, syntax()
		}
		name := key.(string) // the decoder takes nothing else for a key
		if _, twice := values[name]; twice {
			faults = append(faults, fmt.Errorf("variable %.64q is given twice", name))
			continue
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, syntax()
		}
		faults = append(faults, put(values, name, value))
	}
	if _, err := d.Token(); err != nil {
		return nil, syntax()
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more text after the JSON object")
	}
	return values, errors.Join(faults...)
}

func parseTOML(text string) (map[string]string, error) {
	var table map[string]any
	if err := toml.Unmarshal([]byte(text), &table); err != nil {
		var fault *toml.DecodeError
		if errors.As(err, &fault) {
			line, column := fault.Position()
			return nil, fmt.Errorf("line %d, column %d: not valid TOML", line, column)
		}
		return nil, errors.New("not valid TOML")
	}
	values := map[string]string{}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(table)) {
		faults = append(faults, put(values, name, table[name]))
	}
	return values, errors.Join(faults...)
}

// put takes strings only: a number or date would reach the guest in a spelling that the file does not show.
func put(values map[string]string, name string, value any) error {
	if err := tenants.CheckVariableKey(name); err != nil {
		return err
	}
	switch v := value.(type) {
	case string:
		values[name] = v
		return nil
	case map[string]any:
		return fmt.Errorf("variable %q is a nested table; want one flat table, %s = \"...\"", name, name)
	case []any:
		return fmt.Errorf("variable %q is a list; want a string", name)
	}
	return fmt.Errorf("variable %q is not a string; put its value in quotes", name)
}
