package spin

import (
	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// wasiKeyValueInterfaces are what wasiKeyValueFunctions are to core modules.
func wasiKeyValueInterfaces() []host.Interface {
	const (
		store   = "wasi:keyvalue/store@0.2.0-draft2"
		atomics = "wasi:keyvalue/atomics@0.2.0-draft2"
		batch   = "wasi:keyvalue/batch@0.2.0-draft2"
	)
	types := map[string]string{
		"error":        "variant<no-such-store, access-denied, other(string)>",
		"key-response": "record<keys: list<string>, cursor: option<string>>",
		"cas-error":    "variant<store-error(error), cas-failed(own<cas>)>",
	}
	w := variantWASI
	return []host.Interface{
		{Name: store, Types: types, Resources: map[string]host.Drop{"bucket": dropHeld}, Funcs: map[string]host.Func{
			"open":                     {Type: "func(identifier: string) -> result<own<bucket>, error>", Call: waiting(store+"#open", w.open)},
			"[method]bucket.get":       {Type: "func(self: borrow<bucket>, key: string) -> result<option<list<u8>>, error>", Call: waiting(store+"#[method]bucket.get", w.get)},
			"[method]bucket.set":       {Type: "func(self: borrow<bucket>, key: string, value: list<u8>) -> result<_, error>", Call: waiting(store+"#[method]bucket.set", w.set)},
			"[method]bucket.delete":    {Type: "func(self: borrow<bucket>, key: string) -> result<_, error>", Call: waiting(store+"#[method]bucket.delete", w.delete)},
			"[method]bucket.exists":    {Type: "func(self: borrow<bucket>, key: string) -> result<bool, error>", Call: waiting(store+"#[method]bucket.exists", w.exists)},
			"[method]bucket.list-keys": {Type: "func(self: borrow<bucket>, cursor: option<string>) -> result<key-response, error>", Call: waiting(store+"#[method]bucket.list-keys", listKeys)},
		}},
		{Name: atomics, Types: types, Resources: map[string]host.Drop{"bucket": dropHeld, "cas": dropHeld}, Funcs: map[string]host.Func{
			"increment":           {Type: "func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>", Call: waiting(atomics+"#increment", incrementKey)},
			"[static]cas.new":     {Type: "func(bucket: borrow<bucket>, key: string) -> result<own<cas>, error>", Call: waiting(atomics+"#[static]cas.new", newCasObject)},
			"[method]cas.current": {Type: "func(self: borrow<cas>) -> result<option<list<u8>>, error>", Call: prompt(atomics+"#[method]cas.current", currentCas)},
			"swap":                {Type: "func(cas: own<cas>, value: list<u8>) -> result<_, cas-error>", Call: waiting(atomics+"#swap", swapCas)},
		}},
		{Name: batch, Types: types, Resources: map[string]host.Drop{"bucket": dropHeld}, Funcs: map[string]host.Func{
			"get-many":    {Type: "func(bucket: borrow<bucket>, keys: list<string>) -> result<list<tuple<string, option<list<u8>>>>, error>", Call: waiting(batch+"#get-many", getManyKeys)},
			"set-many":    {Type: "func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>", Call: waiting(batch+"#set-many", setManyKeys)},
			"delete-many": {Type: "func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>", Call: waiting(batch+"#delete-many", deleteManyKeys)},
		}},
	}
}

func borrowStore(in *canon.Reader) Store { return canon.Borrow[*held](in).store }

func listKeys(g *caller, in *canon.Reader) work {
	store := borrowStore(in)
	cursor := in.Option()
	if cursor {
		g.text(in)
	}
	return func(g *caller) answer {
		f := noCursor()
		var keys []string
		if !cursor {
			keys, f = g.keys(store)
		}
		return variantWASI.answer(f, func(out *canon.Writer) {
			writeStrings(out, keys)
			out.None()
		})
	}
}

func incrementKey(g *caller, in *canon.Reader) work {
	store, key, delta := borrowStore(in), g.text(in), in.S64()
	return func(g *caller) answer {
		n, f := g.increment(store, key, delta)
		return variantWASI.answer(f, func(out *canon.Writer) { out.S64(n) })
	}
}

// casObject reads the value of key and makes the object of a handle on it.
func (g *caller) casObject(store Store, key string) (*held, *storeFailure) {
	c, f := g.readCas(store, key)
	if f != nil {
		return nil, f
	}
	h := g.holdObject(handle{kind: casKind, cas: c}, g.call.limits.StoreHandles)
	if h == nil {
		return nil, tooManyCas()
	}
	return h, nil
}

func newCasObject(g *caller, in *canon.Reader) work {
	store, key := borrowStore(in), g.text(in)
	return func(g *caller) answer {
		h, f := g.casObject(store, key)
		return variantWASI.answer(f, func(out *canon.Writer) { out.Own(h) })
	}
}

func currentCas(_ *caller, in *canon.Reader) work {
	value := canon.Borrow[*held](in).cas.value
	return func(*caller) answer {
		return variantWASI.answer(nil, func(out *canon.Writer) { writeOptional(out, value) })
	}
}

func writeOptional(out *canon.Writer, value *[]byte) {
	if value == nil {
		out.None()
		return
	}
	out.Some()
	out.Bytes(*value)
}

// swapCas takes the cas over; cas-failed holds a new one with the value as it is now.
func swapCas(g *caller, in *canon.Reader) work {
	h := canon.Own[*held](in)
	dropHeld(nil, h)
	value := g.content(in)
	return func(g *caller) answer {
		swapped, f := g.swap(h.cas, value)
		var now *held
		if f == nil && !swapped {
			now, f = g.casObject(h.cas.store, h.cas.key)
		}
		return func(out *canon.Writer) {
			switch {
			case f != nil:
				out.Err()
				out.Case(0)
				variantWASI.writeCase(out, f)
			case !swapped:
				out.Err()
				out.Case(1)
				out.Own(now)
			default:
				out.OK()
			}
		}
	}
}

func (g *caller) readKeys(in *canon.Reader) []string { return texts(g.words(in, "keys")) }

func getManyKeys(g *caller, in *canon.Reader) work {
	store, keys := borrowStore(in), g.readKeys(in)
	return func(g *caller) answer {
		values, f := g.getMany(store, keys)
		return variantWASI.answer(f, func(out *canon.Writer) {
			out.List(len(keys))
			for i, key := range keys {
				out.String(key)
				writeOptional(out, values[i])
			}
		})
	}
}

func setManyKeys(g *caller, in *canon.Reader) work {
	store := borrowStore(in)
	entries := make([][2]string, g.length(in, "key-values"))
	for i := range entries {
		entries[i] = [2]string{g.text(in), string(g.content(in))}
	}
	return func(g *caller) answer { return variantWASI.answer(g.setMany(store, entries), nil) }
}

func deleteManyKeys(g *caller, in *canon.Reader) work {
	store, keys := borrowStore(in), g.readKeys(in)
	return func(g *caller) answer { return variantWASI.answer(g.deleteMany(store, keys), nil) }
}
