package component

import (
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Encoding is how strings are kept in a guest's memory.
type Encoding byte

// The encodings, by their bytes in the binary format.
const (
	UTF8        Encoding = 0
	UTF16       Encoding = 1
	Latin1UTF16 Encoding = 2 // Latin-1, or UTF-16 where bit 31 of the length says so
)

func (e Encoding) String() string { return [...]string{"utf8", "utf16", "latin1-utf16"}[e] }

// options are the canonical options as they stand in the component; an index of -1 says that one is not given.
type options struct {
	encoding                              Encoding
	memory, realloc, postReturn, callback int64
	async                                 bool
}

func (d *decoder) options() options {
	o := options{memory: -1, realloc: -1, postReturn: -1, callback: -1}
	encoded := false
	given := func(what string, at *int64) {
		i := d.index()
		if *at >= 0 && d.err == nil {
			d.invalid("canonical option `%s` is specified more than once", what)
		}
		*at = int64(i)
	}
	d.each("canonical options", 1, func() {
		switch b := d.byte(); b {
		case 0, 1, 2:
			if encoded && d.err == nil {
				d.invalid("canonical encoding option `%s` conflicts with option `%s`", o.encoding, Encoding(b))
			}
			o.encoding, encoded = Encoding(b), true
		case 3:
			given("memory", &o.memory)
		case 4:
			given("realloc", &o.realloc)
		case 5:
			given("post-return", &o.postReturn)
		case 6:
			if o.async {
				d.invalid("canonical option `async` is specified more than once")
			}
			o.async = true
		case 7:
			given("callback", &o.callback)
		case 8, 9:
			d.gated("values of the core's garbage collector in canonical options")
		default:
			if d.err == nil {
				d.wrong(b, "a canonical option")
			}
		}
	})
	if d.err == nil {
		d.checkOptions(o)
	}
	return o
}

var (
	reallocType  = &CoreFuncType{Params: []CoreType{types.CoreI32, types.CoreI32, types.CoreI32, types.CoreI32}, Results: []CoreType{types.CoreI32}}
	callbackType = &CoreFuncType{Params: []CoreType{types.CoreI32, types.CoreI32, types.CoreI32}, Results: []CoreType{types.CoreI32}}
)

// checkOptions holds options against what is true of them wherever they stand.
func (d *decoder) checkOptions(o options) {
	if o.memory >= 0 {
		m, ok := index(d, d.scope.core[CoreMemory], CoreMemory, uint32(o.memory))
		if ok && m.limits.wide {
			d.gated("memories with 64-bit addresses")
		}
		if ok && m.limits.shared {
			d.gated("shared memories")
		}
	}
	if o.realloc >= 0 {
		d.optionFunc("realloc", o.realloc, reallocType)
		if o.memory < 0 && d.err == nil {
			d.invalid("canonical option `realloc` requires `memory` to also be specified")
		}
	}
	if o.callback >= 0 {
		d.optionFunc("callback", o.callback, callbackType)
		if !o.async && d.err == nil {
			d.invalid("canonical option `callback` cannot be specified without `async`")
		}
	}
	if o.async && o.postReturn >= 0 && d.err == nil {
		d.invalid("canonical option `post-return` cannot be specified with `async`")
	}
}

func (d *decoder) optionFunc(what string, i int64, want *CoreFuncType) {
	f, ok := index(d, d.scope.core[CoreFunc], CoreFunc, uint32(i))
	if ok && !f.fn.equal(want) {
		d.invalid("canonical option `%s` uses a core function with an incorrect signature: %s, expected %s", what, f.fn, want)
	}
}

func (d *decoder) needs(what string, given bool, needed bool) {
	if needed && !given && d.err == nil {
		d.invalid("canonical option `%s` is required", what)
	}
}

// lowers refuses options that only lifting takes.
func (d *decoder) lowers(o options) {
	if o.postReturn >= 0 && d.err == nil {
		d.invalid("canonical option `post-return` cannot be specified for lowerings")
	}
	if o.callback >= 0 && d.err == nil {
		d.invalid("canonical option `callback` cannot be specified for lowerings")
	}
}

// canon reads one canonical definition.
func (d *decoder) canon() {
	switch b := d.byte(); b {
	case 0:
		d.expect(0, "the sort of a lifted function")
		d.lift()
	case 1:
		d.expect(0, "the sort of a lowered function")
		d.lower()
	default:
		d.builtin(b)
	}
}

func (d *decoder) lift() {
	callee := d.index()
	o := d.options()
	t := d.typeAt(d.index(), defFunc)
	f, ok := index(d, d.scope.core[CoreFunc], CoreFunc, callee)
	if !ok || d.err != nil {
		return
	}
	if o.async {
		if !t.fn.Async() {
			d.invalid("the `async` canonical option requires an async function type")
		}
		if o.callback < 0 && !d.features.Stackful {
			d.gated("lifting async functions without a callback")
		}
	}
	sig := t.fn.Lifted(o.async, o.callback >= 0)
	result := t.fn.Result()
	pointer := result != nil && result.HasPointer()
	spilled := sig.SpilledResult
	if o.async && result != nil {
		_, flat := result.Flat()
		spilled = !flat
	}
	d.needs("memory", o.memory >= 0, t.fn.ParamsPointer() || sig.SpilledParams || pointer || spilled)
	d.needs("realloc", o.realloc >= 0, t.fn.ParamsPointer() || sig.SpilledParams)
	d.signature(f.fn, sig)
	if o.postReturn >= 0 {
		d.optionFunc("post-return", o.postReturn, &CoreFuncType{Params: sig.Results})
	}
	d.define(extern{sort: SortFunc, def: t})
	d.add(stepLift{callee, o, t.fn})
}

func (d *decoder) signature(f *CoreFuncType, want types.Signature) {
	if d.err != nil || want.Equal(f.Params, f.Results) {
		return
	}
	d.invalid("lowered parameter and result types `%s` do not match those of the core function `%s`", want, f)
}

func (d *decoder) lower() {
	i := d.index()
	t, ok := index(d, d.scope.funcs, SortFunc, i)
	o := d.options()
	if !ok || d.err != nil {
		return
	}
	d.lowers(o)
	if o.async && !t.fn.Async() {
		d.invalid("the `async` canonical option requires an async function type")
	}
	sig := t.fn.Lowered(o.async)
	result := t.fn.Result()
	pointer := result != nil && result.HasPointer()
	d.needs("memory", o.memory >= 0, t.fn.ParamsPointer() || sig.SpilledParams || sig.SpilledResult || pointer)
	d.needs("realloc", o.realloc >= 0, pointer)
	d.defineCore(coreExtern{sort: CoreFunc, fn: &CoreFuncType{sig.Params, sig.Results}})
	d.add(stepLower{i, o})
}
