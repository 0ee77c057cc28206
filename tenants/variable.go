package tenants

import (
	"fmt"
	"io"
	"time"
)

const maxVariables = 200 // of one App

// Variable is a configuration value that may be seen.
type Variable struct {
	Tenant  ID        `json:"tenant"`
	App     AppName   `json:"app"`
	Name    string    `json:"name"`
	Value   string    `json:"value"` // at most 64 KiB
	Changed time.Time `json:"changed"`
	By      string    `json:"changed_by"`
}

// Check reports all faults as Faults.
func (v Variable) Check() error {
	var c checker
	c.name("/tenant", string(v.Tenant))
	c.name("/app", string(v.App))
	variableName(&c, v.Name)
	c.count("/value", len(v.Value), 64<<10, "bytes")
	return c.err()
}

// Secret is a configuration value that nobody sees again. It is sealed before it comes here; only who holds the key can open it.
type Secret struct {
	Tenant  ID        `json:"tenant"`
	App     AppName   `json:"app"`
	Name    string    `json:"name"`
	Sealed  Sealed    `json:"-"`
	Version int       `json:"version"` // counts its values, from 1
	Changed time.Time `json:"changed"`
	By      string    `json:"changed_by"`
}

// Check reports all faults as Faults.
func (s Secret) Check() error {
	var c checker
	c.name("/tenant", string(s.Tenant))
	c.name("/app", string(s.App))
	variableName(&c, s.Name)
	if len(s.Sealed) == 0 {
		c.add("/value", "missing", "a secret has a value")
	}
	c.count("/value", len(s.Sealed), 128<<10, "bytes")
	return c.err()
}

// Sealed is an encrypted value. It prints and encodes as [redacted].
type Sealed []byte

// Format writes [redacted] for every verb.
func (Sealed) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText gives [redacted].
func (Sealed) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func variableName(c *checker, s string) {
	if len(s) > 255 {
		c.add("/name", "too_long", "it has %d bytes, at most 255 are allowed", len(s))
	} else if err := CheckVariableKey(s); err != nil {
		c.add("/name", "invalid", "%v", err)
	}
}
