package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenloom/tenloom/tenants"
)

const (
	maxConfig   = 256 << 10 // bytes of a configuration file
	maxSecret   = 64 << 10  // bytes of a file that holds one value
	configUsage = "configuration file (TENLOOM_CONFIG; default: none)"
)

// configFlags are the flags of commands that read the server's configuration.
type configFlags struct {
	file   string
	values map[string]*string
	set    *pflag.FlagSet
}

// redisFlag and redisVariable are short for the platform's own server.
const (
	redisFlag     = "redis"
	redisVariable = "TENLOOM_REDIS"
	defaultRedis  = "redis.default.url"
)

func (f *configFlags) add(cmd *cobra.Command) {
	f.set, f.values = cmd.Flags(), map[string]*string{}
	f.set.StringVarP(&f.file, "config", "c", os.Getenv("TENLOOM_CONFIG"), configUsage)
	for _, s := range settings {
		name, usage := s.flag(), s.usage
		if s.kind == aSecret {
			name, usage = name+"-file", usage+": a file that holds it"
		}
		if s.none != "" && s.none != "0" {
			usage += " (default " + s.none + ")"
		}
		value := new(string)
		f.values[name] = value
		f.set.StringVar(value, name, "", usage)
		if s.kind == aSwitch {
			f.set.Lookup(name).NoOptDefVal = "true"
		}
	}
	f.values[redisFlag] = f.set.String(redisFlag, "", "the platform's own Redis; others stand in the file as [redis.NAME]")
}

// read merges what was given: a flag wins over the environment, that over the file, that over the default. It reports all faults at once, as a
// usage error.
func (f *configFlags) read() (*configuration, error) {
	c := &configuration{file: f.file, values: map[string]given{}}
	for _, s := range settings {
		c.values[s.key] = given{s, s.none, "default"}
	}
	var faults []string
	if f.file != "" {
		faults = append(faults, c.readFile(f.file)...)
	}
	faults = append(faults, c.readEnvironment(os.Environ())...)
	f.set.VisitAll(func(flag *pflag.Flag) {
		if value := f.values[flag.Name]; value != nil && flag.Changed {
			faults = append(faults, c.set(flagKey(flag.Name), *value, "--"+flag.Name)...)
		}
	})
	if len(faults) == 0 {
		faults = c.consistent()
	}
	if len(faults) > 0 {
		return nil, fail(exitUsage, "%s", strings.Join(faults, "\nError: "))
	}
	return c, nil
}

// flagKey is the key of the setting that a flag is for.
func flagKey(name string) string {
	if name == redisFlag {
		return defaultRedis
	}
	for _, s := range settings {
		switch name {
		case s.flag():
			return s.key
		case s.flag() + "-file":
			return s.key + "_file"
		}
	}
	return name
}

// set takes one value. Later calls win over earlier ones.
func (c *configuration) set(key, value, source string) []string {
	s, inFile, ok := findSetting(key)
	if !ok {
		advice := didYouMean(key, knownKeys())
		if advice == "" {
			advice = "\n  \"tenloom config print\" lists what there is"
		}
		return []string{fmt.Sprintf("%s: unknown setting %q%s", source, key, advice)}
	}
	if inFile {
		text, err := readValue(value)
		if err != nil {
			return []string{fmt.Sprintf("%s: %s: %v", source, key, err)}
		}
		value, source = text, source+" "+value
	}
	if err := s.check(value); err != nil {
		return []string{fmt.Sprintf("%s: %s: %v", source, s.key, err)}
	}
	c.values[s.key] = given{s, value, source}
	return nil
}

// readValue reads a file that holds one value, a line's end behind it or not.
func readValue(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxSecret:
		return "", fmt.Errorf("%s is larger than %s", path, size(maxSecret))
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return value, nil
}

func knownKeys() (keys []string) {
	for _, s := range slices.Concat(settings, redisSettings) {
		key := strings.Replace(s.key, "*", string(tenants.DefaultEndpoint), 1)
		keys = append(keys, key)
		if s.kind == aSecret || s.kind == anAddress {
			keys = append(keys, key+"_file")
		}
	}
	return keys
}

// notSettings are variables of our prefix that other parts of the program read, or systems set.
var notSettings = []string{
	"TENLOOM_CONFIG", "TENLOOM_SERVER", "TENLOOM_TENANT", "TENLOOM_APP", "TENLOOM_TOKEN", "TENLOOM_TOKEN_FILE", "TENLOOM_CONTEXT", "TENLOOM_CONFIG_DIR", redisVariable,
}

// readEnvironment takes the variables that are settings. One of ours that is none may be set by somebody else, as Kubernetes does for a service
// named tenloom, so only what looks like a slip is worth a note.
func (c *configuration) readEnvironment(environment []string) (faults []string) {
	names := map[string]string{redisVariable: defaultRedis}
	var known []string
	for _, s := range settings {
		names[s.env()] = s.key
		if s.kind == aSecret {
			names[s.env()+"_FILE"] = s.key + "_file"
		}
	}
	for name := range names {
		known = append(known, name)
	}
	slices.Sort(known)
	slices.Sort(environment)
	for _, one := range environment {
		name, value, _ := strings.Cut(one, "=")
		rest, ours := strings.CutPrefix(name, "TENLOOM_")
		if !ours || value == "" {
			continue
		}
		key, isSetting := names[name]
		if !isSetting {
			key, isSetting = redisKey(rest)
		}
		switch {
		case isSetting:
			faults = append(faults, c.set(key, value, "$"+name)...)
		case !slices.Contains(notSettings, name):
			if near, ok := tenants.Nearest(name, known); ok {
				c.notes = append(c.notes, fmt.Sprintf("$%s is no setting; did you mean $%s?", name, near))
			}
		}
	}
	return faults
}

// redisKey is the setting that a variable such as TENLOOM_REDIS_EVENTS_URL_FILE is for.
func redisKey(rest string) (string, bool) {
	rest, ok := strings.CutPrefix(rest, "REDIS_")
	if !ok {
		return "", false
	}
	for _, last := range []string{"_URL", "_URL_FILE", "_CA", "_CERT", "_KEY", "_VAULT"} {
		if name, ok := strings.CutSuffix(rest, last); ok && name != "" {
			name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
			return "redis." + name + "." + strings.ToLower(last[1:]), tenants.CheckName(name) == nil
		}
	}
	return "", false
}

// readFile takes a file's keys, each with the line that it stands on.
func (c *configuration) readFile(path string) (faults []string) {
	text, err := readFileBounded(path)
	if err != nil {
		return []string{fmt.Sprintf("read configuration: %v\n  -c FILE or TENLOOM_CONFIG names it", err)}
	}
	// The decoder holds the rules that syntax alone does not show: keys given twice, tables defined twice.
	var whole map[string]any
	if err := toml.Unmarshal(text, &whole); err != nil {
		place := path
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, _ := at.Position()
			place = fmt.Sprintf("%s:%d", path, line)
		}
		return []string{fmt.Sprintf("%s: %s", place, strings.TrimPrefix(err.Error(), "toml: "))}
	}
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = keyOf("", e)
		case unstable.KeyValue:
			faults = append(faults, c.take(path, &p, table, e)...)
		}
	}
	if err := p.Error(); err != nil {
		faults = append(faults, fmt.Sprintf("%s: %v", path, err))
	}
	return faults
}

func readFileBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("%s is larger than %s", path, size(maxConfig))
	}
	return text, err
}

func keyOf(table string, e *unstable.Node) string {
	key := table
	for keys := e.Key(); keys.Next(); {
		if key != "" {
			key += "."
		}
		key += string(keys.Node().Data)
	}
	return key
}

// take reads one key and its value, or those of an inline table.
func (c *configuration) take(path string, p *unstable.Parser, table string, e *unstable.Node) (faults []string) {
	keys := e.Key()
	keys.Next()
	line := p.Shape(keys.Node().Raw).Start.Line
	key, value := keyOf(table, e), e.Value()
	if value.Kind == unstable.InlineTable {
		for all := value.Children(); all.Next(); {
			faults = append(faults, c.take(path, p, key, all.Node())...)
		}
		return faults
	}
	source := fmt.Sprintf("%s:%d", path, line)
	s, inFile, ok := findSetting(key)
	if !ok {
		return c.set(key, "", source) // it says what is wrong
	}
	text, ok := scalar(value, s.kind == aList && !inFile)
	if !ok || !inFile && !fits(s.kind, value.Kind) {
		want := s.kind
		if inFile {
			want = aText
		}
		return []string{fmt.Sprintf("%s: %s: want %s", source, key, want)}
	}
	return c.set(key, text, source)
}

func fits(want kindOf, have unstable.Kind) bool {
	switch want {
	case aNumber:
		return have == unstable.Integer
	case aSwitch:
		return have == unstable.Bool
	case aList:
		return have == unstable.Array
	}
	return have == unstable.String
}

func scalar(v *unstable.Node, list bool) (string, bool) {
	if !list {
		return string(v.Data), v.Kind == unstable.String || v.Kind == unstable.Integer || v.Kind == unstable.Bool
	}
	var items []string
	for all := v.Children(); all.Next(); {
		if all.Node().Kind != unstable.String || strings.Contains(string(all.Node().Data), ",") {
			return "", false
		}
		items = append(items, string(all.Node().Data))
	}
	return strings.Join(items, ","), v.Kind == unstable.Array
}
