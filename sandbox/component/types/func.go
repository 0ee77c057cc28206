package types

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// Func is a function type. Within one table equal types have equal pointers.
type Func struct {
	params []Field
	result *Type
	async  bool
	layout measurement // of the parameters as a tuple
	flat   []CoreType
	isFlat bool
	holds  holds // by the parameters
	hash   uint64
	next   *Func
}

// Params are the parameters in their order, with their offsets in the tuple that they make in memory where they are not passed flat. The slice is
// not to be changed.
func (f *Func) Params() []Field { return f.params }

// Result is what the function gives; nil where it gives nothing.
func (f *Func) Result() *Type { return f.result }

// Async tells whether the function may block its caller: whether its type is async.
func (f *Func) Async() bool { return f.async }

// ParamsAlign and ParamsSize lay out the parameters as a tuple in memory, in bytes. Without parameters they are 1 and 0.
func (f *Func) ParamsAlign() uint32 { return uint32(f.layout.align) }

// ParamsSize is the number of bytes of the tuple of parameters.
func (f *Func) ParamsSize() uint32 { return uint32(f.layout.size) }

// ParamsPointer tells whether a parameter can hold a string, list or map.
func (f *Func) ParamsPointer() bool { return f.holds&holdsPointer != 0 }

// Gated names a kind of value in the parameters or the result that belongs to no offered part of the component model; see Type.Gated.
func (f *Func) Gated() Kind {
	if k := (&Type{holds: f.holds}).Gated(); k != 0 || f.result == nil {
		return k
	}
	return f.result.Gated()
}

// String gives the type as WIT would spell it, shortened where it is long.
func (f *Func) String() string {
	var b strings.Builder
	if f.async {
		b.WriteString("async ")
	}
	b.WriteString("func(")
	for i, p := range f.params {
		if i > 0 {
			b.WriteString(", ")
		}
		writeNamed(&b, p.Name, p.Type)
	}
	b.WriteByte(')')
	if f.result != nil {
		b.WriteString(" -> ")
		f.result.write(&b)
	}
	if b.Len() > most {
		return b.String()[:most] + "…"
	}
	return b.String()
}

// Func makes a function type. Offsets in params are ignored, names are not checked. A result must hold no borrow handle.
func (tb *Table) Func(params []Field, result *Type, async bool) (*Func, error) {
	if result != nil && result.HasBorrow() {
		return nil, errors.New("a function's result can hold a borrow handle, which only parameters may")
	}
	var h maphash.Hash
	h.SetSeed(tb.seed)
	for _, p := range params {
		h.WriteString(p.Name)
		p.Type.sumPart(&h)
	}
	result.sumPart(&h)
	maphash.WriteComparable(&h, async)
	made := Func{params: params, result: result, async: async, hash: h.Sum64()}
	for known := tb.funcs[made.hash]; known != nil; known = known.next {
		if known.same(&made) {
			return known, nil
		}
	}
	if err := tb.Charge(typeBytes + entryBytes*len(params)); err != nil {
		return nil, err
	}
	if err := made.measure(tb); err != nil {
		return nil, err
	}
	made.next = tb.funcs[made.hash]
	tb.funcs[made.hash] = &made
	return &made, nil
}

func (f *Func) same(o *Func) bool {
	return f.result == o.result && f.async == o.async &&
		slices.EqualFunc(f.params, o.params, func(a, b Field) bool { return a.Name == b.Name && a.Type == b.Type })
}

func (f *Func) measure(tb *Table) error {
	f.params = slices.Clone(f.params)
	f.layout.align = 1
	nodes := 1
	if f.result != nil {
		nodes += f.result.Nodes()
	}
	for i, p := range f.params {
		nodes += p.Type.Nodes()
		f.params[i].Offset = uint32(f.layout.add(uint64(p.Type.align), uint64(p.Type.size)))
		f.holds |= p.Type.holds
		if f.layout.size > MaxBytes {
			return fmt.Errorf("the parameters of a function exceed maximum byte size: they must be below %d bytes", MaxBytes+1)
		}
	}
	if nodes > tb.limits.Nodes {
		return fmt.Errorf("%w: a function type of %d parts, at most %d are allowed", ErrLimit, nodes, tb.limits.Nodes)
	}
	f.layout.size = aligned(f.layout.size, f.layout.align)
	f.flat, f.isFlat = concatenate(f.params)
	return nil
}

// SubstituteFunc gives the function type in which other resources take the place of those in the map.
func (tb *Table) SubstituteFunc(f *Func, resources map[*Resource]*Resource) (*Func, error) {
	if f.holds&(holdsOwn|holdsBorrow) == 0 && (f.result == nil || !f.result.HasHandle()) {
		return f, nil
	}
	s := substitution{table: tb, resources: resources, done: map[*Type]*Type{}}
	params := make([]Field, len(f.params))
	for i, p := range f.params {
		t, err := s.of(p.Type)
		if err != nil {
			return nil, err
		}
		params[i] = Field{Name: p.Name, Type: t}
	}
	result, err := s.of(f.result)
	if err != nil {
		return nil, err
	}
	return tb.Func(params, result, f.async)
}

// EqualFunc compares function types of any tables, parameter names included; see Equal.
func EqualFunc(a, b *Func, same func(a, b *Resource) bool) bool {
	return a.async == b.async && len(a.params) == len(b.params) && Equal(a.result, b.result, same) &&
		slices.EqualFunc(a.params, b.params, func(x, y Field) bool { return x.Name == y.Name && Equal(x.Type, y.Type, same) })
}

// Signature is the core function type through which a component function is called.
type Signature struct {
	Params, Results []CoreType
	// SpilledParams says that the parameters are one tuple in memory, and the first core parameter its address.
	SpilledParams bool
	// SpilledResult says that the result is in memory: at the address that a lifted function returns, or that a lowered one is given last.
	SpilledResult bool
}

func (s Signature) String() string { return fmt.Sprintf("%v -> %v", s.Params, s.Results) }

// Equal compares the core types.
func (s Signature) Equal(params, results []CoreType) bool {
	return slices.Equal(s.Params, params) && slices.Equal(s.Results, results)
}

// Lifted is the signature of the core function that `canon lift` makes f of. With async, whose result goes through task.return, a callback says
// that the core function returns its code.
func (f *Func) Lifted(async, callback bool) Signature {
	s := f.passed(MaxFlatParams)
	switch {
	case async && callback:
		s.Results = flatIndex
	case async || f.result == nil:
	case len(f.result.flat) == 1:
		s.Results = f.result.flat
	default:
		s.Results, s.SpilledResult = flatIndex, true
	}
	return s
}

// Lowered is the signature of the core function that `canon lower` makes of f. With async it returns a status, and every result is in memory.
func (f *Func) Lowered(async bool) Signature {
	if async {
		s := f.passed(MaxFlatAsyncParams)
		s.Results = flatIndex
		if f.result != nil {
			s.returnPointer()
		}
		return s
	}
	s := f.passed(MaxFlatParams)
	switch {
	case f.result == nil:
	case len(f.result.flat) == 1:
		s.Results = f.result.flat
	default:
		s.returnPointer()
	}
	return s
}

// TaskReturn is the signature of `canon task.return` for a result; nil stands for none.
func TaskReturn(result *Type) Signature {
	switch {
	case result == nil:
		return Signature{}
	case result.flat == nil:
		return Signature{Params: flatIndex, SpilledParams: true}
	}
	return Signature{Params: result.flat}
}

// passed gives the parameters, as a pointer where more than most are flat.
func (f *Func) passed(most int) Signature {
	if !f.isFlat || len(f.flat) > most {
		return Signature{Params: flatIndex, SpilledParams: true}
	}
	return Signature{Params: f.flat}
}

func (s *Signature) returnPointer() {
	s.Params = append(slices.Clone(s.Params), CoreI32)
	s.SpilledResult = true
}
