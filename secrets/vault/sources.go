package vault

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// Sources is a rule of an operator's: which Source each tenant's connections have. A tenant gives its names and never a path, and no two tenants
// have the same one.
type Sources struct {
	text string
	rule Source // with the marks below in the place of names
}

// Marks stand for names in a rule. No path holds them.
const (
	tenantMark     = "\x01"
	connectionMark = "\x02"
)

// ParseSources reads a path as ParseSource does, with {{ tenant }} and {{ connection }} in the place of names, behind the engine's mount. The tenant's
// has to be in it. Names hold letters, digits and "-", so something else has to stand between two of them: else acme's connection eu-db would be
// the connection db of a tenant acme-eu.
func ParseSources(text string) (Sources, error) {
	s := Sources{text: strings.TrimSpace(text)}
	fail := func(format string, args ...any) (Sources, error) {
		return s, fmt.Errorf("vault: %q "+format, append([]any{clip(s.text)}, args...)...)
	}
	if strings.ContainsAny(s.text, tenantMark+connectionMark) {
		return fail("is no path of Vault")
	}
	path, fields, named := strings.Cut(s.text, "#")
	t, err := tenants.ParseTemplate(path)
	if err != nil {
		return fail("is no path with names in it: %w", err)
	}
	ofTenant := false
	for _, name := range t.Variables() {
		if name != "tenant" && name != "connection" {
			return fail("names {{ %s }}; there are {{ tenant }} and {{ connection }}", name)
		}
		ofTenant = ofTenant || name == "tenant"
	}
	if !ofTenant {
		return fail("has no {{ tenant }}, so that all tenants would have the same credential")
	}
	marked, err := t.Render(func(name string) (string, error) {
		if name == "tenant" {
			return tenantMark, nil
		}
		return connectionMark, nil
	})
	if err != nil {
		return s, err
	}
	if joined.MatchString(marked) {
		return fail(`joins two names by what is a part of names; put "/" or "_" between them, as in tenloom-{{ tenant }}_{{ connection }}`)
	}
	if named {
		marked += "#" + fields
	}
	if s.rule, err = ParseSource(marked); err != nil {
		return s, errors.New(s.spelled(err.Error()))
	}
	if mount := s.rule.mount + s.rule.kv.mount; strings.ContainsAny(mount, tenantMark+connectionMark) {
		return fail("has a name in the mount of its engine; names come behind that")
	}
	return s, nil
}

// joined are two names with nothing between them that no name holds.
var joined = regexp.MustCompile("[\x01\x02][a-zA-Z0-9-]*[\x01\x02]")

// spelled has names in place of the marks.
func (s Sources) spelled(text string) string {
	return strings.NewReplacer(tenantMark, "{{ tenant }}", connectionMark, "{{ connection }}", `\x01`, "{{ tenant }}", `\x02`, "{{ connection }}").Replace(text)
}

// String is the rule.
func (s Sources) String() string { return s.text }

// For is the source of one connection. Both are names that tenants.CheckName has passed.
func (s Sources) For(tenant, connection string) Source {
	names := strings.NewReplacer(tenantMark, tenant, connectionMark, connection)
	out := s.rule
	out.path, out.role, out.kv.path = names.Replace(out.path), names.Replace(out.role), names.Replace(out.kv.path)
	return out
}

// Gives tells which tenant would get what another path gives, "" where none would.
func (s Sources) Gives(path Source) (tenant string) {
	pattern := regexp.QuoteMeta(s.rule.path)
	pattern = strings.Replace(pattern, tenantMark, "(?P<tenant>"+name+")", 1)
	pattern = strings.NewReplacer(tenantMark, name, connectionMark, name).Replace(pattern)
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(path.path) // all of it is quoted
	if found == nil {
		return ""
	}
	return found[1]
}

// name is what tenants.CheckName passes, but for its length.
const name = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
