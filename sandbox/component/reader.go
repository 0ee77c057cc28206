package component

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// reader reads bytes up to the end of the section at hand. The first error stays and every later read answers zero, so that callers check once
// per loop.
type reader struct {
	bytes []byte
	at    int
	item  int // where the definition at hand begins: errors of validation name it
	name  int // most bytes of a name
	err   *Error
}

func (r *reader) refuse(kind Kind, at int, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Kind: kind, Detail: fmt.Sprintf(format, args...), Offset: at}
	}
	r.at = len(r.bytes)
}

// malformed refuses what stands just before the reader's place.
func (r *reader) malformed(format string, args ...any) { r.refuse(Malformed, r.at, format, args...) }

// invalid refuses the definition at hand.
func (r *reader) invalid(format string, args ...any) { r.refuse(Invalid, r.item, format, args...) }

func (r *reader) limit(format string, args ...any) { r.refuse(Limit, r.item, format, args...) }

func (r *reader) gated(what string) {
	r.refuse(Unsupported, r.item, "the component uses %s, which is not offered", what)
}

// check refuses with an error of package types.
func (r *reader) check(err error) bool {
	switch {
	case err == nil:
	case errors.Is(err, types.ErrLimit):
		r.limit("%v", err)
	default:
		r.invalid("%v", err)
	}
	return r.err == nil
}

func (r *reader) byte() byte {
	if r.at >= len(r.bytes) {
		r.malformed("unexpected end: a byte was expected")
		return 0
	}
	b := r.bytes[r.at]
	r.at++
	return b
}

// wrong refuses the byte just read.
func (r *reader) wrong(b byte, what string) {
	r.refuse(Malformed, r.at-1, "%s begins with %#02x, which is none of its forms", what, b)
}

// expect reads one byte that can only be want.
func (r *reader) expect(want byte, what string) {
	if b := r.byte(); b != want && r.err == nil {
		r.refuse(Malformed, r.at-1, "%s is %#02x, %#02x was expected", what, b, want)
	}
}

// flag reads 0 or 1.
func (r *reader) flag(what string) bool {
	b := r.byte()
	if b > 1 {
		r.wrong(b, what)
	}
	return b == 1
}

func (r *reader) take(n uint32, what string) []byte {
	if left := len(r.bytes) - r.at; uint64(n) > uint64(left) {
		r.malformed("unexpected end: %s has %d bytes, %d are left", what, n, left)
		return nil
	}
	b := r.bytes[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

// u32 reads an unsigned LEB128 of up to five bytes.
func (r *reader) u32() uint32 {
	if r.at < len(r.bytes) && r.bytes[r.at] < 0x80 {
		r.at++
		return uint32(r.bytes[r.at-1])
	}
	return uint32(r.uint(32))
}

// uint reads an unsigned LEB128 of up to bits bits.
func (r *reader) uint(bits int) uint64 {
	var v uint64
	for shift := 0; shift < bits; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		if left := bits - shift; left < 7 && b&0x7f>>left != 0 {
			r.malformed("integer too large: a number does not fit %d bits", bits)
			return 0
		}
		if v |= uint64(b&0x7f) << shift; b < 0x80 {
			return v
		}
	}
	r.malformed("integer representation too long: a number takes more bytes than %d bits need", bits)
	return 0
}

// s33 reads a signed LEB128 of up to 33 bits: an index where it is not negative.
func (r *reader) s33() int64 {
	var v int64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		if v |= int64(b&0x7f) << shift; b < 0x80 {
			if b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			if v >= 1<<32 || v < -1<<32 {
				r.malformed("integer too large: a number does not fit 33 bits")
				return 0
			}
			return v
		}
	}
	r.malformed("integer representation too long: a number takes more bytes than 33 bits need")
	return 0
}

// string reads a length and so many bytes of UTF-8.
func (r *reader) string(what string) string {
	n := r.u32()
	if int64(n) > int64(r.name) {
		r.limit("%s has %d bytes, at most %d are allowed", what, n, r.name)
		return ""
	}
	at := r.at
	b := r.take(n, what)
	if !utf8.Valid(b) {
		r.refuse(Malformed, at, "malformed UTF-8 encoding of %s", what)
		return ""
	}
	return string(b)
}

// count reads the number of entries that follow, of which each takes at least size bytes.
func (r *reader) count(what string, size int) int {
	n := r.u32()
	if left := len(r.bytes) - r.at; uint64(n)*uint64(size) > uint64(left) {
		r.malformed("unexpected end: %d %s are declared, %d bytes are left", n, what, left)
		return 0
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// within reads the next size bytes as one unit that must end exactly there.
func (r *reader) within(what string, size uint32, read func()) {
	if left := len(r.bytes) - r.at; uint64(size) > uint64(left) {
		r.malformed("unexpected end: %s has %d bytes, %d are left", what, size, left)
	}
	if r.err != nil {
		return
	}
	whole, end := r.bytes, r.at+int(size)
	r.bytes = r.bytes[:end]
	read()
	if r.err == nil && r.at != end {
		r.malformed("%s has %d bytes more than its content", what, end-r.at)
	}
	r.bytes = whole
	if r.err != nil {
		r.at = len(r.bytes)
	}
}
