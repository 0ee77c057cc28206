package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tenloom/tenloom/secrets"
	"github.com/tenloom/tenloom/tenants"
)

// at is a secret of a KV engine.
type at struct {
	mount   string
	version int // 1 or 2
	path    string
}

// api is the path as the HTTP API and policies have it.
func (a at) api() string {
	if a.version == 2 {
		return a.mount + "/data/" + a.path
	}
	return a.mount + "/" + a.path
}

// put is the command that writes a field there.
func (a at) put(field string) string {
	return fmt.Sprintf("vault kv put -mount=%s %s %s=...", a.mount, a.path, field)
}

// reading is what stood in a secret at a time. It does not change.
type reading struct {
	when   time.Time
	fields map[string]field // nil: there is no such secret
	size   int
}

type field struct {
	value secrets.Value
	text  bool // it is a string
}

// text is a field that has to be there.
func (r *reading) text(a at, name string) (secrets.Value, error) {
	if r.fields == nil {
		return secrets.Value{}, &Error{Missing, a.api(), "read", "there is no such secret", a.put(name) + " writes it"}
	}
	f, ok := r.fields[name]
	switch {
	case !ok:
		return secrets.Value{}, &Error{Missing, a.api(), "read", fmt.Sprintf("the secret has no field %q", name), strings.Replace(a.put(name), " put ", " patch ", 1) + " adds it"}
	case !f.text:
		return secrets.Value{}, &Error{Unfit, a.api(), "read", fmt.Sprintf("the field %q is not a string", name), "write it in quotes"}
	}
	return f.value, nil
}

// kv reads a secret. One that is not there is a reading, too; a mount of the other version is an error.
func (c *Client) kv(ctx context.Context, a at) (*reading, error) {
	secret, err := c.read(ctx, a.api())
	if err != nil && kind(err) != Missing {
		return nil, err
	}
	if err != nil {
		if wrong := c.otherVersion(ctx, a, secret); wrong != nil {
			return nil, wrong
		}
		var answered *api.ResponseError
		if errors.As(err, &answered) && len(answered.Errors) > 0 { // no engine is mounted there
			return nil, &Error{Refused, a.api(), "read", said(answered.Errors), fmt.Sprintf("is a KV engine mounted at %q? vault secrets list shows it", a.mount)}
		}
		return &reading{when: time.Now()}, nil
	}
	var fields map[string]any
	if secret != nil {
		fields = secret.Data
		if a.version == 2 {
			fields, _ = secret.Data["data"].(map[string]any) // a deleted version has none
		}
	}
	r := &reading{when: time.Now()}
	if fields == nil {
		return r, nil
	}
	r.fields = make(map[string]field, len(fields))
	for name, value := range fields {
		text, ok := value.(string)
		r.fields[name] = field{secrets.NewValue(text), ok}
		r.size += len(name) + len(text) + 64
	}
	return r, nil
}

// otherVersion says that a mount has the other version of the engine. What is known of a mount is not asked again.
func (c *Client) otherVersion(ctx context.Context, a at, answer *api.Secret) error {
	have := 0
	if answer != nil && strings.Contains(strings.Join(answer.Warnings, " "), "versioned") {
		have = 2
	} else {
		have = c.versionOf(ctx, a.mount)
	}
	if have == 0 || have == a.version {
		return nil
	}
	right := at{a.mount, have, a.path}
	if a.version == 1 {
		right.path = strings.TrimPrefix(a.path, "data/")
	}
	return &Error{Refused, a.api(), "read", fmt.Sprintf("the KV engine at %q has version %d and is addressed as version %d", a.mount, have, a.version),
		fmt.Sprintf("the path is %s, and the policy line: %s", right.api(), PolicyLine(right.api(), "read"))}
}

// versionOf asks which version a KV engine has; 0 where that is not told.
func (c *Client) versionOf(ctx context.Context, mount string) int {
	c.mu.Lock()
	have, known := c.versions[mount]
	c.mu.Unlock()
	if known {
		return have
	}
	secret, err := c.read(ctx, "sys/internal/ui/mounts/"+mount)
	if err != nil || secret == nil {
		return 0 // it says something about the mount to those alone who may use it
	}
	if kind, _ := secret.Data["type"].(string); kind != "kv" && kind != "generic" {
		return 0
	}
	options, _ := secret.Data["options"].(map[string]any)
	if have = 1; options["version"] == "2" {
		have = 2
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.versions) < maxVersions { // beyond it mounts are asked about each time
		c.versions[mount] = have
	}
	return have
}

// KVConfig says where the values of variables stand in a KV engine.
type KVConfig struct {
	Mount   string // default "secret"
	Version int    // of the engine, 1 or 2; default 2

	// Path of a variable's secret in the mount, with {{ tenant }}, {{ app }} and {{ name }} for whose variable it is; default {{ name }}.
	Path string
	// Field of that secret; default "value", and {{ name }} where the path has no name in it: then one secret holds all variables.
	Field string
}

// KV gives out variables from a KV engine.
type KV struct {
	c           *Client
	config      KVConfig
	path, field tenants.Template
	own         bool // each variable has a secret of its own
}

// KV makes a source of variables. The error says what is wrong with the configuration.
func (c *Client) KV(k KVConfig) (*KV, error) {
	k.Mount = strings.Trim(k.Mount, "/")
	if k.Mount == "" {
		k.Mount = "secret"
	}
	if k.Version == 0 {
		k.Version = 2
	}
	if k.Version != 1 && k.Version != 2 {
		return nil, fmt.Errorf("vault: version %d of a KV engine: want 1 or 2", k.Version)
	}
	if k.Path = strings.Trim(k.Path, "/"); k.Path == "" {
		k.Path = "{{ name }}"
	}
	out := &KV{c: c, config: k}
	var err error
	if out.path, err = template("path", k.Path); err != nil {
		return nil, err
	}
	for _, name := range out.path.Variables() {
		out.own = out.own || name == "name"
	}
	if k.Field == "" {
		if k.Field = "value"; !out.own {
			k.Field = "{{ name }}"
		}
	}
	if out.field, err = template("field", k.Field); err != nil {
		return nil, err
	}
	return out, nil
}

func template(what, text string) (tenants.Template, error) {
	t, err := tenants.ParseTemplate(text)
	if err != nil {
		return t, fmt.Errorf("vault: %s: %w", what, err)
	}
	for _, name := range t.Variables() {
		if name != "tenant" && name != "app" && name != "name" {
			return t, fmt.Errorf("vault: %s: {{ %s }} is not known; there are {{ tenant }}, {{ app }} and {{ name }}", what, name)
		}
	}
	if strings.Contains(text, "..") || strings.ContainsAny(text, "?#%\\\r\n") {
		return t, fmt.Errorf("vault: %s: it holds \"..\" or one of ?#%%\\, which no path of Vault has", what)
	}
	return t, nil
}

// For is the provider of one application's variables. Tenant and application are names that the platform has checked.
func (k *KV) For(tenant, app string) secrets.Provider {
	return &provider{KV: k, tenant: tenant, app: app}
}

// PolicyPath is the path that a policy for the variables of one application names.
func (k *KV) PolicyPath(tenant, app string) string {
	path, err := k.path.Render(whose(tenant, app, "*"))
	if err != nil {
		return ""
	}
	return at{k.config.Mount, k.config.Version, path}.api()
}

func whose(tenant, app, name string) func(string) (string, error) {
	return func(part string) (string, error) {
		switch part {
		case "tenant":
			return tenant, nil
		case "app":
			return app, nil
		}
		return name, nil
	}
}

// limited reads no more than n bytes.
func limited(r io.Reader, n int64) io.Reader { return io.LimitReader(r, n) }

// containsAny says whether a text holds one of some words.
func containsAny(text string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}
