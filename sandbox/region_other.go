//go:build !linux || portable

package sandbox

// region is memory of the Go heap, grown by doubling up to its fixed length.
type region struct {
	length uint64
	bytes  []byte
}

func (r *region) reserve(length uint64) error {
	r.length = length
	return nil
}

// prefix gives the first size bytes, nil where the region is shorter.
func (r *region) prefix(size uint64) []byte {
	if size > r.length {
		return nil
	}
	if size > uint64(cap(r.bytes)) {
		grown := make([]byte, size, min(r.length, max(size, 2*uint64(cap(r.bytes)))))
		copy(grown, r.bytes)
		r.bytes = grown
	}
	r.bytes = r.bytes[:size]
	return r.bytes
}

func (r *region) release() { *r = region{} }
