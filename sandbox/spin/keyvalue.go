package spin

import (
	"fmt"
	"unicode/utf8"
)

// keyValueFunctions are fermyon:spin/key-value@2.0.0: a store resource, errors {store-table-full, no-such-store, access-denied, other}.
func keyValueFunctions() []function {
	const module = "fermyon:spin/key-value@2.0.0"
	return []function{
		{module: module, name: "[static]store.open", params: "iii", body: func(g *guest, s stack) { storeOpen(g, s, variantV2) }},
		{module: module, name: "[method]store.get", params: "iiii", body: func(g *guest, s stack) { storeGet(g, s, variantV2) }},
		{module: module, name: "[method]store.set", params: "iiiiii", body: func(g *guest, s stack) { storeSet(g, s, variantV2) }},
		{module: module, name: "[method]store.delete", params: "iiii", body: func(g *guest, s stack) { storeDelete(g, s, variantV2) }},
		{module: module, name: "[method]store.exists", params: "iiii", body: func(g *guest, s stack) { storeExists(g, s, variantV2) }},
		{module: module, name: "[method]store.get-keys", params: "ii", body: func(g *guest, s stack) { storeKeys(g, s, variantV2) }},
		{module: module, name: "[resource-drop]store", params: "i", body: func(g *guest, s stack) { g.drop(s.u32(0), storeKind) }},
	}
}

// keyValueV1Functions are key-value of Spin 1: a store is a plain u32, errors {store-table-full, no-such-store, access-denied,
// invalid-store, no-such-key, io}.
func keyValueV1Functions(module string) []function {
	return []function{
		{module: module, name: "open", params: "iii", body: func(g *guest, s stack) { storeOpen(g, s, variantV1) }},
		{module: module, name: "get", params: "iiii", body: func(g *guest, s stack) { storeGet(g, s, variantV1) }},
		{module: module, name: "set", params: "iiiiii", body: func(g *guest, s stack) { storeSet(g, s, variantV1) }},
		{module: module, name: "delete", params: "iiii", body: func(g *guest, s stack) { storeDelete(g, s, variantV1) }},
		{module: module, name: "exists", params: "iiii", body: func(g *guest, s stack) { storeExists(g, s, variantV1) }},
		{module: module, name: "get-keys", params: "ii", body: func(g *guest, s stack) { storeKeys(g, s, variantV1) }},
		{module: module, name: "close", params: "i", body: func(g *guest, s stack) { g.call.handles.remove(s.u32(0), storeKind) }},
	}
}

// storeFailure is an error of a key-value operation; nil is success.
type storeFailure struct {
	why  storeWhy
	text string // of storeOther
}

type storeWhy uint8

const (
	storeTableFull storeWhy = iota
	noSuchStore
	accessDenied
	invalidStore
	noSuchKey
	storeOther
)

// variant is how one generation of key-value numbers its errors, and whether a store is a resource there.
type variant struct {
	tags     [storeOther + 1]uint8
	resource bool
	noTable  bool // has no case for a full table, and tells it as other
}

var (
	variantV1   = variant{tags: [...]uint8{storeTableFull: 0, noSuchStore: 1, accessDenied: 2, invalidStore: 3, noSuchKey: 4, storeOther: 5}}
	variantV2   = variant{tags: [...]uint8{storeTableFull: 0, noSuchStore: 1, accessDenied: 2, storeOther: 3}, resource: true}
	variantWASI = variant{tags: [...]uint8{noSuchStore: 0, accessDenied: 1, storeOther: 2}, resource: true, noTable: true}
)

func storeError(err error) *storeFailure {
	if err == nil {
		return nil
	}
	return &storeFailure{storeOther, err.Error()}
}

// spell gives the case of f, and its text where the case has one.
func (v variant) spell(f *storeFailure) (tag uint8, text string, has bool) {
	if v.noTable && f.why == storeTableFull {
		f = &storeFailure{storeOther, "store table full"}
	}
	return v.tags[f.why], f.text, f.why == storeOther
}

// fail writes f at offset at.
func (v variant) fail(a area, at uint32, f *storeFailure) {
	tag, text, has := v.spell(f)
	if has {
		a.failText(at, tag, text)
		return
	}
	a.fail(at, tag)
}

// done writes a result that holds nothing.
func (v variant) done(a area, f *storeFailure) {
	if f != nil {
		v.fail(a, 4, f)
		return
	}
	a.ok()
}

// store returns what the handle in slot 0 stands for. Where a store is a resource, a handle that is not held is a Trap; elsewhere it is
// invalid-store.
func (g *guest) store(s stack, v variant) (Store, *storeFailure) {
	if v.resource {
		return g.handle(s.u32(0), storeKind).store, nil
	}
	h, ok := g.call.handles.get(s.u32(0), storeKind)
	if !ok {
		return nil, &storeFailure{why: invalidStore}
	}
	return h.store, nil
}

func (g *caller) checkKey(key string) *storeFailure {
	if limit := g.call.limits.KeyBytes; len(key) > limit {
		return tooLong("key", len(key), int64(limit))
	}
	return nil
}

func (g *caller) checkValue(n int) *storeFailure {
	if limit := g.call.limits.ValueBytes; int64(n) > limit {
		return tooLong("value", n, limit)
	}
	return nil
}

func tooLong(what string, n int, limit int64) *storeFailure {
	return &storeFailure{storeOther, fmt.Sprintf("%s of %d bytes exceeds limit of %d bytes", what, n, limit)}
}

func storeOpen(g *guest, s stack, v variant) {
	label := g.str(s, 0, "label")
	ret := g.ret(s, 2, 16, 4)
	n, f := g.openStore(label)
	if f != nil {
		v.fail(ret, 4, f)
		return
	}
	ret.ok()
	ret.u32(4, n)
}

// findStore tells which store a label means.
func (g *caller) findStore(label string) (Store, *storeFailure) {
	store, granted := g.call.host.Stores[label]
	switch {
	case !granted:
		return nil, &storeFailure{why: accessDenied}
	case store == nil:
		return nil, &storeFailure{why: noSuchStore}
	}
	return store, nil
}

func (g *guest) openStore(label string) (uint32, *storeFailure) {
	store, f := g.findStore(label)
	if f != nil {
		return 0, f
	}
	n := g.hold(handle{kind: storeKind, store: store}, g.call.limits.StoreHandles)
	if n == 0 {
		return 0, &storeFailure{why: storeTableFull}
	}
	return n, nil
}

// lookup reads one value.
func (g *caller) lookup(store Store, key string) ([]byte, bool, *storeFailure) {
	if f := g.checkKey(key); f != nil {
		return nil, false, f
	}
	value, found, err := store.Get(g.ctx, key)
	if err != nil {
		g.ended()
		return nil, false, storeError(err)
	}
	g.receives(len(value))
	if limit := g.call.limits.ResultBytes; int64(len(value)) > limit {
		return nil, false, &storeFailure{storeOther, tooBig(limit)}
	}
	return value, found, nil
}

// storeGet answers option<list<u8>>, or in the first generation list<u8> and the error no-such-key.
func storeGet(g *guest, s stack, v variant) {
	store, f := g.store(s, v)
	key := g.str(s, 1, "key")
	ret := g.ret(s, 3, 16, 4)
	var value []byte
	var found bool
	if f == nil {
		value, found, f = g.lookup(store, key)
	}
	if f == nil && !found && !v.resource {
		f = &storeFailure{why: noSuchKey}
	}
	switch {
	case f != nil:
		v.fail(ret, 4, f)
	case !v.resource:
		ret.okSpan(lower(g, value))
	case !found:
		ret.okOption(false, span{})
	default:
		ret.okOption(true, lower(g, value))
	}
}

func storeSet(g *guest, s stack, v variant) {
	store, f := g.store(s, v)
	key, value := g.str(s, 1, "key"), g.bytes(s, 3, "value")
	ret := g.ret(s, 5, 16, 4)
	if f == nil {
		f = g.put(store, key, value)
	}
	v.done(ret, f)
}

func (g *caller) put(store Store, key string, value []byte) *storeFailure {
	if f := g.checkKey(key); f != nil {
		return f
	}
	if f := g.checkValue(len(value)); f != nil {
		return f
	}
	err := store.Set(g.ctx, key, value)
	if err != nil {
		g.ended()
	}
	return storeError(err)
}

func storeDelete(g *guest, s stack, v variant) {
	store, f := g.store(s, v)
	key := g.str(s, 1, "key")
	ret := g.ret(s, 3, 16, 4)
	if f == nil {
		f = g.remove(store, key)
	}
	v.done(ret, f)
}

func (g *caller) remove(store Store, key string) *storeFailure {
	if f := g.checkKey(key); f != nil {
		return f
	}
	err := store.Delete(g.ctx, key)
	if err != nil {
		g.ended()
	}
	return storeError(err)
}

func storeExists(g *guest, s stack, v variant) {
	store, f := g.store(s, v)
	key := g.str(s, 1, "key")
	ret := g.ret(s, 3, 16, 4)
	var found bool
	if f == nil {
		found, f = g.exists(store, key)
	}
	if f != nil {
		v.fail(ret, 4, f)
		return
	}
	ret.ok()
	ret.bool(4, found)
}

func (g *caller) exists(store Store, key string) (bool, *storeFailure) {
	if f := g.checkKey(key); f != nil {
		return false, f
	}
	found, err := store.Exists(g.ctx, key)
	if err != nil {
		g.ended()
	}
	return found, storeError(err)
}

func storeKeys(g *guest, s stack, v variant) {
	store, f := g.store(s, v)
	ret := g.ret(s, 1, 16, 4)
	var keys []string
	if f == nil {
		keys, f = g.keys(store)
	}
	if f != nil {
		v.fail(ret, 4, f)
		return
	}
	ret.okSpan(g.lowerStrings(keys))
}

// keys lists a store, bounded as any result.
func (g *caller) keys(store Store) ([]string, *storeFailure) {
	keys, err := store.Keys(g.ctx)
	if err != nil {
		g.ended()
		return nil, storeError(err)
	}
	left := g.call.limits.ResultBytes
	for _, key := range keys {
		g.receives(len(key))
		if left -= int64(len(key)) + 8; left < 0 {
			return nil, &storeFailure{storeOther, tooBig(g.call.limits.ResultBytes)}
		}
		if !utf8.ValidString(key) {
			return nil, &storeFailure{storeOther, "a key of the store is not valid UTF-8"}
		}
	}
	return keys, nil
}
