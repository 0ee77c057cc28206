package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// target is a server, who asks there, and what for. A context is one that has a name and a file of its own, with mode 0600.
type target struct {
	Server string `json:"server"`
	Tenant string `json:"tenant,omitempty"`
	App    string `json:"app,omitempty"`
	Token  string `json:"token,omitempty"`
}

// aim merges what flags, environment, the folder's link and the context say, the first that says something wins. A context's token is for the
// context's server alone.
func (g *globals) aim() (target, error) {
	name := cmp.Or(g.context, os.Getenv("TENLOOM_CONTEXT"))
	store, err := openContexts()
	if err != nil {
		return target{}, err
	}
	context, err := store.find(name)
	if err != nil {
		return target{}, err
	}
	link, err := readLink(".")
	if err != nil {
		return target{}, err
	}
	t := target{
		Server: cmp.Or(g.server, os.Getenv("TENLOOM_SERVER"), link.Server, context.Server, defaultServer),
		Tenant: cmp.Or(g.tenant, os.Getenv("TENLOOM_TENANT"), link.Tenant, context.Tenant, string(tenants.Demo)),
		App:    cmp.Or(g.app, os.Getenv("TENLOOM_APP"), link.App),
	}
	if name != "" && g.server == "" && os.Getenv("TENLOOM_SERVER") == "" {
		t.Server = context.Server // a context that is asked for counts for more than the folder's
		t.Tenant = cmp.Or(g.tenant, os.Getenv("TENLOOM_TENANT"), context.Tenant, link.Tenant, string(tenants.Demo))
	}
	if t.App == "" {
		t.App = manifestName(".")
	}
	byLink := g.server == "" && os.Getenv("TENLOOM_SERVER") == "" && t.Server == link.Server
	if byLink && link.Server != context.Server && os.Getenv("TENLOOM_TOKEN")+os.Getenv("TENLOOM_TOKEN_FILE") != "" {
		return t, fail(exitSignIn, "%s names the server %s, and a folder does not say where a token goes\n  --server or TENLOOM_SERVER does", linkFile, link.Server)
	}
	t.Token, err = tokenFor(t.Server, context)
	return t, err
}

// tokenFor finds the token to use with a server.
func tokenFor(server string, context target) (string, error) {
	if token := os.Getenv("TENLOOM_TOKEN"); token != "" {
		return strings.TrimSpace(token), nil
	}
	if path := os.Getenv("TENLOOM_TOKEN_FILE"); path != "" {
		token, err := readValue(path)
		if err != nil {
			return "", fail(exitSignIn, "TENLOOM_TOKEN_FILE: %w", err)
		}
		return strings.TrimSpace(token), nil
	}
	if strings.TrimRight(server, "/") == strings.TrimRight(context.Server, "/") {
		return context.Token, nil
	}
	return "", nil
}

// manifestName is the name of the application in a folder, "" where there is none that can be read.
func manifestName(dir string) string {
	if m, err := manifest.Load(dir); err == nil {
		return m.Name
	}
	return ""
}

// linkFile says in a folder which application it is, and where. It is not for others: do not commit it.
const linkFile = ".tenloom/link.json"

func readLink(dir string) (t target, err error) {
	text, err := os.ReadFile(filepath.Join(dir, linkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return t, fail(exitUsage, "read %s: %w\n  remove it, or link the folder again", linkFile, err)
	}
	t.Token = ""
	return t, nil
}

func writeLink(dir string, t target) error {
	t.Token = ""
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, linkFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// contexts are the files of a person's contexts: NAME.json in one folder, and beside them the names of the current and the former one.
type contexts struct{ dir string }

// openContexts finds the folder: $TENLOOM_CONFIG_DIR, else tenloom in $XDG_CONFIG_HOME or in ~/.config, on Windows in %AppData%.
func openContexts() (contexts, error) {
	if dir := os.Getenv("TENLOOM_CONFIG_DIR"); dir != "" {
		return contexts{filepath.Join(dir, "contexts")}, nil
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return contexts{filepath.Join(dir, "tenloom", "contexts")}, nil
	}
	if runtime.GOOS == "windows" {
		dir, err := os.UserConfigDir()
		return contexts{filepath.Join(dir, "tenloom", "contexts")}, err
	}
	home, err := os.UserHomeDir()
	if err != nil { // a process without a home has no contexts
		return contexts{}, nil
	}
	return contexts{filepath.Join(home, ".config", "tenloom", "contexts")}, nil
}

func (s contexts) file(name string) string { return filepath.Join(s.dir, name+".json") }

// find reads a context by its name, or the current one for ""; the zero target where there is none.
func (s contexts) find(name string) (t target, err error) {
	asked := name != ""
	if name = cmp.Or(name, s.current()); name == "" {
		return t, nil
	}
	if err := tenants.CheckName(name); err != nil {
		return t, fail(exitUsage, "context %q: %w", name, err)
	}
	text, err := os.ReadFile(s.file(name))
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return t, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return t, fail(exitNotFound, "there is no context %q%s\n  \"tenloom context ls\" lists them", name, didYouMean(name, s.names()))
	}
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return t, fail(exitFailed, "read context %q: %w\n  sign in again, or remove %s", name, err, s.file(name))
	}
	return t, nil
}

func (s contexts) names() (all []string) {
	files, _ := filepath.Glob(filepath.Join(s.dir, "*.json")) // the pattern is well formed
	for _, f := range files {
		all = append(all, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	slices.Sort(all)
	return all
}

// put writes a context.
func (s contexts) put(name string, t target) error {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	if err := writeSecret(s.file(name), string(text)+"\n"); err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	return nil
}

// The names of the current context and of the one before it.
const (
	currentFile  = "current"
	previousFile = "previous"
)

func (s contexts) current() string  { return s.named(currentFile) }
func (s contexts) previous() string { return s.named(previousFile) }

func (s contexts) named(file string) string {
	text, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil || s.dir == "" {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// use makes a context the current one.
func (s contexts) use(name string) error {
	before := s.current()
	if before == name {
		return nil
	}
	if err := writeSecret(filepath.Join(s.dir, currentFile), name+"\n"); err != nil {
		return fmt.Errorf("use context: %w", err)
	}
	if before == "" {
		return nil
	}
	return writeSecret(filepath.Join(s.dir, previousFile), before+"\n")
}

// remove forgets a context and its token.
func (s contexts) remove(name string) error {
	if err := os.Remove(s.file(name)); err != nil {
		return fmt.Errorf("remove context: %w", err)
	}
	for _, file := range []string{currentFile, previousFile} {
		if s.named(file) == name {
			if err := os.Remove(filepath.Join(s.dir, file)); err != nil {
				return fmt.Errorf("remove context: %w", err)
			}
		}
	}
	return nil
}
