package scheduler

import (
	"hash/maphash"
	"slices"

	"github.com/tenloom/tenloom/tenants"
)

// table says which triggers and taps a frame of one endpoint wakes. It is immutable: a change makes a new one, which shares all that did not
// change, and a Message, which comes from one endpoint, sees one table, the old or the new, never a mix.
type table struct {
	exact, pattern, sharded *node
}

// route is one target of one endpoint. It is immutable, too.
type route struct {
	hash     uint64
	name     string
	triggers []*triggerQueue
	taps     []*Tap
}

// find returns where a frame goes, or nil: between an unsubscribe and its acknowledgement frames may still come.
func (t *table) find(f *frame) *route {
	switch f.kind {
	case 'p':
		return t.pattern.find(maphash.Bytes(seed, f.pattern), f.pattern)
	case 's':
		return t.sharded.find(maphash.Bytes(seed, f.channel), f.channel)
	}
	return t.exact.find(maphash.Bytes(seed, f.channel), f.channel)
}

// at returns a target's route, or nil. Kinds that the hub refuses have none, since no frame comes for them.
func (t *table) at(target tenants.Target) *route {
	root := t.root(target.Kind)
	if root == nil {
		return nil
	}
	return (*root).find(maphash.String(seed, target.Name), []byte(target.Name))
}

func (t *table) root(k tenants.Kind) **node {
	switch k {
	case tenants.Exact:
		return &t.exact
	case tenants.Pattern:
		return &t.pattern
	case tenants.Sharded:
		return &t.sharded
	}
	return nil
}

// matching calls visit for each route that a message takes which is published on a channel or, by SPUBLISH, on a sharded one.
func (t *table) matching(target tenants.Target, visit func(tenants.Target, *route)) {
	if r := t.at(target); r != nil {
		visit(target, r)
	}
	if target.Kind == tenants.Sharded {
		return
	}
	channel := target.Name
	t.pattern.each(func(r *route) {
		if Match(r.name, channel) {
			visit(tenants.Target{Kind: tenants.Pattern, Name: r.name}, r)
		}
	})
}

// spread gives every pattern that matches a frame of its own, where the server sent one for all of them.
func (t *table) spread(frames []frame) []frame {
	var all []frame
	for _, f := range frames {
		if f.kind != 'p' {
			all = append(all, f)
			continue
		}
		channel := string(f.channel)
		t.pattern.each(func(r *route) {
			if Match(r.name, channel) {
				f.pattern = []byte(r.name)
				all = append(all, f)
			}
		})
	}
	return all
}

// wakes tells whether a target has triggers.
func (t *table) wakes(target tenants.Target) bool {
	r := t.at(target)
	return r != nil && len(r.triggers) > 0
}

// edit is a table in the making: what it changes it has copied before, so that nobody sees it before it is stored.
type edit struct{ table }

// change puts in the place of a target's route what becomes of it; a route that wakes nothing goes.
func (e *edit) change(target tenants.Target, become func(*route)) {
	root := e.root(target.Kind)
	if root == nil {
		return
	}
	r := route{name: target.Name, hash: maphash.String(seed, target.Name)}
	old := (*root).find(r.hash, []byte(target.Name))
	if old != nil {
		r = *old
	}
	become(&r)
	if old != nil {
		*root = (*root).without(old, 0)
	}
	if len(r.triggers)+len(r.taps) > 0 {
		*root = (*root).with(&r, 0)
	}
}

func (e *edit) add(target tenants.Target, q *triggerQueue) {
	e.change(target, func(r *route) { r.triggers = appended(r.triggers, q) })
}

func (e *edit) remove(target tenants.Target, q *triggerQueue) {
	e.change(target, func(r *route) { r.triggers = without(r.triggers, q) })
}

func (e *edit) tap(target tenants.Target, t *Tap) {
	e.change(target, func(r *route) {
		if !slices.Contains(r.taps, t) { // a Tap that names a target twice sees it once
			r.taps = appended(r.taps, t)
		}
	})
}

func (e *edit) untap(target tenants.Target, t *Tap) {
	e.change(target, func(r *route) { r.taps = without(r.taps, t) })
}

func appended[T any](all []*T, x *T) []*T { return append(slices.Clip(all), x) }

func without[T any](all []*T, x *T) []*T {
	left := slices.DeleteFunc(slices.Clone(all), func(o *T) bool { return o == x })
	if len(left) == 0 {
		return nil
	}
	return left
}

// node is a persistent map from names to routes: a tree over the bits of the names' hashes. A change copies the few nodes on its way, so that
// its cost does not depend on how many routes there are. nil is the empty tree.
//
//	branch ─► 64 children, by the next 6 bits ─► branch
//	                                          └► leaf: up to 16 routes, more where all bits are used up
type node struct {
	children *[fan]*node // a branch, where not nil
	leaf     []leaf
}

type leaf struct {
	hash  uint64 // the route's, so that a look at it costs no way to another place of memory
	route *route
}

const (
	fanBits = 6
	fan     = 1 << fanBits
	maxLeaf = 16
)

var seed = maphash.MakeSeed()

func (n *node) find(hash uint64, name []byte) *route {
	bits := hash
	for n != nil {
		if n.children != nil {
			n = n.children[bits%fan]
			bits >>= fanBits
			continue
		}
		for _, l := range n.leaf {
			if l.hash == hash && l.route.name == string(name) {
				return l.route
			}
		}
		return nil
	}
	return nil
}

// with returns the tree with a route whose name it does not have. depth counts the bits that led here.
func (n *node) with(r *route, depth int) *node {
	switch {
	case n == nil:
		return &node{leaf: []leaf{{r.hash, r}}}
	case n.children != nil:
		children := *n.children
		i := r.hash >> depth % fan
		children[i] = children[i].with(r, depth+fanBits)
		return &node{children: &children}
	case len(n.leaf) < maxLeaf || depth >= 64-fanBits:
		return &node{leaf: append(slices.Clip(n.leaf), leaf{r.hash, r})}
	}
	split := &node{children: new([fan]*node)}
	for _, o := range append(slices.Clip(n.leaf), leaf{r.hash, r}) {
		i := o.hash >> depth % fan
		split.children[i] = split.children[i].with(o.route, depth+fanBits)
	}
	return split
}

// without returns the tree without a route that it has.
func (n *node) without(r *route, depth int) *node {
	if n.children == nil {
		left := slices.DeleteFunc(slices.Clone(n.leaf), func(l leaf) bool { return l.route == r })
		if len(left) == 0 {
			return nil
		}
		return &node{leaf: left}
	}
	children := *n.children
	i := r.hash >> depth % fan
	children[i] = children[i].without(r, depth+fanBits)
	if children == ([fan]*node{}) {
		return nil
	}
	return &node{children: &children}
}

// each visits all routes, in no order.
func (n *node) each(visit func(*route)) {
	if n == nil {
		return
	}
	for _, l := range n.leaf {
		visit(l.route)
	}
	if n.children != nil {
		for _, c := range n.children {
			c.each(visit)
		}
	}
}
