package abi

import (
	"encoding/binary"
	"strconv"
	"structs"
	"unsafe"
)

// Who owns which bytes. The host writes into the guest only through canonical_abi_realloc, so every buffer that crosses
// inward is one that alloc handed out:
//
//	host: realloc(0, 0, align, n) ──► held[address] ──► host writes ──► take(address, n) ──► the handler's []byte
//
// held is what keeps such a buffer alive meanwhile: the collector does not see the host's copy of the address. Its size is
// bounded by what the host allocates during one message, since the end of a message clears it. Go's heap does not move,
// stacks do: realloc runs on the stack of the goroutine that waits in an import and may grow it. Whatever the host is
// told the address of therefore lives on the heap (an import's pointer parameters escape; go:noescape would break that).
var held = map[uint32][]uint64{}

// early serves the first allocations. A component adapter asks for its state and its stack (64 KiB each) while the Go
// runtime is still starting, when neither the heap nor held may be touched; it may ask for the stack later too. It is
// never given back: those blocks live as long as the instance.
var early earlyBlock

type earlyBlock struct {
	block [4 << 16 / 8]uint64
	used  uint32 // bytes
}

const adapterBlock = 65536

// started is true once package variables are set up and the heap may be used.
var started bool

func init() { started = true }

// realloc is the guest's allocator, as the canonical ABI describes it. Blocks are aligned to 8, the ABI's largest.
//
//go:wasmexport canonical_abi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	if !started || size == adapterBlock {
		if p := allocEarly(size); p != 0 {
			copy(early.bytes(p, size), known(old, oldSize))
			return p
		}
	}
	block := make([]uint64, (uint64(size)+7)/8)
	p := address(unsafe.Pointer(&block[0]))
	copy(bytesOf(block, size), known(old, oldSize))
	delete(held, old)
	held[p] = block
	return p
}

// free drops a block that the host does not want to hand over after all.
//
//go:wasmexport canonical_abi_free
func free(p, size, align uint32) {
	delete(held, p)
}

// allocEarly answers 0 when the early block is used up.
func allocEarly(size uint32) uint32 {
	size = (size + 7) &^ 7
	if size > uint32(len(early.block)*8)-early.used {
		return 0
	}
	p := address(unsafe.Pointer(&early.block[early.used/8]))
	early.used += size
	return p
}

// take gives n bytes at p to the caller, who owns them from now on. p must be what realloc answered; for n = 0 it may
// be anything.
func take(p, n uint32) []byte {
	b := known(p, n)
	delete(held, p)
	return b
}

// known finds a block that realloc handed out, without making a pointer from a number.
func known(p, n uint32) []byte {
	if n == 0 {
		return nil
	}
	if block, ok := held[p]; ok && uint64(n) <= uint64(len(block))*8 {
		return bytesOf(block, n)
	}
	if b := early.bytes(p, n); b != nil {
		return b
	}
	panic("the host handed over " + strconv.FormatUint(uint64(n), 10) + " bytes that the guest did not allocate")
}

// bytes is nil for a range that is not in the early block.
func (e *earlyBlock) bytes(p, n uint32) []byte {
	start := address(unsafe.Pointer(&e.block[0]))
	if p < start || uint64(p-start)+uint64(n) > uint64(e.used) {
		return nil
	}
	return bytesOf(e.block[:], e.used)[p-start:][:n:n]
}

func bytesOf(block []uint64, n uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&block[0])), n)
}

func address(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }

// area is what an import fills in: a tagged result of at most 32 bytes, aligned to 8 for the s64 in some.
type area [4]uint64

func (a *area) u8(at int) uint8   { return uint8(a[at/8] >> (at % 8 * 8)) }
func (a *area) u16(at int) uint16 { return uint16(a[at/8] >> (at % 8 * 8)) }
func (a *area) u32(at int) uint32 { return uint32(a[at/8] >> (at % 8 * 8)) }
func (a *area) i64(at int) int64  { return int64(a[at/8]) }

// failed tells whether the result's outer tag is the error arm.
func (a *area) failed() bool { return a.u8(0) != 0 }

// failure reads an error arm with a case at 4 and a string at 8. Cases that carry no string leave that part as it was.
func (a *area) failure() *Failure {
	f := &Failure{Tag: a.u8(4)}
	if p, n := a.u32(8), a.u32(12); n != 0 {
		f.Detail = string(take(p, n))
	}
	return f
}

// bytes takes the list<u8> or string whose pointer stands at the offset.
func (a *area) bytes(at int) []byte { return take(a.u32(at), a.u32(at+4)) }

// strings takes the list<string> whose pointer stands at the offset.
func (a *area) strings(at int) []string {
	n := a.u32(at + 4)
	raw := take(a.u32(at), 8*n)
	out := make([]string, 0, n)
	for ; len(raw) > 0; raw = raw[8:] {
		out = append(out, string(takeAt(raw)))
	}
	return out
}

// pairs takes the list<tuple<string, string>> whose pointer stands at the offset.
func (a *area) pairs(at int) [][2]string {
	n := a.u32(at + 4)
	raw := take(a.u32(at), 16*n)
	out := make([][2]string, 0, n)
	for ; len(raw) > 0; raw = raw[16:] {
		out = append(out, [2]string{string(takeAt(raw)), string(takeAt(raw[8:]))})
	}
	return out
}

// takeAt takes the bytes that the pointer and length at the start of raw name.
func takeAt(raw []byte) []byte {
	return take(binary.LittleEndian.Uint32(raw), binary.LittleEndian.Uint32(raw[4:]))
}

// view is a string as the ABI stores it in a list. A Go pointer takes 8 bytes in memory and would not fit.
type view struct {
	_      structs.HostLayout
	ptr, n uint32
}

// lent is what a view points to during a call. Only a store to a variable of the package makes the compiler put the bytes
// of a caller's string on the heap: a uint32 is no pointer to it. One import runs at a time, so one variable is enough.
var lent []string

// lend makes a list<string> of ss, valid until unlend.
func lend(ss []string) *view {
	lent = ss
	list := make([]view, len(ss)+1) // one more, so that an empty list has an address too
	for i, s := range ss {
		list[i] = viewOf(s)
	}
	return &list[0]
}

func viewOf(s string) view {
	return view{ptr: address(unsafe.Pointer(unsafe.StringData(s))), n: uint32(len(s))}
}

func unlend() { lent = nil }

// text passes bytes as a string, without a copy. The host only reads it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
