package canon

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tenloom/tenloom/sandbox/component/types"
)

// latin1 is the encoding of one string; a component's option says Latin1UTF16 for it.
const latin1 = Latin1UTF16

// utf16Tag in the length of a string of Latin1UTF16 says that it is UTF-16.
const utf16Tag = 1 << 31

// raw checks a string's place and gives its bytes with their encoding: UTF8, UTF16 or latin1. UTF-8 is checked to be valid; UTF-16 is when it is
// decoded.
func (s *side) raw(p, n uint32) ([]byte, Encoding) {
	simple, size, align := s.opts.Encoding, uint64(n), uint32(2)
	switch {
	case simple == UTF8:
		align = 1
	case simple == Latin1UTF16 && n&utf16Tag != 0:
		simple, size = UTF16, 2*uint64(n^utf16Tag)
	case simple == UTF16:
		size *= 2
	}
	if size > types.MaxBytes {
		trap("string content out-of-bounds: string pointer/length out of bounds of memory: %d bytes exceed the maximum of %d", size, types.MaxBytes)
	}
	if p&(align-1) != 0 {
		trap("unaligned pointer: string pointer not aligned: %#x to %d", p, align)
	}
	if uint64(p)+size > uint64(len(s.bytes)) {
		trap("string content out-of-bounds: string pointer/length out of bounds of memory: %d bytes at %#x of %#x", size, p, len(s.bytes))
	}
	s.charge(size)
	b := s.bytes[p : uint64(p)+size : uint64(p)+size]
	if simple == UTF8 && !utf8.Valid(b) {
		invalidUTF8(b)
	}
	return b, simple
}

func invalidUTF8(b []byte) {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			if !utf8.FullRune(b[i:]) {
				trap("incomplete utf-8 byte sequence from index %d", i)
			}
			trap("invalid utf-8 sequence from index %d", i)
		}
		i += n
	}
}

func decode(b []byte, simple Encoding) string {
	if simple == UTF8 {
		return string(b)
	}
	return string(appendDecoded(make([]byte, 0, len(b)), b, simple))
}

// appendDecoded appends a string as UTF-8.
func appendDecoded(to, b []byte, simple Encoding) []byte {
	switch simple {
	case UTF8:
		return append(to, b...)
	case latin1:
		for _, c := range b {
			to = utf8.AppendRune(to, rune(c))
		}
		return to
	}
	for i := 0; i < len(b); i += 2 {
		r := rune(binary.LittleEndian.Uint16(b[i:]))
		if utf16.IsSurrogate(r) {
			low := rune(0)
			if i += 2; i < len(b) {
				low = rune(binary.LittleEndian.Uint16(b[i:]))
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				trap("invalid utf-16: a lone surrogate at code unit %d", i/2-1)
			}
		}
		to = utf8.AppendRune(to, r)
	}
	return to
}

// lowerString stores a valid string with one allocation of its exact size and gives its pointer and tagged length.
func lowerString(s *side, v string) (p, n uint32) {
	switch s.opts.Encoding {
	case UTF8:
		p = s.text(uint64(len(v)), 1)
		copy(s.bytes[p:], v)
		return p, uint32(len(v))
	case Latin1UTF16:
		if size, ok := latin1Size(v); ok {
			p = s.text(uint64(size), 2)
			i := p
			for _, r := range v {
				s.bytes[i] = byte(r)
				i++
			}
			return p, uint32(size)
		}
	}
	units := 0
	for _, r := range v {
		units += utf16.RuneLen(r)
	}
	p = s.text(2*uint64(units), 2)
	at := p
	for _, r := range v {
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			store(s.bytes, at, 2, uint64(high))
			store(s.bytes, at+2, 2, uint64(low))
			at += 4
			continue
		}
		store(s.bytes, at, 2, uint64(r))
		at += 2
	}
	if s.opts.Encoding == Latin1UTF16 {
		return p, uint32(units) | utf16Tag
	}
	return p, uint32(units)
}

// text allocates a string.
func (s *side) text(size uint64, align uint32) uint32 {
	p := s.alloc(size, align, "string")
	s.charge(size)
	return p
}

// latin1Size is the number of bytes of a string in Latin-1, where it has one.
func latin1Size(v string) (n int, ok bool) {
	for _, r := range v {
		if r > 0xff {
			return 0, false
		}
		n++
	}
	return n, true
}
