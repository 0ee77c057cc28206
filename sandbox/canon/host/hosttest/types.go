package hosttest

import "github.com/tenloom/tenloom/sandbox/component/types"

// fn makes a function type of the registry anew, with the guest's resources in it.
func (g *Guest) fn(iface string, f *types.Func) *types.Func {
	own, err := g.table.Func(g.fields(iface, f.Params()), g.typ(iface, f.Result()), f.Async())
	if err != nil {
		g.t.Fatal(err)
	}
	return own
}

func (g *Guest) fields(iface string, fields []types.Field) []types.Field {
	all := make([]types.Field, len(fields))
	for i, f := range fields {
		all[i] = types.Field{Name: f.Name, Type: g.typ(iface, f.Type)}
	}
	return all
}

func (g *Guest) cases(iface string, cases []types.Case) []types.Case {
	all := make([]types.Case, len(cases))
	for i, c := range cases {
		all[i] = types.Case{Name: c.Name, Type: g.typ(iface, c.Type)}
	}
	return all
}

func (g *Guest) typ(iface string, t *types.Type) *types.Type {
	if t == nil || t.Kind().Primitive() {
		return t
	}
	own, err := g.made(iface, t)
	if err != nil {
		g.t.Fatal(err)
	}
	return own
}

func (g *Guest) made(iface string, t *types.Type) (*types.Type, error) {
	switch t.Kind() {
	case types.Record:
		return g.table.Record(g.fields(iface, t.Fields())...)
	case types.Tuple:
		var elements []*types.Type
		for _, f := range t.Fields() {
			elements = append(elements, g.typ(iface, f.Type))
		}
		return g.table.Tuple(elements...)
	case types.Variant:
		return g.table.Variant(g.cases(iface, t.Cases())...)
	case types.Enum:
		var names []string
		for _, c := range t.Cases() {
			names = append(names, c.Name)
		}
		return g.table.Enum(names...)
	case types.Flags:
		return g.table.Flags(t.Labels()...)
	case types.Option:
		return g.table.Option(g.typ(iface, t.Elem()))
	case types.Result:
		return g.table.Result(g.typ(iface, t.Cases()[0].Type), g.typ(iface, t.Cases()[1].Type))
	case types.List:
		return g.table.List(g.typ(iface, t.Elem()))
	case types.Own:
		return g.table.Own(g.resource(iface, t.Resource().Name()))
	default:
		return g.table.Borrow(g.resource(iface, t.Resource().Name()))
	}
}
