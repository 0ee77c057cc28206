// Package hosttest calls functions of a host as a component does: through canon, from the memory and the handle table of a guest that is Go.
package hosttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
	"github.com/tenloom/tenloom/sandbox/component/types"
)

// Guest is a component instance without code. It is used by one goroutine.
type Guest struct {
	Store *canon.Store

	t         testing.TB
	registry  *host.Registry
	table     *types.Table
	program   *canon.Program
	resources map[string]*types.Resource
	known     map[*types.Resource]*canon.Resource
	lowers    map[string]*Import
	memory    memory
	next      uint32

	// Result is the core result of the last call.
	Result uint64
}

// H is a handle in the guest's table, in the place of own and borrow.
type H uint32

// Import is one function that the guest can call.
type Import struct {
	Interface, Name string
	Type            *types.Func
	lower, async    *canon.Lower
}

// memory is a linear memory of a fixed size.
type memory []byte

func (m memory) Size() uint32 { return uint32(len(m)) }

func (m memory) Read(offset, n uint32) ([]byte, bool) {
	if uint64(offset)+uint64(n) > uint64(len(m)) {
		return nil, false
	}
	return m[offset : uint64(offset)+uint64(n)], true
}

// function is a core function of the guest.
type function func(stack []uint64)

// CallWithStack gives as an error what was thrown, as a WebAssembly runtime does.
func (f function) CallWithStack(_ context.Context, stack []uint64) (err error) {
	defer func() {
		if v := recover(); v != nil {
			thrown, ok := v.(error)
			if _, bug := v.(runtime.Error); bug || !ok {
				panic(v)
			}
			err = fmt.Errorf("recovered: %w", thrown)
		}
	}()
	f(stack)
	return nil
}

// New makes a guest that imports everything that the interfaces have. Interfaces of wasi share resources of one name.
func New(t testing.TB, interfaces ...host.Interface) *Guest {
	t.Helper()
	registry, err := host.New(interfaces...)
	if err != nil {
		t.Fatal(err)
	}
	g := &Guest{
		t: t, registry: registry, table: types.NewTable(types.Limits{}), program: canon.NewProgram([]int{-1}, canon.ProgramLimits{}),
		resources: map[string]*types.Resource{}, known: map[*types.Resource]*canon.Resource{}, lowers: map[string]*Import{}, memory: make(memory, 4<<20),
	}
	var all []*Import
	for _, o := range registry.Offers() {
		for _, name := range o.Resources {
			g.resource(o.Interface, name)
		}
		for name, f := range o.Funcs {
			all = append(all, &Import{Interface: o.Interface, Name: name, Type: g.fn(o.Interface, f)})
		}
	}
	compiled := make([]*canon.Func, len(all))
	for i, imp := range all {
		if compiled[i], err = g.program.Func(imp.Type); err != nil {
			t.Fatal(err)
		}
	}
	g.Store = g.program.NewStore(canon.Limits{})
	o := canon.Options{Memory: &g.memory, Realloc: function(g.realloc)}
	for i, imp := range all {
		call, label := registry.Func(imp.Interface, imp.Name), imp.Interface+"#"+imp.Name
		imp.lower = g.Store.NewLower(0, compiled[i], label, o, call)
		a := o
		a.Async = true
		imp.async = g.Store.NewLower(0, compiled[i], label, a, call)
		g.lowers[label] = imp
	}
	return g
}

// Imports are all functions, in no order.
func (g *Guest) Imports() []*Import {
	var all []*Import
	for _, i := range g.lowers {
		all = append(all, i)
	}
	return all
}

func (g *Guest) resource(iface, name string) *types.Resource {
	key := name
	if !strings.HasPrefix(iface, "wasi:") {
		key = iface + "#" + name
	}
	if r := g.resources[key]; r != nil {
		return r
	}
	r := types.NewResource(name)
	g.resources[key] = r
	drop := g.registry.Drop(iface, name)
	g.known[r] = g.program.Resource(r, canon.Host, drop)
	return r
}

func (g *Guest) realloc(s []uint64) { s[0] = uint64(g.alloc(uint32(s[3]), uint32(s[2]))) }

// alloc never gives back: a guest's memory lasts for the calls of one test, or until Free.
func (g *Guest) alloc(n, align uint32) uint32 {
	p := (g.next + align - 1) &^ (align - 1)
	if uint64(p)+uint64(n) > uint64(len(g.memory)) {
		panic(errors.New("the guest's memory is full"))
	}
	g.next = p + n
	return p
}

// Free makes the whole memory free again.
func (g *Guest) Free() { g.next = 0 }

// Call calls a function with values as canon.Value has them and H for handles. The error is what has ended the guest.
func (g *Guest) Call(ctx context.Context, iface, name string, args ...canon.Value) (result canon.Value, err error) {
	g.t.Helper()
	imp := g.lowers[iface+"#"+name]
	if imp == nil {
		g.t.Fatalf("%s has no function %s", iface, name)
	}
	if len(args) != len(imp.Type.Params()) {
		g.t.Fatalf("%s %s: %d arguments are given, it has %d parameters", iface, name, len(args), len(imp.Type.Params()))
	}
	var flat []uint64
	for i, p := range imp.Type.Params() {
		flat = append(flat, g.flatten(p.Type, args[i])...)
	}
	sig := imp.Type.Lowered(false)
	if sig.SpilledParams {
		at := g.alloc(imp.Type.ParamsSize(), imp.Type.ParamsAlign())
		for i, p := range imp.Type.Params() {
			g.store(p.Type, at+p.Offset, args[i])
		}
		flat = []uint64{uint64(at)}
	}
	var at uint32
	if sig.SpilledResult {
		at = g.alloc(imp.Type.Result().Size(), imp.Type.Result().Align())
		flat = append(flat, uint64(at))
	}
	if err := g.Raw(ctx, imp, flat); err != nil {
		return nil, err
	}
	switch r := imp.Type.Result(); {
	case r == nil:
		return nil, nil
	case sig.SpilledResult:
		return g.load(r, at), nil
	default:
		at := g.alloc(8, 8)
		binary.LittleEndian.PutUint64(g.memory[at:], g.Result)
		return g.load(r, at), nil
	}
}

// Raw calls a function with core values, whatever they are.
func (g *Guest) Raw(ctx context.Context, imp *Import, flat []uint64) error {
	stack := append(make([]uint64, 0, 20), flat...)
	stack = stack[:max(len(stack), 1)]
	return function(func([]uint64) {
		imp.lower.Call(ctx, stack)
		g.Result = stack[0]
	}).CallWithStack(ctx, nil)
}

// Drop drops a handle.
func (g *Guest) Drop(ctx context.Context, iface, resource string, h H) error {
	r := g.known[g.resource(iface, resource)]
	return function(func([]uint64) { g.Store.Instance(0).ResourceDrop(ctx, r, uint32(h)) }).CallWithStack(ctx, nil)
}
