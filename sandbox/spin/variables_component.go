package spin

import (
	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// variableInterfaces are what variableFunctions are to core modules.
func variableInterfaces() []host.Interface {
	variables := func(name, async string) host.Interface {
		return host.Interface{
			Name: name, Types: map[string]string{"error": "variant<invalid-name(string), undefined(string), provider(string), other(string)>"},
			Funcs: map[string]host.Func{
				"get": {Type: async + "func(name: string) -> result<string, error>", Call: prompt(name+"#get", variableNamed(variableCase))},
			},
		}
	}
	return []host.Interface{
		variables("fermyon:spin/variables@2.0.0", ""),
		variables("spin:variables/variables@3.0.0", "async "),
		{
			Name: "fermyon:spin/config", Types: map[string]string{"error": "variant<provider(string), invalid-key(string), invalid-schema(string), other(string)>"},
			Funcs: map[string]host.Func{
				"get-config": {Type: "func(key: string) -> result<string, error>", Call: prompt("fermyon:spin/config#get-config", variableNamed(configCase))},
			},
		},
		{
			Name: wasiConfig, Types: map[string]string{"error": "variant<upstream(string), io(string)>"},
			Funcs: map[string]host.Func{
				"get":     {Type: "func(key: string) -> result<option<string>, error>", Call: prompt(wasiConfig+"#get", storeVariable)},
				"get-all": {Type: "func() -> result<list<tuple<string, string>>, error>", Call: prompt(wasiConfig+"#get-all", storeVariables)},
			},
		},
	}
}

func variableNamed(number func(error) uint8) body {
	return func(g *caller, in *canon.Reader) work {
		name := g.text(in)
		return func(g *caller) answer {
			value, err := g.variable(name)
			return func(out *canon.Writer) {
				if err != nil {
					failText(out, number(err), err.Error())
					return
				}
				out.OK()
				out.String(value)
			}
		}
	}
}

func storeVariable(g *caller, in *canon.Reader) work {
	name := g.text(in)
	return func(g *caller) answer {
		value, err := g.variable(name)
		return func(out *canon.Writer) {
			switch {
			case err == nil:
				out.OK()
				out.Some()
				out.String(value)
			case missing(err):
				out.OK()
				out.None()
			default:
				failText(out, storeCase(err), err.Error())
			}
		}
	}
}

func storeVariables(*caller, *canon.Reader) work {
	return func(g *caller) answer {
		names, values, err := g.allVariables()
		return func(out *canon.Writer) {
			if err != nil {
				failText(out, storeCase(err), err.Error())
				return
			}
			out.OK()
			out.List(len(names))
			for i, name := range names {
				out.String(name)
				out.String(values[i])
			}
		}
	}
}
