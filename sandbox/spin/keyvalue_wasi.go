package spin

// wasiKeyValueFunctions are wasi:keyvalue@0.2.0-draft2 as Spin 3 offers it: errors {no-such-store, access-denied, other}.
func wasiKeyValueFunctions() []function {
	const (
		store   = "wasi:keyvalue/store@0.2.0-draft2"
		atomics = "wasi:keyvalue/atomics@0.2.0-draft2"
		batch   = "wasi:keyvalue/batch@0.2.0-draft2"
	)
	return []function{
		{module: store, name: "open", params: "iii", body: func(g *guest, s stack) { storeOpen(g, s, variantWASI) }},
		{module: store, name: "[method]bucket.get", params: "iiii", body: func(g *guest, s stack) { storeGet(g, s, variantWASI) }},
		{module: store, name: "[method]bucket.set", params: "iiiiii", body: func(g *guest, s stack) { storeSet(g, s, variantWASI) }},
		{module: store, name: "[method]bucket.delete", params: "iiii", body: func(g *guest, s stack) { storeDelete(g, s, variantWASI) }},
		{module: store, name: "[method]bucket.exists", params: "iiii", body: func(g *guest, s stack) { storeExists(g, s, variantWASI) }},
		{module: store, name: "[method]bucket.list-keys", params: "iiiii", body: bucketListKeys},
		{module: store, name: "[resource-drop]bucket", params: "i", body: func(g *guest, s stack) { g.drop(s.u32(0), storeKind) }},

		{module: atomics, name: "increment", params: "iiiIi", body: bucketIncrement},
		{module: atomics, name: "[static]cas.new", params: "iiii", body: casNew},
		{module: atomics, name: "[method]cas.current", params: "ii", body: casCurrent},
		{module: atomics, name: "swap", params: "iiii", body: casSwap},
		{module: atomics, name: "[resource-drop]cas", params: "i", body: func(g *guest, s stack) { g.drop(s.u32(0), casKind) }},

		{module: batch, name: "get-many", params: "iiii", body: bucketGetMany},
		{module: batch, name: "set-many", params: "iiii", body: bucketSetMany},
		{module: batch, name: "delete-many", params: "iiii", body: bucketDeleteMany},
	}
}

func (g *guest) bucket(s stack) Store { return g.handle(s.u32(0), storeKind).store }

// bucketListKeys answers all keys and no cursor; a cursor is refused, as in Spin.
func bucketListKeys(g *guest, s stack) {
	store := g.bucket(s)
	some := g.option(s, 1, "cursor")
	if some {
		g.str(s, 2, "cursor")
	}
	ret := g.ret(s, 4, 24, 4)
	if some {
		variantWASI.fail(ret, 4, noCursor())
		return
	}
	keys, f := g.keys(store)
	if f != nil {
		variantWASI.fail(ret, 4, f)
		return
	}
	ret.okSpan(g.lowerStrings(keys))
	ret.bool(12, false)
}

func noCursor() *storeFailure {
	return &storeFailure{storeOther, "list_keys: cursor not supported"}
}

// option reads an option's tag from slot i.
func (g *guest) option(s stack, i int, what string) bool {
	tag := s.u32(i)
	if tag > 1 {
		g.trap("%s: option has no case %d", what, tag)
	}
	return tag == 1
}

func noAtomics() *storeFailure {
	return &storeFailure{storeOther, "this store has no atomic operations"}
}

func bucketIncrement(g *guest, s stack) {
	store, key := g.bucket(s), g.str(s, 1, "key")
	delta := int64(s[3])
	ret := g.ret(s, 4, 24, 8)
	n, f := g.increment(store, key, delta)
	if f != nil {
		variantWASI.fail(ret, 8, f)
		return
	}
	ret.ok()
	ret.u64(8, uint64(n))
}

func (g *caller) increment(store Store, key string, delta int64) (int64, *storeFailure) {
	if f := g.checkKey(key); f != nil {
		return 0, f
	}
	atomic, ok := store.(Atomic)
	if !ok {
		return 0, noAtomics()
	}
	n, err := atomic.Increment(g.ctx, key, delta)
	if err != nil {
		g.ended()
	}
	return n, storeError(err)
}

// cas is a value as it was read, to be swapped only where nobody changed it since. It holds nothing in the store.
type cas struct {
	store Store
	key   string
	value *[]byte // nil where the key was missing
}

// readCas reads the value of key.
func (g *caller) readCas(store Store, key string) (cas, *storeFailure) {
	if _, ok := store.(Atomic); !ok {
		return cas{}, noAtomics()
	}
	value, found, f := g.lookup(store, key)
	if f != nil {
		return cas{}, f
	}
	c := cas{store: store, key: key}
	if found {
		c.value = &value
	}
	return c, nil
}

func tooManyCas() *storeFailure {
	return &storeFailure{storeOther, "too many compare-and-swap handles are open"}
}

// newCas reads the value of key and gives the guest a handle on it.
func (g *guest) newCas(store Store, key string) (uint32, *storeFailure) {
	c, f := g.readCas(store, key)
	if f != nil {
		return 0, f
	}
	n := g.hold(handle{kind: casKind, cas: c}, g.call.limits.StoreHandles)
	if n == 0 {
		return 0, tooManyCas()
	}
	return n, nil
}

func casNew(g *guest, s stack) {
	store, key := g.bucket(s), g.str(s, 1, "key")
	ret := g.ret(s, 3, 16, 4)
	n, f := g.newCas(store, key)
	if f != nil {
		variantWASI.fail(ret, 4, f)
		return
	}
	ret.ok()
	ret.u32(4, n)
}

func casCurrent(g *guest, s stack) {
	c := g.handle(s.u32(0), casKind).cas
	ret := g.ret(s, 1, 16, 4)
	if c.value == nil {
		ret.okOption(false, span{})
		return
	}
	ret.okOption(true, lower(g, *c.value))
}

// casSwap takes the cas over. Its error is a variant {store-error(error), cas-failed(cas)}, whose payload is at 8; cas-failed holds a
// new cas with the value as it is now.
func casSwap(g *guest, s stack) {
	n := s.u32(0)
	c := g.handle(n, casKind).cas
	value := g.bytes(s, 1, "value")
	ret := g.ret(s, 3, 20, 4)
	g.drop(n, casKind)
	swapped, f := g.swap(c, value)
	if f == nil && !swapped {
		n, f = g.newCas(c.store, c.key)
	}
	switch {
	case f != nil:
		variantWASI.fail(ret, 8, f)
		ret.u8(4, 0)
	case !swapped:
		ret.u32(8, n)
		ret.fail(4, 1)
	default:
		ret.ok()
	}
}

func (g *caller) swap(c cas, value []byte) (bool, *storeFailure) {
	if f := g.checkValue(len(value)); f != nil {
		return false, f
	}
	swapped, err := c.store.(Atomic).Swap(g.ctx, c.key, c.value, value)
	if err != nil {
		g.ended()
	}
	return swapped, storeError(err)
}

// bucketGetMany answers a list of tuples (key, option<list<u8>>), 20 bytes each, one for each key in the order asked.
func bucketGetMany(g *guest, s stack) {
	store, keys := g.bucket(s), texts(g.strs(s, 1, "keys"))
	ret := g.ret(s, 3, 16, 4)
	values, f := g.getMany(store, keys)
	if f != nil {
		variantWASI.fail(ret, 4, f)
		return
	}
	list := g.newArea(4, uint64(len(keys))*20)
	for i, key := range keys {
		a := list.part(uint64(i) * 20)
		a.span(0, lower(g, key))
		a.bool(8, values[i] != nil)
		if values[i] != nil {
			a.span(12, lower(g, *values[i]))
		}
	}
	ret.okSpan(span{list.at, uint32(len(keys))})
}

// texts gives strings as such.
func texts(all []any) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i], _ = v.(string)
	}
	return out
}

// getMany reads values, nil where there is none; together they are bounded as one result.
func (g *caller) getMany(store Store, keys []string) ([]*[]byte, *storeFailure) {
	values := make([]*[]byte, len(keys))
	limit := g.call.limits.ResultBytes
	left := limit
	for i, key := range keys {
		value, found, f := g.lookup(store, key)
		if left -= int64(len(key)+len(value)) + 20; left < 0 && f == nil {
			f = &storeFailure{storeOther, tooBig(limit)}
		}
		if f != nil {
			return nil, f
		}
		if found {
			values[i] = &value
		}
	}
	return values, nil
}

func bucketSetMany(g *guest, s stack) {
	store, entries := g.bucket(s), g.pairs(s, 1, "key-values", false)
	ret := g.ret(s, 3, 16, 4)
	variantWASI.done(ret, g.setMany(store, entries))
}

// setMany checks all entries, then sets them one by one: the first that fails ends it, as the WIT allows.
func (g *caller) setMany(store Store, entries [][2]string) *storeFailure {
	for _, e := range entries {
		if f := g.checkKey(e[0]); f != nil {
			return f
		}
		if f := g.checkValue(len(e[1])); f != nil {
			return f
		}
	}
	for _, e := range entries {
		if f := g.put(store, e[0], []byte(e[1])); f != nil {
			return f
		}
	}
	return nil
}

func bucketDeleteMany(g *guest, s stack) {
	store, keys := g.bucket(s), texts(g.strs(s, 1, "keys"))
	ret := g.ret(s, 3, 16, 4)
	variantWASI.done(ret, g.deleteMany(store, keys))
}

func (g *caller) deleteMany(store Store, keys []string) *storeFailure {
	for _, key := range keys {
		if f := g.remove(store, key); f != nil {
			return f
		}
	}
	return nil
}
