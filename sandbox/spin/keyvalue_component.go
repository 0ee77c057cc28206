package spin

import (
	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// keyValueInterfaces are what keyValueFunctions and keyValueV1Functions are to core modules. A store of the first generation is a plain number,
// from the table that core modules have.
func keyValueInterfaces() []host.Interface {
	const v1, v2 = "fermyon:spin/key-value", "fermyon:spin/key-value@2.0.0"
	i1 := host.Interface{
		Name: v1, Types: map[string]string{"error": "variant<store-table-full, no-such-store, access-denied, invalid-store, no-such-key, io(string)>"},
		Funcs: map[string]host.Func{
			"open":     {Type: "func(name: string) -> result<u32, error>", Call: waiting(v1+"#open", variantV1.open)},
			"get":      {Type: "func(store: u32, key: string) -> result<list<u8>, error>", Call: waiting(v1+"#get", variantV1.get)},
			"set":      {Type: "func(store: u32, key: string, value: list<u8>) -> result<_, error>", Call: waiting(v1+"#set", variantV1.set)},
			"delete":   {Type: "func(store: u32, key: string) -> result<_, error>", Call: waiting(v1+"#delete", variantV1.delete)},
			"exists":   {Type: "func(store: u32, key: string) -> result<bool, error>", Call: waiting(v1+"#exists", variantV1.exists)},
			"get-keys": {Type: "func(store: u32) -> result<list<string>, error>", Call: waiting(v1+"#get-keys", variantV1.keys)},
			"close":    {Type: "func(store: u32)", Call: prompt(v1+"#close", closeStore)},
		},
	}
	i2 := host.Interface{
		Name: v2, Types: map[string]string{"error": "variant<store-table-full, no-such-store, access-denied, other(string)>"},
		Resources: map[string]host.Drop{"store": dropHeld},
		Funcs: map[string]host.Func{
			"[static]store.open":     {Type: "func(label: string) -> result<own<store>, error>", Call: waiting(v2+"#[static]store.open", variantV2.open)},
			"[method]store.get":      {Type: "func(self: borrow<store>, key: string) -> result<option<list<u8>>, error>", Call: waiting(v2+"#[method]store.get", variantV2.get)},
			"[method]store.set":      {Type: "func(self: borrow<store>, key: string, value: list<u8>) -> result<_, error>", Call: waiting(v2+"#[method]store.set", variantV2.set)},
			"[method]store.delete":   {Type: "func(self: borrow<store>, key: string) -> result<_, error>", Call: waiting(v2+"#[method]store.delete", variantV2.delete)},
			"[method]store.exists":   {Type: "func(self: borrow<store>, key: string) -> result<bool, error>", Call: waiting(v2+"#[method]store.exists", variantV2.exists)},
			"[method]store.get-keys": {Type: "func(self: borrow<store>) -> result<list<string>, error>", Call: waiting(v2+"#[method]store.get-keys", variantV2.keys)},
		},
	}
	return []host.Interface{i1, i2}
}

// write writes f as an error.
func (v variant) write(out *canon.Writer, f *storeFailure) {
	out.Err()
	v.writeCase(out, f)
}

func (v variant) writeCase(out *canon.Writer, f *storeFailure) {
	tag, text, has := v.spell(f)
	out.Case(int(tag))
	if has {
		out.String(clean(text))
	}
}

// answer writes a result with a payload.
func (v variant) answer(f *storeFailure, payload answer) answer {
	return func(out *canon.Writer) {
		if f != nil {
			v.write(out, f)
			return
		}
		out.OK()
		payload.write(out)
	}
}

// of reads the store that a function is about.
func (v variant) of(g *caller, in *canon.Reader) (Store, *storeFailure) {
	if v.resource {
		return canon.Borrow[*held](in).store, nil
	}
	h, ok := g.call.handles.get(in.U32(), storeKind)
	if !ok {
		return nil, &storeFailure{why: invalidStore}
	}
	return h.store, nil
}

func (v variant) open(g *caller, in *canon.Reader) work {
	label := g.text(in)
	if !v.resource {
		n, f := g.call.guest.openStore(label)
		return func(*caller) answer { return v.answer(f, func(out *canon.Writer) { out.U32(n) }) }
	}
	return func(g *caller) answer {
		store, f := g.findStore(label)
		if f != nil {
			return v.answer(f, nil)
		}
		h := g.holdObject(handle{kind: storeKind, store: store}, g.call.limits.StoreHandles)
		if h == nil {
			return v.answer(&storeFailure{why: storeTableFull}, nil)
		}
		return v.answer(nil, func(out *canon.Writer) { out.Own(h) })
	}
}

func closeStore(g *caller, in *canon.Reader) work {
	g.call.handles.remove(in.U32(), storeKind)
	return func(*caller) answer { return nil }
}

func (v variant) get(g *caller, in *canon.Reader) work {
	store, f := v.of(g, in)
	key := g.text(in)
	return func(g *caller) answer {
		var value []byte
		var found bool
		if f == nil {
			value, found, f = g.lookup(store, key)
		}
		if f == nil && !found && !v.resource {
			f = &storeFailure{why: noSuchKey}
		}
		return v.answer(f, func(out *canon.Writer) {
			switch {
			case !v.resource:
				out.Bytes(value)
			case !found:
				out.None()
			default:
				out.Some()
				out.Bytes(value)
			}
		})
	}
}

func (v variant) set(g *caller, in *canon.Reader) work {
	store, f := v.of(g, in)
	key, value := g.text(in), g.content(in)
	return func(g *caller) answer {
		if f == nil {
			f = g.put(store, key, value)
		}
		return v.answer(f, nil)
	}
}

func (v variant) delete(g *caller, in *canon.Reader) work {
	store, f := v.of(g, in)
	key := g.text(in)
	return func(g *caller) answer {
		if f == nil {
			f = g.remove(store, key)
		}
		return v.answer(f, nil)
	}
}

func (v variant) exists(g *caller, in *canon.Reader) work {
	store, f := v.of(g, in)
	key := g.text(in)
	return func(g *caller) answer {
		var found bool
		if f == nil {
			found, f = g.exists(store, key)
		}
		return v.answer(f, func(out *canon.Writer) { out.Bool(found) })
	}
}

func (v variant) keys(g *caller, in *canon.Reader) work {
	store, f := v.of(g, in)
	return func(g *caller) answer {
		var keys []string
		if f == nil {
			keys, f = g.keys(store)
		}
		return v.answer(f, func(out *canon.Writer) { writeStrings(out, keys) })
	}
}

func writeStrings(out *canon.Writer, all []string) {
	out.List(len(all))
	for _, s := range all {
		out.String(s)
	}
}
