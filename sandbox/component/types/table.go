package types

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
)

// ErrLimit is in the errors about types, or tables, that are larger than the Limits allow.
var ErrLimit = errors.New("limit")

// Limits bound the types of one Table. A field of 0 means its default.
type Limits struct {
	Depth int   // levels of types in types, primitives being the first: 100, at most 1,000
	Nodes int   // of one type, see Type.Nodes; and of one function type: 100,000
	Bytes int64 // of memory for all types of the table, and for what Charge was told: 64 MiB
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Depth: min(cmp.Or(l.Depth, 100), 1000),
		Nodes: cmp.Or(l.Nodes, 100_000),
		Bytes: cmp.Or(l.Bytes, 64<<20),
	}
}

// Table makes types and answers the same *Type for the same type. Types of different tables never go into one another, primitives aside.
type Table struct {
	limits Limits
	left   int64
	seed   maphash.Seed
	types  map[uint64]*Type
	funcs  map[uint64]*Func
}

// NewTable makes an empty table.
func NewTable(limits Limits) *Table {
	limits = limits.withDefaults()
	return &Table{limits: limits, left: limits.Bytes, seed: maphash.MakeSeed(), types: map[uint64]*Type{}, funcs: map[uint64]*Func{}}
}

// Bytes of memory that are charged for a type or function, with its place in the map, and for each entry of its lists.
const (
	typeBytes  = 256
	entryBytes = 40
)

// Charge takes bytes from the table's limit for what the caller keeps beside the types, so that one account bounds both. The error wraps ErrLimit.
func (tb *Table) Charge(bytes int) error {
	if tb.left -= int64(bytes); tb.left < 0 {
		tb.left = 0
		return fmt.Errorf("%w: more than %d bytes of memory for types and definitions", ErrLimit, tb.limits.Bytes)
	}
	return nil
}

// Record makes a record type. Offsets in fields are ignored. Names are not checked.
func (tb *Table) Record(fields ...Field) (*Type, error) { return tb.fielded(Record, fields) }

// Tuple makes a tuple type.
func (tb *Table) Tuple(elements ...*Type) (*Type, error) {
	fields := make([]Field, len(elements))
	for i, e := range elements {
		fields[i].Type = e
	}
	return tb.fielded(Tuple, fields)
}

func (tb *Table) fielded(kind Kind, fields []Field) (*Type, error) {
	if len(fields) == 0 {
		return nil, fmt.Errorf("a %s has no field, it needs at least one", kind)
	}
	return tb.intern(Type{kind: kind, fields: slices.Clone(fields)})
}

// Variant makes a variant type. Names are not checked.
func (tb *Table) Variant(cases ...Case) (*Type, error) {
	if len(cases) == 0 {
		return nil, errors.New("a variant has no case, it needs at least one")
	}
	return tb.intern(Type{kind: Variant, cases: slices.Clone(cases)})
}

// Enum makes an enum type. Names are not checked.
func (tb *Table) Enum(names ...string) (*Type, error) {
	if len(names) == 0 {
		return nil, errors.New("an enum has no case, it needs at least one")
	}
	cases := make([]Case, len(names))
	for i, n := range names {
		cases[i].Name = n
	}
	return tb.intern(Type{kind: Enum, cases: cases})
}

// Flags makes a flags type of 1 to 32 labels. Names are not checked.
func (tb *Table) Flags(labels ...string) (*Type, error) {
	if n := len(labels); n == 0 || n > 32 {
		return nil, fmt.Errorf("flags have %d labels, they need 1 to 32", n)
	}
	return tb.intern(Type{kind: Flags, labels: slices.Clone(labels)})
}

// Option makes the type of a value that may be missing.
func (tb *Table) Option(some *Type) (*Type, error) {
	return tb.intern(Type{kind: Option, elem: some, cases: []Case{{Name: "none"}, {Name: "some", Type: some}}})
}

// Result makes the type of what may fail; either payload may be nil.
func (tb *Table) Result(ok, failed *Type) (*Type, error) {
	return tb.intern(Type{kind: Result, cases: []Case{{Name: "ok", Type: ok}, {Name: "error", Type: failed}}})
}

// List makes a list type.
func (tb *Table) List(elem *Type) (*Type, error) { return tb.intern(Type{kind: List, elem: elem}) }

// FixedList makes the type of a list of exactly length elements, at least one.
func (tb *Table) FixedList(elem *Type, length uint32) (*Type, error) {
	if length == 0 {
		return nil, errors.New("a fixed-length list has no element, it needs at least one")
	}
	return tb.intern(Type{kind: FixedList, elem: elem, length: length})
}

// Map makes a map type. Keys are booleans, integers, characters or strings.
func (tb *Table) Map(key, value *Type) (*Type, error) {
	if k := key.kind; !(k >= Bool && k <= U64) && k != Char && k != String {
		return nil, fmt.Errorf("the keys of a map are %s, they need to be booleans, integers, characters or strings", k)
	}
	entry, err := tb.internUpTo(Type{kind: Tuple, fields: []Field{{Type: key}, {Type: value}}}, 2*MaxBytes+16) // no type of its own: its parts are bounded
	if err != nil {
		return nil, err
	}
	return tb.intern(Type{kind: Map, elem: entry})
}

// Own makes the type of handles that own a resource.
func (tb *Table) Own(r *Resource) (*Type, error) { return tb.intern(Type{kind: Own, resource: r}) }

// Borrow makes the type of handles that are lent for one call.
func (tb *Table) Borrow(r *Resource) (*Type, error) {
	return tb.intern(Type{kind: Borrow, resource: r})
}

// Stream makes a stream type; elem may be nil.
func (tb *Table) Stream(elem *Type) (*Type, error) {
	return tb.intern(Type{kind: Stream, elem: elem})
}

// Future makes a future type; elem may be nil.
func (tb *Table) Future(elem *Type) (*Type, error) {
	return tb.intern(Type{kind: Future, elem: elem})
}

// intern finds the type that t describes or lays t out and keeps it.
func (tb *Table) intern(t Type) (*Type, error) { return tb.internUpTo(t, MaxBytes) }

// internUpTo does so for a type of at most most bytes.
func (tb *Table) internUpTo(t Type, most uint64) (*Type, error) {
	var h maphash.Hash
	h.SetSeed(tb.seed)
	t.sum(&h)
	t.hash = h.Sum64()
	for known := tb.types[t.hash]; known != nil; known = known.next {
		if known.same(&t) {
			if uint64(known.size64) > most {
				return nil, known.tooLarge()
			}
			return known, nil
		}
	}
	if err := tb.Charge(typeBytes + entryBytes*(len(t.fields)+len(t.cases)+len(t.labels)+1)); err != nil {
		return nil, err
	}
	if err := t.measure(tb, most); err != nil {
		return nil, err
	}
	t.table = tb
	t.next = tb.types[t.hash]
	kept := &t
	tb.types[t.hash] = kept
	return kept, nil
}

// sum writes what tells the type from others. Parts are known by their own hashes.
func (t *Type) sum(h *maphash.Hash) {
	h.WriteByte(byte(t.kind))
	t.elem.sumPart(h)
	maphash.WriteComparable(h, t.length)
	if t.resource != nil {
		maphash.WriteComparable(h, t.resource.id)
	}
	for _, f := range t.fields {
		h.WriteString(f.Name)
		f.Type.sumPart(h)
	}
	for _, c := range t.cases {
		h.WriteString(c.Name)
		c.Type.sumPart(h)
	}
	for _, l := range t.labels {
		h.WriteString(l)
		h.WriteByte(0)
	}
}

func (t *Type) sumPart(h *maphash.Hash) {
	switch {
	case t == nil:
		h.WriteByte(0)
	case t.kind.Primitive():
		h.WriteByte(byte(t.kind))
	default:
		maphash.WriteComparable(h, t.hash)
	}
}

// same compares a type of the table with one that is laid out later; their parts are of the table.
func (t *Type) same(o *Type) bool {
	return t.kind == o.kind && t.elem == o.elem && t.length == o.length && t.resource == o.resource &&
		slices.EqualFunc(t.fields, o.fields, func(a, b Field) bool { return a.Name == b.Name && a.Type == b.Type }) &&
		slices.Equal(t.cases, o.cases) && slices.Equal(t.labels, o.labels)
}

// Substitute gives the type in which other resources take the place of those in the map; the type itself where it names none of them.
func (tb *Table) Substitute(t *Type, resources map[*Resource]*Resource) (*Type, error) {
	s := substitution{table: tb, resources: resources, done: map[*Type]*Type{}}
	return s.of(t)
}

// substitution keeps what it has made, so that a part which occurs many times is walked once.
type substitution struct {
	table     *Table
	resources map[*Resource]*Resource
	done      map[*Type]*Type
}

func (s *substitution) of(t *Type) (*Type, error) {
	if t == nil || !t.HasHandle() {
		return t, nil
	}
	if known, ok := s.done[t]; ok {
		return known, nil
	}
	made := Type{kind: t.kind, length: t.length, resource: t.resource}
	if other, ok := s.resources[t.resource]; ok {
		made.resource = other
	}
	var err error
	part := func(p *Type) *Type {
		if err != nil {
			return nil
		}
		p, err = s.of(p)
		return p
	}
	made.elem = part(t.elem)
	for _, f := range t.fields {
		made.fields = append(made.fields, Field{Name: f.Name, Type: part(f.Type)})
	}
	for _, c := range t.cases {
		made.cases = append(made.cases, Case{Name: c.Name, Type: part(c.Type)})
	}
	if err != nil {
		return nil, err
	}
	result, err := s.table.internUpTo(made, uint64(max(t.size64, MaxBytes)))
	if err == nil {
		s.done[t] = result
	}
	return result, err
}

// Equal compares types of any tables; same compares resources, nil means by identity. Where both are of one table and resources are compared by
// identity, comparing the pointers is enough.
func Equal(a, b *Type, same func(a, b *Resource) bool) bool {
	if a == b && (a == nil || !a.HasHandle() || same == nil) {
		return true
	}
	if a == nil || b == nil || a.kind != b.kind || a.length != b.length || a.nodes != b.nodes || a.holds != b.holds {
		return false
	}
	if a.resource != nil {
		if same == nil {
			return a.resource == b.resource
		}
		return same(a.resource, b.resource)
	}
	return Equal(a.elem, b.elem, same) && slices.Equal(a.labels, b.labels) &&
		slices.EqualFunc(a.fields, b.fields, func(x, y Field) bool { return x.Name == y.Name && Equal(x.Type, y.Type, same) }) &&
		slices.EqualFunc(a.cases, b.cases, func(x, y Case) bool { return x.Name == y.Name && Equal(x.Type, y.Type, same) })
}
