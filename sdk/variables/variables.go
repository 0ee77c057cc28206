// Package variables reads the variables that the manifest declares for a component: [component.NAME.variables] in
// spin.toml. The host resolves them at each call, so a value may change between messages.
package variables

import (
	"errors"

	"github.com/tenloom/tenloom/sdk/internal/abi"
)

// What Get's error wraps.
var (
	// ErrUndefined: the component declares no such variable, or no provider has a value for it. The ABI has one case for both.
	ErrUndefined = errors.New("undefined, or its provider failed")
	// ErrInvalidName: a name is made of lower-case words of letters and digits, joined by single underscores.
	ErrInvalidName = errors.New("not a variable's name")
	// ErrOther: the host could not read it for another reason.
	ErrOther = errors.New("could not be read")
)

// Get reads a variable.
func Get(name string) (string, error) {
	value, failure := abi.Config(name)
	if failure == nil {
		return value, nil
	}
	err := &unread{name: name, detail: failure.Detail, reason: ErrOther}
	switch failure.Tag {
	case abi.ConfigProvider:
		err.reason = ErrUndefined
	case abi.ConfigInvalidKey:
		err.reason = ErrInvalidName
	}
	return "", err
}

// Must reads a variable that the handler cannot do without. It panics with Get's error, which ends the message as failed
// and leaves one line on stderr.
func Must(name string) string {
	value, err := Get(name)
	if err != nil {
		panic(err)
	}
	return value
}

type unread struct {
	name, detail string
	reason       error
}

func (u *unread) Error() string {
	text := "variable " + u.name + ": " + u.reason.Error()
	if u.detail != "" {
		text += ": " + u.detail
	}
	return text
}

func (u *unread) Unwrap() error { return u.reason }
