package secrets

import (
	"context"
	"errors"
	"os"
	"strings"
	"unicode/utf8"
)

// Prefixes of the environment variables that hold values: the name follows in upper case. The first is ours, the second Spin's.
const (
	EnvPrefix     = "TENLOOM_VARIABLE_"
	SpinEnvPrefix = "SPIN_VARIABLE_"
)

// Provider knows the values of some variables. It is safe for concurrent use.
type Provider interface {
	// Lookup returns the value of name, or false if this provider has none. An error ends the search: the next provider is not asked,
	// because its older value would hide the trouble. The error names no value.
	Lookup(ctx context.Context, name string) (Value, bool, error)
	// String names the provider in messages, without any value.
	String() string
}

type static map[string]Value

// Static knows the given values.
func Static(values map[string]string) Provider {
	s := make(static, len(values))
	for name, value := range values {
		s[name] = NewValue(value)
	}
	return s
}

func (s static) Lookup(_ context.Context, name string) (Value, bool, error) {
	v, ok := s[name]
	return v, ok, nil
}

func (s static) String() string { return "given values" }

type env []string

// Env reads environment variables: a prefix (EnvPrefix, SpinEnvPrefix) and the variable's name in upper case. The first prefix that is
// set wins; set to nothing is set.
func Env(prefixes ...string) Provider { return env(prefixes) }

func (e env) Lookup(_ context.Context, name string) (Value, bool, error) {
	for _, prefix := range e {
		key := prefix + strings.ToUpper(name)
		text, ok := os.LookupEnv(key)
		if !ok {
			continue
		}
		if !utf8.ValidString(text) {
			return Value{}, false, errors.New("environment variable " + key + " is not UTF-8")
		}
		return NewValue(text), true, nil
	}
	return Value{}, false, nil
}

func (e env) String() string { return "environment (" + strings.Join(e, "*, ") + "*)" }
