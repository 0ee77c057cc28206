package vault

import (
	"fmt"
	"strings"
)

// Source is a path of Vault that gives a user and a password of Redis.
type Source struct {
	path  string
	shape shape
	role  string // of a database engine
	mount string
	kv    at

	user, password string // fields of a KV secret
}

type shape string

const (
	inKV    shape = "a KV secret"
	static  shape = "a static role"
	dynamic shape = "a dynamic role"
)

// ParseSource reads a path as "vault read" takes it: database/creds/ROLE for a dynamic role, database/static-creds/ROLE for a static one,
// secret/data/PATH for a secret of a KV engine of version 2, and any other path for one of version 1. Behind # stand the names of the secret's
// fields for user and password, which are username,password where nothing is said. A secret without the field for the user is that of Redis'
// default user.
func ParseSource(text string) (Source, error) {
	path, fields, named := strings.Cut(text, "#")
	s := Source{path: strings.Trim(path, "/"), user: "username", password: "password"}
	if named {
		var both bool
		if s.user, s.password, both = strings.Cut(fields, ","); !both || s.user == "" || s.password == "" {
			return s, fmt.Errorf("vault: %q names not two fields behind #; write #USER,PASSWORD", clip(text))
		}
	}
	parts := strings.Split(s.path, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "?%\\ \t\r\n*+{}") {
			return s, fmt.Errorf("vault: %q is no path of Vault; write it as vault read takes it, such as database/creds/ROLE or secret/data/PATH", clip(text))
		}
	}
	if len(parts) < 2 {
		return s, fmt.Errorf("vault: %q names a mount and nothing in it; write it as vault read takes it, such as database/creds/ROLE or secret/data/PATH", clip(text))
	}
	last := len(parts) - 1
	switch {
	case last >= 2 && parts[last-1] == "creds":
		s.shape = dynamic
	case last >= 2 && parts[last-1] == "static-creds":
		s.shape = static
	default:
		s.shape = inKV
		s.kv = at{parts[0], 1, strings.Join(parts[1:], "/")}
		for i, part := range parts[:last] {
			if i > 0 && part == "data" {
				s.kv = at{strings.Join(parts[:i], "/"), 2, strings.Join(parts[i+1:], "/")}
				break
			}
		}
	}
	if s.shape != inKV {
		s.mount, s.role = strings.Join(parts[:last-1], "/"), parts[last]
	}
	return s, nil
}

// String is the path.
func (s Source) String() string { return s.path }

// Role is the role of the database engine that makes the credentials, and the mount; "" where they come from a KV secret.
func (s Source) Role() (mount, role string) { return s.mount, s.role }

// Needs are what a policy has to allow for this source.
func (s Source) Needs() []Need {
	all := []Need{{s.path, "read"}}
	if s.shape == dynamic {
		all = append(all, Need{"sys/leases/renew", "update"}, Need{"sys/leases/revoke", "update"})
	}
	return all
}

// IsDynamic says that each read makes a user.
func (s Source) IsDynamic() bool { return s.shape == dynamic }

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// ParseVariables reads where variables stand in a KV engine, as a path of the API: secret/data/PATH for version 2, kv/PATH for version 1, with
// {{ tenant }}, {{ app }} and {{ name }} in the place of theirs; behind # the field. See KVConfig for what is left out.
func ParseVariables(text string) (KVConfig, error) {
	path, field, _ := strings.Cut(text, "#")
	k := KVConfig{Field: strings.TrimSpace(field)}
	parts := strings.Split(strings.Trim(strings.TrimSpace(path), "/"), "/")
	if len(parts) < 2 || parts[0] == "" || strings.Contains(parts[0], "{") {
		return k, fmt.Errorf("vault: %q is no path of a KV engine; want MOUNT/data/PATH for version 2 or MOUNT/PATH for version 1, such as secret/data/tenants/{{ tenant }}/{{ name }}", clip(text))
	}
	k.Mount, k.Version, k.Path = parts[0], 1, strings.Join(parts[1:], "/")
	for i, part := range parts {
		if i > 0 && part == "data" && i < len(parts)-1 {
			k.Mount, k.Version, k.Path = strings.Join(parts[:i], "/"), 2, strings.Join(parts[i+1:], "/")
			break
		}
	}
	_, err := (&Client{}).KV(k)
	return k, err
}
