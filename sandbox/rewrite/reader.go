package rewrite

import (
	"fmt"
	"unicode/utf8"
)

// reader reads a module's bytes up to the end of the section, or function, at hand. The first error stays and every later read answers zero,
// so that callers check once per loop.
type reader struct {
	bytes    []byte
	at       int
	section  byte
	function int // index of the function being read, -1 outside
	err      *Error
}

func (r *reader) fail(kind Kind, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Kind: kind, Detail: fmt.Sprintf(format, args...), Offset: r.at, Section: r.section, Function: r.function}
	}
	r.at = len(r.bytes)
}

func (r *reader) proposal(name string) {
	r.fail(Unsupported, "the module uses %s, which this build does not run", name)
}

// limit refuses n above most, by name.
func (r *reader) limit(what string, n, most uint64) {
	if n > most {
		r.fail(Limit, "%d %s, at most %d are allowed", n, what, most)
	}
}

// index reads an index and holds it against the count of what the module itself has: what the rewriter appends cannot be named.
func (r *reader) index(what string, count int) uint32 {
	i := r.u32()
	if r.known(what, i, count); r.err != nil {
		return 0
	}
	return i
}

func (r *reader) known(what string, i uint32, count int) {
	if uint64(i) >= uint64(count) {
		r.fail(Malformed, "%s %d is used, there are %d", what, i, count)
	}
}

func (r *reader) byte() byte {
	if r.at >= len(r.bytes) {
		r.fail(Malformed, "truncated or malformed")
		return 0
	}
	b := r.bytes[r.at]
	r.at++
	return b
}

// zero reads the one byte that stands for memory 0 and for nothing else: a longer spelling could be read in two ways.
func (r *reader) zero() {
	if r.byte() != 0 {
		r.proposal("several memories (multi-memory)")
	}
}

func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.bytes)-r.at) {
		r.fail(Malformed, "truncated or malformed: %d bytes are declared, %d are left", n, len(r.bytes)-r.at)
		return nil
	}
	b := r.bytes[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

// u32 reads an unsigned LEB128 of up to five bytes; toolchains pad them.
func (r *reader) u32() uint32 {
	if r.at < len(r.bytes) && r.bytes[r.at] < 0x80 {
		r.at++
		return uint32(r.bytes[r.at-1])
	}
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				r.fail(Malformed, "a number does not fit 32 bits")
				return 0
			}
			return uint32(v)
		}
	}
	r.fail(Malformed, "a number is longer than 32 bits need")
	return 0
}

// skipSigned passes over a signed LEB128 of up to most bytes.
func (r *reader) skipSigned(most int) {
	for range most {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(Malformed, "a number is longer than it may be")
}

// s33 reads a signed LEB128 of up to 33 bits: a type index, or a negative number of one byte that stands for a type.
func (r *reader) s33() int64 {
	var v int64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			if v < 0 && shift > 0 || v >= 1<<32 {
				r.fail(Malformed, "a block's type is malformed")
			}
			return v
		}
	}
	r.fail(Malformed, "a number is longer than it may be")
	return 0
}

// name reads a length and so many bytes of UTF-8.
func (r *reader) name() []byte {
	n := r.u32()
	if uint64(n) > uint64(len(r.bytes)-r.at) {
		r.fail(Malformed, "a name declares %d bytes, %d are left", n, len(r.bytes)-r.at)
		return nil
	}
	b := r.bytes[r.at : r.at+int(n)]
	if !utf8.Valid(b) {
		r.fail(Malformed, "a name is not UTF-8")
		return nil
	}
	r.at += int(n)
	return b
}

// vector reads a count, holds it against the limit and against the bytes left, of which each entry takes at least size, and reads the entries.
func (r *reader) vector(what string, limit uint64, size int, entry func()) uint64 {
	n := uint64(r.u32())
	r.limit(what, n, limit)
	if r.err != nil {
		return 0
	}
	if left := len(r.bytes) - r.at; n*uint64(size) > uint64(left) {
		r.fail(Malformed, "%d %s are declared, %d bytes are left", n, what, left)
		return 0
	}
	for range n {
		if entry(); r.err != nil {
			return 0
		}
	}
	return n
}

// within reads size bytes as one unit that must end exactly there.
func (r *reader) within(what string, size uint32, read func()) {
	if r.err != nil {
		return
	}
	if uint64(size) > uint64(len(r.bytes)-r.at) {
		r.fail(Malformed, "%s is truncated: it declares %d bytes, %d are left", what, size, len(r.bytes)-r.at)
		return
	}
	whole, end := r.bytes, r.at+int(size)
	r.bytes = r.bytes[:end]
	read()
	if r.err == nil && r.at != end {
		r.fail(Malformed, "%s has %d bytes more than its content", what, end-r.at)
	}
	r.bytes = whole
}
