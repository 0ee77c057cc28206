package spin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// caller is whoever called a host function, for its length: what the operations behind the functions know of it, whatever its form.
type caller struct {
	call *Call
	ctx  context.Context // of the call under way; nil between calls
	name string          // module#name of the function under way, for Traps
}

// guest is a core module that called, for the length of one host function: its memory and its allocator. Nothing of the memory is held
// across alloc, because the allocator may grow it, which moves it.
type guest struct {
	caller
	busy bool // a host function or the allocator runs; stays true after a Trap, since the Call is over then

	module  api.Module
	memory  api.Memory
	realloc api.Function // of this Call only: an api.Function must not be entered twice
	export  string       // realloc's name
	stack   [4]uint64    // for realloc, so that calling it allocates nothing
}

// trap ends the invocation because of the guest's mistake.
func (g *caller) trap(format string, args ...any) {
	panic(&Trap{Func: g.name, Why: fmt.Sprintf(format, args...)})
}

// ended unwinds the guest where err is not the guest's concern because the invocation's own time is over.
func (g *caller) ended() {
	if g.ctx.Err() != nil {
		panic(fmt.Errorf("%s: %w", g.name, context.Cause(g.ctx)))
	}
}

// bind remembers the module's memory and forgets another module's allocator.
func (g *guest) bind(m api.Module) error {
	if g.module == m {
		return nil
	}
	memory := m.ExportedMemory("memory")
	if memory == nil {
		return &Trap{Func: g.name, Why: `the module exports no memory named "memory"`}
	}
	g.module, g.memory, g.realloc, g.export = m, memory, nil, ""
	return nil
}

// allocator finds the guest's realloc once per Call and module.
func (g *guest) allocator() error {
	if g.realloc != nil {
		return nil
	}
	for _, name := range [...]string{"canonical_abi_realloc", "cabi_realloc"} {
		f := g.module.ExportedFunction(name)
		if f == nil {
			continue
		}
		d := f.Definition()
		if string(d.ParamTypes()) != "\x7f\x7f\x7f\x7f" || string(d.ResultTypes()) != "\x7f" {
			return &Trap{Func: name, Why: "is not a function of four i32 that returns an i32"}
		}
		g.realloc, g.export = f, name
		return nil
	}
	return &Trap{Func: g.name, Why: "the module exports neither canonical_abi_realloc nor cabi_realloc"}
}

// Alloc asks the allocator of m for n bytes aligned to align (a power of two) and checks what it answers. n = 0 asks nobody and returns
// align, as the ABI does. It is for the payload of a message, while no guest function of this Call runs.
//
// The error is a *Trap where the allocator trapped or lied; where it ended with something else (an exit, a panic of another host
// function, a deadline), that error is returned as it is.
func Alloc(ctx context.Context, c *Call, m api.Module, align, n uint32) (uint32, error) {
	g := &c.guest
	if g.busy {
		return 0, &Trap{Func: "realloc", Why: "called while a host function of the same invocation runs"}
	}
	g.name = "realloc"
	if err := g.bind(m); err != nil {
		return 0, err
	}
	g.busy = true
	p, err := g.allocate(ctx, align, n)
	g.busy = err != nil
	return p, err
}

func (g *guest) allocate(ctx context.Context, align, n uint32) (uint32, error) {
	if n == 0 {
		return align, nil
	}
	if err := g.allocator(); err != nil {
		return 0, err
	}
	g.stack = [4]uint64{0, 0, uint64(align), uint64(n)}
	if err := g.realloc.CallWithStack(ctx, g.stack[:]); err != nil {
		return 0, allocatorError(g.export, err)
	}
	p := uint32(g.stack[0])
	switch {
	case p == 0:
		return 0, &Trap{Func: g.export, Why: fmt.Sprintf("returned 0 for %d bytes", n)}
	case p%align != 0:
		return 0, &Trap{Func: g.export, Why: fmt.Sprintf("returned %#x, which is not aligned to %d", p, align)}
	}
	if _, ok := g.memory.Read(p, n); !ok {
		return 0, &Trap{Func: g.export, Why: fmt.Sprintf("returned %#x, where %d bytes do not fit the memory", p, n)}
	}
	return p, nil
}

// allocatorError makes a Trap of what WebAssembly itself stopped. wazero exports no sentinel for that, only the text.
func allocatorError(export string, err error) error {
	var exit *sys.ExitError
	if errors.As(err, &exit) || !strings.HasPrefix(err.Error(), "wasm error: ") {
		return err
	}
	return &Trap{Func: export, Why: "trapped", Err: err}
}

// alloc is allocate for host functions.
func (g *guest) alloc(align uint32, n uint64) uint32 {
	if n > 1<<32-1 {
		g.trap("a result of %d bytes does not fit any memory", n)
	}
	p, err := g.allocate(g.ctx, align, uint32(n))
	if err != nil {
		panic(err)
	}
	return p
}

// stack is what wazero gives: one slot per parameter. The upper half of an i32's slot is not defined.
type stack []uint64

func (s stack) u32(i int) uint32 { return uint32(s[i]) }

// view returns n bytes of guest memory, valid until the guest runs again. A range of no bytes may have any pointer.
func (g *guest) view(p, n uint32, what string) []byte {
	if n == 0 {
		return nil
	}
	b, ok := g.memory.Read(p, n)
	if !ok {
		g.trap("%s: %d bytes at %#x are out of the memory", what, n, p)
	}
	return b
}

// bytes copies the list<u8> in slots i and i+1: the copy may outlive the call, where a command goes on after its ctx has ended.
func (g *guest) bytes(s stack, i int, what string) []byte {
	v := g.view(s.u32(i), s.u32(i+1), what)
	g.sends(len(v))
	return append(make([]byte, 0, len(v)), v...)
}

// str copies the string in slots i and i+1.
func (g *guest) str(s stack, i int, what string) string { return g.strAt(s.u32(i), s.u32(i+1), what) }

func (g *guest) strAt(p, n uint32, what string) string {
	v := g.view(p, n, what)
	if !utf8.Valid(v) {
		g.trap("%s is not valid UTF-8", what)
	}
	g.sends(len(v))
	return string(v)
}

// elementCost is what one element of a list argument is charged beyond its bytes: about what it takes here.
const elementCost = 64

// list checks a list of elements of the given size in slots i and i+1, and returns a view of them. charge adds up what the elements
// hold: many elements may name the same bytes, so the sum has a bound of its own.
func (g *guest) list(s stack, i int, size, align uint32, what string) (elements []byte, charge func(n int)) {
	p, n := s.u32(i), s.u32(i+1)
	if n == 0 {
		return nil, nil
	}
	if p%align != 0 {
		g.trap("%s: list at %#x is not aligned to %d", what, p, align)
	}
	total := uint64(n) * uint64(size)
	if total > 1<<32-1 {
		g.trap("%s: list of %d elements at %#x is out of the memory", what, n, p)
	}
	limit := g.call.limits.ResultBytes
	left := limit
	charge = func(n int) {
		if left -= int64(n) + elementCost; left < 0 {
			g.trap("%s: list exceeds limit of %d bytes", what, limit)
		}
	}
	return g.view(p, uint32(total), what), charge
}

func u32At(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

// strs copies the list<string> in slots i and i+1 behind head.
func (g *guest) strs(s stack, i int, what string, head ...any) []any {
	elements, charge := g.list(s, i, 8, 4, what)
	out := append(make([]any, 0, len(head)+len(elements)/8), head...)
	for ; len(elements) > 0; elements = elements[8:] {
		p, n := u32At(elements, 0), u32At(elements, 4)
		charge(int(n))
		out = append(out, g.strAt(p, n, what))
	}
	return out
}

// pairs copies a list of tuples of two strings, or of a string and bytes.
func (g *guest) pairs(s stack, i int, what string, text bool) [][2]string {
	elements, charge := g.list(s, i, 16, 4, what)
	out := make([][2]string, 0, len(elements)/16)
	for ; len(elements) > 0; elements = elements[16:] {
		k, v := u32At(elements, 4), u32At(elements, 12)
		charge(int(k))
		charge(int(v))
		pair := [2]string{g.strAt(u32At(elements, 0), k, what)}
		if text {
			pair[1] = g.strAt(u32At(elements, 8), v, what)
		} else {
			g.sends(int(v))
			pair[1] = string(g.view(u32At(elements, 8), v, what))
		}
		out = append(out, pair)
	}
	return out
}

// area is guest memory that a result is written to.
type area struct {
	g  *guest
	at uint32
}

// ret checks the area that the guest named in slot i. It is filled after all allocations.
func (g *guest) ret(s stack, i int, size, align uint32) area {
	p := s.u32(i)
	if p%align != 0 {
		g.trap("result pointer %#x is not aligned to %d", p, align)
	}
	g.view(p, size, "result pointer")
	return area{g, p}
}

// newArea allocates one.
func (g *guest) newArea(align uint32, n uint64) area { return area{g, g.alloc(align, n)} }

// part is the area from offset at on. at stays within what was checked, which fits the memory, so the sum does not wrap.
func (a area) part(at uint64) area { return area{a.g, a.at + uint32(at)} }

func (a area) u8(at uint32, v uint8)   { a.must(a.g.memory.WriteByte(a.at+at, v)) }
func (a area) u16(at uint32, v uint16) { a.must(a.g.memory.WriteUint16Le(a.at+at, v)) }
func (a area) u32(at uint32, v uint32) { a.must(a.g.memory.WriteUint32Le(a.at+at, v)) }
func (a area) u64(at uint32, v uint64) { a.must(a.g.memory.WriteUint64Le(a.at+at, v)) }

func (a area) must(ok bool) {
	if !ok {
		a.g.trap("result at %#x is out of the memory", a.at)
	}
}

// bool writes a bool or the tag of an option.
func (a area) bool(at uint32, v bool) {
	if v {
		a.u8(at, 1)
		return
	}
	a.u8(at, 0)
}

// span is a list or string in guest memory.
type span struct{ ptr, len uint32 }

func (a area) span(at uint32, s span) {
	a.u32(at, s.ptr)
	a.u32(at+4, s.len)
}

// lower copies data into memory that the guest allocates.
func lower[T string | []byte](g *guest, data T) span {
	p := g.alloc(1, uint64(len(data)))
	if len(data) == 0 {
		return span{p, 0}
	}
	v, ok := g.memory.Read(p, uint32(len(data)))
	if !ok {
		g.trap("result at %#x is out of the memory", p)
	}
	copy(v, data)
	return span{p, uint32(len(data))}
}

// lowerStrings makes a list<string> of keys.
func (g *guest) lowerStrings(items []string) span {
	list := g.newArea(4, uint64(len(items))*8)
	for i, item := range items {
		list.part(uint64(i)*8).span(0, lower(g, item))
	}
	return span{list.at, uint32(len(items))}
}

// ok writes the tag of a result that holds nothing.
func (a area) ok() { a.u8(0, 0) }

// okSpan writes a result whose payload, at offset 4, is a list or string.
func (a area) okSpan(s span) {
	a.u8(0, 0)
	a.span(4, s)
}

// okOption writes a result whose payload, at offset 4, is option<list>.
func (a area) okOption(some bool, s span) {
	a.u8(0, 0)
	a.bool(4, some)
	if some {
		a.span(8, s)
	}
}

// fail writes an error case without payload; at is the offset of the result's payload.
func (a area) fail(at uint32, tag uint8) {
	a.u8(0, 1)
	a.u8(at, tag)
}

// failText writes an error case that holds a string.
func (a area) failText(at uint32, tag uint8, text string) {
	s := lower(a.g, clean(text))
	a.fail(at, tag)
	a.span(at+4, s)
}

// maxText bounds the error text that a guest is given, in bytes.
const maxText = 2 << 10

// clean cuts and repairs text from elsewhere, since a string must be UTF-8.
func clean(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
