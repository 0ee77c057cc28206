package sandbox

import "fmt"

// reader reads a module's bytes. The first error stays and every later read answers zero, so that callers check once per loop.
type reader struct {
	bytes []byte
	at    int
	err   error // a *CompileError once set
}

func (r *reader) fail(kind CompileKind, format string, args ...any) {
	if r.err == nil {
		r.err = &CompileError{Kind: kind, Detail: fmt.Sprintf(format, args...)}
	}
}

func (r *reader) truncated() {
	r.fail(Malformed, "truncated or malformed at byte %d", r.at)
	r.at = len(r.bytes)
}

func (r *reader) byte() byte {
	if r.err != nil || r.at >= len(r.bytes) {
		r.truncated()
		return 0
	}
	b := r.bytes[r.at]
	r.at++
	return b
}

func (r *reader) skip(n uint32) {
	if r.err != nil || uint64(n) > uint64(len(r.bytes)-r.at) {
		r.truncated()
		return
	}
	r.at += int(n)
}

// u32 reads an unsigned LEB128 of up to five bytes; toolchains pad them.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				r.fail(Malformed, "a number at byte %d does not fit 32 bits", r.at)
				return 0
			}
			return uint32(v)
		}
	}
	r.fail(Malformed, "a number at byte %d is longer than 32 bits need", r.at)
	return 0
}

// skipSigned passes over a signed LEB128 of up to most bytes.
func (r *reader) skipSigned(most int) {
	for range most {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(Malformed, "a number at byte %d is longer than it may be", r.at)
}
