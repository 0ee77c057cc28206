package spin

import (
	"errors"
	"strings"
)

// variableFunctions are spin-config and its later names. All read one name space: what is known of the message first (Attributes), then
// the component's variables.
func variableFunctions() []function {
	return []function{
		{module: "spin-config", name: "get-config", params: "iii", body: getConfig},
		{module: "fermyon:spin/config", name: "get-config", params: "iii", body: getConfig},
		{module: "fermyon:spin/variables@2.0.0", name: "get", params: "iii", body: getVariable},
		{module: wasiConfig, name: "get", params: "iii", body: wasiConfigGet},
		{module: wasiConfig, name: "get-all", params: "i", body: wasiConfigGetAll},
	}
}

const wasiConfig = "wasi:config/store@0.2.0-draft-2024-09-27"

// variable resolves name.
func (g *caller) variable(name string) (string, error) {
	c := g.call
	switch name {
	case "tenloom_channel", "tenloom_pattern", "tenloom_message_id", "tenloom_attempt", "tenloom_traceparent":
		if c.attributes == nil {
			break
		}
		if value, ok := c.attributes.Attribute(name); ok {
			return value, nil
		}
	}
	if c.host.Variables == nil {
		return "", ErrUndefined
	}
	value, err := c.host.Variables(g.ctx, name)
	if err != nil {
		g.ended()
	}
	return value, err
}

// lowerText is lower for text from elsewhere, which becomes a string and so must be UTF-8.
func (g *guest) lowerText(text string) span {
	return lower(g, strings.ToValidUTF8(text, "\uFFFD"))
}

// getConfig answers error {provider, invalid-key, invalid-schema, other}; an undefined variable is "provider", as in Spin.
func getConfig(g *guest, s stack) {
	key := g.str(s, 0, "key")
	ret := g.ret(s, 2, 16, 4)
	value, err := g.variable(key)
	if err != nil {
		ret.failText(4, configCase(err), err.Error())
		return
	}
	ret.okSpan(g.lowerText(value))
}

func configCase(err error) uint8 {
	switch {
	case errors.Is(err, ErrUndefined):
		return 0
	case errors.Is(err, ErrInvalidName):
		return 1
	}
	return 3
}

// getVariable answers error {invalid-name, undefined, provider, other}.
func getVariable(g *guest, s stack) {
	name := g.str(s, 0, "name")
	ret := g.ret(s, 2, 16, 4)
	value, err := g.variable(name)
	if err != nil {
		ret.failText(4, variableCase(err), err.Error())
		return
	}
	ret.okSpan(g.lowerText(value))
}

func variableCase(err error) uint8 {
	switch {
	case errors.Is(err, ErrInvalidName):
		return 0
	case errors.Is(err, ErrUndefined):
		return 1
	case errors.Is(err, ErrProvider):
		return 2
	}
	return 3
}

// storeCase is the case of wasi:config's error {upstream, io}.
func storeCase(err error) uint8 {
	if errors.Is(err, ErrProvider) {
		return 0
	}
	return 1
}

// missing tells whether a variable is not there, or cannot be.
func missing(err error) bool { return errors.Is(err, ErrUndefined) || errors.Is(err, ErrInvalidName) }

// wasiConfigGet answers none for a name that is undefined or cannot be one.
func wasiConfigGet(g *guest, s stack) {
	key := g.str(s, 0, "key")
	ret := g.ret(s, 2, 16, 4)
	value, err := g.variable(key)
	switch {
	case err == nil:
		ret.okOption(true, g.lowerText(value))
	case missing(err):
		ret.okOption(false, span{})
	default:
		ret.failText(4, storeCase(err), err.Error())
	}
}

// allVariables resolves Host.VariableNames; the first that fails fails all. What is known of the message is not listed.
func (g *caller) allVariables() (names, values []string, err error) {
	names = g.call.host.VariableNames
	values = make([]string, len(names))
	for i, name := range names {
		if values[i], err = g.variable(name); err != nil {
			return nil, nil, err
		}
	}
	return names, values, nil
}

func wasiConfigGetAll(g *guest, s stack) {
	ret := g.ret(s, 0, 16, 4)
	names, values, err := g.allVariables()
	if err != nil {
		ret.failText(4, storeCase(err), err.Error())
		return
	}
	list := g.newArea(4, uint64(len(names))*16)
	for i, name := range names {
		a := list.part(uint64(i) * 16)
		a.span(0, g.lowerText(name))
		a.span(8, g.lowerText(values[i]))
	}
	ret.okSpan(span{list.at, uint32(len(names))})
}
